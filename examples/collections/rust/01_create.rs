// 1. Creating a collection
// The crate has no `v2` since its version 2, which is the first that speaks the server's API v2. Its
// last parameter says whether the collection may exist. It reads the address from CHROMA_URL.
#![allow(unused_variables)]

// From the page:
// page: use chromadb::v2::ChromaClient;
use chromadb::ChromaClient; // ours

#[tokio::main]
async fn main() {
    let client = ChromaClient::new(Default::default()).await.unwrap();
    // page: let collection = client.create_collection("test", None, None).await.unwrap();
    let collection = client.create_collection("test", None, false).await.unwrap(); // ours
}
// Until here.
