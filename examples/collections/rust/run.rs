//! Runs the page's blocks one by one, each on a server without collections, and checks what it
//! left. The block that is a program of its own has to be built beside this one.
//!
//!     cargo build && CHROMA_URL=http://localhost:8000 target/debug/collections
//!
//! EVERY COLLECTION OF THAT SERVER'S DEFAULT DATABASE IS DELETED.

use std::process::Command;

use anyhow::Result;
use chroma::types::{Metadata, MetadataValue};
use chroma::{ChromaCollection, ChromaHttpClient, ChromaHttpClientOptions};

#[path = "02_get_or_create.rs"]
mod get_or_create;
#[path = "07_delete.rs"]
mod delete;
#[path = "08_list.rs"]
mod list;
#[path = "09_get.rs"]
mod get;
#[path = "13_query_by_ids.rs"]
mod query_by_ids;
#[allow(dead_code)]
#[path = "14_result_types.rs"]
mod result_types;
#[path = "15_results.rs"]
mod results;

async fn clear(client: &ChromaHttpClient) -> Result<()> {
    for left in client.list_collections(1000, None).await? {
        client.delete_collection(left.name()).await?;
    }
    Ok(())
}

async fn create(client: &ChromaHttpClient, name: &str) -> Result<()> {
    let made = Metadata::from([("made".to_string(), "before".into())]);
    client.create_collection(name, None, Some(made)).await?;
    Ok(())
}

/// Four records of which doc-4 is the nearest to the vector that the blocks ask for.
async fn four_records(client: &ChromaHttpClient) -> Result<ChromaCollection> {
    clear(client).await?;
    let collection = client.create_collection("around", None, None).await?;
    let page = |number: i64| Metadata::from([("page".to_string(), MetadataValue::Int(number))]);
    collection
        .add(
            (1..=4).map(|number| format!("doc-{number}")).collect(),
            vec![vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0], vec![0.0, 1.0, 0.0], vec![0.1, 0.2, 0.4]],
            Some((1..=4).map(|number| Some(format!("document {number}"))).collect()),
            None,
            Some((1..=4).map(|number| Some(page(number))).collect()),
        )
        .await?;
    Ok(collection)
}

fn done(name: &str) {
    println!("ok {name}");
}

#[tokio::main]
async fn main() -> Result<()> {
    let client = ChromaHttpClient::new(ChromaHttpClientOptions {
        endpoint: std::env::var("CHROMA_URL")?.parse()?,
        ..Default::default()
    });

    clear(&client).await?;
    let program = std::env::current_exe()?.with_file_name("01_create");
    assert!(Command::new(program).status()?.success());
    assert_eq!(client.get_collection("test").await?.count().await?, 0);
    done("01_create");

    clear(&client).await?;
    let first = get_or_create::run(&client).await;
    assert_eq!(get_or_create::run(&client).await.id(), first.id());
    done("02_get_or_create");

    clear(&client).await?;
    create(&client, "test").await?;
    delete::run(&client).await;
    assert_eq!(client.count_collections().await?, 0);
    done("07_delete");

    for number in 0..12 {
        create(&client, &format!("collection-{number}")).await?;
    }
    assert_eq!(list::run(&client).await.len(), 10);
    done("08_list");

    clear(&client).await?;
    create(&client, "test").await?;
    let made = get::run(&client).await.metadata().clone().unwrap();
    assert_eq!(made["made"], "before".into());
    done("09_get");

    let collection = four_records(&client).await?;
    let found = query_by_ids::run(&collection).await?;
    assert_eq!(found.ids[0].len(), 3); // without doc-4, which would be the nearest
    assert_eq!(found.ids[0][0], "doc-2");
    done("13_query_by_ids");

    let got = result_types::GetResponse::from(collection.get(None, None, None, None, None).await?);
    assert_eq!(got.documents.unwrap()[0].as_deref(), Some("document 1"));
    let query = vec![vec![0.1, 0.2, 0.3]];
    let answer = collection.query(query, Some(1), None, None, None).await?;
    let found = result_types::QueryResponse::from(answer);
    assert_eq!(found.ids, [["doc-4"]]);
    done("14_result_types");

    results::run(&collection).await?;
    done("15_results");
    Ok(())
}
