//! Faults of PostgreSQL itself.

use pgtopic::embedded::ShutdownMode;
use pgtopic_testkit::{eventually, reach_schema};
use tokio_postgres::Client;

use crate::{incident::Step, kind::Kind, report::Report, stage::Stage, wal_disk::WalDisk};

/// How many NOTIFYs an idle listener holds back. They do not fill the queue: that would take 8 GiB.
const NOTIFICATIONS: usize = 1000;

/// Ends PostgreSQL.
pub(crate) async fn stop(stage: &mut Stage, kind: Kind) {
    let postgres = &mut stage.cluster.postgres;
    match kind {
        Kind::PostgresFast => postgres.stop(ShutdownMode::Fast).await.unwrap(),
        Kind::PostgresImmediate => postgres.stop(ShutdownMode::Immediate).await.unwrap(),
        _ => postgres.kill().await.unwrap(),
    }
}

/// Ends any connection of any worker or of the API.
pub(crate) async fn terminate_backend(stage: &Stage, step: &Step) {
    let client = reach_schema(&stage.cluster.url()).await;
    let all =
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtopic' ORDER BY backend_start, pid";
    // They may all have lost their connections a moment ago.
    let rows = eventually("a connection to end", async || {
        Some(client.query(all, &[]).await.unwrap()).filter(|rows| !rows.is_empty())
    })
    .await;
    let process: i32 = rows[step.target % rows.len()].get(0);
    client.execute("SELECT pg_terminate_backend($1)", &[&process]).await.unwrap();
}

/// A listener that is idle in a transaction. The queue cannot be emptied while it is filled. It
/// ends with its session.
pub(crate) async fn hold_notifications(stage: &Stage, report: &mut Report) -> Client {
    let (listener, client) =
        (reach_schema(&stage.cluster.url()).await, reach_schema(&stage.cluster.url()).await);
    // A LISTEN takes effect when it is committed.
    listener.batch_execute("LISTEN noise").await.unwrap();
    listener.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let many = format!(
        "SELECT count(pg_notify('noise', lpad(n::text, 7900, '.'))) FROM generate_series(1, {NOTIFICATIONS}) n"
    );
    client.execute(&many, &[]).await.unwrap();
    let usage: f64 = client.query_one("SELECT pg_notification_queue_usage()", &[]).await.unwrap().get(0);
    assert!(usage > 0.0, "held back");
    report.queue_usage = report.queue_usage.max(usage);
    listener
}

/// Writes until PostgreSQL panics.
pub(crate) async fn fill_wal_disk(stage: &Stage) {
    let client = reach_schema(&stage.cluster.url()).await;
    let disk = wal_disk(stage);
    disk.fill();
    // Each call takes a segment into use. Recycled segments are soon used up.
    let switch =
        "CREATE TABLE IF NOT EXISTS public.noise (); DROP TABLE public.noise; SELECT pg_switch_wal()";
    let mut switches = 0;
    while client.batch_execute(switch).await.is_ok() {
        switches += 1;
        assert!(switches < 100, "the disk does not become full");
        disk.fill();
    }
}

/// Frees the room again, and starts PostgreSQL.
pub(crate) async fn free_wal_disk(stage: &mut Stage) {
    wal_disk(stage).free();
    let log = std::fs::read_to_string(stage.cluster.postgres.data_dir().join("server.log")).unwrap();
    assert!(log.contains("PANIC") && log.contains("No space left on device"), "it died of something else");
    // It may have started by itself, or it may hang while it starts.
    stage.cluster.postgres.stop(ShutdownMode::Immediate).await.unwrap();
    stage.cluster.postgres.start_again().await.unwrap();
}

fn wal_disk(stage: &Stage) -> &WalDisk {
    stage.wal_disk.as_ref().expect("where there is none, it is not filled")
}
