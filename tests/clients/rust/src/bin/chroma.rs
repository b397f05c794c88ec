//! Everything a program does with a server, through the crate `chroma`.
//!
//!     chroma URL vermilion|chroma [search]

use std::fmt;

use anyhow::Result;
use chroma::client::{ChromaAuthMethod, ChromaHttpClientError, ChromaHttpClientOptions};
use chroma::embed::EmbeddingFunction;
use chroma::types::{
    Include, IncludeList, Key, Metadata, MetadataValue, QueryVector, RankExpr, SearchPayload,
    UpdateMetadata, UpdateMetadataValue, Where,
};
use chroma::{ChromaCollection, ChromaHttpClient};
use vermilion_clients::{all, arguments, document, embed, ids, vector, COUNT, ORIGIN, TEXTS};

/// Real vectors of a few texts.
struct FixedVectors;

#[derive(Debug)]
struct Never;

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Never {}

#[async_trait::async_trait]
impl EmbeddingFunction for FixedVectors {
    type Embedding = Vec<f32>;
    type Error = Never;

    async fn embed_strs(&self, batches: &[&str]) -> Result<Vec<Vec<f32>>, Never> {
        Ok(batches.iter().map(|text| embed(text)).collect())
    }
}

fn metadata(n: usize) -> Metadata {
    Metadata::from([
        ("n".to_string(), MetadataValue::Int(n as i64)),
        ("half".to_string(), MetadataValue::Float(n as f64 / 2.0)),
        ("even".to_string(), MetadataValue::Bool(n % 2 == 0)),
        ("word".to_string(), ["even", "odd"][n % 2].into()),
        ("tags".to_string(), vec![n as i64, 100].into()),
    ])
}

fn columns(include: &[Include]) -> Option<IncludeList> {
    Some(IncludeList(include.to_vec()))
}

fn nothing() -> Option<IncludeList> {
    Some(IncludeList::empty())
}

