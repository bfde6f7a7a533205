//! Makes faults, some at once, and heals everything.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgtopic_testkit::{Answer, LIVING, Link, eventually, history::Fault, reach_schema};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::{
    incident::{Incident, Step},
    kill::kill_worker,
    kind::Kind,
    living::holder,
    report::Report,
    server,
    stage::{Hook, Stage, Worker},
};

/// How much each packet is delayed over a slow link.
const SLOW: Duration = Duration::from_millis(100);

/// How long receivers take to answer if lanes are to be busy.
const BUSY: Duration = Duration::from_millis(200);

/// Makes all faults of an incident, one after another. Waits, heals them, and notes the results.
///
/// Times are measured only for faults that come alone. What must always hold is checked at the end.
pub(crate) async fn inject(stage: &mut Stage, incident: &Incident, report: &mut Report) {
    // It is held until everything is healed.
    let mut sessions = Vec::new();
    for step in &incident.steps {
        sleep(step.pause).await;
        prepare(stage, step).await;
        let (kind, at) = (step.kind, stage.origin.elapsed());
        println!("{:7.2} {kind}", at.as_secs_f64());
        if incident.is_alone() && step.kind == Kind::KillWorker {
            report.takeovers.push(kill_worker(stage, step).await);
        } else {
            sessions.extend(strike(stage, step, report).await);
        }
        let (in_flight, unwritten) = (kind.in_flight(), kind.unwritten(at, stage.origin.elapsed()));
        report.faults.push(Fault { kind: kind.to_string(), at, in_flight, unwritten });
    }
    report.count(incident);
    sleep(incident.holds()).await;
    for (healed, step) in incident.healing().iter().enumerate() {
        if healed > 0 {
            // What is healed meets what is still broken.
            sleep(step.lasts / 2).await;
        }
        heal(stage, step).await;
        if incident.is_alone() && step.kind.stops_the_server() {
            report.recoveries.push(recovered(stage).await);
        }
    }
}

/// For a fault that is to hit a worker that has much to send. Waits until the worker holds lanes,
/// and gives it much to send.
async fn prepare(stage: &Stage, step: &Step) {
    let gathering = match step.kind {
        Kind::PauseWorkerOverLease => step.lasts / 2,
        // This is long enough for some messages to gather in each lane.
        Kind::WorkerCutOff => step.lasts + Duration::from_millis(500),
        _ => return,
    };
    // With quick receivers, a lane that always owes something stays with its worker. So a worker
    // without lanes would get none.
    holder(stage, step).await;
    stage.hooks.iter().for_each(|hook| hook.answer_after(BUSY));
    sleep(gathering).await;
}

/// Makes one fault, and returns when it is in effect. Returns a session if the fault lasts only as
/// long as that session.
async fn strike(stage: &mut Stage, step: &Step, report: &mut Report) -> Option<Client> {
    match step.kind {
        Kind::KillWorker => worker(stage, step).process.kill9(),
        Kind::StopWorker => worker(stage, step).process.sigterm(),
        Kind::PauseWorker => worker(stage, step).process.signal(Signal::SIGSTOP),
        Kind::PauseWorkerOverLease => pause_over_lease(stage, step).await,
        Kind::KillApi => stage.api.kill9(),
        Kind::StopApi => stage.api.sigterm(),
        Kind::PostgresFast | Kind::PostgresImmediate | Kind::PostgresCrash => {
            server::stop(stage, step.kind).await;
        }
        Kind::TerminateBackend => server::terminate_backend(stage, step).await,
        Kind::DatabaseLinkCut => worker(stage, step).link.cut(),
        Kind::DatabaseLinkSlow => worker(stage, step).link.set(Link::Slow(SLOW)),
        Kind::DatabaseLinkDead => worker(stage, step).link.set(Link::Dead),
        Kind::WorkerCutOff => cut_off(stage, step).await,
        Kind::ReceiverLinkCut => hook(stage, step).link.cut(),
        Kind::ReceiverLinkSlow => hook(stage, step).link.set(Link::Slow(SLOW)),
        Kind::ReceiverLinkDead => hook(stage, step).link.set(Link::Dead),
        Kind::ReceiverHangs => answer(stage, step, Answer::Hang),
        Kind::ReceiverCloses => answer(stage, step, Answer::Close),
        Kind::ReceiverHalf => answer(stage, step, Answer::Half),
        Kind::ReceiverRefuses => answer(stage, step, Answer::Status(503)),
        Kind::ReceiverSlow => {
            let wait = Duration::from_millis(700);
            answer(stage, step, Answer::After(wait, Box::new(Answer::Status(200))));
        }
        Kind::NotificationQueue => return Some(server::hold_notifications(stage, report).await),
        Kind::WalDiskFull => server::fill_wal_disk(stage).await,
    }
    None
}

