//! `kill -9` of a worker: how long its lanes wait for another one.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pgtopic_testkit::eventually;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    incident::Step,
    living::{all_live, holder},
    report::Takeover,
    stage::Stage,
};

/// Kills a worker while all others live and nothing else is broken. Measures how long its lanes
/// wait for another worker.
pub(crate) async fn kill_worker(stage: &mut Stage, step: &Step) -> Takeover {
    let (client, name) = holder(stage, step).await;
    // A worker without a session cannot take over. How long it takes to get a session is measured
    // elsewhere.
    all_live(&client).await;
    let stall = Stall::watch();
    stage.workers[step.worker()].process.kill9();
    let killed = Instant::now();
    // By now publishers have written to most of its lanes. Another worker may not have taken them
    // over yet.
    sleep(Duration::from_millis(500)).await;
    let held = "SELECT l.webhook_id, l.partition_key FROM lanes l JOIN workers w ON w.id = l.claimed_by
                 WHERE w.name LIKE $1 AND EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane)";
    let lanes: Vec<(i64, String)> =
        client.query(held, &[&name]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let before = killed + Duration::from_millis(50);
    let mut waited = Vec::new();
    for (webhook, key) in lanes {
        let hook = stage.hooks.iter().find(|hook| hook.id == webhook).unwrap();
        let counted = hook.receiver.count().saturating_sub(2000);
        let first = eventually("its lanes go on", async || {
            let received = hook.receiver.received_after(counted);
            received
                .iter()
                .filter(|one| one.arrived > before && one.partition() == key)
                .map(|one| one.arrived)
                .min()
        })
        .await;
        waited.push(first - killed);
    }
    let takeover = Takeover { waited, stall: stall.longest() };
    println!("        {takeover}");
    takeover
}

/// How long this machine did not let this process run. A measured time may be longer by that.
struct Stall {
    watching: JoinHandle<()>,
    longest: Arc<Mutex<Duration>>,
}

impl Stall {
    fn watch() -> Self {
        let longest = Arc::<Mutex<Duration>>::default();
        let noted = Arc::clone(&longest);
        let watching = tokio::spawn(async move {
            loop {
                let (tick, begun) = (Duration::from_millis(10), Instant::now());
                sleep(tick).await;
                let late = begun.elapsed().saturating_sub(tick);
                let mut longest = noted.lock().unwrap();
                *longest = (*longest).max(late);
            }
        });
        Self { watching, longest }
    }

    fn longest(self) -> Duration {
        self.watching.abort();
        *self.longest.lock().unwrap()
    }
}
