//! Many dead letters at once.

use pgtopic_testkit::{Broker, Http, Scene};
use serde_json::json;

use super::{ended, publish_many, start_job};

/// Each of 60 messages is a dead letter of both webhooks, for one of three reasons. Nothing is owed.
async fn sixty_twice() -> Scene {
    let scene = Scene::with_webhook(&[]).await;
    scene.webhook("/other", &[]).await;
    publish_many(&scene, 15, 4).await;
    scene
        .sql(
            "DELETE FROM deliveries; DELETE FROM lanes;
             INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, status_code)
             SELECT w.id, 1, m.partition_key, m.lane, m.id,
                    (ARRAY['attempts_exhausted', 'permanent', 'canceled'])[1 + m.id % 3], 1, 500 + m.id % 2
               FROM messages m, webhooks w ORDER BY m.id DESC",
        )
        .await;
    scene
}

#[tokio::test]
async fn dead_letters_of_a_filter_are_delivered_once_more_in_order() {
    let scene = sixty_twice().await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let filter = json!({"webhook_id": 1, "reason": "attempts_exhausted"});
    let dry_run = json!({"webhook_id": 1, "reason": "attempts_exhausted", "dry_run": true});
    let (_, matches) = http.try_post("/dead-letter/replay", &dry_run).await.unwrap();
    assert_eq!((&matches["matches"], &matches["lanes"]), (&json!(20), &json!(4)), "{matches}");
    let job = ended(&http, &start_job(&http, "/dead-letter/replay", &filter).await).await;
    assert_eq!(
        (&job["state"], &job["done"], &job["filter"]),
        (&json!("succeeded"), &json!(20), &filter),
        "{job}"
    );
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    assert_eq!(received.len(), 20);
    for key in ["key-1", "key-2", "key-3", "key-4"] {
        let lane = received.iter().filter(|one| one.partition() == key);
        assert!(lane.map(pgtopic_testkit::Received::position).is_sorted(), "{key}");
    }
    // Those of the other webhook, and of other reasons, are still there.
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 100);
}

/// What was canceled is meant only if the filter says so. A message that is gone keeps its dead
/// letter; one that is owed, too.
#[tokio::test]
async fn dead_letters_that_cannot_be_delivered_stay() {
    let scene = sixty_twice().await;
    scene
        .sql(
            "UPDATE webhooks SET paused = true;
             DELETE FROM messages WHERE id <= 6;
             INSERT INTO deliveries (webhook_id, lane, message_id) SELECT 1, lane, id FROM messages WHERE id BETWEEN 7 AND 9",
        )
        .await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let job = start_job(&http, "/dead-letter/replay", &json!({"all": true, "rate_per_second": 500})).await;
    let job = ended(&http, &job).await;
    assert_eq!(job["skipped"], json!({"already_owed": 2, "gone": 8, "filtered": 0}), "{job}");
    assert_eq!((&job["total"], &job["done"]), (&json!(80), &json!(70)), "{job}");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters WHERE reason = 'canceled'").await, 40);
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 50);
}

#[tokio::test]
async fn dead_letters_of_a_filter_are_discarded_and_no_others() {
    let scene = sixty_twice().await;
    let _broker = Broker::start(scene.store());
    let http = Http::serve(scene.store()).await;
    let (status, problem) = http.try_post("/dead-letter/discard", &json!({})).await.unwrap();
    assert_eq!((status.as_u16(), &problem["type"]), (422, &json!("/problems/needs-all")));
    let (status, _) = http.try_post("/dead-letter/discard", &json!({"topic": "nowhere"})).await.unwrap();
    assert_eq!(status.as_u16(), 404);
    let body = json!({"topic": "orders", "partition_key": "key-2", "status_code": 500});
    let job = ended(&http, &start_job(&http, "/dead-letter/discard", &body).await).await;
    // Ids of this partition are even: 2, 6, 10 and so on. A third of them was canceled.
    assert_eq!((&job["state"], &job["done"]), (&json!("succeeded"), &json!(20)), "{job}");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 100);
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters WHERE partition_key = 'key-2'").await, 10);
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 0);
}