/// Ends one fault, and returns when the broken part is well.
async fn heal(stage: &mut Stage, step: &Step) {
    match step.kind {
        Kind::KillWorker => worker(stage, step).start_again().await,
        Kind::StopWorker => {
            let worker = worker(stage, step);
            worker.process.stopped().await;
            worker.start_again().await;
        }
        Kind::PauseWorker => worker(stage, step).process.signal(Signal::SIGCONT),
        Kind::PauseWorkerOverLease => {
            worker(stage, step).process.signal(Signal::SIGCONT);
            // It answers what the worker may still send.
            sleep(2 * BUSY).await;
            stage.hooks.iter().for_each(Hook::be_well);
        }
        Kind::KillApi => stage.start_api_again().await,
        Kind::StopApi => {
            stage.api.stopped().await;
            stage.start_api_again().await;
        }
        Kind::PostgresFast | Kind::PostgresImmediate | Kind::PostgresCrash => {
            stage.cluster.postgres.start_again().await.unwrap();
        }
        Kind::DatabaseLinkSlow | Kind::DatabaseLinkDead => worker(stage, step).link.set(Link::Good),
        Kind::WorkerCutOff => {
            worker(stage, step).link.set(Link::Good);
            stage.hooks.iter().for_each(Hook::be_well);
        }
        Kind::ReceiverLinkSlow | Kind::ReceiverLinkDead => hook(stage, step).link.set(Link::Good),
        Kind::ReceiverHangs
        | Kind::ReceiverCloses
        | Kind::ReceiverHalf
        | Kind::ReceiverRefuses
        | Kind::ReceiverSlow => hook(stage, step).be_well(),
        Kind::WalDiskFull => server::free_wal_disk(stage).await,
        // The first three are over at once. The last one ends with its session.
        Kind::TerminateBackend | Kind::DatabaseLinkCut | Kind::ReceiverLinkCut | Kind::NotificationQueue => {}
    }
}

fn worker<'a>(stage: &'a mut Stage, step: &Step) -> &'a mut Worker {
    &mut stage.workers[step.worker()]
}

fn hook<'a>(stage: &'a Stage, step: &Step) -> &'a Hook {
    &stage.hooks[step.target % stage.hooks.len()]
}

/// One receiver answers like this.
fn answer(stage: &Stage, step: &Step, answer: Answer) {
    hook(stage, step).receiver.set_script(move |_| answer.clone());
}

/// PostgreSQL ends a worker's session, and the worker cannot know. This happens if a firewall drops
/// every packet and the server's keepalive notices it first.
async fn cut_off(stage: &Stage, step: &Step) {
    let (client, name) = holder(stage, step).await;
    stage.workers[step.worker()].link.set(Link::Dead);
    let session = format!("SELECT count(pg_terminate_backend(p.pid)) FROM {LIVING} WHERE w.name LIKE $1");
    let ended: i64 = client.query_one(&session, &[&name]).await.unwrap().get(0);
    assert_eq!(ended, 1, "the session that holds its lock");
}

/// Stops a worker until another one has taken its lanes over: since its heartbeat stands still for
/// its lease, or since PostgreSQL has ended its session before, because it took no data.
async fn pause_over_lease(stage: &Stage, step: &Step) {
    let paused = &stage.workers[step.worker()].process;
    let name = format!(":{}\"", paused.id());
    let seized = |stage: &Stage| {
        let taken = |line: &&str| line.contains("took over another worker's lanes") && line.contains(&name);
        let outputs = stage.workers.iter().map(|worker| worker.process.output());
        outputs.map(|output| output.lines().filter(taken).count()).sum::<usize>()
    };
    let registered = format!("SELECT EXISTS (SELECT FROM workers WHERE name LIKE '%:{}')", paused.id());
    let before = seized(stage);
    paused.signal(Signal::SIGSTOP);
    // On a busy machine it may have lost its session by itself a moment before. Then nothing is left
    // to take over.
    eventually("its lanes are seized", async || {
        let client = reach_schema(&stage.cluster.url()).await;
        let is_left = client.query_one(&registered, &[]).await.map(|row| row.get::<_, bool>(0)).ok();
        (seized(stage) > before || is_left == Some(false)).then_some(())
    })
    .await;
}

/// PostgreSQL has just become ready. Measures how long it takes until something is delivered.
async fn recovered(stage: &Stage) -> Duration {
    let (ready, counts) = (Instant::now(), stage.counts());
    let first = eventually("deliveries go on", async || {
        stage.received_after(&counts).iter().map(|one| one.arrived).min()
    })
    .await;
    first - ready
}
