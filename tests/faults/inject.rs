//! Injects one fault, and leaves everything well again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use pgtopic::embedded::ShutdownMode;
use tokio::time::sleep;

use crate::{
    kill::kill_worker,
    living::holder,
    report::Report,
    schedule::{Kind, Step},
    stage::{Hook, LANES, Stage, WORKERS},
    support::{Answer, LIVING, Link, eventually, history::Fault, reach_schema},
};

/// How much each packet is delayed over a slow link.
const SLOW: Duration = Duration::from_millis(100);

/// How long receivers take to answer where lanes are to be busy.
const BUSY: Duration = Duration::from_millis(200);

/// How many NOTIFYs an idle listener holds back. Not enough to fill the queue: that would take 8 GiB.
const NOTIFICATIONS: usize = 1000;

/// Makes the fault, waits, heals; notes what there is to note.
pub(crate) async fn inject(stage: &mut Stage, step: Step, report: &mut Report) {
    let workers_hit = match step.kind {
        Kind::KillApi | Kind::StopApi | Kind::NotificationQueue => 0,
        Kind::KillWorker
        | Kind::StopWorker
        | Kind::PauseWorker
        | Kind::PauseWorkerOverLease
        | Kind::TerminateBackend
        | Kind::DatabaseLinkCut
        | Kind::DatabaseLinkSlow => 1,
        // For up to 0.7 s it goes on with what it has read, and cannot settle any of it.
        Kind::DatabaseLinkDead | Kind::WorkerCutOff => 5,
        _ => WORKERS,
    };
    let fault = Fault { kind: step.kind.name(), at: stage.origin.elapsed(), in_flight: workers_hit * LANES };
    report.faults.push(fault);
    match step.kind {
        Kind::KillWorker => kill_worker(stage, step, report).await,
        Kind::StopWorker => stop_worker(stage, step).await,
        Kind::PauseWorker => pause_worker(stage, step).await,
        Kind::PauseWorkerOverLease => pause_worker_over_lease(stage, step).await,
        Kind::KillApi => {
            stage.api.kill9();
            sleep(step.lasts / 2).await;
            stage.start_api_again().await;
        }
        Kind::StopApi => {
            stage.api.stop().await;
            stage.start_api_again().await;
        }
        Kind::PostgresFast => restart(stage, Some(ShutdownMode::Fast), step, report).await,
        Kind::PostgresImmediate => restart(stage, Some(ShutdownMode::Immediate), step, report).await,
        Kind::PostgresCrash => restart(stage, None, step, report).await,
        Kind::TerminateBackend => terminate_backend(stage, step).await,
        Kind::DatabaseLinkCut => stage.workers[step.target % WORKERS].link.cut(),
        Kind::DatabaseLinkSlow | Kind::DatabaseLinkDead => {
            let link = &stage.workers[step.target % WORKERS].link;
            link.set(if step.kind == Kind::DatabaseLinkSlow { Link::Slow(SLOW) } else { Link::Dead });
            // Always longer than a worker sends without an answer.
            sleep(Duration::from_secs(1) + step.lasts).await;
            link.set(Link::Good);
        }
        Kind::WorkerCutOff => cut_off(stage, step).await,
        Kind::ReceiverLinkCut => hook(stage, step).link.cut(),
        Kind::ReceiverLinkSlow | Kind::ReceiverLinkDead => {
            let link = &hook(stage, step).link;
            link.set(if step.kind == Kind::ReceiverLinkSlow { Link::Slow(SLOW) } else { Link::Dead });
            sleep(step.lasts).await;
            link.set(Link::Good);
        }
        Kind::ReceiverHangs => answer(stage, step, Answer::Hang).await,
        Kind::ReceiverCloses => answer(stage, step, Answer::Close).await,
        Kind::ReceiverHalf => answer(stage, step, Answer::Half).await,
        Kind::ReceiverRefuses => answer(stage, step, Answer::Status(503)).await,
        Kind::ReceiverSlow => {
            let slowly = Answer::After(Duration::from_millis(700), Box::new(Answer::Status(200)));
            answer(stage, step, slowly).await;
        }
        Kind::NotificationQueue => notify(stage, step, report).await,
        Kind::WalDiskFull => fill_wal_disk(stage, step, report).await,
    }
}

fn hook(stage: &Stage, step: Step) -> &Hook {
    &stage.hooks[step.target % stage.hooks.len()]
}

/// One receiver answers like this for a while.
async fn answer(stage: &Stage, step: Step, answer: Answer) {
    let hook = hook(stage, step);
    hook.receiver.set_script(move |_| answer.clone());
    sleep(step.lasts).await;
    hook.be_well();
}

async fn stop_worker(stage: &mut Stage, step: Step) {
    let worker = &mut stage.workers[step.target % WORKERS];
    worker.process.stop().await;
    worker.start_again().await;
}

async fn pause_worker(stage: &Stage, step: Step) {
    let process = &stage.workers[step.target % WORKERS].process;
    process.signal(Signal::SIGSTOP);
    sleep(step.lasts).await;
    process.signal(Signal::SIGCONT);
}

