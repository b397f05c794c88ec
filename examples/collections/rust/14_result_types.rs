// 14. Result Type Shapes
use chroma::types::{Include, Metadata};

// From the page:
pub struct GetResponse {
    pub ids: Vec<String>,
    pub embeddings: Option<Vec<Vec<f32>>>,
    pub documents: Option<Vec<Option<String>>>,
    pub uris: Option<Vec<Option<String>>>,
    pub metadatas: Option<Vec<Option<Metadata>>>,
    pub include: Vec<Include>,
}

pub struct QueryResponse {
    pub ids: Vec<Vec<String>>,
    pub embeddings: Option<Vec<Vec<Option<Vec<f32>>>>>,
    pub documents: Option<Vec<Vec<Option<String>>>>,
    pub uris: Option<Vec<Vec<Option<String>>>>,
    pub metadatas: Option<Vec<Vec<Option<Metadata>>>>,
    pub distances: Option<Vec<Vec<Option<f32>>>>,
    pub include: Vec<Include>,
}
// Until here.

// What the crate answers has the shapes of the page, or this does not compile.
impl From<chroma::types::GetResponse> for GetResponse {
    fn from(answer: chroma::types::GetResponse) -> Self {
        let chroma::types::GetResponse { ids, embeddings, documents, uris, metadatas, include } =
            answer;
        GetResponse { ids, embeddings, documents, uris, metadatas, include }
    }
}

impl From<chroma::types::QueryResponse> for QueryResponse {
    fn from(answer: chroma::types::QueryResponse) -> Self {
        let chroma::types::QueryResponse {
            ids, embeddings, documents, uris, metadatas, distances, include,
        } = answer;
        QueryResponse { ids, embeddings, documents, uris, metadatas, distances, include }
    }
}
