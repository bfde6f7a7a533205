//! Workers that die, stop or lose their connections, while other workers go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pgtopic::{
    config::{Config, WorkerConfig},
    worker,
};
use pgtopic_testkit::{
    Answer, Broker, Gate, LIVING, Process, Received, Scene, Stall, eventually, publish, quick_delivery,
};
use tokio_util::sync::CancellationToken;

use super::all_behind_a_proxy;

/// A `pgtopic worker` process that may reach loopback.
async fn start_worker(scene: &Scene) -> Process {
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut process = Process::start(&["worker"], &environment);
    process.wait_for_output("worker is ready").await;
    process
}

#[tokio::test]
async fn another_worker_takes_over_within_two_seconds_of_a_kill() {
    const LANES: usize = 20;
    // The lease is long. So only the lock of the dead worker can lead to the takeover.
    let scene = Scene::with_webhook(&[("timeout_seconds", "60")]).await;
    let hang =
        |received: &Received| if received.number < 3 * LANES { Answer::Status(204) } else { Answer::Hang };
    scene.receiver.set_script(hang);
    let mut first = start_worker(&scene).await;
    let keys: Vec<String> = (0..LANES).map(|key| format!("key-{key}")).collect();
    for _ in 0..10 {
        scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    scene.receiver.wait_for(4 * LANES).await;
    let mut second = start_worker(&scene).await;
    let hanging = scene.receiver.received().iter().filter(|one| one.ended.is_none()).count();
    assert_eq!(hanging, LANES, "every lane has a request under way");
    let owners = "SELECT count(DISTINCT claimed_by) FROM lanes";
    assert_eq!(scene.number(owners).await, 1, "the first worker holds all lanes");

    scene.receiver.set_script(|_| Answer::Status(204));
    let stall = Stall::watch();
    first.kill9();
    let killed = Instant::now();
    let continued = |all: &[Received]| {
        keys.iter().all(|key| all.iter().any(|one| one.arrived > killed && one.partition() == key))
    };
    scene.receiver.wait_until("every lane goes on", continued).await;
    let took = killed.elapsed();
    println!("all lanes went on {took:?} after the kill; the machine stood still for {:?}", stall.longest());
    // Two seconds are promised. The test allows twice this time, plus the longest time for which
    // the machine did not let this process run.
    assert!(took < Duration::from_secs(4) + stall.longest(), "{took:?}");

    let repeated = scene.all_delivered(&["/"]).await;
    assert_eq!(repeated, 0, "messages that were accepted long before the kill are not sent again");
    second.stop().await;
    assert_eq!(scene.number("SELECT count(*) FROM workers").await, 0);
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_finishes_what_is_in_flight() {
    let scene = Scene::with_webhook(&[]).await;
    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    scene.receiver.set_script(move |_| held.clone());
    scene.publish(&["a", "a", "b", "b", "c", "c", "d", "d"]).await;
    let mut process = start_worker(&scene).await;
    scene.receiver.wait_for(4).await;
    process.sigterm();
    process.wait_for_output("stopping: requests in flight may finish").await;
    gate.open();
    process.stopped().await;
    let received = scene.receiver.received();
    assert_eq!(received.len(), 4, "no new request was started");
    assert!(received.iter().all(Received::accepted), "no request was aborted");
    assert_eq!(scene.number("SELECT count(*) FROM workers").await, 0);
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL").await, 0);
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 4, "accepted messages are settled");

    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "nothing is sent twice");
}

#[tokio::test]
async fn a_worker_that_was_taken_for_dead_starts_over() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    for _ in 0..3 {
        scene.publish(&["a", "b"]).await;
        scene.nothing_owed().await;
        scene.until("count(*) = 1 FROM workers").await;
        let worker = scene.text("SELECT id::text FROM workers").await;
        scene.sql("DELETE FROM workers").await;
        scene.until(&format!("count(*) = 1 FROM workers WHERE id <> '{worker}'")).await;
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
}

