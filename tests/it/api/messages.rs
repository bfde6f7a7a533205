//! Messages are published, read and listed.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn a_payload_keeps_its_bytes_on_the_way_in_and_out() {
    let (_database, api) = Api::with_topic().await;
    let payload = r#"{ "b" :1.0,  "a": "\u0000é", "a":1e400 }"#;
    let body = format!(r#"{{"payload": {payload} }}"#);
    let published =
        api.text(Method::POST, "/topics/orders/messages", "application/json", body).await.expect(201);
    let message = api.get(&format!("/messages/{}", published["id"])).await;
    assert!(message.text.contains(&format!(r#""payload":{payload},"#)), "{}", message.text);
    api.post("/topics/orders/messages", &json!({"payload": null})).await.expect(201);
    assert_eq!(api.post("/topics/orders/messages", &json!({})).await.problem(422)["field"], "payload");
}

#[tokio::test]
async fn two_requests_at_once_with_one_idempotency_key_publish_one_message() {
    let (_database, api) = Api::with_topic().await;
    let body = json!({"payload": 1, "idempotency_key": "once"});
    let post = || api.post("/topics/orders/messages", &body);
    let (a, b, c, d) = tokio::join!(post(), post(), post(), post());
    let created = [&a, &b, &c, &d].iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(created, 1);
    for answer in [&b, &c, &d] {
        assert_eq!(answer.json()["id"], a.json()["id"]);
    }
}

#[tokio::test]
async fn a_batch_keeps_each_partition_in_order_and_answers_in_order() {
    let (database, api) = Api::with_topic().await;
    let first = api.post("/topics/orders/messages", &json!({"payload": 0, "idempotency_key": "used"})).await;
    let mut messages: Vec<_> =
        (0..200).map(|n| json!({"payload": n, "partition_key": format!("user-{}", n % 7)})).collect();
    messages.push(json!({"payload": "repeats an earlier message", "idempotency_key": "used"}));
    messages.push(json!({"payload": "first use", "idempotency_key": "new", "partition_key": "z"}));
    messages
        .push(json!({"payload": "repeats the one before", "idempotency_key": "new", "partition_key": "a"}));
    let answer = api.post("/topics/orders/messages/batch", &json!({"messages": messages})).await.expect(201);
    let ids: Vec<i64> = serde_json::from_value(answer["ids"].clone()).unwrap();
    assert_eq!(ids.len(), 203);
    assert_eq!(ids[200], first.json()["id"]);
    assert_eq!(ids[201], ids[202]);

    let client = database.client().await;
    for (n, id) in ids.iter().take(200).enumerate() {
        let row = client
            .query_one("SELECT payload::text FROM pgtopic.messages WHERE id = $1", &[id])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), n.to_string());
    }
    for key in 0..7 {
        let of_key: Vec<_> = ids.iter().take(200).skip(key).step_by(7).collect();
        assert!(of_key.is_sorted(), "partition {key}: {of_key:?}");
    }
}

#[tokio::test]
async fn a_batch_may_come_line_by_line_and_is_all_or_nothing() {
    let (_database, api) = Api::with_topic().await;
    let path = "/topics/orders/messages/batch";
    let ndjson = "application/x-ndjson; charset=utf-8";
    let lines = "{\"payload\":1}\n\n{\"payload\":2,\"partition_key\":\"a\"}\n";
    assert_eq!(
        api.text(Method::POST, path, ndjson, lines).await.expect(201)["ids"].as_array().unwrap().len(),
        2
    );
    let bad = api.text(Method::POST, path, ndjson, "{\"payload\":1}\n{\"pay\":2}\n").await.problem(422);
    assert_eq!(bad["field"], "messages[1].pay");
    api.text(Method::POST, path, ndjson, "{\"payload\":1}\n{\n").await.problem(400);
    api.text(Method::POST, path, "text/csv", "1").await.problem(415);
    assert_eq!(api.post(path, &json!({"messages": []})).await.problem(422)["field"], "messages");
    assert_eq!(api.get("/topics/orders/messages").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_message_with_too_many_or_too_long_headers_is_refused_by_name() {
    let (_database, api) = Api::with_topic().await;
    let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), json!("v"))).collect::<Value>();
    let long = json!({"x-a": "a".repeat(4096), "x-b": "b".repeat(4096)});
    let publish = async |headers: &Value| {
        api.post("/topics/orders/messages", &json!({"payload": 1, "headers": headers})).await
    };
    publish(&many(64)).await.expect(201);
    for (headers, rule) in [
        (many(65), "must be at most 64 headers, not 65"),
        (long.clone(), "must be at most 8192 bytes long as JSON, not 8211"),
    ] {
        let problem = publish(&headers).await.problem(422);
        assert_eq!((&problem["field"], &problem["rule"]), (&json!("headers"), &json!(rule)));
    }
    let batch = json!({"messages": [{"payload": 1}, {"payload": 2, "headers": long}]});
    let problem = api.post("/topics/orders/messages/batch", &batch).await.problem(422);
    assert_eq!(problem["field"], "messages[1].headers");
}

