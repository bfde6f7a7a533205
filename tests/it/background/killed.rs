//! Jobs whose leader is killed in the middle, as by `kill -9`.

use pgtopic_testkit::{Http, Process, Scene};
use serde_json::json;

use super::{begun, ended, publish_many, start_job};

async fn worker(scene: &Scene) -> Process {
    let mut process = Process::start(&["worker"], &scene.database.environment());
    process.wait_for_output("worker is ready").await;
    process
}

/// The webhook is paused. So what is owed is what the job has done: each message once.
#[tokio::test]
async fn a_replay_goes_on_where_it_was_when_its_leader_is_killed() {
    let scene = Scene::with_webhook(&[("paused", "true")]).await;
    publish_many(&scene, 500, 4).await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    let http = Http::serve(scene.store()).await;
    let mut first = worker(&scene).await;
    first.wait_for_output("this worker leads").await;
    let mut second = worker(&scene).await;
    let job = start_job(&http, "/webhooks/1/replay", &json!({"from": 1, "rate_per_second": 600})).await;
    begun(&http, &job).await;
    first.kill9();
    let done = begun(&http, &job).await["done"].as_i64().unwrap();
    assert!(done < 2000, "it was killed in the middle: {done}");
    let job = ended(&http, &job).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("succeeded"), &json!(2000)), "{job}");
    assert_eq!(job["skipped"], json!({"already_owed": 0, "gone": 0, "filtered": 0}));
    scene.check_fan_out(2000, 4).await;
    second.stop().await;
}

#[tokio::test]
async fn a_backfill_goes_on_where_it_was_when_its_leader_is_killed() {
    let scene = Scene::new().await;
    publish_many(&scene, 15_000, 4).await;
    let http = Http::serve(scene.store()).await;
    let mut first = worker(&scene).await;
    first.wait_for_output("this worker leads").await;
    let mut second = worker(&scene).await;
    let body = json!({"topic": "orders", "url": scene.receiver.url("/"), "start_from": "beginning"});
    let (_, webhook) = http.try_post("/webhooks", &body).await.unwrap();
    http.try_post(&format!("/webhooks/{}/pause", webhook["id"]), &json!({})).await.unwrap();
    begun(&http, "/jobs/1").await;
    first.kill9();
    let done = begun(&http, "/jobs/1").await["done"].as_i64().unwrap();
    assert!(done < 60_000, "it was killed in the middle: {done}");
    let job = ended(&http, "/jobs/1").await;
    assert_eq!((&job["state"], &job["done"]), (&json!("succeeded"), &json!(60_000)), "{job}");
    assert_eq!(http.get("/webhooks/1").await["state"], "active");
    scene.check_fan_out(60_000, 4).await;
    second.stop().await;
}
