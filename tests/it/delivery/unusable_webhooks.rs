//! Webhooks that no request can be made for. SQL wrote these rows without the checks of the API and
//! of the schema.

use std::time::Duration;

use pgtopic_testkit::{
    Answer, Broker, Http, Process, Received, Scene, check_order, create_webhook, expected,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// The faults: the column, its value in SQL, and the `disabled_reason` that follows.
const FAULTS: [(&str, &str, &str); 6] = [
    (
        "headers",
        "(SELECT json_object_agg('x-' || n, 'v') FROM generate_series(1, 25000) AS n)",
        "the webhook has 25000 headers, more than the 64 allowed",
    ),
    ("url", "'ftp://example.com/'", "url must start with http:// or https://"),
    ("secrets", "'{whsec_!}'", "secret is not base64 after its whsec_ prefix"),
    ("secrets", "'{}'", "the webhook has no signing secret"),
    ("secrets", "'{NULL}'", "the webhook's secrets cannot be read"),
    ("headers", "'{\"a\": 1}'", "the webhook's headers are not a JSON object whose values are strings"),
];

/// Switches the check of headers off. Rows that come by logical replication are not checked either.
async fn unchecked(scene: &Scene) {
    scene.sql("ALTER TABLE webhooks DISABLE TRIGGER webhooks_validate").await;
}

/// Makes a webhook with a fault.
async fn faulty_webhook(scene: &Scene, path: &str, column: &str, value: &str) -> i64 {
    let id = scene.webhook(path, &[]).await;
    scene.sql(&format!("UPDATE webhooks SET {column} = {value} WHERE id = {id}")).await;
    id
}

async fn until_disabled(scene: &Scene, id: i64) {
    scene.until(&format!("(SELECT disabled_reason IS NOT NULL FROM webhooks WHERE id = {id})")).await;
}

#[tokio::test]
async fn an_unusable_webhook_is_disabled_and_costs_the_others_nothing() {
    let scene = Scene::new().await;
    unchecked(&scene).await;
    scene.sql("ALTER TABLE webhooks DROP CONSTRAINT IF EXISTS webhooks_headers_size_check").await;
    let mut ids = Vec::new();
    for (number, (column, value, _)) in FAULTS.iter().enumerate() {
        ids.push(faulty_webhook(&scene, &format!("/{number}"), column, value).await);
    }
    scene.webhook("/good", &[]).await;
    let published = scene.publish(&["a", "b", "a"]).await.len();

    let broker = Broker::start(scene.store());
    scene.receiver.wait_for_ended(published).await;
    let http = Http::serve(scene.store()).await;
    for (id, (.., reason)) in ids.iter().zip(FAULTS) {
        until_disabled(&scene, *id).await;
        let webhook = http.get(&format!("/webhooks/{id}")).await;
        assert_eq!(webhook["disabled_reason"], reason);
        assert_eq!(webhook["health"]["owed"], published);
        assert_eq!(webhook["health"]["state"], "disabled");
        assert_eq!(webhook["health"]["reason"], reason);
    }
    assert!(broker.is_running(), "the worker runs on");
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let received = scene.receiver.received();
    assert_eq!(received.iter().map(|one| one.path.clone()).collect::<Vec<_>>(), paths(&["/good"; 3]));

    // The faults are repaired. What was owed is sent, in order.
    for (number, id) in ids.iter().enumerate() {
        // The API cannot change secrets yet.
        scene
            .sql(&format!(
                "UPDATE webhooks SET secrets = ARRAY['{}'] WHERE id = {id}",
                pgtopic_testkit::SECRET
            ))
            .await;
        let repaired = json!({"headers": {}, "url": scene.receiver.url(&format!("/{number}"))});
        http.patch(&format!("/webhooks/{id}"), &repaired).await;
        let webhook = http.act(&format!("/webhooks/{id}/enable"), &Value::Null).await;
        assert_eq!(webhook["disabled_reason"], Value::Null);
    }
    scene.publish(&["b"]).await;
    scene.nothing_owed().await;
    let all = ["/0", "/1", "/2", "/3", "/4", "/5", "/good"];
    assert_eq!(check_order(&scene.receiver.received(), &expected(&scene.client, &all).await), 0);
    broker.stop().await;
}

#[tokio::test]
async fn a_webhook_that_becomes_unusable_while_it_is_sent_to_keeps_its_backlog() {
    let scene = Scene::with_webhook(&[]).await;
    unchecked(&scene).await;
    // To send everything would take five seconds.
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(10), Box::new(Answer::Status(204))));
    let publish = "INSERT INTO messages (topic_id, partition_key, payload)
                   SELECT 1, key, '{}' FROM generate_series(1, 500), unnest(ARRAY['a', 'b']) AS key";
    scene.sql(publish).await;
    let broker = Broker::start(scene.store());
    scene.receiver.wait_for(4).await;
    scene.sql("UPDATE webhooks SET headers = '{\"a\": 1}'").await;
    until_disabled(&scene, 1).await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    assert!(scene.number("SELECT count(*) FROM deliveries").await > 0, "the worker stopped before the end");
    // The webhook is enabled without a repair. Then the fault is found again.
    scene.sql("UPDATE webhooks SET disabled_reason = NULL").await;
    until_disabled(&scene, 1).await;
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.sql("UPDATE webhooks SET headers = '{}', disabled_reason = NULL").await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
}