#[tokio::test]
async fn publishing_is_refused_without_a_topic_or_over_its_limit_or_while_it_is_paused() {
    let (database, api) = Api::with_topic().await;
    api.post("/topics/nowhere/messages", &json!({"payload": 1})).await.problem(404);
    api.post("/topics/nowhere/messages/batch", &json!({"messages": [{"payload": 1}]})).await.problem(404);
    let client = database.client().await;
    client.batch_execute("UPDATE pgtopic.topics SET max_payload_bytes = 8").await.unwrap();
    api.post("/topics/orders/messages", &json!({"payload": "123456789"})).await.problem(413);
    api.post("/topics/orders/messages", &json!({"payload": "x".repeat(3 << 20)})).await.problem(413);
    api.text(Method::PATCH, "/topics/orders", "application/json", r#"{"paused":"refuse"}"#).await.expect(200);
    let paused = api.post("/topics/orders/messages", &json!({"payload": 1})).await.problem(409);
    assert_eq!(paused["type"], "/problems/paused");
}

#[tokio::test]
async fn messages_are_listed_by_key_type_and_time() {
    let (database, api) = Api::with_topic().await;
    for (key, kind) in [("a", "order.paid"), ("a", "order.new"), ("b", "order.paid")] {
        let body = json!({"partition_key": key, "type": kind, "payload": 1});
        api.post("/topics/orders/messages", &body).await.expect(201);
    }
    let sql =
        "UPDATE pgtopic.messages SET created_at = '2026-01-01T00:00Z'::timestamptz + id * interval '1 h'";
    database.client().await.batch_execute(sql).await.unwrap();
    for (query, ids) in [
        ("", json!([3, 2, 1])),
        ("?partition_key=a", json!([2, 1])),
        ("?type=order.paid", json!([3, 1])),
        ("?type=order.paid&partition_key=a", json!([1])),
        ("?since=2026-01-01T02:00:00Z", json!([3, 2])),
        ("?until=2026-01-01T02:00:00Z", json!([1])),
        ("?type=none", json!([])),
    ] {
        let page = api.get(&format!("/topics/orders/messages{query}")).await.expect(200);
        let found: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(json!(found), ids, "{query}");
    }
    for (query, field) in [("?type=", "type"), ("?since=today", "since"), ("?key=a", "key")] {
        let problem = api.get(&format!("/topics/orders/messages{query}")).await.problem(422);
        assert_eq!(problem["field"], field);
    }
}

/// A trigger that is not of pgtopic raises errors with codes that pgtopic uses, too. The answer
/// must not say that the topic is paused or that the payload is too large.
#[tokio::test]
async fn an_error_of_somebody_elses_trigger_is_not_taken_for_ours() {
    let (database, api) = Api::with_topic().await;
    let client = database.client().await;
    for code in ["55000", "54000", "23503"] {
        let trigger = format!(
            "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'not ours' USING ERRCODE = '{code}'; END $$;
             CREATE OR REPLACE TRIGGER aa_fail BEFORE INSERT ON pgtopic.messages
             FOR EACH ROW EXECUTE FUNCTION public.fail()"
        );
        client.batch_execute(&trigger).await.unwrap();
        api.post("/topics/orders/messages", &json!({"payload": 1})).await.problem(500);
    }
}
