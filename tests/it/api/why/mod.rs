//! Why a message is where it is: every state and reason, as a real database shows it, and with a
//! real worker where it needs one.
//!
//! | file | what it tests |
//! |---|---|
//! | `answers` | partitions, bad input, the command |
//! | `tables` | states and reasons that tables alone make |
//! | `workers` | states and reasons that a worker makes, and remedies |

mod answers;
mod tables;
mod workers;

use pgtopic_testkit::{Scene, eventually};
use serde_json::Value;

use super::Api;

/// A worker that lives, as far as the tables tell, and does nothing.
const IDLE_WORKER: &str = "00000000-0000-0000-0000-000000000001";

/// A scene with one webhook, a day of the attempt log, and an API.
async fn scene(settings: &[(&str, &str)]) -> (Scene, Api) {
    let scene = Scene::with_webhook(settings).await;
    scene.sql("SELECT make_attempt_partitions(1)").await;
    let api = Api::new(scene.store(), &[]);
    (scene, api)
}

/// The same with a worker that does nothing. Its session is that of the scene's client.
async fn idle_scene(settings: &[(&str, &str)]) -> (Scene, Api) {
    let (scene, api) = scene(settings).await;
    scene
        .sql(&format!(
            "INSERT INTO workers (id, lock_key, name, version, capacity, lease) VALUES ('{IDLE_WORKER}', -7, 'idle/1', '0', 10, '1 hour');
             SELECT pg_advisory_lock(stripe_class(), -7)"
        ))
        .await;
    (scene, api)
}

/// The one entry of a message.
async fn entry(api: &Api, id: i64) -> Value {
    let answer = api.get(&format!("/messages/{id}/why")).await.expect(200);
    assert_eq!(answer["message_id"], id);
    assert_eq!(answer["webhooks"].as_array().unwrap().len(), 1, "{answer}");
    answer["webhooks"][0].clone()
}

/// The entry of a message once it has this state and reason.
async fn becomes(api: &Api, id: i64, state: &str, reason: &str) -> Value {
    let reason = if reason.is_empty() { Value::Null } else { reason.into() };
    eventually(&format!("{state} {reason} of {id}"), async || {
        let entry = entry(api, id).await;
        (entry["state"] == state && entry["reason"] == reason).then_some(entry)
    })
    .await
}

/// The entry of a message, which has this state and reason at once.
#[track_caller]
fn is(entry: &Value, state: &str, reason: &str) {
    let reason = if reason.is_empty() { Value::Null } else { reason.into() };
    assert_eq!((&entry["state"], &entry["reason"]), (&state.into(), &reason), "{entry}");
}

#[track_caller]
fn says(entry: &Value, needle: &str) {
    assert!(entry["text"].as_str().unwrap().contains(needle), "no {needle:?} in {entry}");
}
