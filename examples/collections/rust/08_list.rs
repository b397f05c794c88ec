// 8. Listing all collections
use chroma::{ChromaCollection, ChromaHttpClient};

#[allow(unused_variables)]
pub async fn run(client: &ChromaHttpClient) -> Vec<ChromaCollection> {
// From the page:
let collections = client.list_collections(100, None).await.unwrap();

// with pagination
let collections = client.list_collections(10, Some(0)).await.unwrap();
// Until here.
collections
}