/// Asserts the status and a part of the message of an error that the server answered.
fn refused<T>(answer: Result<T, ChromaHttpClientError>, status: u16, part: &str) {
    match answer {
        Err(ChromaHttpClientError::ApiError(message, got)) => {
            assert_eq!(got.as_u16(), status, "{message}");
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        Err(other) => panic!("no answer of the server but {other}"),
        Ok(_) => panic!("no error that says {part:?}"),
    }
}

async fn system(client: &ChromaHttpClient) -> Result<()> {
    for left in client.list_collections(1000, None).await? {
        if left.name().starts_with("rs-") {
            client.delete_collection(left.name()).await?;
        }
    }
    assert!(client.heartbeat().await?.nanosecond_heartbeat > 1_700_000_000_000_000_000);
    let identity = client.get_auth_identity().await?;
    assert_eq!(identity.tenant, "default_tenant");
    assert_eq!(client.get_database_name().await?, "default_database");
    Ok(())
}

async fn create(client: &ChromaHttpClient) -> Result<ChromaCollection> {
    let title = Metadata::from([
        ("title".to_string(), "main".into()),
        ("share".to_string(), MetadataValue::Float(1.0)),
        ("year".to_string(), MetadataValue::Int(2026)),
    ]);
    let made = client.create_collection("rs-main", None, Some(title.clone())).await?;
    assert_eq!(made.name(), "rs-main");
    assert_eq!(made.metadata(), &Some(title));
    assert_eq!(made.count().await?, 0);
    refused(client.create_collection("rs-main", None, None).await, 409, "already exists");
    let same = client.get_or_create_collection("rs-main", None, None).await?;
    assert_eq!(same.id(), made.id());
    let by_id = client.get_collection_by_id(made.id().to_string()).await?;
    assert_eq!(by_id.name(), "rs-main");
    Ok(client.get_collection("rs-main").await?)
}

async fn fill(collection: &ChromaCollection) -> Result<()> {
    let documents: Vec<_> = all().into_iter().map(|n| Some(document(n))).collect();
    let metadatas: Vec<_> = all().into_iter().map(|n| Some(metadata(n))).collect();
    let vectors: Vec<_> = all().into_iter().map(vector).collect();
    collection
        .add(ids(&all()), vectors.clone(), Some(documents.clone()), None, Some(metadatas.clone()))
        .await?;
    assert_eq!(collection.count().await?, COUNT as u32);
    collection.add(ids(&[0]), vec![vec![9.0; 3]], None, None, None).await?;
    let include = [Include::Document, Include::Metadata, Include::Embedding];
    let everything = collection.get(None, None, None, None, columns(&include)).await?;
    assert_eq!(everything.ids, ids(&all()));
    assert_eq!(everything.documents, Some(documents));
    assert_eq!(everything.metadatas, Some(metadatas));
    assert_eq!(everything.embeddings, Some(vectors));
    assert_eq!(everything.include, include);
    let wrong = collection.add(vec!["x".to_string()], vec![vec![1.0, 2.0]], None, None, None).await;
    refused(wrong, 400, "dimension of 3, got 2");
    let some = vec!["id-5".to_string(), "id-1".to_string(), "nobody".to_string()];
    let found = collection.get(Some(some), None, None, None, nothing()).await?;
    assert_eq!(found.ids, ids(&[1, 5]));
    Ok(())
}

fn filters() -> Vec<(Where, Vec<usize>)> {
    let field = |name: &str| Key::field(name);
    vec![
        (field("n").eq(3), vec![3]),
        (field("n").ne(3), vec![0, 1, 2, 4, 5, 6, 7]),
        (field("n").gt(5), vec![6, 7]),
        (field("n").gte(5), vec![5, 6, 7]),
        (field("half").lt(1.0), vec![0, 1]),
        (field("half").lte(1.5), vec![0, 1, 2, 3]),
        (field("even").eq(true), vec![0, 2, 4, 6]),
        (field("word").is_in(["odd", "other"]), vec![1, 3, 5, 7]),
        (field("n").not_in([0, 1, 2, 3]), vec![4, 5, 6, 7]),
        (field("tags").contains_value(4), vec![4]),
        (field("tags").not_contains_value(4), vec![0, 1, 2, 3, 5, 6, 7]),
        (field("n").gt(1) & field("even").eq(true), vec![2, 4, 6]),
        (field("n").eq(0) | field("half").gt(3.0), vec![0, 7]),
        (field("nothing").eq("at all"), vec![]),
        (Key::Document.contains("eta"), vec![1, 5, 6, 7]),
        (Key::Document.not_contains("eta"), vec![0, 2, 3, 4]),
        (Key::Document.regex("the [a-d]"), vec![0, 1, 3]),
        (Key::Document.contains("eta") & field("even").eq(false), vec![1, 5, 7]),
    ]
}

async fn filter(collection: &ChromaCollection) -> Result<()> {
    for (filter, expected) in filters() {
        let text = filter.to_string();
        let found = collection.get(None, Some(filter.clone()), None, None, nothing()).await?;
        assert_eq!(found.ids, ids(&expected), "{text}");
        let include = columns(&[Include::Distance]);
        let nearest =
            collection.query(vec![ORIGIN.to_vec()], None, Some(filter), None, include).await?;
        assert_eq!(nearest.ids, [ids(&expected)], "{text}");
        let distances: Vec<_> = expected.iter().map(|n| Some((n * n) as f32)).collect();
        assert_eq!(nearest.distances, Some(vec![distances]), "{text}");
    }
    Ok(())
}

async fn pages(collection: &ChromaCollection) -> Result<()> {
    for (offset, expected) in [(0, vec![0, 1, 2]), (3, vec![3, 4, 5]), (6, vec![6, 7]), (9, vec![])] {
        let page = collection.get(None, None, Some(3), Some(offset), None).await?;
        assert_eq!(page.ids, ids(&expected));
    }
    Ok(())
}

async fn query(collection: &ChromaCollection, ours: bool) -> Result<()> {
    let found =
        collection.query(vec![ORIGIN.to_vec(), vector(7)], Some(2), None, None, None).await?;
    assert_eq!(found.ids, [ids(&[0, 1]), ids(&[7, 6])]);
    let distances = vec![Some(0.0), Some(1.0)];
    assert_eq!(found.distances, Some(vec![distances.clone(), distances]));
    assert_eq!(found.documents.unwrap()[1], [Some(document(7)), Some(document(6))]);
    assert_eq!(found.metadatas.unwrap()[0], [Some(metadata(0)), Some(metadata(1))]);
    let some = Some(ids(&[6, 4, 5]));
    let include = columns(&[Include::Embedding]);
    let among = collection.query(vec![ORIGIN.to_vec()], None, None, some, include).await?;
    assert_eq!(among.ids, [ids(&[4, 5, 6])]);
    assert_eq!(among.embeddings.unwrap()[0][2], Some(vector(6)));
    let unknown = Some(vec!["nobody".to_string(), "id-3".to_string()]);
    let answer = collection.query(vec![ORIGIN.to_vec()], None, None, unknown, None).await;
    if ours {
        assert_eq!(answer?.ids, [ids(&[3])]);
    } else {
        refused(answer, 500, "finding id");
    }
    Ok(())
}

async fn change(collection: &ChromaCollection) -> Result<()> {
    let changes = UpdateMetadata::from([
        ("n".to_string(), 100.into()),
        ("even".to_string(), UpdateMetadataValue::None),
        ("new".to_string(), "yes".into()),
    ]);
    let text = Some(vec![Some("a new text".to_string())]);
    let vectors = Some(vec![Some(ORIGIN.to_vec())]);
    collection.update(ids(&[0]), vectors, text, None, Some(vec![Some(changes)])).await?;
    let row = collection.get(Some(ids(&[0])), None, None, None, None).await?;
    assert_eq!(row.documents.unwrap(), [Some("a new text".to_string())]);
    let mut expected = metadata(0);
    expected.remove("even");
    expected.extend([("n".to_string(), 100.into()), ("new".to_string(), "yes".into())]);
    assert_eq!(row.metadatas.unwrap(), [Some(expected)]);
    let only = UpdateMetadata::from([("n".to_string(), 102.into())]);
    collection.update(ids(&[2]), None, None, None, Some(vec![Some(only)])).await?;
    let back = UpdateMetadata::from([("n".to_string(), 2.into())]);
    collection.update(ids(&[2]), None, None, None, Some(vec![Some(back)])).await?;

    let texts = Some(vec![Some("changed".to_string()), Some("ünï ☃ 漢字".to_string())]);
    let numbers = [101, 8].map(|n| Some(UpdateMetadata::from([("n".to_string(), n.into())])));
    let vectors = vec![vec![1.0, 1.0, 1.0], vector(8)];
    collection.upsert(ids(&[1, 8]), vectors.clone(), texts.clone(), None, Some(numbers.to_vec())).await?;
    assert_eq!(collection.count().await?, COUNT as u32 + 1);
    let include = columns(&[Include::Document, Include::Embedding]);
    let changed = collection.get(Some(ids(&[1, 8])), None, None, None, include).await?;
    assert_eq!((changed.documents, changed.embeddings), (texts, Some(vectors)));
    Ok(())
}

async fn modify(client: &ChromaHttpClient, collection: &mut ChromaCollection) -> Result<()> {
    let title = Metadata::from([("title".to_string(), "renamed".into())]);
    collection.modify(Some("rs-renamed"), Some(title.clone())).await?;
    let renamed = client.get_collection("rs-renamed").await?;
    assert_eq!((renamed.id(), renamed.metadata()), (collection.id(), &Some(title)));
    refused(client.get_collection("rs-main").await, 404, "does not exist");
    Ok(())
}

async fn copy(client: &ChromaHttpClient, collection: &ChromaCollection) -> Result<()> {
    // The crate has no other way to a distance than the metadata.
    let space = Metadata::from([("hnsw:space".to_string(), "ip".into())]);
    let target = client.create_collection("rs-copy", None, Some(space)).await?;
    let include = [Include::Document, Include::Metadata, Include::Embedding];
    for offset in (0..collection.count().await?).step_by(4) {
        let batch = collection.get(None, None, Some(4), Some(offset), columns(&include)).await?;
        let vectors = batch.embeddings.unwrap();
        target.add(batch.ids, vectors, batch.documents, None, batch.metadatas).await?;
    }
    let before = collection.get(None, None, None, None, columns(&include)).await?;
    let after = target.get(None, None, None, None, columns(&include)).await?;
    assert_eq!((&after.ids, &after.documents), (&before.ids, &before.documents));
    assert_eq!((&after.metadatas, &after.embeddings), (&before.metadatas, &before.embeddings));
    let nearest = target.query(vec![vec![1.0, 0.0, 0.0]], Some(2), None, None, None).await?;
    assert_eq!(nearest.ids, [ids(&[8, 7])]);
    assert_eq!(nearest.distances, Some(vec![vec![Some(-7.0), Some(-6.0)]]));
    Ok(())
}

async fn remove(client: &ChromaHttpClient, collection: &ChromaCollection) -> Result<()> {
    collection.delete(Some(ids(&[8, 0])), None, None).await?;
    let gone = collection.delete(None, Some(Key::field("n").gte(6)), None).await?;
    assert_eq!(gone.deleted, 3);
    collection.delete(None, Some(Key::Document.contains("eta")), None).await?;
    let left = collection.get(None, None, None, None, nothing()).await?;
    assert_eq!(left.ids, ids(&[2, 3, 4]));
    let listed = client.list_collections(1000, None).await?;
    assert_eq!(client.count_collections().await? as usize, listed.len());
    assert_eq!(client.list_collections(1, Some(1)).await?.len(), 1);
    client.delete_collection("rs-renamed").await?;
    client.delete_collection("rs-copy").await?;
    refused(client.delete_collection("rs-copy").await, 404, "does not exist");
    refused(collection.count().await, 404, "does not exist");
    Ok(())
}

async fn texts(client: &ChromaHttpClient) -> Result<()> {
    let mut made = client.create_collection("rs-texts", None, None).await?;
    made.set_embedding_function(Some(FixedVectors));
    let documents = TEXTS.map(|text| Some(text.to_string())).to_vec();
    made.add(ids(&[0, 1, 2, 3]), None, Some(documents), None, None).await?;
    let vectors = made.embed_query(&["climate"]).await?;
    let found = made.query(vectors, Some(2), None, None, None).await?;
    assert_eq!(found.ids, [ids(&[3, 1])]);
    client.delete_collection("rs-texts").await?;
    Ok(())
}

async fn search_and_fork(client: &ChromaHttpClient, ours: bool, searches: bool) -> Result<()> {
    let made = client.create_collection("rs-search", None, None).await?;
    let vectors: Vec<_> = all().into_iter().map(vector).collect();
    let metadatas = all().into_iter().map(|n| Some(metadata(n))).collect();
    made.add(ids(&all()), vectors, None, None, Some(metadatas)).await?;
    let wanted = SearchPayload::default()
        .r#where(Key::field("even").eq(true))
        .rank(RankExpr::Knn {
            query: QueryVector::Dense(ORIGIN.to_vec()),
            key: Key::Embedding,
            limit: 16,
            default: None,
            return_rank: false,
        })
        .limit(Some(2), 0)
        .select([Key::Score, Key::field("n")]);
    let answer = made.search(vec![wanted]).await;
    if searches {
        let found = answer?;
        assert_eq!(found.ids, [ids(&[0, 2])]);
        assert_eq!(found.scores, [Some(vec![Some(0.0), Some(4.0)])]);
        let rows = found.metadatas[0].as_ref().unwrap();
        assert_eq!(rows[1], Some(Metadata::from([("n".to_string(), 2.into())])));
    } else {
        refused(answer, 501, "Search");
    }
    let forked = made.fork("rs-forked").await;
    if ours {
        made.delete(Some(ids(&[0, 1])), None, None).await?;
        assert_eq!(forked?.count().await?, COUNT as u32);
        assert!(made.get_indexing_status().await?.op_indexing_progress >= 0.0);
        client.delete_collection("rs-forked").await?;
    } else {
        refused(forked, 501, "unsupported");
    }
    client.delete_collection("rs-search").await?;
    Ok(())
}

async fn databases(client: &ChromaHttpClient) -> Result<()> {
    client.create_database("rs-database").await?;
    let listed = client.list_databases().await?;
    assert!(listed.iter().any(|row| row.name == "rs-database"));
    let inside = client.with_scope(ChromaAuthMethod::None, "default_tenant", "rs-database");
    inside.create_collection("rs-inside", None, None).await?;
    refused(client.get_collection("rs-inside").await, 404, "does not exist");
    assert_eq!(inside.count_collections().await?, 1);
    client.delete_database("rs-database").await?;
    refused(client.delete_database("rs-database").await, 404, "not found");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (url, ours, searches) = arguments();
    let client = ChromaHttpClient::new(ChromaHttpClientOptions {
        endpoint: url.parse()?,
        ..Default::default()
    });
    system(&client).await?;
    let mut collection = create(&client).await?;
    fill(&collection).await?;
    filter(&collection).await?;
    pages(&collection).await?;
    query(&collection, ours).await?;
    change(&collection).await?;
    modify(&client, &mut collection).await?;
    copy(&client, &collection).await?;
    remove(&client, &collection).await?;
    texts(&client).await?;
    search_and_fork(&client, ours, searches).await?;
    databases(&client).await?;
    Ok(())
}
