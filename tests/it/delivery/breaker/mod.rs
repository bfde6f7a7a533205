//! Circuit breakers: what an outage costs, and what is sent meanwhile.
//!
//! | file | what it tests |
//! |---|---|
//! | `outages` | receivers that are down and come back |
//! | `poison` | messages that are the problem, not their receiver |
//! | `operated` | operators pause, change and enable a webhook whose breaker is open |
//! | `workers` | several workers, and workers that die |

mod operated;
mod outages;
mod poison;
mod workers;

use pgtopic_testkit::{Answer, Scene};

/// How many lanes there are, with a message each.
const LANES: i64 = 300;

/// A receiver that is down, and a message for each of [`LANES`] lanes.
async fn down(settings: &[(&str, &str)]) -> Scene {
    let scene = Scene::with_webhook(settings).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    publish(&scene, LANES).await;
    scene
}

/// Publishes a message to each of so many partitions.
async fn publish(scene: &Scene, lanes: i64) {
    scene
        .sql(&format!(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || n, '{{}}' FROM generate_series(1, {lanes}) n"
        ))
        .await;
}

const OPEN: &str = "EXISTS (SELECT FROM breakers WHERE state = 'open')";

async fn dead_letters(scene: &Scene) -> i64 {
    scene.number("SELECT count(*) FROM dead_letters").await
}

/// Makes the next probe of each open breaker due now.
async fn probe_now(scene: &Scene) {
    scene.sql("UPDATE breakers SET next_probe_at = clock_timestamp() WHERE state = 'open'").await;
}
