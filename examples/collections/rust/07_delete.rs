// 7. Deleting a collection
use chroma::ChromaHttpClient;

pub async fn run(client: &ChromaHttpClient) {
// From the page:
client.delete_collection("test").await.unwrap();
// Until here.
}
