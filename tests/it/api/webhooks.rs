//! Webhooks are made, changed and deleted.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn a_secret_is_shown_once() {
    let (_database, api) = Api::with_topic().await;
    let body =
        json!({"topic": "orders", "url": "https://example.com/", "headers": {"authorization": "Bearer x"}});
    let created = api.post("/webhooks", &body).await.expect(201);
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    for path in ["/webhooks", "/webhooks/1", "/topics/orders/webhooks"] {
        let answer = api.get(path).await;
        answer.expect(200);
        assert!(!answer.text.contains("whsec_") && !answer.text.contains("Bearer x"), "{}", answer.text);
    }
}

/// An object of this many headers: `x-10`, `x-11` and so on. Their values are empty.
fn many_headers(count: usize) -> Value {
    (10..count + 10).map(|n| (format!("x-{n}"), json!(""))).collect()
}

/// 64 headers. As JSON text they have exactly 8192 bytes.
fn headers_at_their_limits() -> Value {
    let mut headers = many_headers(64);
    let (first, second) = ("v".repeat(4096), "v".repeat(8192 - 4096 - headers.to_string().len()));
    (headers["x-10"], headers["x-11"]) = (json!(first), json!(second));
    assert_eq!(headers.to_string().len(), 8192);
    headers
}

/// Creating and changing a webhook both store the text whose length was checked. The column is
/// `json`. A column of `jsonb` would add spaces.
#[tokio::test]
async fn headers_up_to_their_limits_are_stored_as_they_were_counted() {
    let (database, api) = Api::with_topic().await;
    let headers = headers_at_their_limits();
    let id = api.webhook(json!({"headers": headers})).await;
    let client = database.client().await;
    let stored = async || -> String {
        client.query_one("SELECT headers::text FROM pgtopic.webhooks", &[]).await.unwrap().get(0)
    };
    assert_eq!(stored().await, headers.to_string());
    let path = format!("/webhooks/{id}");
    let change =
        async |changes: Value| api.text(Method::PATCH, &path, "application/json", changes.to_string()).await;
    change(json!({"headers": {}})).await.expect(200);
    assert_eq!(stored().await, "{}");
    change(json!({"headers": headers})).await.expect(200);
    assert_eq!(stored().await, headers.to_string());
    change(json!({"max_retries": 3})).await.expect(200);
    assert_eq!(stored().await, headers.to_string());
    let problem = change(json!({"headers": many_headers(65)})).await.problem(422);
    assert_eq!(
        (&problem["field"], &problem["rule"]),
        (&json!("headers"), &json!("must be at most 64 headers, not 65"))
    );
}

