//! A database for each test.

use pgtopic::{config::DatabaseConfig, store::Store};
use tokio_postgres::{Client, NoTls};

/// A migrated database of its own, dropped by whoever drops the server.
pub(crate) struct TestDatabase {
    url: String,
    store: Store,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        let server = std::env::var("PGTOPIC_TEST_URL")
            .expect("PGTOPIC_TEST_URL names a PostgreSQL, without a database");
        let name = format!("api_test_{}", uuid::Uuid::now_v7().simple());
        connect(&format!("{server}/postgres"))
            .await
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let url = format!("{server}/{name}");
        let store = Store::new(&DatabaseConfig {
            url: Some(url.clone().into()),
            listen_url: None,
            schema: "pgtopic".to_owned(),
            pool_size: 4,
            ca_file: None,
        })
        .unwrap();
        store.migrate().await.unwrap();
        Self { url, store }
    }

    pub(crate) fn store(&self) -> Store {
        self.store.clone()
    }

    /// A connection of the test's own, for what the API does not do.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
