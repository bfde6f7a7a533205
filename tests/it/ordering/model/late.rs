//! Settles that come late. A worker was taken for dead, and another worker holds its lane. Then it
//! reports that a message was accepted.

use std::collections::HashMap;

use pgtopic::{
    domain::lane::LaneKey,
    store::{LaneChange, LaneOutcomes, LaneState, Settlement, Store},
};
use pgtopic_testkit::LIVING;
use tokio_postgres::Client;
use uuid::Uuid;

/// A lane as a worker has claimed it.
pub(super) struct HeldClaim {
    worker: Uuid,
    key: LaneKey,
    token: i64,
    generation: i32,
    /// The messages that it owes, in order.
    owed: Vec<i64>,
}

/// Whether a live worker has claimed a lane.
pub(super) async fn is_anything_held(client: &Client) -> bool {
    let sql = format!("SELECT EXISTS (SELECT FROM {LIVING} JOIN lanes l ON l.claimed_by = w.id)");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// All lanes that are claimed.
pub(super) async fn what_is_held(client: &Client) -> Vec<HeldClaim> {
    let sql = "SELECT l.claimed_by, l.webhook_id, l.lane, l.token, l.generation, array_agg(d.message_id ORDER BY d.message_id)
                 FROM lanes l JOIN deliveries d USING (webhook_id, lane)
                WHERE l.claimed_by IS NOT NULL
                GROUP BY l.webhook_id, l.lane";
    let claim = |row: &tokio_postgres::Row| HeldClaim {
        worker: row.get(0),
        key: LaneKey { webhook_id: row.get(1), lane: row.get(2) },
        token: row.get(3),
        generation: row.get(4),
        owed: row.get(5),
    };
    client.query(sql, &[]).await.unwrap().iter().map(claim).collect()
}

/// Settles the claims of workers that were taken for dead: everything was accepted. None of these
/// settles may count. Returns whether all other claims are of live workers.
pub(super) async fn settle_what_is_lost(store: &Store, client: &Client, claims: &mut Vec<HeldClaim>) -> bool {
    let sql =
        format!("SELECT known.id, EXISTS (SELECT FROM {LIVING} WHERE w.id = known.id) FROM workers known");
    let rows = client.query(&sql, &[]).await.unwrap();
    let known: HashMap<Uuid, bool> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for claim in claims.extract_if(.., |claim| !known.contains_key(&claim.worker)) {
        let HeldClaim { worker, key, token, generation, owed } = claim;
        let change = LaneChange {
            generation,
            position: owed.last().copied().unwrap_or_default(),
            state: LaneState::Ready,
            failed: None,
            failures: 0,
            split_until: None,
            last_error: None,
            epoch: None,
        };
        let outcomes = LaneOutcomes { done: owed, change: Some(change), ..LaneOutcomes::default() };
        store.settle(worker, &Settlement::from([((key, token), outcomes)])).await.unwrap();
    }
    claims.iter().all(|claim| known[&claim.worker])
}
