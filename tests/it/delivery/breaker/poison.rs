//! Messages that are the problem, not their receiver.

use pgtopic_testkit::{Answer, Broker, Received, Scene, eventually, quick_delivery};

use super::{OPEN, dead_letters, down, probe_now, publish};

#[tokio::test]
async fn bad_messages_among_good_ones_never_open_it() {
    let scene = Scene::with_webhook(&[("max_retries", "1")]).await;
    let keys: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    scene.publish(&keys).await;
    scene.receiver.set_script(|one| Answer::Status(if one.position() % 2 == 0 { 503 } else { 204 }));
    // One after another, in the order in which they were published.
    let _broker = Broker::with(scene.store(), 1, quick_delivery());
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, 20);
    assert_eq!(scene.number("SELECT count(*) FROM breakers").await, 0, "nobody has suspected it");
}

/// The receiver is there: it refuses this message.
#[tokio::test]
async fn a_probe_that_is_answered_404_uses_up_an_attempt_and_closes_it() {
    let scene = down(&[("max_retries", "1")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    let failed = scene.receiver.count();
    scene.receiver.set_script(move |one| Answer::Status(if one.number <= failed { 404 } else { 204 }));
    probe_now(&scene).await;
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, 6);
    assert_eq!(scene.text("SELECT state || epoch FROM breakers").await, "closed2");
    let reason = scene.text("SELECT reason FROM changes WHERE kind = 'webhook.closed'").await;
    assert!(reason.contains("answered with 404"), "{reason}");
}

/// With one lane left, nobody can tell a bad message from a receiver that is down. So each tenth
/// probe counts.
#[tokio::test]
async fn the_head_of_the_only_lane_uses_up_an_attempt_with_each_tenth_probe() {
    let scene = Scene::with_webhook(&[("max_retries", "1")]).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    let ids = scene.publish(&["a"; 7]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.until("count(*) = 5 FROM dead_letters").await;
    let given_up = async || {
        probe_now(&scene).await;
        (dead_letters(&scene).await == 6).then_some(())
    };
    eventually("the head is given up", given_up).await;
    let sent = |id| scene.receiver.received().iter().filter(|one| one.position() == id).count();
    assert_eq!(sent(ids[5]), 10);
    scene.until(OPEN).await;
    scene.receiver.set_script(|_| Answer::Status(204));
    probe_now(&scene).await;
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, 6);
}

/// With another lane, no probe counts.
#[tokio::test]
async fn of_two_lanes_no_probe_uses_up_an_attempt() {
    let scene = Scene::with_webhook(&[("max_retries", "1")]).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    publish(&scene, 7).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.until("count(*) = 5 FROM dead_letters").await;
    let probed = async || {
        probe_now(&scene).await;
        (scene.number("SELECT max(probes)::bigint FROM breakers").await >= 21).then_some(())
    };
    eventually("21 probes", probed).await;
    assert_eq!(dead_letters(&scene).await, 5);
    let last: Vec<i64> = scene.receiver.received_after(5).iter().map(Received::position).collect();
    let ids: std::collections::BTreeSet<i64> = last.iter().copied().collect();
    assert_eq!(ids.len(), 2, "they take turns: {last:?}");
}