#[tokio::test]
async fn the_answer_to_a_refused_webhook_names_the_field() {
    let (_database, api) = Api::with_topic().await;
    let cases = [
        (json!({"url": "ftp://example.com/"}), "url"),
        (json!({"secret": "whsec_short"}), "secret"),
        (json!({"headers": {"webhook-id": "1"}}), "headers.webhook-id"),
        (json!({"headers": many_headers(65)}), "headers"),
        (json!({"headers": {"x-a": "a".repeat(4096), "x-b": "b".repeat(4096)}}), "headers"),
        (json!({"format": "xml"}), "format"),
        (json!({"batch_size": 1001}), "batch_size"),
        (json!({"timeout_seconds": 1e12}), "timeout_seconds"),
        (json!({"max_age_seconds": 0}), "max_age_seconds"),
        (json!({"max_age_seconds": 31_622_401}), "max_age_seconds"),
        (json!({"max_age_seconds": "1 h"}), "max_age_seconds"),
        (json!({"max_owed": 0}), "max_owed"),
        (json!({"max_owed": 1_000_001}), "max_owed"),
        (json!({"max_owed": "many"}), "max_owed"),
        (json!({"on_overflow": "drop"}), "on_overflow"),
        (json!({"on_overflow": null}), "on_overflow"),
        (json!({"on_overflow": "refuse"}), "on_overflow"),
        (json!({"on_overflow": "keep_latest", "batch_size": 2}), "on_overflow"),
        (json!({"start_from": "earliest"}), "start_from"),
        (json!({"colour": "red"}), "colour"),
        (json!({"filter": "$.a =="}), "filter"),
        (json!({"filter": "$.a"}), "filter"),
        (json!({"filter": "$.a == $b"}), "filter"),
        (json!({"filter": r#"$.a like_regex "(""#}), "filter"),
        (json!({"filter": "x".repeat(4097)}), "filter"),
        (json!({"filter": "$.**.** == 1"}), "filter"),
        (json!({"filter": "$.a[*] == $.b[*]"}), "filter"),
    ];
    for (extra, field) in cases {
        let mut body = json!({"topic": "orders", "url": "https://example.com/"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let problem = api.post("/webhooks", &body).await.problem(422);
        assert_eq!(problem["field"], field, "{extra}");
        assert!(!problem["rule"].as_str().unwrap().is_empty());
    }
    for filter in [r#"$.a == "b$""#, "exists($.a)", "strict $.a.b > 1"] {
        api.webhook(json!({"filter": filter})).await;
    }
    api.post("/webhooks", &json!({"topic": "nowhere", "url": "https://example.com/"})).await.problem(404);
}

#[tokio::test]
async fn batches_are_envelopes_unless_another_format_is_asked_for() {
    let (_database, api) = Api::with_topic().await;
    let format = async |id: Value| api.get(&format!("/webhooks/{id}")).await.expect(200)["format"].clone();
    for (body, expected) in [
        (json!({}), "raw"),
        (json!({"batch_size": 2}), "envelope"),
        (json!({"batch_size": 2, "format": "raw"}), "raw"),
        (json!({"format": "cloudevents"}), "cloudevents"),
    ] {
        let id = api.webhook(body).await;
        assert_eq!(format(json!(id)).await, expected);
    }
    let id = api.webhook(json!({})).await;
    let path = format!("/webhooks/{id}");
    let changed =
        api.text(Method::PATCH, &path, "application/json", r#"{"batch_size":10}"#).await.expect(200);
    assert_eq!(changed["format"], "envelope");
}

#[tokio::test]
async fn a_webhook_is_changed_paused_resumed_and_deleted() {
    let (_database, api) = Api::with_topic().await;
    let id = api.webhook(json!({"max_retries": 3, "filter": "$.n > 1"})).await;
    let path = format!("/webhooks/{id}");
    let changes = r#"{"max_retries":null,"timeout_seconds":7,"url":"https://example.org/"}"#;
    let changed = api.text(Method::PATCH, &path, "application/json", changes).await.expect(200);
    assert_eq!(changed["max_retries"], Value::Null);
    assert_eq!(changed["timeout_seconds"], 7);
    assert_eq!(changed["url"], "https://example.org/");
    assert_eq!(changed["filter"], r#"($."n" > 1)"#);
    assert_eq!(api.post(&format!("{path}/pause"), &json!(null)).await.expect(200)["paused"], true);
    assert_eq!(api.post(&format!("{path}/resume"), &json!(null)).await.expect(200)["paused"], false);

    api.text(Method::PATCH, &path, "application/json", r#"{"filter":null}"#).await.expect(200);
    api.publish("a").await;
    api.publish("b").await;
    assert_eq!(api.get(&path).await.expect(200)["health"]["owed"], 2);
    let deleted = api.send(Request::delete(&path).body(Body::empty()).unwrap()).await.expect(200);
    assert_eq!(deleted, json!({"deleted": true, "dropped_deliveries": 2, "dropped_dead_letters": 0}));
    api.get(&path).await.problem(404);
    assert_eq!(api.get("/topics/orders").await.expect(200)["backlog"], 0);
}

#[tokio::test]
async fn resuming_ends_a_pause_and_enabling_ends_what_has_disabled_it() {
    let (database, api) = Api::with_topic().await;
    let path = format!("/webhooks/{}", api.webhook(json!({})).await);
    let set = "UPDATE pgtopic.webhooks SET paused = true, disabled_reason = 'gone'";
    database.client().await.batch_execute(set).await.unwrap();
    let state = async |path: String| {
        let webhook = api.post(&path, &json!(null)).await.expect(200);
        (webhook["paused"].clone(), webhook["disabled_reason"].clone())
    };
    assert_eq!(state(format!("{path}/resume")).await, (json!(false), json!("gone")));
    assert_eq!(state(format!("{path}/pause")).await, (json!(true), json!("gone")));
    assert_eq!(state(format!("{path}/enable")).await, (json!(true), Value::Null));
    let patched = api.text(Method::PATCH, &path, "application/json", r#"{"paused":false}"#).await.expect(200);
    assert_eq!(patched["paused"], false);
    api.post("/webhooks/999/enable", &json!(null)).await.problem(404);
}

#[tokio::test]
async fn the_types_of_a_webhook_are_set_shown_and_checked() {
    let (_database, api) = Api::with_topic().await;
    let path = format!("/webhooks/{}", api.webhook(json!({"types": ["order.*", "user.gone"]})).await);
    assert_eq!(api.get(&path).await.expect(200)["types"], json!(["order.*", "user.gone"]));
    let patch = async |types: Value| {
        api.text(Method::PATCH, &path, "application/json", json!({"types": types}).to_string()).await
    };
    for types in [json!([]), json!([""]), json!(["a*b"]), json!(["x".repeat(256)]), json!(vec!["a"; 101])] {
        let mut body = json!({"topic": "orders", "url": "https://example.com/"});
        body["types"] = types.clone();
        assert_eq!(api.post("/webhooks", &body).await.problem(422)["field"], "types", "{types}");
        assert_eq!(patch(types.clone()).await.problem(422)["field"], "types", "{types}");
    }
    assert_eq!(patch(json!(["a"])).await.expect(200)["types"], json!(["a"]));
    assert_eq!(patch(Value::Null).await.expect(200)["types"], Value::Null);
}

#[tokio::test]
async fn a_type_of_a_message_is_checked() {
    let (_database, api) = Api::with_topic().await;
    for kind in [json!(""), json!("x".repeat(256)), json!("a\u{0}"), json!(1)] {
        let problem =
            api.post("/topics/orders/messages", &json!({"type": kind, "payload": 1})).await.problem(422);
        assert_eq!(problem["field"], "type", "{problem}");
    }
}

/// Everything that may be wrong with lists of numbers.
fn wrong_lists(least: i64, most: i64) -> Vec<Value> {
    let one = |number: i64| json!([number]);
    vec![
        json!([]),
        one(least - 1),
        one(most + 1),
        json!([least, 0]),
        json!([-1]),
        json!([1e12]),
        json!([1.5]),
        json!([null]),
        json!(["x"]),
        json!([[least]]),
        json!(least),
        json!({}),
        json!(vec![least; 101]),
    ]
}

#[tokio::test]
async fn permanent_statuses_and_a_retry_schedule_are_set_shown_and_checked() {
    let (_database, api) = Api::with_topic().await;
    let given = json!({"permanent_statuses": [400, 599, 300], "retry_schedule": [1, 2_592_000]});
    let path = format!("/webhooks/{}", api.webhook(given.clone()).await);
    let shown = |webhook: &Value| json!({"permanent_statuses": webhook["permanent_statuses"], "retry_schedule": webhook["retry_schedule"]});
    assert_eq!(shown(&api.get(&path).await.expect(200)), given);
    let patch =
        async |changes: Value| api.text(Method::PATCH, &path, "application/json", changes.to_string()).await;
    for (field, wrong) in
        [("permanent_statuses", wrong_lists(300, 599)), ("retry_schedule", wrong_lists(1, 2_592_000))]
    {
        for value in wrong {
            let mut body = json!({"topic": "orders", "url": "https://example.com/"});
            body[field] = value.clone();
            let named = |problem: Value| problem["field"].as_str().unwrap().starts_with(field);
            assert!(named(api.post("/webhooks", &body).await.problem(422)), "{field} {value}");
            assert!(named(patch(json!({field: value})).await.problem(422)), "{field} {value}");
        }
    }
    assert_eq!(shown(&api.get(&path).await.expect(200)), given, "nothing was written");
    let changed =
        patch(json!({"permanent_statuses": null, "retry_schedule": vec![60; 100]})).await.expect(200);
    let expected = json!({"permanent_statuses": null, "retry_schedule": vec![60; 100]});
    assert_eq!(shown(&changed), expected);
}

/// Whether both are given at once, or one after the other.
#[tokio::test]
async fn a_retry_schedule_stands_alone() {
    let (_database, api) = Api::with_topic().await;
    for backoff in [json!({"backoff_factor": 2}), json!({"max_backoff_seconds": 60})] {
        let both = |mut body: Value| {
            body.as_object_mut().unwrap().extend(backoff.as_object().unwrap().clone());
            body
        };
        let schedule = json!({"retry_schedule": [5]});
        let body = both(json!({"topic": "orders", "url": "https://example.com/", "retry_schedule": [5]}));
        let problem = api.post("/webhooks", &body).await.problem(422);
        let rule = "must be null where backoff_factor or max_backoff_seconds is given";
        assert_eq!((&problem["field"], &problem["rule"]), (&json!("retry_schedule"), &json!(rule)));
        for (first, second) in [(&backoff, &schedule), (&schedule, &backoff)] {
            let path = format!("/webhooks/{}", api.webhook(first.clone()).await);
            let patch = async |changes: Value| {
                api.text(Method::PATCH, &path, "application/json", changes.to_string()).await
            };
            for changes in [second.clone(), both(schedule.clone())] {
                assert_eq!(patch(changes).await.problem(422)["rule"], rule, "{first}");
            }
            let mut instead =
                json!({"retry_schedule": null, "backoff_factor": null, "max_backoff_seconds": null});
            instead.as_object_mut().unwrap().extend(second.as_object().unwrap().clone());
            patch(instead).await.expect(200);
        }
    }
}

/// Whether both are given at once, or one after the other.
#[tokio::test]
async fn rules_of_backlogs_that_contradict_each_other_are_refused() {
    let (_database, api) = Api::with_topic().await;
    let shown = |webhook: &Value| (webhook["max_owed"].clone(), webhook["on_overflow"].clone());
    let refuse = "must not be refuse where max_owed is null";
    let latest = "must not be keep_latest where batch_size is more than 1";
    for (first, second, rule) in [
        (json!({}), json!({"on_overflow": "refuse"}), refuse),
        (json!({"on_overflow": "refuse", "max_owed": 1}), json!({"max_owed": null}), refuse),
        (json!({"batch_size": 2}), json!({"on_overflow": "keep_latest"}), latest),
        (json!({"on_overflow": "keep_latest"}), json!({"batch_size": 2}), latest),
        (json!({}), json!({"on_overflow": "keep_latest", "batch_size": 2}), latest),
    ] {
        let path = format!("/webhooks/{}", api.webhook(first.clone()).await);
        let before = shown(&api.get(&path).await.expect(200));
        let changes = second.to_string();
        let problem = api.text(Method::PATCH, &path, "application/json", changes).await.problem(422);
        assert_eq!((&problem["field"], &problem["rule"]), (&json!("on_overflow"), &json!(rule)), "{second}");
        assert_eq!(shown(&api.get(&path).await.expect(200)), before);
    }
    for (settings, expected) in [
        (json!({}), (Value::Null, json!("dead_letter_oldest"))),
        (json!({"on_overflow": "keep_latest"}), (Value::Null, json!("keep_latest"))),
        (json!({"on_overflow": "dead_letter_oldest"}), (Value::Null, json!("dead_letter_oldest"))),
        (json!({"on_overflow": "refuse", "max_owed": 1_000_000}), (json!(1_000_000), json!("refuse"))),
    ] {
        let id = api.webhook(settings).await;
        let found = api.get(&format!("/webhooks/{id}")).await.expect(200);
        assert_eq!((shown(&found), &found["overflowing"]), (expected, &json!(false)));
    }
}
