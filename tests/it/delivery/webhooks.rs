//! The settings of webhooks. Also: no webhook holds up another.

use std::time::Duration;

use pgtopic_testkit::{
    Answer, Broker, Gate, LIMIT, Scene, TestReceiver, check_order, create_webhook, eventually, expected,
    most_at_once, quick_delivery, refuse,
};
use serde_json::{Value, json};

/// A timeout that is longer than any test.
const FOR_EVER: (&str, &str) = ("timeout_seconds", "600");

/// Publishes this many messages, each to a lane of its own.
async fn publish_lanes(scene: &Scene, lanes: usize) {
    let sql = format!(
        "INSERT INTO messages (topic_id, partition_key, payload)
         SELECT 1, 'key-' || n, '{{}}' FROM generate_series(1, {lanes}) AS n ORDER BY stripe(1, 'key-' || n)"
    );
    scene.sql(&sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hanging_receiver_with_thousands_of_lanes_holds_up_no_other() {
    let scene = Scene::new().await;
    let hanging = TestReceiver::start(|_| Answer::Hang).await;
    create_webhook(&scene.client, &hanging.url("/"), &[FOR_EVER]).await;
    publish_lanes(&scene, 3000).await;
    let _broker = Broker::start(scene.store());
    hanging.wait_for(50).await;

    scene.webhook("/healthy", &[]).await;
    publish_lanes(&scene, 1000).await;
    scene.receiver.wait_for_ended(1000).await;
    println!("the healthy receiver got 1,000 requests; {} requests hang", hanging.count());
    assert!(hanging.received().iter().all(|one| one.ended.is_none()), "none has timed out yet");
}

/// A worker's memory for messages is limited. One webhook must not fill it and hold up the others.
#[tokio::test]
async fn a_hanging_receiver_of_large_messages_holds_up_no_other() {
    let scene = Scene::new().await;
    let hanging = TestReceiver::start(|_| Answer::Hang).await;
    create_webhook(&scene.client, &hanging.url("/"), &[FOR_EVER, ("filter", "'exists($.large)'")]).await;
    scene.webhook("/healthy", &[("filter", "'!exists($.large)'")]).await;
    let insert = "INSERT INTO messages (topic_id, partition_key, payload)
                  SELECT 1, 'large-' || n, json_build_object('large', repeat('x', 900000)) FROM generate_series(1, 60) AS n
                   ORDER BY stripe(1, 'large-' || n)";
    scene.sql(insert).await;
    let _broker = Broker::start(scene.store());
    // These have 16 MB.
    hanging.wait_for(18).await;
    for step in 0..5 {
        // Two messages at once, so that lanes must be claimed.
        let insert = format!("INSERT INTO messages (topic_id, payload) VALUES (1, '{{}}'), (1, '[{step}]')");
        scene.sql(&insert).await;
        scene.receiver.wait_for_ended(2 * (step + 1)).await;
    }
    assert!(hanging.received().iter().all(|one| one.ended.is_none()), "none has timed out yet");
}

/// Each hanging webhook keeps one slot, to try again. A webhook that answers may have the other
/// slots.
#[tokio::test]
async fn many_hanging_receivers_leave_their_slots_to_one_that_answers() {
    const HANGING: usize = 20;
    let scene = Scene::new().await;
    let hanging = TestReceiver::start(|_| Answer::Hang).await;
    for number in 0..HANGING {
        let url = hanging.url(&format!("/{number}"));
        create_webhook(&scene.client, &url, &[("timeout_seconds", "1")]).await;
    }
    publish_lanes(&scene, 100).await;
    let _broker = Broker::start(scene.store());
    // After some timeouts a webhook has only one slot.
    scene.until("(SELECT count(*) FROM attempts) >= 400").await;

    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    scene.receiver.set_script(move |_| held.clone());
    scene.webhook("/healthy", &[("timeout_seconds", "60")]).await;
    publish_lanes(&scene, 2000).await;
    // An equal part of the 100 slots would be 5. A webhook that has not answered yet may have a
    // quarter of them.
    scene.receiver.wait_for(25).await;
    gate.open();
    scene.receiver.wait_for_ended(2000).await;
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_holds_up_no_other() {
    let scene = Scene::new().await;
    let refusing = TestReceiver::start(|_| Answer::Status(500)).await;
    // Its backlog never ends: each of its lanes is due again every second.
    let settings = [("backoff_factor", "1"), ("max_retries", "1000")];
    create_webhook(&scene.client, &refusing.url("/"), &settings).await;
    scene.webhook("/healthy", &[]).await;
    let _broker = Broker::start(scene.store());
    publish_lanes(&scene, 1000).await;
    scene.receiver.wait_for_ended(1000).await;
    println!("the healthy receiver got 1,000 requests; the other has refused {}", refusing.count());
    let owed = "(SELECT count(*) FROM deliveries WHERE webhook_id = 1)";
    assert_eq!(scene.number(&format!("SELECT {owed}")).await, 1000);
}

#[tokio::test]
async fn a_paused_webhook_holds_its_messages_and_goes_on_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(10), Box::new(Answer::Status(204))));
    let broker = Broker::start(scene.store());
    let publish = "INSERT INTO messages (topic_id, partition_key, payload)
                   SELECT 1, CASE n % 6 WHEN 1 THEN 'b' ELSE 'a' END, '{}' FROM generate_series(1, 1200) AS n";
    scene.sql(publish).await;
    scene.receiver.wait_for(4).await;
    scene.sql("UPDATE webhooks SET paused = true").await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    let seen = scene.receiver.received().len();
    // To send everything would have taken ten seconds.
    assert!(seen < 1200, "the pause came before the end");
    scene.publish(&["a", "b", "a", "c"]).await;
    scene.sweeps_pass().await;
    assert_eq!(scene.receiver.received().len(), seen);
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.sql("UPDATE webhooks SET paused = false").await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
}

