//! A topic on hold: messages are accepted and owed, and nothing of it is sent.

use std::time::Duration;

use pgtopic_testkit::{Answer, Broker, Http, Puppet, Scene};
use serde_json::json;

#[tokio::test]
async fn a_topic_on_hold_collects_its_messages_and_goes_on_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(10), Box::new(Answer::Status(204))));
    let http = Http::serve(scene.store()).await;
    let broker = Broker::start(scene.store());
    scene
        .sql(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, CASE n % 6 WHEN 1 THEN 'b' ELSE 'a' END, '{}' FROM generate_series(1, 1200) AS n",
        )
        .await;
    scene.receiver.wait_for(4).await;
    let topic = http.act("/topics/orders/pause", &json!({"mode": "hold"})).await;
    assert_eq!(topic["paused"], "hold");
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    let seen = scene.receiver.count();
    // All of it would have taken ten seconds.
    assert!(seen < 1200, "it was stopped on the way");
    http.post("/topics/orders/messages", &json!({"partition_key": "a", "payload": 1})).await;
    scene.publish(&["c"]).await;
    scene.sweeps_pass().await;
    assert_eq!(scene.receiver.count(), seen);
    scene.receiver.set_script(|_| Answer::Status(204));
    http.act("/topics/orders/resume", &json!(null)).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
    let changes =
        "SELECT string_agg(concat_ws(' ', kind, reason, 'by', changed_by), ', ' ORDER BY id) FROM changes";
    assert_eq!(scene.text(changes).await, "topic.paused hold by api (admin), topic.resumed by api (admin)");
}

/// A worker may not know yet that the topic is on hold. The functions of the engine do.
#[tokio::test]
async fn nothing_claims_lanes_of_a_topic_on_hold() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "b"]).await;
    let puppet = Puppet::new(&scene).await;
    let claims = async |token: i64| {
        let wants = [pgtopic::store::Want {
            webhook_id: 1,
            slots: 10,
            due_after: pgtopic::store::DueAfter::Beginning,
        }];
        let all = puppet.claim(token).await.unwrap().len();
        scene.sql("UPDATE lanes SET claimed_by = NULL").await;
        let singly = puppet.store.claim_lanes_singly(puppet.id, token + 1, &wants, true).await.unwrap().len();
        scene.sql("UPDATE lanes SET claimed_by = NULL").await;
        let room = pgtopic::store::Room { lanes: 10, full_webhooks: Vec::new() };
        let named = puppet.look(token + 2, &ids, &room).await.claimed.len();
        scene.sql("UPDATE lanes SET claimed_by = NULL").await;
        (all, singly, named)
    };
    scene.sql("UPDATE topics SET paused = 'hold'").await;
    assert_eq!(claims(1).await, (0, 0, 0));
    scene.sql("UPDATE topics SET paused = 'refuse'").await;
    assert_eq!(claims(4).await, (2, 2, 2), "what is owed is sent");
    scene.sql("UPDATE topics SET paused = NULL").await;
    assert_eq!(claims(7).await, (2, 2, 2));
}