/// PostgreSQL ends a worker's session and the worker cannot know, while it has much to send: as where a firewall drops
/// every packet and the server's keepalive notices first.
async fn cut_off(stage: &Stage, step: Step) {
    stage.hooks.iter().for_each(|hook| hook.answer_after(BUSY));
    // Enough for some messages to gather in each lane.
    sleep(step.lasts + Duration::from_millis(500)).await;
    let (client, name) = holder(stage, step).await;
    let worker = &stage.workers[step.target % WORKERS];
    worker.link.set(Link::Dead);
    let session = format!("SELECT count(pg_terminate_backend(p.pid)) FROM {LIVING} WHERE w.name LIKE $1");
    let ended: i64 = client.query_one(&session, &[&name]).await.unwrap().get(0);
    assert_eq!(ended, 1, "the session that holds its lock");
    // Longer than until others take over.
    sleep(Duration::from_secs(2)).await;
    worker.link.set(Link::Good);
    stage.hooks.iter().for_each(Hook::be_well);
}

/// Until another worker has taken it for hung and taken its lanes over, and a little longer.
async fn pause_worker_over_lease(stage: &Stage, step: Step) {
    let seized = |stage: &Stage| {
        let outputs = stage.workers.iter().map(|worker| worker.process.output());
        outputs.map(|output| output.matches("its heartbeat stands still").count()).sum::<usize>()
    };
    let before = seized(stage);
    let process = &stage.workers[step.target % WORKERS].process;
    // So that there is more to send than was sent, when it stops and when it goes on.
    stage.hooks.iter().for_each(|hook| hook.answer_after(BUSY));
    sleep(step.lasts / 2).await;
    holder(stage, step).await;
    process.signal(Signal::SIGSTOP);
    eventually("its lanes are seized", async || (seized(stage) > before).then_some(())).await;
    sleep(step.lasts / 2).await;
    process.signal(Signal::SIGCONT);
    // Answers to what it may still send, if it does.
    sleep(2 * BUSY).await;
    stage.hooks.iter().for_each(Hook::be_well);
}

/// Ends PostgreSQL, starts it, and measures from when it is ready to the first delivery.
async fn restart(stage: &mut Stage, mode: Option<ShutdownMode>, step: Step, report: &mut Report) {
    match mode {
        Some(mode) => stage.cluster.postgres.stop(mode).await.unwrap(),
        None => stage.cluster.postgres.kill().await.unwrap(),
    }
    sleep(step.lasts).await;
    stage.cluster.postgres.start_again().await.unwrap();
    recovered(stage, report).await;
}

/// PostgreSQL has just become ready.
async fn recovered(stage: &Stage, report: &mut Report) {
    let (ready, counts) = (Instant::now(), stage.counts());
    let first = eventually("deliveries go on", async || {
        stage.received_after(&counts).iter().map(|one| one.arrived).min()
    })
    .await;
    report.recoveries.push(first - ready);
}

/// Any connection of any worker or of the API.
async fn terminate_backend(stage: &Stage, step: Step) {
    let client = reach_schema(&stage.cluster.url()).await;
    let all =
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtopic' ORDER BY backend_start, pid";
    let rows = client.query(all, &[]).await.unwrap();
    let process: i32 = rows[step.target % rows.len()].get(0);
    client.execute("SELECT pg_terminate_backend($1)", &[&process]).await.unwrap();
}

/// A listener that is idle in a transaction keeps the queue from being emptied while it is filled.
async fn notify(stage: &Stage, step: Step, report: &mut Report) {
    let (listener, client) =
        (reach_schema(&stage.cluster.url()).await, reach_schema(&stage.cluster.url()).await);
    // Only what is committed listens.
    listener.batch_execute("LISTEN noise").await.unwrap();
    listener.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let many = format!(
        "SELECT count(pg_notify('noise', lpad(n::text, 7900, '.'))) FROM generate_series(1, {NOTIFICATIONS}) n"
    );
    client.execute(&many, &[]).await.unwrap();
    let usage: f64 = client.query_one("SELECT pg_notification_queue_usage()", &[]).await.unwrap().get(0);
    assert!(usage > 0.0, "held back");
    sleep(step.lasts).await;
    listener.batch_execute("ROLLBACK").await.unwrap();
    report.queue_usage = report.queue_usage.max(usage);
}

/// Writes until PostgreSQL dies of it, then gives the room back and starts it again.
async fn fill_wal_disk(stage: &mut Stage, step: Step, report: &mut Report) {
    let disk = match &stage.wal_disk {
        Ok(disk) => disk,
        Err(reason) => {
            report.faults.pop();
            report.skip("WalDiskFull", reason);
            return;
        }
    };
    let client = reach_schema(&stage.cluster.url()).await;
    disk.fill();
    // Each takes a segment into use; recycled ones are soon used up.
    let switch =
        "CREATE TABLE IF NOT EXISTS public.noise (); DROP TABLE public.noise; SELECT pg_switch_wal()";
    let mut switches = 0;
    while client.batch_execute(switch).await.is_ok() {
        switches += 1;
        assert!(switches < 100, "the disk does not become full");
        disk.fill();
    }
    sleep(step.lasts).await;
    disk.free();
    let log = std::fs::read_to_string(stage.cluster.postgres.data_dir().join("server.log")).unwrap();
    assert!(log.contains("PANIC") && log.contains("No space left on device"), "it died of something else");
    // It may have come back by itself, or hang in the attempt.
    stage.cluster.postgres.stop(ShutdownMode::Immediate).await.unwrap();
    stage.cluster.postgres.start_again().await.unwrap();
    recovered(stage, report).await;
}

/// How many of each kind.
pub(crate) fn by_kind(faults: &[Fault]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for fault in faults {
        *kinds.entry(fault.kind.as_str()).or_default() += 1;
    }
    kinds
}