#[tokio::test]
async fn messages_of_an_unordered_topic_do_not_wait_for_each_other() {
    let scene = Scene::new().await;
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    let url = scene.receiver.url("/");
    let insert = format!(
        "INSERT INTO webhooks (topic_id, url, secrets) SELECT 2, '{url}', ARRAY['{}']",
        pgtopic_testkit::SECRET
    );
    scene.sql(&insert).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(scene.number("SELECT publish('loose', 'a', '{}')").await);
    }
    scene.receiver.set_script(refuse(ids[0], 2));
    let _broker = Broker::start(scene.store());
    scene.no_lane_left().await;
    let received = scene.receiver.received();
    assert_eq!(received.len(), 22);
    let accepted = received.iter().filter(|one| one.accepted()).map(pgtopic_testkit::Received::position);
    assert_eq!(accepted.last(), Some(ids[0]), "the refused message was accepted last");
}

#[tokio::test]
async fn a_batch_is_accepted_or_repeated_as_a_whole() {
    let scene = Scene::with_webhook(&[("batch_size", "3"), ("format", "'raw'")]).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(scene.number(&format!("SELECT publish('orders', 'a', '{{\"n\": {n}}}')")).await);
    }
    scene.receiver.set_script(|received| Answer::Status(if received.number == 1 { 500 } else { 200 }));
    let _broker = Broker::start(scene.store());
    scene.no_lane_left().await;
    let received = scene.receiver.received();
    let bodies: Vec<Value> = received.iter().map(|one| serde_json::from_slice(&one.body).unwrap()).collect();
    let batch = |range: std::ops::Range<i64>| range.map(|n| json!({"n": n})).collect::<Value>();
    assert_eq!(bodies, [batch(0..3), batch(3..6), batch(3..6), batch(6..7)]);
    let attempts: Vec<_> = received.iter().map(|one| one.header("webhook-attempt")).collect();
    assert_eq!(attempts, ["1", "1", "2", "1"]);
    assert_eq!(
        received.iter().map(pgtopic_testkit::Received::position).collect::<Vec<_>>(),
        [ids[2], ids[5], ids[5], ids[6]]
    );
    let logged = "SELECT count(*) FROM attempts WHERE outcome = 'accepted'";
    scene.until(&format!("({logged}) = 7")).await;
}

