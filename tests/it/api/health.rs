//! Figures, workers and sending: what is asked wrongly, and who may ask. What they show is tested in
//! `background` and `database`.

use pgtopic_testkit::{Puppet, Scene, TestDatabase, eventually};
use serde_json::json;

use super::Api;

#[tokio::test]
async fn what_is_asked_wrongly_is_named() {
    let (_database, api) = Api::with_topic().await;
    api.get("/stats?topic=nobody").await.problem(404);
    api.get("/stats?topic=orders").await.expect(200);
    api.get("/stats?topic=1").await.expect(200);
    assert_eq!(api.get("/stats?topics=orders").await.problem(422)["field"], "topics");
    assert_eq!(api.get("/workers?state=live").await.problem(422)["field"], "state");
    for (body, field) in [
        (json!({}), "sending"),
        (json!({"sending": null}), "sending"),
        (json!({"sending": "yes"}), "sending"),
        (json!({"sending": true, "reason": ""}), "reason"),
        (json!({"sending": false, "reason": "x".repeat(1001)}), "reason"),
        (json!({"sending": false, "reason": "a\u{0}b"}), "reason"),
        (json!({"sending": true, "by": "me"}), "by"),
    ] {
        assert_eq!(api.post("/sending", &body).await.problem(422)["field"], field, "{body}");
    }
    let sending = api.get("/sending").await.expect(200);
    assert_eq!(
        sending,
        json!({"sending": true, "why_not": null, "detail": null, "reason": null, "changed_by": null}),
        "nothing was switched"
    );
}

#[tokio::test]
async fn a_probe_says_that_nothing_is_sent() {
    let (_database, api) = Api::with_topic().await;
    api.get("/readyz").await.expect(200);
    let off = api.post("/sending", &json!({"sending": false, "reason": "maintenance"})).await.expect(200);
    assert_eq!(off["why_not"], "switched_off");
    let detail = api.get("/readyz").await.problem(503)["detail"].clone();
    assert_eq!(detail, off["detail"]);
    assert!(detail.as_str().unwrap().contains("pgtopic sending on"), "{detail}");
    api.publish("a").await;
    let webhook = api.webhook(json!({})).await;
    let problem = api.post(&format!("/webhooks/{webhook}/test"), &json!(null)).await.problem(409);
    assert_eq!((&problem["type"], &problem["detail"]), (&json!("/problems/not-sending"), &detail));
}

#[tokio::test]
async fn workers_are_listed_as_they_are() {
    let scene = Scene::new().await;
    let api = Api::new(scene.store(), &[]);
    assert_eq!(api.get("/workers").await.expect(200), json!({"items": [], "next": null}));
    let puppet = Puppet::new(&scene).await;
    let stale = scene.idle_worker().await;
    scene.sql("UPDATE workers SET heartbeat_at = now() - interval '2 min' WHERE name = 'idle'").await;
    scene.store().take_lead(puppet.id).await.unwrap().unwrap();
    let listed = api.get("/workers").await.expect(200);
    let worker = |id: uuid::Uuid| {
        let items = listed["items"].as_array().unwrap();
        items.iter().find(|worker| worker["id"] == id.to_string()).unwrap().clone()
    };
    let mut live = worker(puppet.id);
    for time in ["started_at", "heartbeat_at"] {
        assert!(live[time].is_string());
        live[time] = json!(null);
    }
    assert_eq!(
        live,
        json!({
            "id": puppet.id.to_string(), "name": "puppet", "version": env!("CARGO_PKG_VERSION"), "state": "live",
            "leader": true, "started_at": null, "heartbeat_at": null, "slots": 10, "in_flight": 0, "lanes": 0,
            "wake_mode": "notify", "topics": null, "trouble": null,
        })
    );
    assert_eq!(worker(stale)["state"], "stale");
    assert_eq!(worker(stale)["leader"], false);
    scene.sql("SELECT suppress_notifications(60000000); UPDATE workers SET stopping = true").await;
    let listed = api.get("/workers").await.expect(200);
    let states: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|worker| worker["state"].as_str()).collect();
    assert!(states.contains(&Some("stopping")) && states.contains(&Some("stale")), "{states:?}");
    assert_eq!(listed["items"][0]["wake_mode"], "poll");
}

#[tokio::test]
async fn tokens_that_are_limited_to_topics_see_no_figures_of_the_whole() {
    let database = TestDatabase::new().await;
    let api = Api::new(database.store(), &["read@orders:limited", "read:whole"]);
    for path in ["/stats", "/workers", "/sending"] {
        let ask = async |token: &str| {
            let request = axum::http::Request::get(path).header("authorization", format!("Bearer {token}"));
            api.send(request.body(axum::body::Body::empty()).unwrap()).await
        };
        ask("limited").await.problem(403);
        ask("whole").await.expect(200);
    }
}

/// A worker that meets trouble says so in its row.
#[tokio::test]
async fn trouble_of_a_worker_is_shown_while_it_lasts() {
    let scene = Scene::with_webhook(&[]).await;
    let api = Api::new(scene.store(), &[]);
    let broker = pgtopic_testkit::Broker::start(scene.store());
    let trouble = async || api.get("/workers").await.expect(200)["items"][0]["trouble"].clone();
    scene.until("EXISTS (SELECT FROM workers)").await;
    scene.sql("ALTER FUNCTION claim_lanes RENAME TO hidden").await;
    let said =
        eventually("it says so", async || Some(trouble().await).filter(serde_json::Value::is_string)).await;
    assert!(said.as_str().unwrap().contains("claim"), "{said}");
    scene.sql("ALTER FUNCTION hidden RENAME TO claim_lanes").await;
    eventually("it is over", async || trouble().await.is_null().then_some(())).await;
    broker.stop().await;
}
