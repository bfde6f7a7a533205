//! Which workers live, as PostgreSQL sees it.

use tokio_postgres::Client;

use crate::{
    incident::Step,
    stage::{Stage, WORKERS},
    support::{LIVING, eventually, reach_schema},
};

/// Waits until the worker lives and holds lanes: it may still be recovering from the fault before. Gives a pattern of its name.
pub(crate) async fn holder(stage: &Stage, step: &Step) -> (Client, String) {
    let client = reach_schema(&stage.cluster.url()).await;
    let name = format!("%:{}", stage.workers[step.worker()].process.id());
    let holds = format!(
        "SELECT EXISTS (SELECT FROM {LIVING} JOIN lanes l ON l.claimed_by = w.id WHERE w.name LIKE $1)"
    );
    eventually("the worker holds lanes", async || {
        client.query_one(&holds, &[&name]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
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
