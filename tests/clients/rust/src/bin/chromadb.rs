//! Everything a program does with a server, through the crate `chromadb`, which the page uses.
//!
//!     chromadb URL vermilion|chroma

use anyhow::Result;
use chromadb::client::{ChromaAuthMethod, ChromaClientOptions};
use chromadb::collection::{CollectionEntries, GetOptions, QueryOptions};
use chromadb::embeddings::EmbeddingFunction;
use chromadb::{ChromaClient, ChromaCollection};
use serde_json::{json, Map, Value};
use vermilion_clients::{all, arguments, document, embed, ids, vector, COUNT, NAMES, ORIGIN, TEXTS};

/// Real vectors of a few texts.
struct FixedVectors;

#[async_trait::async_trait]
impl EmbeddingFunction for FixedVectors {
    async fn embed(&self, docs: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(docs.iter().map(|text| embed(text)).collect())
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn metadata(n: usize) -> Map<String, Value> {
    let word = ["even", "odd"][n % 2];
    map(json!({
        "n": n, "half": n as f64 / 2.0, "even": n % 2 == 0, "word": word,
        "tags": [n, 100],
    }))
}

/// Asserts that the server answered an error whose status and text hold the part.
fn refused<T: std::fmt::Debug>(answer: Result<T>, part: &str) {
    let message = answer.expect_err(part).to_string();
    assert!(message.contains(part), "{part:?} is not in {message:?}");
}

fn wanted(places: &[&str]) -> Option<Vec<String>> {
    Some(places.iter().map(|name| name.to_string()).collect())
}

async fn ids_of(collection: &ChromaCollection, options: GetOptions) -> Result<Vec<String>> {
    let options = GetOptions { include: Some(vec![]), ..options };
    Ok(collection.get(options).await?.ids)
}

async fn create(client: &ChromaClient) -> Result<ChromaCollection> {
    for left in client.list_collections().await? {
        if left.name().starts_with("rb-") {
            client.delete_collection(left.name()).await?;
        }
    }
    // These two are asked for where no server has answered since Chroma 1.0.
    refused(client.version().await, "410");
    refused(client.heartbeat().await, "410");
    let title = map(json!({"title": "main", "share": 1.0, "year": 2026, "open": true}));
    let made = client.create_collection("rb-main", Some(title.clone()), false).await?;
    assert_eq!((made.name(), made.metadata()), ("rb-main", Some(&title)));
    assert_eq!(made.count().await?, 0);
    refused(client.create_collection("rb-main", None, false).await, "already exists");
    let same = client.get_or_create_collection("rb-main", None).await?;
    assert_eq!((same.id(), same.metadata()), (made.id(), Some(&title)));
    client.get_collection("rb-main").await
}

async fn fill(collection: &ChromaCollection) -> Result<()> {
    let names = ids(&all());
    let documents: Vec<String> = all().into_iter().map(document).collect();
    let entries = || CollectionEntries {
        ids: names.iter().map(String::as_str).collect(),
        embeddings: Some(all().into_iter().map(vector).collect()),
        metadatas: Some(all().into_iter().map(metadata).collect()),
        documents: Some(documents.iter().map(String::as_str).collect()),
    };
    collection.add(entries(), None).await?;
    collection.add(entries(), None).await?;
    assert_eq!(collection.count().await?, COUNT);
    let include = wanted(&["documents", "metadatas", "embeddings"]);
    let everything = collection.get(GetOptions { include, ..Default::default() }).await?;
    assert_eq!(everything.ids, names);
    let texts: Vec<_> = everything.documents.unwrap().into_iter().flatten().collect();
    assert_eq!(texts, documents);
    let rows: Vec<_> = everything.metadatas.unwrap().into_iter().flatten().collect();
    assert_eq!(rows, all().into_iter().map(metadata).collect::<Vec<_>>());
    let vectors: Vec<_> = everything.embeddings.unwrap().into_iter().flatten().collect();
    assert_eq!(vectors, all().into_iter().map(vector).collect::<Vec<_>>());
    let wrong = CollectionEntries {
        ids: vec!["x"],
        embeddings: Some(vec![vec![1.0, 2.0]]),
        ..Default::default()
    };
    refused(collection.add(wrong, None).await, "dimension of 3, got 2");
    let some = GetOptions { ids: wanted(&["id-5", "id-1", "nobody"]).unwrap(), ..Default::default() };
    assert_eq!(ids_of(collection, some).await?, ids(&[1, 5]));
    assert_eq!(collection.peek(3).await?.ids, ids(&[0, 1, 2]));
    Ok(())
}

async fn filter(collection: &ChromaCollection) -> Result<()> {
    for (filter, expected) in [
        (json!({"n": 3}), vec![3]),
        (json!({"n": {"$ne": 3}}), vec![0, 1, 2, 4, 5, 6, 7]),
        (json!({"n": {"$gt": 5}}), vec![6, 7]),
        (json!({"half": {"$lte": 1.5}}), vec![0, 1, 2, 3]),
        (json!({"even": true}), vec![0, 2, 4, 6]),
        (json!({"word": {"$in": ["odd", "other"]}}), vec![1, 3, 5, 7]),
        (json!({"n": {"$nin": [0, 1, 2, 3]}}), vec![4, 5, 6, 7]),
        (json!({"tags": {"$contains": 4}}), vec![4]),
        (json!({"$and": [{"n": {"$gt": 1}}, {"even": true}]}), vec![2, 4, 6]),
        (json!({"$or": [{"n": 0}, {"half": {"$gt": 3.0}}]}), vec![0, 7]),
    ] {
        let options = GetOptions { where_metadata: Some(filter.clone()), ..Default::default() };
        assert_eq!(ids_of(collection, options).await?, ids(&expected), "{filter}");
        let options = QueryOptions {
            query_embeddings: Some(vec![ORIGIN.to_vec()]),
            where_metadata: Some(filter.clone()),
            ..Default::default()
        };
        let nearest = collection.query(options, None).await?;
        assert_eq!(nearest.ids, [ids(&expected)], "{filter}");
        let distances: Vec<_> = expected.iter().map(|n| (n * n) as f32).collect();
        assert_eq!(nearest.distances, Some(vec![distances]));
    }
    for (filter, expected) in [
        (json!({"$contains": "eta"}), vec![1, 5, 6, 7]),
        (json!({"$not_contains": "eta"}), vec![0, 2, 3, 4]),
        (json!({"$regex": "the [a-d]"}), vec![0, 1, 3]),
    ] {
        let options = GetOptions { where_document: Some(filter.clone()), ..Default::default() };
        assert_eq!(ids_of(collection, options).await?, ids(&expected), "{filter}");
    }
    Ok(())
}

async fn pages_and_query(collection: &ChromaCollection) -> Result<()> {
    for (offset, expected) in [(0, vec![0, 1, 2]), (3, vec![3, 4, 5]), (6, vec![6, 7]), (9, vec![])] {
        let page = GetOptions { limit: Some(3), offset: Some(offset), ..Default::default() };
        assert_eq!(ids_of(collection, page).await?, ids(&expected));
    }
    let options = QueryOptions {
        query_embeddings: Some(vec![ORIGIN.to_vec(), vector(7)]),
        n_results: Some(2),
        ..Default::default()
    };
    let found = collection.query(options, None).await?;
    assert_eq!(found.ids, [ids(&[0, 1]), ids(&[7, 6])]);
    assert_eq!(found.distances, Some(vec![vec![0.0, 1.0], vec![0.0, 1.0]]));
    assert_eq!(found.documents.unwrap()[1], [document(7), document(6)]);
    assert_eq!(found.metadatas.unwrap()[0], [Some(metadata(0)), Some(metadata(1))]);
    Ok(())
}

async fn change(collection: &ChromaCollection) -> Result<()> {
    let entries = CollectionEntries {
        ids: vec!["id-0", "nobody"],
        metadatas: Some(vec![map(json!({"n": 100, "even": null, "new": "yes"})), Map::new()]),
        documents: Some(vec!["a new text", "nothing"]),
        embeddings: Some(vec![ORIGIN.to_vec(), vector(1)]),
    };
    collection.update(entries, None).await?;
    let row = collection.get(GetOptions { ids: ids(&[0]), ..Default::default() }).await?;
    assert_eq!(row.documents.unwrap(), [Some("a new text".to_string())]);
    let expected = json!({"n": 100, "new": "yes", "half": 0.0, "word": "even", "tags": [0, 100]});
    assert_eq!(row.metadatas.unwrap(), [Some(map(expected))]);
    let entries = CollectionEntries {
        ids: vec!["id-1", "id-8"],
        embeddings: Some(vec![vec![1.0, 1.0, 1.0], vector(8)]),
        metadatas: Some(vec![map(json!({"n": 101})), map(json!({"n": 8}))]),
        documents: Some(vec!["changed", "ünï ☃ 漢字"]),
    };
    collection.upsert(entries, None).await?;
    assert_eq!(collection.count().await?, COUNT + 1);
    let changed = collection.get(GetOptions { ids: ids(&[1, 8]), ..Default::default() }).await?;
    let texts: Vec<_> = changed.documents.unwrap().into_iter().flatten().collect();
    assert_eq!(texts, ["changed", "ünï ☃ 漢字"]);
    Ok(())
}

async fn modify_and_copy(client: &ChromaClient, collection: &ChromaCollection) -> Result<()> {
    let title = map(json!({"title": "renamed"}));
    collection.modify(Some("rb-renamed"), Some(&title)).await?;
    let renamed = client.get_collection("rb-renamed").await?;
    assert_eq!((renamed.id(), renamed.metadata()), (collection.id(), Some(&title)));
    refused(client.get_collection("rb-main").await, "does not exist");

    let space = map(json!({"hnsw:space": "ip"}));
    let target = client.create_collection("rb-copy", Some(space), false).await?;
    let include = wanted(&["documents", "metadatas", "embeddings"]);
    for offset in (0..collection.count().await?).step_by(4) {
        let page = GetOptions {
            include: include.clone(),
            limit: Some(4),
            offset: Some(offset),
            ..Default::default()
        };
        let batch = collection.get(page).await?;
        let texts: Vec<_> = batch.documents.unwrap().into_iter().flatten().collect();
        let entries = CollectionEntries {
            ids: batch.ids.iter().map(String::as_str).collect(),
            embeddings: Some(batch.embeddings.unwrap().into_iter().flatten().collect()),
            metadatas: Some(batch.metadatas.unwrap().into_iter().flatten().collect()),
            documents: Some(texts.iter().map(String::as_str).collect()),
        };
        target.add(entries, None).await?;
    }
    let before = collection.get(GetOptions { include: include.clone(), ..Default::default() }).await?;
    let after = target.get(GetOptions { include, ..Default::default() }).await?;
    assert_eq!((after.ids, after.documents), (before.ids, before.documents));
    assert_eq!((after.metadatas, after.embeddings), (before.metadatas, before.embeddings));
    let options = QueryOptions {
        query_embeddings: Some(vec![vec![1.0, 0.0, 0.0]]),
        n_results: Some(2),
        ..Default::default()
    };
    let nearest = target.query(options, None).await?;
    assert_eq!((nearest.ids, nearest.distances), (vec![ids(&[8, 7])], Some(vec![vec![-7.0, -6.0]])));
    Ok(())
}

async fn remove(client: &ChromaClient, collection: &ChromaCollection) -> Result<()> {
    collection.delete(Some(vec!["id-8", "id-0"]), None, None).await?;
    collection.delete(None, Some(json!({"n": {"$gte": 6}})), None).await?;
    assert_eq!(ids_of(collection, GetOptions::default()).await?, ids(&[2, 3, 4, 5]));
    collection.delete(None, None, Some(json!({"$contains": "eta"}))).await?;
    assert_eq!(ids_of(collection, GetOptions::default()).await?, ids(&[2, 3, 4]));
    client.delete_collection("rb-renamed").await?;
    client.delete_collection("rb-copy").await?;
    refused(client.delete_collection("rb-copy").await, "does not exist");
    refused(collection.count().await, "does not exist");
    Ok(())
}

async fn texts(client: &ChromaClient) -> Result<()> {
    let made = client.create_collection("rb-texts", None, false).await?;
    let entries = CollectionEntries {
        ids: NAMES[..4].to_vec(),
        documents: Some(TEXTS.to_vec()),
        ..Default::default()
    };
    made.add(entries, Some(Box::new(FixedVectors))).await?;
    let options = QueryOptions {
        query_texts: Some(vec!["climate"]),
        n_results: Some(2),
        ..Default::default()
    };
    let found = made.query(options, Some(Box::new(FixedVectors))).await?;
    assert_eq!(found.ids, [[NAMES[3], NAMES[1]]]);
    client.delete_collection("rb-texts").await
}

#[tokio::main]
async fn main() -> Result<()> {
    let (url, _, _) = arguments();
    let client = ChromaClient::new(ChromaClientOptions {
        url: Some(url),
        auth: ChromaAuthMethod::None,
        database: "default_database".to_string(),
    })
    .await?;
    let collection = create(&client).await?;
    fill(&collection).await?;
    filter(&collection).await?;
    pages_and_query(&collection).await?;
    change(&collection).await?;
    modify_and_copy(&client, &collection).await?;
    remove(&client, &collection).await?;
    texts(&client).await
}