/// A worker has read the faulty row. Then the row is repaired. The worker must not disable it.
#[tokio::test]
async fn a_webhook_that_was_repaired_since_it_was_read_is_not_disabled() {
    let scene = Scene::new().await;
    unchecked(&scene).await;
    let store = scene.store();
    let url = scene.receiver.url("/");
    let id = create_webhook(&scene.client, &url, &[("headers", "'{\"a\": 1}'")]).await;
    let defaults = pgtopic_testkit::quick_delivery().policy();
    let listed = store.list_targets(&defaults).await.unwrap();
    let [read] = &listed[..] else { panic!("one webhook: {listed:?}") };
    assert!(read.deliverable && read.target.is_err(), "{read:?}");

    scene.sql("UPDATE webhooks SET headers = '{}'").await;
    assert!(!store.disable_unusable_webhook(id, &read.version, "late", Uuid::nil()).await.unwrap());
    let read = store.list_targets(&defaults).await.unwrap().remove(0);
    assert!(read.target.is_ok(), "{read:?}");
    assert!(store.disable_unusable_webhook(id, &read.version, "in time", Uuid::nil()).await.unwrap());
    let read = store.list_targets(&defaults).await.unwrap().remove(0);
    assert!(!store.disable_unusable_webhook(id, &read.version, "again", Uuid::nil()).await.unwrap());
    assert_eq!(scene.text("SELECT disabled_reason FROM webhooks").await, "in time");
}

/// Two workers find the fault, and find it again after every change of any webhook. Only one of
/// them logs it, and only once.
#[tokio::test]
async fn a_webhook_that_is_disabled_is_logged_once() {
    let scene = Scene::new().await;
    unchecked(&scene).await;
    let id = faulty_webhook(&scene, "/faulty", "headers", "'{\"a\": 1}'").await;
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut workers = [0, 1].map(|_| Process::start(&["worker"], &environment));
    until_disabled(&scene, id).await;
    for number in 1..=5 {
        // If a worker delivers to the new webhook, it has read all webhooks again.
        scene.webhook(&format!("/{number}"), &[]).await;
        scene.publish(&["a"]).await;
        let paths = |all: &[Received]| all.iter().filter(|one| one.path == format!("/{number}")).count();
        scene.receiver.wait_until("the newest webhook gets its message", |all| paths(all) == 1).await;
    }
    let mut output = String::new();
    for worker in &mut workers {
        output += &worker.stop().await.output;
    }
    let told: Vec<_> = output.lines().filter(|line| line.contains("no request can be made")).collect();
    let [line] = told[..] else { panic!("there must be one line: {told:?}\n{output}") };
    for part in ["WARN", "the webhook's headers are not a JSON object", &format!("webhook_id={id}")] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!output.contains("ERROR"), "{output}");
}
