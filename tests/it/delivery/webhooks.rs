//! What a webhook's settings change, and how webhooks keep out of each other's way.

use std::time::{Duration, Instant};

use pgtopic_testkit::{
    Answer, Broker, Scene, TestReceiver, check_order, create_webhook, expected, quick_delivery, refuse,
};
use serde_json::{Value, json};

/// Publishes this many messages, each to a lane of its own.
async fn publish_lanes(scene: &Scene, lanes: usize) {
    let sql = format!(
        "INSERT INTO messages (topic_id, partition_key, payload)
         SELECT 1, 'key-' || n, '{{}}' FROM generate_series(1, {lanes}) AS n ORDER BY stripe(1, 'key-' || n)"
    );
    scene.sql(&sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hanging_receiver_with_thousands_of_lanes_is_in_nobodys_way() {
    let scene = Scene::new().await;
    let hanging = TestReceiver::start(|_| Answer::Hang).await;
    create_webhook(&scene.client, &hanging.url("/"), &[]).await;
    publish_lanes(&scene, 3000).await;
    let _broker = Broker::start(scene.store());
    hanging.wait_for(50).await;

    scene.webhook("/healthy", &[]).await;
    let begun = Instant::now();
    publish_lanes(&scene, 1000).await;
    scene.receiver.wait_for_ended(1000).await;
    let took = begun.elapsed();
    println!(
        "the healthy one had its 1,000 after {took:?}; the other hangs with {}",
        hanging.received().len()
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(hanging.received().iter().all(|one| one.ended.is_none()), "none has timed out yet");
}

/// What a worker holds in memory is bounded, and whoever fills it must not keep others from being delivered.
#[tokio::test]
async fn a_hanging_receiver_of_large_messages_is_in_nobodys_way() {
    let scene = Scene::new().await;
    let hanging = TestReceiver::start(|_| Answer::Hang).await;
    create_webhook(&scene.client, &hanging.url("/"), &[("filter", "'exists($.large)'")]).await;
    scene.webhook("/healthy", &[("filter", "'!exists($.large)'")]).await;
    let insert = "INSERT INTO messages (topic_id, partition_key, payload)
                  SELECT 1, 'large-' || n, json_build_object('large', repeat('x', 900000)) FROM generate_series(1, 60) AS n
                   ORDER BY stripe(1, 'large-' || n)";
    scene.sql(insert).await;
    let _broker = Broker::start(scene.store());
    // 16 MB.
    hanging.wait_for(18).await;
    for step in 0..5 {
        let begun = Instant::now();
        // Two at once, so that they must be claimed.
        let insert = format!("INSERT INTO messages (topic_id, payload) VALUES (1, '{{}}'), (1, '[{step}]')");
        scene.sql(&insert).await;
        scene.receiver.wait_for_ended(2 * (step + 1)).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    assert!(hanging.received().iter().all(|one| one.ended.is_none()), "none has timed out yet");
}

/// Each of them keeps one slot for a probe; the rest is not divided by their number.
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
    // Whoever has timed out some times is down to a probe.
    scene.until("(SELECT count(*) FROM attempts) >= 400").await;

    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(50), Box::new(Answer::Status(204))));
    scene.webhook("/healthy", &[]).await;
    let begun = Instant::now();
    publish_lanes(&scene, 2000).await;
    scene.receiver.wait_for_ended(2000).await;
    let took = begun.elapsed();
    // With an equal part of the 100 slots, 5, it would take 20 s; with the 64 that it may have, 1.6 s.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_is_in_nobodys_way() {
    let scene = Scene::new().await;
    let refusing = TestReceiver::start(|_| Answer::Status(500)).await;
    create_webhook(&scene.client, &refusing.url("/"), &[("backoff_factor", "2")]).await;
    scene.webhook("/healthy", &[]).await;
    let _broker = Broker::start(scene.store());
    let begun = Instant::now();
    publish_lanes(&scene, 1000).await;
    scene.receiver.wait_for_ended(1000).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_paused_webhook_holds_its_messages_and_goes_on_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(10), Box::new(Answer::Status(204))));
    let broker = Broker::start(scene.store());
    let keys = ["a", "b", "a", "b", "a", "a", "a", "a", "a", "a", "a", "a"];
    for _ in 0..5 {
        scene.publish(&keys).await;
    }
    scene.receiver.wait_for(4).await;
    scene.sql("UPDATE webhooks SET paused = true").await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    let seen = scene.receiver.received().len();
    assert!(seen < 60, "it was stopped on the way");
    scene.publish(&keys).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(scene.receiver.received().len(), seen);
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
    assert_eq!(accepted.last(), Some(ids[0]), "the one that was refused came last");
}

#[tokio::test]
async fn a_batch_is_accepted_or_repeated_as_a_whole() {
    let scene = Scene::with_webhook(&[("batch_size", "3")]).await;
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
    let received = scene.receiver.received();
    let at_once = |one: &pgtopic_testkit::Received| {
        received
            .iter()
            .filter(|other| other.arrived <= one.arrived && other.ended.unwrap() > one.arrived)
            .count()
    };
    assert_eq!(received.iter().map(at_once).max(), Some(3));
}

#[tokio::test]
async fn requests_keep_to_the_rate_of_their_webhook() {
    let scene = Scene::with_webhook(&[("rate_limit_per_second", "20")]).await;
    let _broker = Broker::start(scene.store());
    publish_lanes(&scene, 30).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    let took = received[29].arrived - received[0].arrived;
    assert!(took > Duration::from_millis(1300), "30 requests at 20 a second: {took:?}");
}

#[tokio::test]
async fn a_webhook_that_changes_is_noticed_at_once() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for_ended(1).await;
    scene.sql(&format!("UPDATE webhooks SET url = '{}'", scene.receiver.url("/new"))).await;
    let begun = Instant::now();
    let late = scene.webhook("/late", &[]).await;
    // What is published before a worker knows the new settings may still go the old way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.publish(&["a"]).await;
    let received = scene.receiver.wait_for_ended(3).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let mut paths: Vec<_> = received[1..].iter().map(|one| one.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/late", "/new"], "webhook {late}");
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
    // The log is written after the settlement.
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
