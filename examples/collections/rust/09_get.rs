// 9. Getting a collection
use chroma::{ChromaCollection, ChromaHttpClient};

pub async fn run(client: &ChromaHttpClient) -> ChromaCollection {
// From the page:
let collection = client.get_collection("test").await.unwrap();
// Until here.
collection
}
