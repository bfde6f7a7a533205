//! Background work: the leader, and what it does.
//!
//! | file | what holds |
//! |---|---|
//! | `backfill` | a new webhook gets earlier messages |
//! | `dead_letters` | many dead letters at once |
//! | `events` | changes of state that are published |
//! | `jobs` | replay, cancel and purge: what they do, their limits, what they wait for |
//! | `killed` | jobs whose leader is killed in the middle |
//! | `plans` | what steps of jobs read |
//! | `samples` | what webhooks are owed and how they do; activity that grows old |
//! | `leader` | one worker leads; another takes the lead when it is gone; an old leader does nothing |

mod backfill;
mod dead_letters;
mod events;
mod jobs;
mod killed;
mod leader;
mod plans;
mod samples;

use pgtopic_testkit::{Http, Scene, eventually};
use serde_json::{Value, json};

/// Publishes this many messages to each of some partitions, in turn.
async fn publish_many(scene: &Scene, each: i64, partitions: i64) {
    let sql = format!(
        "INSERT INTO messages (topic_id, partition_key, payload)
         SELECT 1, 'key-' || k, '{{}}' FROM generate_series(1, {each}) n CROSS JOIN generate_series(1, {partitions}) k ORDER BY n, k"
    );
    scene.sql(&sql).await;
}

/// Asks for a job, which must be made. Returns its path.
async fn start_job(http: &Http, path: &str, body: &Value) -> String {
    let (status, job) = http.try_post(path, body).await.unwrap();
    assert_eq!(status, 202, "{job}");
    format!("/jobs/{}", job["id"])
}

/// Waits until a job has ended, and returns it.
async fn ended(http: &Http, path: &str) -> Value {
    eventually("the job ends", async || {
        let job = http.get(path).await;
        (!job["finished_at"].is_null()).then_some(job)
    })
    .await
}

/// Waits until a job has done something, and returns it.
async fn begun(http: &Http, path: &str) -> Value {
    eventually("the job has begun", async || {
        let job = http.get(path).await;
        (job["done"] != json!(0)).then_some(job)
    })
    .await
}
