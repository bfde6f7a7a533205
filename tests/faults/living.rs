//! Which workers live, by the rows that PostgreSQL holds.

use pgtopic_testkit::{LIVING, eventually, reach_schema, within_limit};
use tokio_postgres::Client;

use crate::{
    incident::Step,
    stage::{Stage, WORKERS},
};

/// Waits until the worker lives and holds lanes. It may still be recovering from the fault before.
/// Returns a pattern of its name.
pub(crate) async fn holder(stage: &Stage, step: &Step) -> (Client, String) {
    let client = reach_schema(&stage.cluster.url()).await;
    let name = format!("%:{}", stage.workers[step.worker()].process.id());
    let holds = format!(
        "SELECT EXISTS (SELECT FROM {LIVING} JOIN lanes l ON l.claimed_by = w.id WHERE w.name LIKE $1)"
    );
    let held = within_limit(async || {
        client.query_one(&holds, &[&name]).await.unwrap().get::<_, bool>(0).then_some(())
    });
    assert!(held.await.is_some(), "{name} holds no lane: {}", what_is_going_on(&client).await);
    (client, name)
}

/// Waits until all workers have a session.
pub(crate) async fn all_live(client: &Client) {
    let living = format!("SELECT count(*) FROM {LIVING}");
    eventually("all workers live", async || {
        let living: i64 = client.query_one(&living, &[]).await.unwrap().get(0);
        (usize::try_from(living) == Ok(WORKERS)).then_some(())
    })
    .await;
}

/// Who holds which lanes, and what the sessions do. It is printed with a failure that cannot be
/// repeated.
async fn what_is_going_on(client: &Client) -> String {
    let sql = "SELECT jsonb_pretty(jsonb_build_object(
                 'workers', (SELECT jsonb_agg(to_jsonb(w) || jsonb_build_object(
                               'lanes', (SELECT count(*) FROM lanes l WHERE l.claimed_by = w.id))) FROM workers w),
                 'lanes', (SELECT jsonb_agg(to_jsonb(l)) FROM lanes l),
                 'silence', (SELECT to_timestamp(last_value / 1e6) - clock_timestamp() FROM notify_suppressed_until),
                 'sessions', (SELECT jsonb_agg(jsonb_build_object('pid', a.pid, 'began', a.backend_start, 'state', a.state,
                                'changed', a.state_change, 'waits', a.wait_event, 'query', left(a.query, 60)))
                                FROM pg_stat_activity a WHERE a.application_name = 'pgtopic')))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}
