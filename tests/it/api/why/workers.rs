//! States and reasons that a real worker makes, and remedies that help.

use axum::{
    body::Body,
    http::{Method, Request},
};
use pgtopic_testkit::{Answer, Broker, Gate, eventually, quick_delivery};
use serde_json::{Value, json};

use super::{super::Api, becomes, entry, is, says, scene};

#[tokio::test]
async fn a_message_on_its_way_through_a_worker() {
    let (scene, api) = scene(&[]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |_| Answer::Held(held.clone(), Box::new(Answer::Status(204))));
    let _broker = Broker::start(scene.store());
    let [head, follower] = scene.publish(&["a", "a"]).await[..] else { unreachable!() };
    scene.receiver.wait_for(1).await;
    let request = entry(&api, head).await;
    is(&request, "in_flight", "request");
    let worker = scene.text("SELECT id::text || name FROM workers").await;
    let (id, name) = worker.split_at(36);
    assert_eq!(request["worker"], id);
    says(&request, name);
    let behind = entry(&api, follower).await;
    is(&behind, "waiting", "behind");
    assert_eq!((&behind["blocked_by"], &behind["estimate_seconds"]), (&json!(head), &Value::Null));
    gate.open();
    let accepted = becomes(&api, follower, "delivered", "accepted").await;
    assert_eq!((&accepted["attempts"], &accepted["last_status_code"]), (&json!(1), &json!(204)));
    assert_eq!(accepted["remedy"], Value::Null);
}

#[tokio::test]
async fn a_message_that_fails() {
    let settings = [("backoff_factor", "60"), ("max_retries", "2"), ("on_exhausted", "'halt'")];
    let (scene, api) = scene(&settings).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    let _broker = Broker::start(scene.store());
    let [head, follower] = scene.publish(&["it's", "it's"]).await[..] else { unreachable!() };
    let failed = becomes(&api, head, "waiting", "backoff").await;
    let seconds = failed["estimate_seconds"].as_i64().unwrap();
    assert!((50..=73).contains(&seconds), "{failed}");
    assert!(failed["next_attempt_at"].is_string());
    assert_eq!(failed["attempts"], 1);
    says(&failed, "has failed once");
    assert_eq!(failed["remedy"]["body"], json!({"partition_key": "it's"}));
    assert_eq!(failed["remedy"]["command"], r"pgtopic lanes retry 1 --partition-key='it'\''s'");
    let behind = entry(&api, follower).await;
    is(&behind, "waiting", "behind");
    assert!(behind["estimate_seconds"].is_i64());
    assert_eq!((&behind["remedy"], &behind["next_attempt_at"]), (&failed["remedy"], &Value::Null));

    scene.sql("UPDATE lanes SET due_at = clock_timestamp(), wait_seconds = NULL").await;
    let halted = becomes(&api, head, "waiting", "halted").await;
    assert_eq!(halted["attempts"], 2);
    assert_eq!(halted["remedy"]["path"], "/webhooks/1/lanes/retry");
    let behind = entry(&api, follower).await;
    is(&behind, "waiting", "behind");
    says(&behind, "has halted its lane");
}

#[tokio::test]
async fn limits_of_a_real_worker() {
    let (scene, api) = scene(&[("rate_limit_per_second", "0.01")]).await;
    let broker = Broker::start(scene.store());
    let ids = scene.publish(&["a", "b"]).await;
    scene.receiver.wait_for(1).await;
    let waiting = eventually("one of them waits for the rate", async || {
        for id in &ids {
            let entry = entry(&api, *id).await;
            if entry["reason"] == "rate_limit" {
                return Some(entry);
            }
        }
        None
    })
    .await;
    assert!(waiting["estimate_seconds"].as_i64().unwrap() > 50, "{waiting}");
    says(&waiting, "0.01 a second");
    raise(&api, &waiting).await;
    assert_eq!(scene.text("SELECT rate_limit_per_second::text FROM webhooks").await, "0.02");
    broker.stop().await;

    // One slot, and it hangs.
    scene
        .sql("UPDATE webhooks SET rate_limit_per_second = NULL; DELETE FROM deliveries; DELETE FROM lanes")
        .await;
    scene.receiver.set_script(|_| Answer::Hang);
    let count = scene.receiver.count();
    let _broker = Broker::with(scene.store(), 1, quick_delivery());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for(count + 1).await;
    let second = scene.publish(&["b"]).await[0];
    becomes(&api, second, "waiting", "slots_busy").await;
}

