//! `pgtopic drain` waits until nothing is owed, and says what is left if that cannot be.

use pgtopic_testkit::{Answer, Broker, Ended, Process, Scene, publish};
use serde_json::{Value, json};

async fn drain(scene: &Scene, arguments: &[&str]) -> Ended {
    Process::run(&[&["drain"], arguments].concat(), &scene.database.environment()).await
}

/// It ended with exit code 1, and its output holds every needle.
#[track_caller]
fn assert_left(ended: &Ended, needles: &[&str]) {
    assert_eq!(ended.code(), 1, "{}", ended.output);
    for needle in needles {
        assert!(ended.output.contains(needle), "no {needle:?} in {}", ended.output);
    }
}

#[tokio::test]
async fn it_ends_when_nothing_is_owed() {
    let scene = Scene::with_webhook(&[]).await;
    let ended = drain(&scene, &[]).await;
    assert_eq!((ended.code(), &*ended.output), (0, "Nothing is owed.\n"));
    let ended = drain(&scene, &["--json"]).await;
    let left: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(left, json!({"owed": 0, "owed_capped": false, "webhooks": []}));

    scene.sql("INSERT INTO messages (topic_id, partition_key, payload) SELECT 1, n::text, '{}' FROM generate_series(1, 300) n").await;
    let _broker = Broker::start(scene.store());
    let ended = drain(&scene, &["--timeout", "30"]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 0);
}

#[tokio::test]
async fn what_cannot_move_is_named() {
    let scene = Scene::with_webhook(&[("name", "'still'"), ("paused", "true")]).await;
    scene.webhook("/gone", &[("name", "'gone'"), ("disabled_reason", "'410 Gone'")]).await;
    scene.webhook("/halted", &[("name", "'halted'"), ("on_exhausted", "'halt'"), ("max_retries", "1")]).await;
    scene.webhook("/lost", &[("name", "'lost'")]).await;
    let quick = scene.webhook("/quick", &[("name", "'quick'")]).await;
    scene.receiver.set_script(|request| Answer::Status(if request.path == "/halted" { 500 } else { 204 }));
    scene.publish(&["a", "a"]).await;
    scene.sql("DELETE FROM lanes WHERE webhook_id = 4").await;
    let broker = Broker::start(scene.store());
    let ended = drain(&scene, &[]).await;
    assert_left(
        &ended,
        &["orders:still", "paused", "orders:gone", "disabled", "orders:halted", "none of it can move"],
    );
    assert!(!ended.output.contains("quick"), "{}", ended.output);
    let ended = drain(&scene, &["--json", "--topic", "orders"]).await;
    let (json, problem) = ended.output.split_once("\n}\n").unwrap();
    let left: Value = serde_json::from_str(&format!("{json}\n}}")).unwrap();
    let webhooks: Vec<_> = left["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["webhook"], &one["stuck"], &one["owed"]))
        .collect();
    assert_eq!(
        webhooks,
        [
            (&json!("still"), &json!("paused"), &json!(2)),
            (&json!("gone"), &json!("disabled"), &json!(2)),
            (&json!("halted"), &json!("halted"), &json!(2)),
            (&json!("lost"), &json!("no_lane"), &json!(0)),
        ]
    );
    assert!(problem.contains("messages are still owed"), "{problem}");
    // A webhook that owes nothing is drained, whatever the others do.
    assert_eq!(drain(&scene, &["--webhook", &quick.to_string()]).await.code(), 0);

    broker.stop().await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    scene.publish(&["a"]).await;
    assert_left(&drain(&scene, &["--webhook", "orders:quick"]).await, &["no worker", "none of it can move"]);
    scene.sql("UPDATE topics SET paused = 'hold'").await;
    assert_left(&drain(&scene, &["--webhook", "orders:quick"]).await, &["topic held"]);
    scene.sql("UPDATE installation SET sending = false").await;
    assert_left(&drain(&scene, &["--webhook", "orders:quick"]).await, &["not sending"]);
}

#[tokio::test]
async fn it_waits_no_longer_than_it_may_and_bad_input_is_told() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::Hang);
    scene.publish(&["a"]).await;
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(1).await;
    assert_left(&drain(&scene, &["--timeout", "1"]).await, &["webhook-1", "1 s are over"]);
    assert_left(&drain(&scene, &["--topic", "nothing"]).await, &["there is no topic"]);
    assert_left(&drain(&scene, &["--webhook", "77"]).await, &["there is no webhook 77"]);
    for arguments in
        [&["--timeout", "soon"][..], &["--topic", "a", "--webhook", "1"], &["--webhook", "orders"]]
    {
        assert_eq!(drain(&scene, arguments).await.code(), 2, "{arguments:?}");
    }
}

#[tokio::test]
async fn topics_refuse_messages_first_if_asked_to() {
    let scene = Scene::with_webhook(&[("name", "'billing'")]).await;
    scene.sql("INSERT INTO topics (name, paused) VALUES ('invoices', NULL), ('held', 'hold'), ('refusing', 'refuse')").await;
    let paused = "SELECT string_agg(name || ':' || coalesce(paused, '-'), ' ' ORDER BY id) FROM topics";
    let ended = drain(&scene, &["--webhook", "orders:billing", "--refuse"]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    assert!(ended.output.contains("refusing messages: orders\n"), "{}", ended.output);
    assert_eq!(scene.text(paused).await, "orders:refuse invoices:- held:hold refusing:refuse");
    assert!(publish(&scene.client, "a").await.is_err());
    let ended = drain(&scene, &["--refuse"]).await;
    assert!(ended.output.contains("refusing messages: invoices\n"), "{}", ended.output);
    assert_eq!(scene.text(paused).await, "orders:refuse invoices:refuse held:hold refusing:refuse");
    assert_left(&drain(&scene, &["--topic", "nothing", "--refuse"]).await, &["there is no topic"]);
}