#[tokio::test]
async fn no_more_lanes_are_in_flight_than_a_webhook_allows() {
    let scene = Scene::with_webhook(&[("max_in_flight", "3")]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(20), Box::new(Answer::Status(204))));
    let _broker = Broker::start(scene.store());
    publish_lanes(&scene, 60).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    assert_eq!(most_at_once(&scene.receiver.received()), 3);
}

#[tokio::test]
async fn requests_keep_to_the_rate_of_their_webhook() {
    let scene = Scene::with_webhook(&[("rate_limit_per_second", "20")]).await;
    let _broker = Broker::start(scene.store());
    publish_lanes(&scene, 30).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    scene.until("count(*) = 30 FROM attempts").await;
    // The time between the starts of requests at the worker. Arrivals may be late.
    let took =
        "SELECT (extract(epoch FROM max(attempted_at) - min(attempted_at)) * 1000)::bigint FROM attempts";
    let took = scene.number(took).await;
    assert!(took > 1300, "30 requests at 20 a second in {took} ms");
}

/// Workers read all webhooks every ten seconds. If a change were noticed only then, this number of
/// changes would take longer than the test allows.
#[tokio::test]
async fn a_webhook_that_changes_is_noticed_at_once() {
    const CHANGES: usize = 5;
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for_ended(1).await;
    // A message that comes before the worker knows the new settings may still go to the old URL.
    let noticed = async |path: &str| {
        eventually("a message comes to the new path", async || {
            scene.publish(&["a"]).await;
            scene.receiver.received().iter().any(|one| one.path == path).then_some(())
        })
        .await;
    };
    let all = async {
        for change in 1..=CHANGES {
            let (new, late) = (format!("/new-{change}"), format!("/late-{change}"));
            scene
                .sql(&format!("UPDATE webhooks SET url = '{}' WHERE id = 1", scene.receiver.url(&new)))
                .await;
            noticed(&new).await;
            scene.webhook(&late, &[]).await;
            noticed(&late).await;
        }
    };
    tokio::time::timeout(LIMIT, all).await.expect("each change is noticed at once");
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    let new: Vec<_> = received.iter().map(|one| &one.path).filter(|path| path.starts_with("/new")).collect();
    assert!(new.is_sorted(), "no message goes to an older URL afterwards: {new:?}");
}

#[tokio::test]
async fn loopback_is_refused_unless_it_is_allowed() {
    let scene = Scene::with_webhook(&[("max_retries", "1")]).await;
    scene.publish(&["a"]).await;
    let mut delivery = quick_delivery();
    delivery.allow_networks.clear();
    let broker = Broker::with(scene.store(), 10, delivery);
    scene.nothing_owed().await;
    assert_eq!(scene.receiver.received().len(), 0);
    // The row of the attempt log is written after the settle.
    scene.until("EXISTS (SELECT FROM attempts)").await;
    assert_eq!(scene.text("SELECT error_class FROM attempts").await, "forbidden");
    broker.stop().await;
}

#[tokio::test]
async fn payloads_larger_than_what_one_read_takes_arrive_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("UPDATE topics SET max_payload_bytes = 10000000").await;
    for size in [10, 3_000_000, 6_000_000, 10, 3_000_000, 2_000_000, 10] {
        scene
            .sql(&format!(
                "INSERT INTO messages (topic_id, partition_key, payload)
                 SELECT 1, key, to_json(repeat('x', {size})) FROM unnest(ARRAY['a', 'b']) AS key
                  ORDER BY stripe(1, key)"
            ))
            .await;
    }
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    assert_eq!(check_order(&received, &expected(&scene.client, &["/"]).await), 0);
    assert_eq!(received.iter().map(|one| one.body.len()).max(), Some(6_000_002));
}
