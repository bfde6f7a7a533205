//! Operators pause, change and enable a webhook whose breaker is open.

use pgtopic_testkit::{Answer, Broker, Http, Scene, TestReceiver, quick_delivery};
use serde_json::json;

use super::{OPEN, dead_letters, down, probe_now, publish};

#[tokio::test]
async fn enable_closes_it_and_why_and_health_tell_of_it() {
    let scene = down(&[("max_retries", "1")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.until("NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)").await;
    let http = Http::serve(scene.store()).await;
    let webhook = http.get("/webhooks/1").await;
    assert_eq!(webhook["health"]["state"], "open");
    let breaker = &webhook["health"]["breaker"];
    assert!(breaker["state"] == "open" || breaker["state"] == "half_open", "{breaker}");
    assert!(breaker["opened_at"].is_string() && breaker["next_probe_at"].is_string(), "{breaker}");
    assert_eq!(http.get("/webhooks?state=open").await["items"].as_array().unwrap().len(), 1);
    // The last one: no probe has come to it yet.
    let id = scene.number("SELECT max(message_id) FROM deliveries").await;
    let why = http.get(&format!("/messages/{id}/why")).await["webhooks"][0].clone();
    assert_eq!((&why["state"], &why["reason"]), (&json!("waiting"), &json!("breaker_open")), "{why}");
    assert_eq!(why["remedy"]["path"], "/webhooks/1/enable");

    scene.receiver.set_script(|_| Answer::Status(204));
    let enabled = http.act("/webhooks/1/enable", &json!({})).await;
    assert_eq!(enabled["health"]["breaker"]["state"], "closed");
    scene.nothing_owed().await;
    let reason = scene.text("SELECT reason || changed_by FROM changes WHERE kind = 'webhook.closed'").await;
    assert!(reason.contains("it was enabled"), "{reason}");
}

#[tokio::test]
async fn another_url_closes_it() {
    let scene = down(&[("max_retries", "1")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    let other = TestReceiver::accepting().await;
    let http = Http::serve(scene.store()).await;
    let changed = http.patch("/webhooks/1", &json!({"url": other.url("/")})).await;
    assert_eq!(changed["health"]["breaker"]["state"], "closed");
    scene.nothing_owed().await;
    assert_eq!(dead_letters(&scene).await, 5);
}

#[tokio::test]
async fn a_paused_webhook_is_not_probed() {
    let scene = Scene::new().await;
    for path in ["/1", "/2"] {
        scene.webhook(path, &[("max_retries", "1")]).await;
    }
    scene.receiver.set_script(|_| Answer::Status(503));
    publish(&scene, 50).await;
    let _broker = Broker::start(scene.store());
    scene.until("count(*) = 2 FROM breakers WHERE state = 'open'").await;
    scene.sql("UPDATE webhooks SET paused = true WHERE id = 1").await;
    scene.until("NOT EXISTS (SELECT FROM breakers WHERE webhook_id = 1 AND probe_until > now())").await;
    let before = scene.receiver.count();
    probe_now(&scene).await;
    // Each look takes the turn of all webhooks whose probes are due.
    for _ in 0..3 {
        let count = scene.receiver.count();
        probe_now(&scene).await;
        scene.receiver.wait_for(count + 1).await;
    }
    let paths: Vec<String> = scene.receiver.received_after(before).into_iter().map(|one| one.path).collect();
    assert!(paths.iter().all(|path| path == "/2"), "{paths:?}");
    scene.sql("UPDATE webhooks SET paused = false WHERE id = 1").await;
    scene.receiver.wait_until("a probe", |all| all[before..].iter().any(|one| one.path == "/1")).await;
}

#[tokio::test]
async fn after_some_days_it_is_disabled_and_keeps_its_backlog() {
    let scene = down(&[("max_retries", "1")]).await;
    let _broker = Broker::start(scene.store());
    scene.until(OPEN).await;
    scene.sql("UPDATE breakers SET opened_at = now() - interval '5 days 1 minute'").await;
    probe_now(&scene).await;
    scene.until("disabled_reason IS NOT NULL FROM webhooks").await;
    let reason = scene.text("SELECT disabled_reason FROM webhooks").await;
    assert!(reason.contains("5 days"), "{reason}");
    assert!(scene.number("SELECT count(*) FROM deliveries").await > 200);
    // Enabling closes the breaker.
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.sql("UPDATE webhooks SET disabled_reason = NULL").await;
    scene.nothing_owed().await;
    assert_eq!(scene.text("SELECT state FROM breakers").await, "closed");
}

#[tokio::test]
async fn a_setting_of_0_days_never_disables() {
    let scene = down(&[("max_retries", "1")]).await;
    let delivery = pgtopic::config::DeliveryConfig { disable_after_days: 0, ..quick_delivery() };
    let _broker = Broker::with(scene.store(), 100, delivery);
    scene.until(OPEN).await;
    scene.sql("UPDATE breakers SET opened_at = now() - interval '500 days', probes = 0").await;
    probe_now(&scene).await;
    scene.until("max(probes) >= 1 FROM breakers").await;
    assert_eq!(scene.text("SELECT disabled_reason FROM webhooks").await, "");
}
