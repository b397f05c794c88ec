// 13. Constrain Query Candidates By ID
use chroma::client::ChromaHttpClientError;
use chroma::types::QueryResponse;
use chroma::ChromaCollection;

pub async fn run(collection: &ChromaCollection) -> Result<QueryResponse, ChromaHttpClientError> {
// From the page:
let _results = collection
    .query(
        vec![vec![0.1, 0.2, 0.3]],
        None,
        None,
        Some(vec![
            "doc-1".to_string(),
            "doc-2".to_string(),
            "doc-3".to_string(),
        ]),
        None,
    )
    .await?;
// Until here.
Ok(_results)
}
