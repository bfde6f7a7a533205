//! How soon workers look, with and without notifications.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::{Broker, Scene, publish};

#[tokio::test]
async fn a_notification_brings_a_message_to_its_receiver_at_once() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    scene.until("last_value > 0 FROM listening_until").await;
    let mut quickest = Duration::MAX;
    for count in 1..=10 {
        let begun = Instant::now();
        scene.publish(&[&format!("key-{count}")]).await;
        scene.receiver.wait_for(count).await;
        quickest = quickest.min(begun.elapsed());
    }
    // Far below the interval of polls.
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[tokio::test]
async fn a_lost_notification_costs_half_a_second() {
    let scene = Scene::with_webhook(&[]).await;
    scene.lose_notifications().await;
    let _broker = Broker::start(scene.store());
    for count in 1..=4 {
        let begun = Instant::now();
        // New lanes each: of one that it still holds, the worker would find out by itself.
        scene.publish(&[&format!("key-{count}")]).await;
        scene.receiver.wait_for(count).await;
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn what_was_published_while_nobody_listened_is_found_at_the_start() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b", "a"]).await;
    let listener = scene.another_client().await;
    assert!(listener.query("SELECT FROM pg_listening_channels()", &[]).await.unwrap().is_empty());
    let begun = Instant::now();
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_publishers_fall_silent_and_everything_arrives() {
    let scene = Scene::with_webhook(&[]).await;
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.until("last_value > 0 FROM listening_until").await;
    assert_eq!(scene.number("SELECT last_value FROM quiet_until").await, 0);
    let publishing = (0..8).map(|publisher| {
        let scene = &scene;
        async move {
            let client = scene.another_client().await;
            for step in 0..120 {
                publish(&client, &format!("key-{publisher}-{}", step % 10)).await.unwrap();
            }
        }
    });
    join_all(publishing).await;
    let quiet = scene.number("SELECT last_value FROM quiet_until").await;
    assert!(quiet > 0, "workers have asked for silence");
    let now = scene.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await;
    assert!(quiet < now + 10_000_000, "and not for long");
    assert_eq!(scene.all_delivered(&["/"]).await, 0);

    // Between silence and waiting, a message at any moment is found soon.
    let mut slowest = Duration::ZERO;
    for step in 0..20_usize {
        let (seen, begun) = (scene.receiver.received().len(), Instant::now());
        scene.publish(&[&format!("after-{step}")]).await;
        scene.receiver.wait_for(seen + 1).await;
        slowest = slowest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    drop(brokers);
}

#[tokio::test]
async fn an_instant_far_ahead_silences_nobody() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    // As a step of the clock leaves it.
    let far = "(extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::bigint";
    scene.sql(&format!("SELECT setval('quiet_until', {far}), setval('listening_until', {far})")).await;
    scene.until(&format!("last_value < {far} - 3000000000 FROM listening_until")).await;
    let mut quickest = Duration::MAX;
    for count in 1..=5 {
        let begun = Instant::now();
        scene.publish(&[&format!("key-{count}")]).await;
        scene.receiver.wait_for(count).await;
        quickest = quickest.min(begun.elapsed());
    }
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}