/// Follows a remedy that raises a limit of the webhook.
async fn raise(api: &Api, entry: &Value) {
    let remedy = &entry["remedy"];
    assert_eq!((&remedy["method"], &remedy["path"]), (&json!("PATCH"), &json!("/webhooks/1")), "{entry}");
    let changes = remedy["body"].to_string();
    api.text(Method::PATCH, "/webhooks/1", "application/json", changes).await.expect(200);
}

#[tokio::test]
async fn a_higher_max_in_flight_lets_a_lane_go_on() {
    let (scene, api) = scene(&[("max_in_flight", "1")]).await;
    scene.receiver.set_script(|_| Answer::Hang);
    let _broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for(1).await;
    let second = scene.publish(&["b"]).await[0];
    let waiting = becomes(&api, second, "waiting", "max_in_flight").await;
    assert_eq!(waiting["remedy"]["command"], "pgtopic webhooks update 1 --max-in-flight 2");
    raise(&api, &waiting).await;
    becomes(&api, second, "in_flight", "request").await;
}

/// Each remedy is a request that helps.
#[tokio::test]
async fn remedies_help() {
    let (scene, api) = scene(&[("max_retries", "1")]).await;
    scene.receiver.set_script(|_| Answer::Status(500));
    let broker = Broker::start(scene.store());
    let follow = async |entry: &Value| {
        let remedy = &entry["remedy"];
        let (path, body) = (remedy["path"].as_str().unwrap(), &remedy["body"]);
        assert_eq!(remedy["method"], "POST");
        let answer = if body.is_null() {
            api.send(Request::post(path).body(Body::empty()).unwrap()).await
        } else {
            api.post(path, body).await
        };
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    };
    let dead = scene.publish(&["a"]).await[0];
    let given_up = becomes(&api, dead, "dead", "attempts_exhausted").await;
    // A running worker hears of the change some time after the commit.
    broker.stop().await;
    scene.sql("UPDATE webhooks SET on_exhausted = 'halt'").await;
    let broker = Broker::start(scene.store());
    let halted = scene.publish(&["b"]).await[0];
    let stands_still = becomes(&api, halted, "waiting", "halted").await;
    assert!(stands_still["since"].is_string());
    scene.receiver.set_script(|_| Answer::Status(204));
    follow(&given_up).await;
    becomes(&api, dead, "delivered", "accepted").await;
    follow(&stands_still).await;
    becomes(&api, halted, "delivered", "accepted").await;

    // Without a worker nothing is on its way.
    broker.stop().await;
    let id = scene.publish(&["c"]).await[0];
    for (change, reason) in [
        ("UPDATE webhooks SET paused = true", "paused"),
        ("UPDATE webhooks SET disabled_reason = 'gone'", "disabled"),
        ("UPDATE topics SET paused = 'hold'", "topic_held"),
        ("UPDATE installation SET sending = false", "not_sending"),
        ("DELETE FROM lanes WHERE partition_key = 'c'", "no_lane"),
    ] {
        scene.sql(change).await;
        let stopped = entry(&api, id).await;
        is(&stopped, "waiting", reason);
        follow(&stopped).await;
        if reason == "no_lane" {
            let canceled = entry(&api, id).await;
            is(&canceled, "canceled", "");
            follow(&canceled).await;
        }
        is(&entry(&api, id).await, "waiting", "no_worker");
    }
    let _broker = Broker::start(scene.store());
    becomes(&api, id, "delivered", "accepted").await;

    scene.webhook("/younger", &[]).await;
    let younger = async || api.get(&format!("/messages/{dead}/why")).await.expect(200)["webhooks"][1].clone();
    follow(&younger().await).await;
    eventually("the younger webhook has it", async || {
        (younger().await["state"] == "delivered").then_some(())
    })
    .await;
}
