//! What operators do: dead letters, lanes, and single deliveries.

use pgtopic_testkit::TestDatabase;
use rstest::rstest;
use serde_json::{Value, json};

use super::Api;

/// A topic with one webhook, and messages of the partitions `a` (three) and `b` (one).
async fn four_messages() -> (TestDatabase, Api, i64, Vec<i64>) {
    let (database, api) = Api::with_topic().await;
    let webhook = api.webhook(json!({"name": "billing"})).await;
    let mut ids = Vec::new();
    for key in ["a", "a", "a", "b"] {
        ids.push(api.publish(key).await);
    }
    (database, api, webhook, ids)
}

async fn sql(database: &TestDatabase, sql: &str) {
    database.broker_client().await.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn a_dead_letter_is_replayed_once() {
    let (database, api, webhook, ids) = four_messages().await;
    let skip = json!({"partition_key": "a", "message_id": ids[0]});
    let skipped = api.post("/webhooks/orders:billing/lanes/skip", &skip).await.expect(200);
    assert_eq!((&skipped["reason"], &skipped["webhook"]), (&json!("skipped"), &json!("billing")));
    assert_eq!((&skipped["message_gone"], &skipped["webhook_id"]), (&json!(false), &json!(webhook)));
    let path = format!("/dead-letter/{}/replay", skipped["id"]);

    // A publisher sits on the partition.
    let publisher = database.broker_client().await;
    publisher.batch_execute("SET application_name = 'loader'; BEGIN; INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'a', '{}')").await.unwrap();
    let held = api.post(&path, &json!({})).await.problem(409);
    assert_eq!(
        (&held["type"], &held["application_name"]),
        (&json!("/problems/partition-held"), &json!("loader"))
    );
    assert!(held["pid"].is_i64() && held["since"].is_string(), "{held}");
    publisher.batch_execute("ROLLBACK").await.unwrap();

    let delivery = api.post(&path, &json!({})).await.expect(200);
    assert_eq!((&delivery["status"], &delivery["message_id"]), (&json!("pending"), &json!(ids[0])));
    assert!(delivery["replayed_at"].is_string(), "{delivery}");
    api.post(&path, &json!({})).await.problem(404);
    let again = format!("/webhooks/{webhook}/deliveries/{}/replay", ids[0]);
    assert_eq!(api.post(&again, &json!({})).await.problem(409)["type"], "about:blank");

    // It is the head again. Its dead letter has a new id.
    let skipped = api.post("/webhooks/orders:billing/lanes/skip", &skip).await.expect(200);
    sql(&database, &format!("DELETE FROM messages WHERE id = {}", ids[0])).await;
    let path = format!("/dead-letter/{}", skipped["id"]);
    api.post(&format!("{path}/replay"), &json!({})).await.problem(409);
    assert_eq!(api.get(&path).await.expect(200)["message_gone"], true);
    assert_eq!(api.delete(&path).await.status, 204);
    api.delete(&path).await.problem(404);
    api.get(&path).await.problem(404);
}

#[tokio::test]
async fn a_delivery_is_canceled_if_it_is_owed_and_not_on_its_way() {
    let (database, api, webhook, ids) = four_messages().await;
    let path = |id: i64, verb: &str| format!("/webhooks/{webhook}/deliveries/{id}{verb}");
    let canceled = api.post(&path(ids[1], "/cancel"), &json!({})).await.expect(200);
    assert_eq!(canceled["status"], "canceled");
    assert!(canceled["settled_at"].is_string(), "{canceled}");
    api.post(&path(ids[1], "/cancel"), &json!({})).await.problem(409);
    api.post(&path(999, "/cancel"), &json!({})).await.problem(404);
    api.post(&path(999, "/replay"), &json!({})).await.problem(404);

    sql(
        &database,
        "INSERT INTO workers (id, lock_key, name, version, capacity, lease) VALUES (gen_random_uuid(), -1, 'w', '0', 1, '1 s');
         UPDATE lanes SET claimed_by = (SELECT id FROM workers), claimed_at = now()",
    )
    .await;
    let in_flight = api.post(&path(ids[0], "/cancel"), &json!({})).await.problem(409);
    assert_eq!(in_flight["type"], "/problems/in-flight");
    assert!(in_flight["worker"].is_string() && in_flight["since"].is_string(), "{in_flight}");
    assert_eq!(api.get(&path(ids[0], "")).await.expect(200)["status"], "in_flight");
    api.post(&path(ids[2], "/cancel"), &json!({})).await.expect(200);
    let skip = json!({"partition_key": "a", "message_id": ids[0]});
    let skip = api.post(&format!("/webhooks/{webhook}/lanes/skip"), &skip).await.problem(409);
    assert_eq!(skip["type"], "/problems/in-flight");

    // What was canceled is shown only by its reason.
    assert_eq!(api.get("/dead-letter/count").await.expect(200), json!({"count": 0}));
    assert_eq!(api.get("/dead-letter/count?reason=canceled").await.expect(200), json!({"count": 2}));
    let replayed = api.post(&path(ids[1], "/replay"), &json!({})).await.expect(200);
    assert_eq!(replayed["status"], "pending");
    assert_eq!(api.get("/dead-letter/count?reason=canceled").await.expect(200), json!({"count": 1}));
}

#[tokio::test]
async fn what_was_delivered_is_replayed() {
    let (database, api, webhook, ids) = four_messages().await;
    sql(
        &database,
        &format!(
            "CREATE TABLE attempts_now PARTITION OF attempts DEFAULT;
             DELETE FROM deliveries WHERE message_id = {id}; DELETE FROM lanes WHERE partition_key = 'b';
             INSERT INTO attempts VALUES ({webhook}, {id}, 1, 'accepted', 200, NULL, NULL, 1500, NULL, gen_random_uuid(), now())",
            id = ids[3]
        ),
    )
    .await;
    let path = format!("/webhooks/{webhook}/deliveries/{}", ids[3]);
    assert_eq!(api.get(&path).await.expect(200)["status"], "delivered");
    let replayed = api.post(&format!("{path}/replay"), &json!({})).await.expect(200);
    assert_eq!((&replayed["status"], &replayed["settled_at"]), (&json!("pending"), &Value::Null));
    let lanes = api.get(&format!("/webhooks/{webhook}/lanes?partition_key=b")).await.expect(200);
    assert_eq!((&lanes["items"][0]["state"], &lanes["items"][0]["owed"]), (&json!("ready"), &json!(1)));
}

/// The worker delivers the message before the API reads it. The attempt log does not say so yet.
#[tokio::test]
async fn what_is_replayed_may_be_gone_at_once() {
    let (database, api, webhook, ids) = four_messages().await;
    let cancel = format!("/webhooks/{webhook}/deliveries/{}", ids[3]);
    sql(
        &database,
        "CREATE FUNCTION delivered() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN DELETE FROM deliveries WHERE message_id = new.message_id; RETURN new; END $$;
         CREATE TRIGGER delivered AFTER INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION delivered()",
    )
    .await;
    let dead_letter = async || {
        api.post(&format!("{cancel}/cancel"), &json!({})).await.expect(200);
        api.get("/dead-letter?reason=canceled").await.expect(200)["items"][0]["id"].clone()
    };
    let is_pending = |delivery: Value| {
        assert_eq!((&delivery["status"], &delivery["message_id"]), (&json!("pending"), &json!(ids[3])));
        assert_eq!((&delivery["attempts"], &delivery["settled_at"]), (&json!(0), &Value::Null));
    };
    let id = dead_letter().await;
    is_pending(api.post(&format!("/dead-letter/{id}/replay"), &json!({})).await.expect(200));
    sql(
        &database,
        &format!(
            "ALTER TABLE deliveries DISABLE TRIGGER delivered;
             INSERT INTO deliveries (webhook_id, lane, message_id) SELECT {webhook}, lane, id FROM messages WHERE id = {}",
            ids[3]
        ),
    )
    .await;
    dead_letter().await;
    sql(&database, "ALTER TABLE deliveries ENABLE TRIGGER delivered").await;
    is_pending(api.post(&format!("{cancel}/replay"), &json!({})).await.expect(200));
}

#[tokio::test]
async fn a_halted_lane_is_released_by_a_skip_or_a_retry_and_by_no_replay() {
    let (database, api, webhook, ids) = four_messages().await;
    let lanes = format!("/webhooks/{webhook}/lanes");
    let halt = format!(
        "UPDATE lanes SET halted = true, due_at = 'infinity', failures = 3, head_message_id = {}, last_error = 'status 500',
                last_error_class = 'status', last_status_code = 500 WHERE partition_key = 'a'",
        ids[1]
    );
    let skip = async |id: i64| {
        api.post(&format!("{lanes}/skip"), &json!({"partition_key": "a", "message_id": id})).await
    };
    let state = async || {
        let lane = &api.get(&format!("{lanes}?partition_key=a")).await.expect(200)["items"][0];
        json!([lane["state"], lane["head"]["message_id"], lane["failures"]])
    };
    let first = skip(ids[0]).await.expect(200);
    sql(&database, &halt).await;
    assert_eq!(state().await, json!(["halted", ids[1], 3]));
    api.post(&format!("/dead-letter/{}/replay", first["id"]), &json!({})).await.expect(200);
    assert_eq!(state().await, json!(["halted", ids[0], 0]), "the failures are of another message");
    let not_head = skip(ids[1]).await.problem(409);
    assert_eq!((&not_head["type"], &not_head["head"]), (&json!("/problems/not-head"), &json!(ids[0])));
    skip(ids[0]).await.expect(200);
    assert_eq!(state().await, json!(["halted", ids[1], 3]), "the halt is of the next one");
    let poison = skip(ids[1]).await.expect(200);
    assert_eq!(
        (&poison["attempts"], &poison["error_class"], &poison["status_code"]),
        (&json!(3), &json!("status"), &json!(500))
    );
    assert_eq!(state().await, json!(["ready", ids[2], 0]));

    sql(&database, &halt).await;
    let retry = async |body: Value| api.post(&format!("{lanes}/retry"), &body).await;
    assert_eq!(retry(json!({"state": "waiting"})).await.expect(200), json!({"lanes": 0}));
    assert_eq!(retry(json!({"state": "halted"})).await.expect(200), json!({"lanes": 1}));
    assert_eq!(state().await, json!(["ready", ids[2], 0]));
    sql(&database, &halt).await;
    assert_eq!(retry(json!({"partition_key": "a"})).await.expect(200), json!({"lanes": 1}));
    let client = database.broker_client().await;
    let resumed =
        client.query_one("SELECT count(*) FROM changes WHERE kind = 'lane.resumed'", &[]).await.unwrap();
    assert_eq!(resumed.get::<_, i64>(0), 3);
}

#[rstest]
#[case::nothing(json!({}), "/problems/needs-all", Value::Null)]
#[case::a_state_that_is_sent(json!({"state": "ready"}), "/problems/invalid", json!("state"))]
#[case::a_word_that_is_none(json!({"state": "sleepy"}), "/problems/invalid", json!("state"))]
#[case::no_key(json!({"partition_key": ""}), "/problems/invalid", json!("partition_key"))]
#[case::the_name_of_an_unordered_lane(json!({"message_id": 1}), "/problems/invalid", json!("partition_key"))]
#[case::an_unknown_field(json!({"every": true}), "/problems/invalid", json!("every"))]
#[tokio::test]
async fn a_retry_that_breaks_a_rule_changes_nothing(
    #[case] body: Value,
    #[case] kind: &str,
    #[case] field: Value,
) {
    let (database, api, webhook, _) = four_messages().await;
    sql(
        &database,
        "INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key) SELECT 1, n, 0, 'infinity', n FROM generate_series(1, 1001) n",
    )
    .await;
    let problem = api.post(&format!("/webhooks/{webhook}/lanes/retry"), &body).await.problem(422);
    assert_eq!((&problem["type"], &problem["field"]), (&json!(kind), &field), "{problem}");
    let client = database.broker_client().await;
    let waiting =
        client.query_one("SELECT count(*) FROM lanes WHERE due_at = 'infinity'", &[]).await.unwrap();
    assert_eq!(waiting.get::<_, i64>(0), 1001);
}

/// More than 1,000 lanes are left to a job.
#[tokio::test]
async fn a_retry_of_many_lanes_is_a_job() {
    let (database, api, webhook, _) = four_messages().await;
    sql(
        &database,
        "INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key) SELECT 1, n, 0, 'infinity', n FROM generate_series(1, 1001) n",
    )
    .await;
    let answer = api.post(&format!("/webhooks/{webhook}/lanes/retry"), &json!({"all": true})).await;
    assert_eq!(answer.expect(202)["kind"], "lanes_retry");
    assert_eq!(answer.headers["location"], "/jobs/1");
}

#[tokio::test]
async fn lanes_of_unordered_topics_are_named_by_their_messages() {
    let (_database, api) = Api::with_topic().await;
    api.post("/topics", &json!({"name": "loose", "ordering": "none"})).await.expect(201);
    let webhook = json!({"topic": "loose", "url": "https://example.com/hook"});
    let webhook = api.post("/webhooks", &webhook).await.expect(201)["id"].as_i64().unwrap();
    let message = json!({"payload": {}, "partition_key": "a"});
    let id = &api.post("/topics/loose/messages", &message).await.expect(201)["id"];
    let lanes = format!("/webhooks/{webhook}/lanes");
    let lane = &api.get(&format!("{lanes}?partition_key=a")).await.expect(200)["items"][0];
    assert_eq!((&lane["message_id"], &lane["partition_key"]), (id, &json!("a")));
    let wrong = api.post(&format!("{lanes}/skip"), &json!({"partition_key": "a", "message_id": id})).await;
    assert_eq!(wrong.problem(422)["field"], "partition_key");
    assert_eq!(
        api.post(&format!("{lanes}/retry"), &json!({"message_id": id})).await.expect(200),
        json!({"lanes": 1})
    );
    api.post(&format!("{lanes}/skip"), &json!({"message_id": 999})).await.problem(404);
    let skipped = api.post(&format!("{lanes}/skip"), &json!({"message_id": id})).await.expect(200);
    assert_eq!(&skipped["message_id"], id);
}

/// One dead letter of each kind, and every filter that means it alone.
#[tokio::test]
async fn filters_mean_what_they_say() {
    let (database, api, webhook, ids) = four_messages().await;
    sql(
        &database,
        &format!(
            "DELETE FROM deliveries;
             INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts, error_class,
                                       status_code, last_error, created_at)
             VALUES ({webhook}, 0, {}, 1, 'a', 'order.paid', 'attempts_exhausted', 5, 'status', 500, 'status 500', '2026-01-01 10:05Z'),
                    ({webhook}, 0, {}, 1, 'a', NULL, 'attempts_exhausted', 5, 'status', 500, 'status 500', '2026-01-01 10:55Z'),
                    ({webhook}, 0, {}, 1, 'a', NULL, 'expired', 0, 'timeout', NULL, 'timed out', '2026-01-01 11:00Z'),
                    ({webhook}, 0, {}, 1, 'b', NULL, 'superseded', 0, NULL, NULL, NULL, '2026-01-01 12:00Z')",
            ids[0], ids[1], ids[2], ids[3]
        ),
    )
    .await;
    for (filter, count) in [
        ("", 3),
        ("?topic=orders", 3),
        (&*format!("?webhook_id={webhook}"), 3),
        ("?partition_key=a", 3),
        ("?partition_key=b", 0),
        ("?partition_key=b&reason=superseded", 1),
        ("?type=order.paid", 1),
        ("?reason=expired", 1),
        ("?error_class=status", 2),
        ("?status_code=500", 2),
        ("?status_code=501", 0),
        ("?since=2026-01-01T10:55:00Z", 2),
        ("?until=2026-01-01T10:55:00Z", 1),
        ("?since=2026-01-01T10:00:00Z&until=2026-01-01T11:00:00Z&error_class=status", 2),
    ] {
        assert_eq!(
            api.get(&format!("/dead-letter/count{filter}")).await.expect(200)["count"],
            count,
            "{filter}"
        );
        let listed = api.get(&format!("/dead-letter{filter}")).await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), count, "{filter}");
    }
    let groups = api.get("/dead-letter/groups").await.expect(200);
    let groups: Vec<_> = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| json!([group["reason"], group["hour"], group["count"], group["sample_error"]]))
        .collect();
    assert_eq!(
        groups,
        [
            json!(["expired", "2026-01-01T11:00:00Z", 1, "timed out"]),
            json!(["attempts_exhausted", "2026-01-01T10:00:00Z", 2, "status 500"]),
        ]
    );
    for (status, count) in [("dead", 3), ("superseded", 1), ("canceled", 0), ("pending", 0)] {
        for path in [format!("/webhooks/{webhook}/deliveries"), "/deliveries".to_owned()] {
            let listed = api.get(&format!("{path}?status={status}")).await.expect(200);
            assert_eq!(listed["items"].as_array().unwrap().len(), count, "{path} {status}");
        }
    }
}

