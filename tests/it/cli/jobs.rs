//! Commands that make jobs, and watch them.

use pgtopic_testkit::{Broker, Scene};
use serde_json::{Value, json};

use super::operators::run_with;

/// What a command printed as JSON. It must succeed.
async fn json_of(scene: &Scene, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let said = run_with(&arguments, &scene.database.environment(), "", |_| {}).await;
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    serde_json::from_str(&said.out).unwrap()
}

#[tokio::test]
async fn a_range_is_replayed_watched_and_listed() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    scene.publish(&["a", "b", "a"]).await;
    scene.nothing_owed().await;
    let replay = ["replay", "orders:webhook-1", "--from", "2"];
    let dry_run = json_of(&scene, &[&replay[..], &["--dry-run"]].concat()).await;
    assert_eq!((&dry_run["matches"], &dry_run["sample_ids"]), (&json!(2), &json!([2, 3])));
    // Nobody can be asked.
    let asked = run_with(&replay, &scene.database.environment(), "", |_| {}).await;
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.err.contains("--yes"), "{asked:?}");
    let job = json_of(&scene, &[&replay[..], &["--yes"]].concat()).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("succeeded"), &json!(2)));
    assert!(job["created_by"].as_str().unwrap().starts_with("command line"), "{job}");
    assert_eq!(json_of(&scene, &["jobs", "show", "1"]).await, job);
    assert_eq!(json_of(&scene, &["jobs", "list", "--kind", "replay"]).await["items"], json!([job]));
    let canceled =
        run_with(&["jobs", "cancel", "1", "--json"], &scene.database.environment(), "", |_| {}).await;
    assert_eq!(canceled.code, 1, "{canceled:?}");
    let problem: Value = serde_json::from_str(&canceled.err).unwrap();
    assert_eq!(problem["type"], "/problems/job-finished");
    scene.nothing_owed().await;
    assert_eq!(scene.receiver.received().len(), 5);
}

#[tokio::test]
async fn dead_letters_deliveries_and_what_is_old_go_at_once() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    let _broker = Broker::start(scene.store());
    scene.publish(&["a", "b", "a"]).await;
    let job = json_of(&scene, &["deliveries", "cancel-range", "1", "--partition-key", "a", "--yes"]).await;
    assert_eq!((&job["kind"], &job["done"]), (&json!("cancel"), &json!(2)));
    let job = json_of(&scene, &["dead-letter", "replay", "--reason", "canceled", "--yes"]).await;
    assert_eq!((&job["kind"], &job["done"]), (&json!("dead_letter_replay"), &json!(2)));
    json_of(&scene, &["deliveries", "cancel-range", "1", "--all", "--yes"]).await;
    let job =
        json_of(&scene, &["dead-letter", "discard", "--reason", "canceled", "--yes", "--no-wait"]).await;
    assert_eq!(job["kind"], "dead_letter_discard");
    let job = json_of(&scene, &["jobs", "wait", &job["id"].to_string()]).await;
    assert_eq!(job["done"], 3);
    assert_eq!(json_of(&scene, &["purge", "--yes"]).await["state"], "succeeded");
    for (arguments, says) in [
        (&["dead-letter", "discard", "--yes"][..], "--all"),
        (&["dead-letter", "discard", "1", "--topic", "orders", "--yes"], "not both"),
        (&["deliveries", "cancel-range", "1", "--yes"], "--all"),
        (&["replay", "1", "--from", "yesterday"], "2026-"),
    ] {
        let said = run_with(arguments, &scene.database.environment(), "", |_| {}).await;
        assert!(said.code != 0 && said.err.contains(says), "{arguments:?}: {said:?}");
    }
}

/// A job that did not succeed is an error for whoever waits for it.
#[tokio::test]
async fn waiting_for_a_job_that_was_canceled_fails() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a"]).await;
    json_of(&scene, &["replay", "1", "--all", "--yes", "--no-wait"]).await;
    json_of(&scene, &["jobs", "cancel", "1"]).await;
    let _broker = Broker::start(scene.store());
    let said = run_with(&["jobs", "wait", "1"], &scene.database.environment(), "", |_| {}).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.err, "pgtopic: job 1 has ended: canceled\n");
}
