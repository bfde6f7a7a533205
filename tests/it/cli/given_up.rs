//! `pgtopic lanes`, `deliveries` and `dead-letter`.

use pgtopic_testkit::{Puppet, Scene};
use serde_json::{Value, json};

use super::operators::{run_with, said};

/// A lane of four messages, and its webhook.
async fn four_messages() -> (Scene, String) {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "a", "a", "a"]).await;
    let name = scene.text("SELECT name FROM webhooks").await;
    (scene, format!("orders:{name}"))
}

async fn json_of(scene: &Scene, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(&scene.database, &[arguments, &["--json"]].concat()).await).unwrap()
}

#[tokio::test]
async fn an_incident_is_run_by_the_command_line() {
    let (scene, webhook) = four_messages().await;
    scene
        .sql(
            "UPDATE lanes SET halted = true, due_at = 'infinity', failures = 5, head_message_id = 1, last_error = 'status 500',
                    last_error_class = 'status', last_status_code = 500",
        )
        .await;
    let lanes = said(&scene.database, &["lanes", "list", &webhook, "--state", "halted"]).await;
    assert!(lanes.contains("status 500"), "{lanes}");
    let unasked = ["lanes", "skip", &webhook, "1", "--partition-key", "a"];
    let refused = run_with(&unasked, &scene.database.environment(), "", |_| {}).await;
    assert!(refused.code == 2 && refused.err.contains("--yes"), "{refused:?}");
    let skipped = json_of(&scene, &[&unasked[..], &["--yes"]].concat()).await;
    assert_eq!((&skipped["reason"], &skipped["status_code"]), (&json!("skipped"), &json!(500)));
    let canceled = json_of(&scene, &["deliveries", "cancel", &webhook, "2"]).await;
    assert_eq!(canceled["status"], "canceled");

    assert_eq!(json_of(&scene, &["dead-letter", "count"]).await, json!({"count": 1}));
    assert_eq!(json_of(&scene, &["dead-letter", "count", "--reason", "canceled"]).await, json!({"count": 1}));
    let groups = said(&scene.database, &["dead-letter", "groups", "--status-code", "500"]).await;
    assert!(groups.contains("skipped"), "{groups}");
    let shown = said(&scene.database, &["dead-letter", "show", "1"]).await;
    assert!(shown.ends_with("{}\n"), "the payload: {shown}");
    assert_eq!(json_of(&scene, &["dead-letter", "replay", "1"]).await["status"], "pending");
    said(&scene.database, &["dead-letter", "discard", "2", "--yes"]).await;
    let gone =
        run_with(&["dead-letter", "replay", "2", "--json"], &scene.database.environment(), "", |_| {}).await;
    assert_eq!(serde_json::from_str::<Value>(&gone.err).unwrap()["status"], 404, "{gone:?}");

    assert_eq!(json_of(&scene, &["lanes", "retry", &webhook, "--all"]).await, json!({"lanes": 0}));
    assert_eq!(
        json_of(&scene, &["lanes", "retry", &webhook, "--partition-key", "a"]).await,
        json!({"lanes": 1})
    );
    let again = said(&scene.database, &["lanes", "retry", &webhook, "--partition-key", "a"]).await;
    assert_eq!(again.trim_end(), "1 lane is tried again now.");
    let owed = json_of(&scene, &["deliveries", "list", "--webhook", &webhook, "--status", "pending"]).await;
    let owed: Vec<_> =
        owed["items"].as_array().unwrap().iter().map(|item| item["message_id"].clone()).collect();
    assert_eq!(owed, [1, 3, 4]);
}

/// `--wait` tries again until the message is not on its way any more.
#[tokio::test]
async fn a_cancel_may_wait() {
    let (scene, webhook) = four_messages().await;
    let puppet = Puppet::new(&scene).await;
    puppet.claim(1).await.unwrap();
    let cancel = ["deliveries", "cancel", &webhook, "1"];
    let refused = run_with(&cancel, &scene.database.environment(), "", |_| {}).await;
    assert!(refused.code == 1 && refused.err.contains("may be on its way"), "{refused:?}");
    let waiting = [&cancel[..], &["--wait"]].concat();
    let (canceled, ()) = tokio::join!(said(&scene.database, &waiting), async {
        scene.until("EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%cancel_deliveries%' AND pid <> pg_backend_pid())").await;
        scene.sql("UPDATE lanes SET claimed_by = NULL").await;
    });
    assert!(canceled.contains("canceled"), "{canceled}");
}