#[rstest]
#[case::no_topic("/dead-letter?topic=nobody", 404, Value::Null)]
#[case::no_webhook("/dead-letter/count?webhook_id=99", 404, Value::Null)]
#[case::no_time("/dead-letter/groups?since=yesterday", 422, json!("since"))]
#[case::no_status("/dead-letter?status_code=7", 422, json!("status_code"))]
#[case::no_reason("/dead-letter?reason=bored", 422, json!("reason"))]
#[case::no_key("/dead-letter?partition_key=", 422, json!("partition_key"))]
#[case::no_type("/deliveries?type=", 422, json!("type"))]
#[case::no_class("/dead-letter?error_class=odd", 422, json!("error_class"))]
#[case::an_unknown_parameter("/dead-letter/groups?limit=3", 422, json!("limit"))]
#[case::a_foreign_page("/dead-letter?after={lanes}", 422, json!("after"))]
#[case::a_foreign_page_of_lanes("/webhooks/1/lanes?after={deliveries}", 422, json!("after"))]
#[case::a_page_in_another_order("/webhooks/1/deliveries?status=pending&after={deliveries}", 422, json!("after"))]
#[case::no_lane_state("/webhooks/1/lanes?state=sleepy", 422, json!("state"))]
#[case::no_such_webhook("/webhooks/99/lanes", 404, Value::Null)]
#[case::no_such_topic("/deliveries?topic=nobody", 404, Value::Null)]
#[case::no_id("/dead-letter/x", 404, Value::Null)]
#[tokio::test]
async fn a_list_that_is_asked_for_wrongly_says_so(
    #[case] path: &str,
    #[case] status: u16,
    #[case] field: Value,
) {
    let (_database, api, ..) = four_messages().await;
    let next = async |path: &str| api.get(path).await.expect(200)["next"].as_str().unwrap().to_owned();
    let path = path
        .replace("{lanes}", &next("/webhooks/1/lanes?limit=1").await)
        .replace("{deliveries}", &next("/deliveries?limit=1").await);
    assert_eq!(api.get(&path).await.problem(status)["field"], field);
}

#[tokio::test]
async fn every_list_shows_everything_once() {
    let (database, api, webhook, _) = four_messages().await;
    api.webhook(json!({"name": "other"})).await;
    for n in 0..5 {
        api.publish(&format!("user-{n}")).await;
    }
    sql(&database, "INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts)
                    SELECT d.webhook_id, d.lane, d.message_id, 1, 'x', 'expired', 0 FROM deliveries d WHERE message_id > 2").await;
    for (path, key, count) in [
        ("/dead-letter".to_owned(), "id", 12),
        ("/deliveries".to_owned(), "message_id", 14),
        (format!("/webhooks/{webhook}/deliveries?status=pending"), "message_id", 9),
        (format!("/webhooks/{webhook}/lanes"), "partition_key", 7),
    ] {
        let mut seen = Vec::new();
        let mut after = String::new();
        let separator = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = api.get(&format!("{path}{separator}limit=2{after}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| format!("{} {}", item[key], item["webhook_id"])));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen.len(), count, "{path}: {seen:?}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "{path}: {seen:?}");
    }
}
