//! Several workers, and workers that die.

use pgtopic_testkit::{Answer, Broker, Received, Scene};

use super::{LANES, OPEN, dead_letters, down, probe_now, publish};

#[tokio::test]
async fn two_workers_send_one_probe_at_a_time() {
    let scene = down(&[("max_retries", "1"), ("timeout_seconds", "2")]).await;
    let _brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.until(OPEN).await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    let open = scene.receiver.count();
    scene.receiver.set_script(|_| Answer::Hang);
    let probed = async || {
        probe_now(&scene).await;
        (scene.receiver.count() >= open + 4).then_some(())
    };
    pgtopic_testkit::eventually("four probes", probed).await;
    let probes = scene.receiver.received_after(open);
    for (number, probe) in probes.iter().enumerate() {
        let overlaps: Vec<&Received> =
            probes[..number].iter().filter(|other| other.overlaps(probe)).collect();
        assert!(overlaps.is_empty(), "{number} overlaps {}", overlaps.len());
    }
    assert!(dead_letters(&scene).await <= 10, "five by each worker");
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.until(&format!("count(*) < {LANES} FROM deliveries")).await;
    scene.nothing_owed().await;
}

#[tokio::test]
async fn a_worker_that_dies_while_it_probes_is_replaced() {
    let scene = down(&[("max_retries", "1"), ("timeout_seconds", "300")]).await;
    let first = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    let open = scene.receiver.count();
    scene.receiver.set_script(|_| Answer::Hang);
    probe_now(&scene).await;
    scene.receiver.wait_for(open + 1).await;
    scene.until("probe_until > now() + interval '5 minutes' FROM breakers").await;
    let _second = Broker::start(scene.store());
    first.kill().await;
    scene.receiver.set_script(|_| Answer::Status(204));
    probe_now(&scene).await;
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, 5);
}

/// A worker whose requests fail asks the others. One whose requests are accepted objects.
#[tokio::test]
async fn it_does_not_open_while_another_worker_succeeds() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    publish(&scene, 20).await;
    scene.nothing_owed().await;
    // Another worker fails: it is played by this test.
    let worker = scene.idle_worker().await;
    let ask = |success_counts: f64| {
        format!("SELECT outcome FROM open_breaker('{worker}', 1, 0, 'connect', 0.5, {success_counts}, 1)")
    };
    assert_eq!(scene.text(&ask(10.0)).await, "asked");
    scene.until("success_at IS NOT NULL FROM breakers").await;
    scene.until("suspected_at < clock_timestamp() - interval '0.6 s' FROM breakers").await;
    assert_eq!(scene.text(&ask(10.0)).await, "refused");
    assert_eq!(scene.text("SELECT state FROM breakers").await, "closed");
    // When the other worker is gone, and its success was long ago, nobody objects.
    broker.stop().await;
    assert_eq!(scene.text(&ask(10.0)).await, "refused");
    assert_eq!(scene.text(&ask(0.0)).await, "opened");
    assert_eq!(scene.text(&ask(0.0)).await, "outdated");
}
