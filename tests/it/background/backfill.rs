//! A new webhook gets earlier messages (`start_from`).

use pgtopic_testkit::{Broker, Http, Scene, check_order, eventually, expected};
use rstest::rstest;
use serde_json::{Value, json};

use super::{ended, publish_many};

/// Subscribes a path of the receiver from some place on. Returns the webhook.
async fn subscribe(scene: &Scene, http: &Http, start_from: Value) -> Value {
    let body = json!({"topic": "orders", "url": scene.receiver.url("/late"), "start_from": start_from});
    http.post("/webhooks", &body).await
}

/// What the webhook got or is owed, in order: each lane from its first message on.
async fn got(scene: &Scene, from: i64) {
    scene.nothing_owed().await;
    let mut expected = expected(&scene.client, &["/late"]).await;
    for ids in expected.values_mut() {
        ids.retain(|id| *id >= from);
    }
    let received = scene.receiver.received();
    let late: Vec<_> = received.into_iter().filter(|one| one.path == "/late").collect();
    assert_eq!(check_order(&late, &expected), 0);
}

#[rstest]
#[case::from_the_beginning(json!("beginning"), 1)]
#[case::from_an_id(json!(13), 13)]
#[tokio::test]
async fn a_webhook_gets_earlier_messages_in_order(#[case] start_from: Value, #[case] first: i64) {
    let scene = Scene::new().await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 10, 4).await;
    let webhook = subscribe(&scene, &http, start_from.clone()).await;
    assert_eq!(webhook["state"], "starting");
    publish_many(&scene, 5, 5).await;
    let job = ended(&http, "/jobs/1").await;
    assert_eq!((&job["state"], &job["kind"]), (&json!("succeeded"), &json!("backfill")), "{job}");
    assert_eq!(job["filter"], json!({"start_from": start_from}));
    assert_eq!(http.get("/webhooks/1").await["state"], "active");
    got(&scene, first).await;
    let changes = scene.text("SELECT string_agg(kind || ': ' || reason, ', ') FROM changes").await;
    assert_eq!(changes, "webhook.started: backfill 1 has ended");
}

#[tokio::test]
async fn a_webhook_that_begins_now_or_at_a_time() {
    let scene = Scene::new().await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 10, 4).await;
    assert_eq!(subscribe(&scene, &http, json!("now")).await["state"], "active");
    scene.sql("UPDATE messages SET created_at = now() - interval '1 day' WHERE id <= 30").await;
    let time = scene.text("SELECT to_json(now() - interval '1 hour') #>> '{}'").await;
    subscribe(&scene, &http, json!(time)).await;
    let job = ended(&http, "/jobs/1").await;
    assert_eq!(job["done"], 10, "{job}");
    for (bad, rule) in [(json!("earliest"), "must be now"), (json!(0), "1 or more"), (json!(true), "must be")]
    {
        let body = json!({"topic": "orders", "url": "https://example.com/", "start_from": bad});
        let (status, problem) = http.try_post("/webhooks", &body).await.unwrap();
        assert_eq!((status.as_u16(), &problem["field"]), (422, &json!("start_from")), "{problem}");
        assert!(problem["rule"].as_str().unwrap().contains(rule), "{problem}");
    }
}

/// A transaction that has published without seeing the webhook commits late. (Its snapshot is older
/// than the webhook.) The fill waits for it and names it.
#[rstest]
#[case::committed(false)]
#[case::prepared(true)]
#[tokio::test]
async fn the_fill_waits_for_transactions_that_began_before_the_webhook(#[case] prepared: bool) {
    let scene = Scene::new().await;
    let allowed = scene.text("SHOW max_prepared_transactions").await != "0";
    if prepared && !allowed {
        println!("skipped: this server takes no prepared transactions");
        return;
    }
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    publish_many(&scene, 2, 2).await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM topics").await.unwrap();
    let pid: i32 = publisher.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    subscribe(&scene, &http, json!("beginning")).await;
    let waiting = eventually("it waits", async || {
        let job = http.get("/jobs/1").await;
        job["waits_for"].as_str().map(str::to_owned)
    })
    .await;
    assert!(waiting.contains(&format!("pid {pid} ")), "{waiting}");
    // Now it publishes, with its old snapshot.
    for _ in 0..3 {
        pgtopic_testkit::publish(&publisher, "key-1").await.unwrap();
    }
    if prepared {
        publisher.batch_execute("PREPARE TRANSACTION 'late'").await.unwrap();
        eventually("it names the prepared transaction", async || {
            let job = http.get("/jobs/1").await;
            job["waits_for"]
                .as_str()
                .is_some_and(|text| text.contains("prepared transaction late"))
                .then_some(())
        })
        .await;
        publisher.batch_execute("COMMIT PREPARED 'late'").await.unwrap();
    } else {
        publisher.batch_execute("COMMIT").await.unwrap();
    }
    assert_eq!(ended(&http, "/jobs/1").await["state"], "succeeded");
    got(&scene, 1).await;
    assert_eq!(scene.receiver.received().len(), 7);
}

#[tokio::test]
async fn a_backfill_that_is_canceled_leaves_an_active_webhook() {
    let scene = Scene::new().await;
    publish_many(&scene, 10, 2).await;
    let http = Http::serve(scene.store()).await;
    subscribe(&scene, &http, json!("beginning")).await;
    http.try_post("/jobs/1/cancel", &json!({})).await.unwrap();
    let _broker = Broker::start(scene.store());
    assert_eq!(ended(&http, "/jobs/1").await["state"], "canceled");
    assert_eq!(http.get("/webhooks/1").await["state"], "active");
    publish_many(&scene, 1, 1).await;
    scene.nothing_owed().await;
    assert_eq!(scene.receiver.received().len(), 1, "only what came later");
}