/// Ends connections while messages flow: one kind of connections after another. The last statement
/// of a connection tells its kind. (Behind a pooler all kinds share sessions, and the last
/// statement is COMMIT.)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_recovers_from_the_loss_of_any_connection() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(2), Box::new(Answer::Status(204))));
    let broker = Broker::start(scene.store());
    let publishing = Arc::new(AtomicBool::new(true));
    let publishers: Vec<_> = (0..2)
        .map(|publisher| {
            let (publishing, client) = (Arc::clone(&publishing), scene.database.broker_client());
            async move {
                let client = client.await;
                for step in 0.. {
                    if !publishing.load(Ordering::Relaxed) {
                        break;
                    }
                    // Lanes that keep owing something, and some that are removed.
                    let key = if step % 10 == 0 { step } else { step % 5 };
                    publish(&client, &format!("key-{publisher}-{key}")).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        })
        .collect();
    let disturbing = async {
        let kinds = [
            "heartbeat",
            "claim_lanes",
            "settle",
            "remove_idle_lanes",
            "INTO pgtopic.attempts",
            "workers w",
            "",
        ];
        for kind in kinds {
            let seen = scene.receiver.received().len();
            scene.receiver.wait_for(seen + 50).await;
            let end = format!(
                "count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'pgtopic'
                    AND (query LIKE '%{kind}%' OR query = 'COMMIT')"
            );
            scene.until(&end).await;
            let (seen, begun) = (scene.receiver.received().len(), Instant::now());
            scene.receiver.wait_for(seen + 50).await;
            println!("went on {:?} after the end of {kind:?}", begun.elapsed());
            assert!(broker.is_running());
        }
        publishing.store(false, Ordering::Relaxed);
    };
    tokio::join!(disturbing, futures_util::future::join_all(publishers));
    scene.all_delivered(&["/"]).await;
    broker.stop().await;
}

/// A paused process keeps its connections. Nobody may take its lanes before its lease is over. If
/// it goes on after that, it may not send.
#[tokio::test]
async fn a_paused_worker_sends_nothing_that_another_may_send() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(30), Box::new(Answer::Status(204))));
    let first = start_worker(&scene).await;
    for _ in 0..20 {
        scene.publish(&["a", "b", "c"]).await;
    }
    scene.receiver.wait_for(9).await;
    first.signal(nix::sys::signal::Signal::SIGSTOP);
    // As if a firewall ended its session: the lock is free, and the process does not know that.
    scene
        .until(
            "count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'pgtopic'",
        )
        .await;
    let second = start_worker(&scene).await;
    let seen = scene.receiver.received().len();
    scene.receiver.wait_for(seen + 9).await;
    first.signal(nix::sys::signal::Signal::SIGCONT);
    scene.all_delivered(&["/"]).await;
    for mut process in [first, second] {
        process.stop().await;
    }
}

/// The worker has lost a session whose statement was never answered, and a request hangs when it
/// stops. It has a runtime of its own, so that its tasks can be counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_worker_goes_on_when_it_has_stopped() {
    let scene = Scene::with_webhook(&[]).await;
    let (proxy, store) = all_behind_a_proxy(&scene).await;
    let shutdown = CancellationToken::new();
    // If this test fails, the worker ends.
    let _ended = shutdown.clone().drop_guard();
    let stopping = shutdown.clone();
    let running = tokio::task::spawn_blocking(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = WorkerConfig { concurrency: 10, shutdown_seconds: 1, ..Config::default().worker };
        let retention = Config::default().retention;
        runtime.block_on(worker::run(store, &config, &quick_delivery(), &retention, stopping)).unwrap();
        let none_left = async || (runtime.metrics().num_alive_tasks() == 0).then_some(());
        runtime.block_on(eventually("no task is left", none_left));
    });
    scene.publish(&["a"]).await;
    scene.receiver.wait_for_ended(1).await;
    let incarnation = scene.text(&format!("SELECT string_agg(w.id::text, ' ') FROM {LIVING}")).await;
    proxy.swallow();
    scene.until(&format!("count(*) = 1 AND min(w.id::text) <> '{incarnation}' FROM {LIVING}")).await;
    scene.receiver.set_script(|_| Answer::Hang);
    let seen = scene.receiver.count();
    scene.publish(&["b"]).await;
    scene.receiver.wait_for(seen + 1).await;
    shutdown.cancel();
    running.await.unwrap();
    scene.receiver.wait_for_no_connection().await;
}
