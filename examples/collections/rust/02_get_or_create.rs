// 2. Creating a collection if it does not exist
use chroma::{ChromaCollection, ChromaHttpClient};

pub async fn run(client: &ChromaHttpClient) -> ChromaCollection {
// From the page:
let collection = client.get_or_create_collection("test", None, None).await.unwrap();
// Until here.
collection
}
