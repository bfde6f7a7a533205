//! The engine: claims, reads, settles, looks, and rows that make one of these fail.
//!
//! | file | what it tests |
//! |---|---|
//! | `attempt_log` | an attempt log that cannot be written costs only its own rows |
//! | `bad_rows` | a row that cannot be read holds up only its own lane |
//! | `changed_targets` | reading only the webhooks that have changed |
//! | `clock_steps` | steps of the database's clock |
//! | `discarded_plans` | when a session discards the plans that it keeps |
//! | `due_webhooks` | which webhooks have a lane to claim |
//! | `idle_lanes` | idle lanes that are held, and tail reads |
//! | `isolation` | a row that cannot be written holds up only its own lane |
//! | `leftovers` | deleted messages and webhooks, retention |
//! | `notifications` | what a notification says, and what a worker does with it |
//! | `plans` | query plans that are kept while tables grow |
//! | `settle` | one call of `settle`, and one call of `remove_idle_lanes` |
//! | `time_limits` | how long statements may wait and run |
//! | `turns` | more lanes than slots |
//! | `waking` | how soon workers look, with and without notifications |

mod attempt_log;
mod bad_rows;
mod changed_targets;
mod clock_steps;
mod discarded_plans;
mod due_webhooks;
mod idle_lanes;
mod isolation;
mod leftovers;
mod notifications;
mod plans;
mod settle;
mod shares;
mod time_limits;
mod turns;
mod waking;
mod worker_topics;

use pgtopic_testkit::Scene;
use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;

/// How many pages a statement reads, from memory or from disk. The statement is run.
async fn pages(scene: &Scene, statement: &str) -> i64 {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}");
    let answer = scene.client.simple_query(&explain).await.unwrap();
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: Value = serde_json::from_str(row.unwrap()).unwrap();
    let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().unwrap();
    blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
}
