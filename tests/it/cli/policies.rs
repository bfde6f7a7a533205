//! The policy of a webhook, as flags.

use pgtopic_testkit::TestDatabase;
use serde_json::{Value, json};

use super::operators::{LOOPBACK, create_webhook, json_of, run_with, said};

async fn database() -> TestDatabase {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    database
}

#[tokio::test]
async fn lists_are_set_shown_and_unset() {
    let database = database().await;
    let settings = ["--permanent-statuses", "400,422", "--retry-schedule", "5,60", "--max-age-seconds", "90"];
    let limits = ["--max-owed", "7", "--on-overflow", "refuse"];
    let created = create_webhook(&database, &[&settings[..], &limits].concat()).await;
    assert_eq!((&created["max_owed"], &created["on_overflow"]), (&json!(7), &json!("refuse")));
    assert_eq!(created["max_age_seconds"], 90);
    assert_eq!(
        [&created["permanent_statuses"], &created["retry_schedule"]],
        [&json!([400, 422]), &json!([5, 60])]
    );
    let shown = said(&database, &["webhooks", "show", "1"]).await;
    assert!(shown.contains("400, 422") && shown.contains("5, 60"), "{shown}");
    let update = [
        "webhooks",
        "update",
        "1",
        "--unset",
        "permanent-statuses,retry-schedule,max-age-seconds,max-owed",
        "--on-overflow",
        "keep_latest",
        "--backoff-factor",
        "3",
    ];
    let updated = json_of(&database, &update).await;
    assert_eq!(updated["max_age_seconds"], Value::Null);
    assert_eq!((&updated["max_owed"], &updated["on_overflow"]), (&Value::Null, &json!("keep_latest")));
    assert_eq!([&updated["permanent_statuses"], &updated["retry_schedule"]], [&Value::Null, &Value::Null]);
}

/// A flag that is no number is wrong use (2). Everything else is refused as the API refuses it (1).
#[tokio::test]
async fn what_the_api_refuses_is_refused() {
    let database = database().await;
    create_webhook(&database, &["--backoff-factor", "2"]).await;
    for (flags, code, field) in [
        (&["--permanent-statuses", "299"][..], 1, "permanent_statuses"),
        (&["--permanent-statuses", "400,600"], 1, "permanent_statuses"),
        (&["--permanent-statuses", "4xx"], 2, "--permanent-statuses"),
        (&["--permanent-statuses", ""], 2, "--permanent-statuses"),
        (&["--max-age-seconds", "0"], 1, "max_age_seconds"),
        (&["--max-age-seconds", "31622401"], 1, "max_age_seconds"),
        (&["--max-age-seconds", "x"], 2, "--max-age-seconds"),
        (&["--max-owed", "0"], 1, "max_owed"),
        (&["--on-overflow", "refuse"], 1, "on_overflow"),
        (&["--on-overflow", "keep_latest", "--batch-size", "2"], 1, "on_overflow"),
        (&["--on-overflow", "drop"], 2, "--on-overflow"),
        (&["--retry-schedule", "0"], 1, "retry_schedule"),
        (&["--retry-schedule", "2592001"], 1, "retry_schedule"),
        (&["--retry-schedule", "1.5"], 2, "--retry-schedule"),
        (&["--retry-schedule", "5", "--max-backoff-seconds", "9"], 1, "retry_schedule"),
    ] {
        let create = ["webhooks", "create", "--topic", "orders", "--url", "http://127.0.0.1:9/"];
        for command in [&[&create[..], &LOOPBACK].concat()[..], &["webhooks", "update", "1"]] {
            let refused = run_with(&[command, flags].concat(), &database.environment(), "", |_| {}).await;
            assert!(refused.code == code && refused.err.contains(field), "{flags:?}: {refused:?}");
        }
    }
    let stored = ["webhooks", "update", "1", "--retry-schedule", "5"];
    let refused = run_with(&stored, &database.environment(), "", |_| {}).await;
    assert!(refused.code == 1 && refused.err.contains("retry_schedule"), "{refused:?}");
}

#[tokio::test]
async fn who_publishes_is_told_which_webhook_has_messages_refused() {
    let database = database().await;
    create_webhook(&database, &["--name", "billing", "--max-owed", "7", "--on-overflow", "refuse"]).await;
    database.broker_client().await.batch_execute("UPDATE webhooks SET overflowing = true").await.unwrap();
    let refused = run_with(&["publish", "orders", "1"], &database.environment(), "", |_| {}).await;
    assert!(refused.code == 1 && refused.err.contains("webhook \"billing\""), "{refused:?}");
    assert!(said(&database, &["webhooks", "show", "orders:billing"]).await.contains("overflowing"));
}
