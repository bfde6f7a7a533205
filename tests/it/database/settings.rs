//! Settings of the role or the database for other applications. They must not change what pgtopic
//! does.

use std::time::Duration;

use pgtopic_testkit::{Http, Process, TestDatabase, TestReceiver};
use serde_json::json;

/// These settings: the first version of PostgreSQL that has it, its name, its value.
const HINDRANCES: &[(i32, &str, &str)] = &[
    (14, "statement_timeout", "250ms"),
    (14, "lock_timeout", "1ms"),
    (14, "idle_in_transaction_session_timeout", "1ms"),
    (14, "idle_session_timeout", "300ms"),
    (17, "transaction_timeout", "250ms"),
    (14, "default_transaction_isolation", "serializable"),
    (14, "default_transaction_read_only", "on"),
    (14, "default_transaction_deferrable", "on"),
    (14, "standard_conforming_strings", "off"),
    (14, "quote_all_identifiers", "on"),
    (14, "session_replication_role", "replica"),
    (14, "search_path", "nowhere"),
    (14, "jit_above_cost", "0"),
];

#[tokio::test]
async fn settings_for_other_sessions_change_nothing() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let row = client
        .query_one(
            "SELECT current_database()::text, current_setting('server_version_num')::integer / 10000",
            &[],
        )
        .await
        .unwrap();
    let (name, version): (String, i32) = (row.get(0), row.get(1));
    for (from, setting, value) in HINDRANCES {
        if version >= *from {
            client.batch_execute(&format!("ALTER DATABASE {name} SET {setting} = '{value}'")).await.unwrap();
        }
    }
    let receiver = TestReceiver::accepting().await;
    // Not through a pooler: its sessions have these settings.
    let environment = [
        ("DATABASE_URL", database.url()),
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
    ];
    let mut serve = Process::start(&["serve"], &environment);
    let api = Http::of(&mut serve).await;
    serve.wait_for_output("worker is ready").await;
    api.post("/topics", &json!({ "name": "orders" })).await;
    api.post("/webhooks", &json!({ "topic": "orders", "url": receiver.url("/") })).await;
    for round in 1..=3 {
        api.post("/topics/orders/messages", &json!({ "partition_key": "a", "payload": {} })).await;
        receiver.wait_for(round).await;
        // By the setting, an idle session would end in this time.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let ended = serve.stop().await;
    for level in ["WARN", "ERROR"] {
        assert!(!ended.output.contains(level), "{}", ended.output);
    }
    // The same for a migration, which makes everything again.
    let ended = Process::run(&["migrate", "--repair"], &environment[..1]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
}
