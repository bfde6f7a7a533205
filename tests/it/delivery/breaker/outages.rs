//! Receivers that are down and come back.

use pgtopic_testkit::{Answer, Broker, Gate, eventually};

use super::{LANES, OPEN, dead_letters, down, probe_now, publish};

#[tokio::test]
async fn an_outage_costs_five_dead_letters_and_the_backlog_flows_when_it_is_over() {
    let scene = down(&[("max_retries", "1")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    // Also those that come now wait.
    publish(&scene, LANES).await;
    scene.until("max(probes) >= 2 FROM breakers").await;
    assert_eq!(dead_letters(&scene).await, 5);

    scene.receiver.set_script(|_| Answer::Status(204));
    probe_now(&scene).await;
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, 5);
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE failures > 0").await, 0);
    assert_eq!(scene.text("SELECT state || epoch FROM breakers").await, "closed2");
    let kinds = "SELECT string_agg(kind, ' ' ORDER BY id) FROM changes WHERE kind IN ('webhook.open', 'webhook.closed')";
    assert_eq!(scene.text(kinds).await, "webhook.open webhook.closed");
    scene.until("EXISTS (SELECT FROM attempts WHERE probe AND outcome = 'accepted')").await;
    let probes = "SELECT count(*) FROM attempts WHERE probe AND outcome = 'failed'";
    assert!(scene.number(probes).await >= 2);
}

/// Attempts are used up only by what failed before it opened.
#[tokio::test]
async fn requests_that_are_in_flight_when_it_opens_use_up_nothing() {
    let scene = down(&[("max_retries", "1")]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |_| Answer::Held(held.clone(), Box::new(Answer::Status(503))));
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(25).await;
    gate.open();
    scene.until(OPEN).await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    assert_eq!(dead_letters(&scene).await, 5);
    assert!(scene.receiver.count() < 100, "{}", scene.receiver.count());
}

/// Lanes that wait for the end of a long back-off go on when the receiver is back.
#[tokio::test]
async fn lanes_that_have_failed_do_not_wait_for_the_end_of_their_back_off() {
    let scene = down(&[("max_retries", "9"), ("backoff_factor", "100"), ("on_exhausted", "'halt'")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.until("count(*) >= 50 FROM lanes WHERE failures > 0 AND due_at > clock_timestamp() + interval '1 minute'").await;
    scene.receiver.set_script(|_| Answer::Status(204));
    probe_now(&scene).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    assert_eq!(dead_letters(&scene).await, 0);
}

#[tokio::test]
async fn an_outage_halts_five_lanes_at_most() {
    let scene = down(&[("max_retries", "1"), ("on_exhausted", "'halt'")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.receiver.set_script(|_| Answer::Status(204));
    probe_now(&scene).await;
    scene.until("count(*) = 5 FROM deliveries").await;
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE halted").await, 5);
}

#[tokio::test]
async fn a_probe_of_batches_carries_one_batch() {
    let scene = down(&[("batch_size", "10")]).await;
    for _ in 0..3 {
        publish(&scene, LANES).await;
    }
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    let before = scene.receiver.count();
    probe_now(&scene).await;
    let probe = scene.receiver.wait_for(before + 1).await.pop().unwrap();
    let items: Vec<serde_json::Value> = serde_json::from_slice(&probe.body).unwrap();
    assert_eq!(items.len(), 4, "all that its lane owes");
    scene.receiver.set_script(|_| Answer::Status(204));
    let nothing_owed = async || {
        probe_now(&scene).await;
        (scene.number("SELECT count(*) FROM deliveries").await == 0).then_some(())
    };
    eventually("nothing is owed", nothing_owed).await;
    assert_eq!(dead_letters(&scene).await, 0);
}

#[tokio::test]
async fn a_webhook_whose_breaker_is_off_uses_up_its_attempts() {
    let scene = down(&[("max_retries", "1"), ("breaker", "'off'")]).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, LANES);
    assert_eq!(scene.number("SELECT count(*) FROM breakers").await, 0);
}
