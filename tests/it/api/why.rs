//! Why a message is where it is: every state and reason, as a real database shows it, and with a
//! real worker where it needs one.

use axum::{body::Body, http::Request};
use pgtopic_testkit::{
    Answer, Broker, Gate, Process, Scene, TestCluster, create_topic, eventually, publish, quick_delivery,
    reach_schema,
};
use serde_json::{Value, json};

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

#[tokio::test]
async fn what_a_webhook_was_never_owed() {
    let (scene, api) = scene(&[("types", "'{order.*}'"), ("filter", "'$.total > 10'")]).await;
    let sql = "INSERT INTO messages (topic_id, type, payload) VALUES (1, 'user.made', '{\"total\": 11}'), (1, NULL, '{\"total\": 11}'),
                   (1, 'order.paid', '{\"total\": 9}'), (1, 'order.paid', '{\"total\": 11}') RETURNING id";
    let ids: Vec<i64> = scene.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let [of_other_type, without_type, filtered, owed] = ids[..] else { panic!("{ids:?}") };
    for (id, reason) in [(of_other_type, "types"), (without_type, "types"), (filtered, "filter")] {
        let entry = entry(&api, id).await;
        is(&entry, "not_owed", reason);
        assert_eq!(entry["remedy"], Value::Null);
        says(&entry, "orders:webhook-1");
    }
    is(&entry(&api, owed).await, "waiting", "no_worker");

    // Owed once, and no trace of it: it was accepted, and the log has forgotten that.
    scene.sql(&format!("DELETE FROM deliveries WHERE message_id = {owed}")).await;
    is(&entry(&api, owed).await, "unknown", "log_expired");

    scene.webhook("/younger", &[]).await;
    let answer = api.get(&format!("/messages/{owed}/why")).await.expect(200);
    let younger = &answer["webhooks"][1];
    is(younger, "not_owed", "younger_webhook");
    assert_eq!(younger["webhook"], "webhook-2");
    says(younger, "was created later");
    assert_eq!(younger["remedy"]["body"], json!({"from": owed, "to": owed}));
    // A webhook that is being filled may get it.
    scene
        .sql("UPDATE webhooks SET state = 'starting' WHERE id = 2;
              INSERT INTO jobs (kind, webhook_id, waits_for, created_by) VALUES ('backfill', 2, 'process 17', 'test')")
        .await;
    let answer = api.get(&format!("/messages/{owed}/why")).await.expect(200);
    is(&answer["webhooks"][1], "waiting", "starting");
    says(&answer["webhooks"][1], "job 1, which waits for process 17");
}

#[tokio::test]
async fn what_stops_a_whole_webhook() {
    let (scene, api) = idle_scene(&[]).await;
    let [head, follower] = scene.publish(&["a", "a"]).await[..] else { unreachable!() };
    is(&entry(&api, head).await, "waiting", "ready");
    for (change, undo, reason, needle) in [
        ("UPDATE webhooks SET paused = true", "UPDATE webhooks SET paused = false", "paused", "by test"),
        (
            "UPDATE webhooks SET disabled_reason = 'gone for good'",
            "UPDATE webhooks SET disabled_reason = NULL",
            "disabled",
            "gone for good",
        ),
        (
            "UPDATE webhooks SET state = 'starting'",
            "UPDATE webhooks SET state = 'active'",
            "starting",
            "is starting",
        ),
        ("UPDATE topics SET paused = 'hold'", "UPDATE topics SET paused = NULL", "topic_held", "by test"),
        (
            "UPDATE installation SET sending = false, reason = 'a copy', changed_by = 'test'",
            "UPDATE installation SET sending = NULL",
            "not_sending",
            "by test: a copy",
        ),
        ("UPDATE workers SET gone = true", "UPDATE workers SET gone = false", "no_worker", "no worker"),
    ] {
        scene.sql(change).await;
        scene
            .sql("INSERT INTO changes (kind, webhook_id, changed_by) VALUES ('webhook.paused', 1, 'test'), ('webhook.disabled', 1, 'test');
                  INSERT INTO changes (kind, topic_id, changed_by) VALUES ('topic.paused', 1, 'test')")
            .await;
        for id in [head, follower] {
            let entry = entry(&api, id).await;
            is(&entry, "waiting", reason);
            says(&entry, needle);
            assert_eq!(entry["blocked_by"], Value::Null);
            let has_since = ["paused", "disabled", "starting", "topic_held"].contains(&reason);
            assert_eq!(entry["since"].is_string(), has_since, "{entry}");
        }
        scene.sql(undo).await;
    }
    let behind = entry(&api, follower).await;
    is(&behind, "waiting", "behind");
    assert_eq!(behind["blocked_by"], head);
    says(&behind, "That one is ready");
}

#[tokio::test]
async fn what_stops_a_lane_while_a_worker_lives() {
    let (scene, api) = idle_scene(&[("max_in_flight", "2")]).await;
    let [a, b, c] = scene.publish(&["a", "b", "c"]).await[..] else { unreachable!() };
    let hold = |keys: &str, worker: &str| {
        format!(
            "UPDATE lanes SET claimed_by = '{worker}', token = 1, claimed_at = now() WHERE partition_key IN ({keys})"
        )
    };
    scene.sql(&hold("'a', 'b'", IDLE_WORKER)).await;
    let full = entry(&api, c).await;
    is(&full, "waiting", "max_in_flight");
    says(&full, "has 2 lanes in flight");
    let request = entry(&api, a).await;
    is(&request, "in_flight", "request");
    assert_eq!(request["worker"], IDLE_WORKER);
    assert!(request["since"].is_string());

    scene.sql("UPDATE webhooks SET max_in_flight = NULL; UPDATE workers SET in_flight = 10").await;
    let busy = entry(&api, c).await;
    is(&busy, "waiting", "slots_busy");
    says(&busy, "10 of 10 slots");
    scene.sql("UPDATE workers SET in_flight = 0").await;

    // The attempt log is ahead of the settle.
    scene
        .sql(&format!(
            "INSERT INTO attempts VALUES (1, {b}, 1, 'accepted', 200, NULL, NULL, 1500, NULL, '{IDLE_WORKER}', now())"
        ))
        .await;
    is(&entry(&api, b).await, "in_flight", "outcome_unclear");
    // What was accepted before a replay is no outcome of the replay.
    scene
        .sql(&format!("UPDATE deliveries SET replayed_at = now() + interval '1 s' WHERE message_id = {b}"))
        .await;
    is(&entry(&api, b).await, "in_flight", "request");

    let stranger = "00000000-0000-0000-0000-000000000002";
    scene.sql(&hold("'c'", stranger)).await;
    let lost = entry(&api, c).await;
    is(&lost, "waiting", "takeover");
    says(&lost, stranger);
    let dead = format!(
        "INSERT INTO workers (id, lock_key, name, version, capacity, lease) VALUES ('{stranger}', -8, 'dead/1', '0', 10, '10 s')"
    );
    scene.sql(&dead).await;
    says(&entry(&api, c).await, "worker dead/1");
    says(&entry(&api, c).await, "session is gone");
    scene.sql(&format!("SELECT pg_advisory_lock(stripe_class(), -8); UPDATE workers SET heartbeat_at = now() - interval '11 s' WHERE id = '{stranger}'")).await;
    let hung = entry(&api, c).await;
    is(&hung, "waiting", "takeover");
    says(&hung, "stands still");
    assert!(hung["since"].is_string());

    scene.sql("DELETE FROM lanes WHERE partition_key = 'c'").await;
    is(&entry(&api, c).await, "waiting", "no_lane");
}

#[tokio::test]
async fn what_has_left_the_lane() {
    let (scene, api) = scene(&[]).await;
    let ids = scene.publish(&["a"; 9]).await;
    scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    let reasons = [
        "attempts_exhausted",
        "permanent",
        "expired",
        "overflow",
        "skipped",
        "message_missing",
        "canceled",
        "superseded",
        "canceled",
    ];
    for (id, reason) in ids.iter().zip(reasons) {
        scene
            .sql(&format!(
                "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error, status_code)
                 VALUES (1, 1, 'a', 0, {id}, '{reason}', 3, 'status 500', 500)"
            ))
            .await;
    }
    // Its request was under way when it was canceled.
    let late = ids[8];
    scene
        .sql(&format!(
            "INSERT INTO attempts VALUES (1, {late}, 1, 'accepted', 200, NULL, NULL, 60000000, NULL, gen_random_uuid(), now() - interval '30 s')"
        ))
        .await;
    is(&entry(&api, late).await, "delivered", "accepted_late");
    for (id, word) in ids.iter().zip(reasons).take(8) {
        let entry = entry(&api, *id).await;
        match word {
            "canceled" | "superseded" => is(&entry, word, ""),
            reason => is(&entry, "dead", reason),
        }
        let replays = word != "message_missing";
        assert_eq!(entry["remedy"].is_object(), replays, "{entry}");
        assert_eq!((&entry["attempts"], &entry["last_status_code"]), (&json!(3), &json!(500)));
        assert!(entry["since"].is_string());
    }
}

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
    assert_eq!(failed["remedy"]["command"], r"pgtopic lanes retry 1 --partition-key 'it'\''s'");
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
    scene.sql("UPDATE webhooks SET on_exhausted = 'halt'").await;
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

#[tokio::test]
async fn a_partition_names_its_publisher_and_its_heads() {
    let (scene, api) = idle_scene(&[]).await;
    scene.webhook("/second", &[]).await;
    let path = "/topics/orders/why?partition_key=a";
    let answer = api.get(path).await.expect(200);
    assert_eq!(answer, json!({"topic": "orders", "partition_key": "a", "publisher": null, "webhooks": []}));
    let head = scene.publish(&["a", "a", "b"]).await[0];
    scene.sql(&format!("DELETE FROM deliveries WHERE message_id = {head} AND webhook_id = 2")).await;

    let publisher = scene.another_client().await;
    publisher.batch_execute("SET application_name = 'shop'; BEGIN").await.unwrap();
    publish(&publisher, "a").await.unwrap();
    let pid: i32 = publisher.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let answer = api.get("/topics/1/why?partition_key=a").await.expect(200);
    assert_eq!(
        (&answer["publisher"]["pid"], &answer["publisher"]["application_name"]),
        (&json!(pid), &json!("shop"))
    );
    assert!(answer["publisher"]["user"].is_string() && answer["publisher"]["since"].is_string());
    let entries = answer["webhooks"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        is(entry, "waiting", "ready");
    }
    says(&entries[0], &format!("Message {head} is ready"));
    says(&entries[1], &format!("Message {} is ready", head + 1));
    publisher.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(api.get(path).await.expect(200)["publisher"], Value::Null);
}

#[tokio::test]
async fn a_prepared_publisher_is_named_by_its_gid() {
    let cluster = TestCluster::private_with(&[("max_prepared_transactions", "10")]).await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    client.batch_execute("BEGIN").await.unwrap();
    publish(&client, "default").await.unwrap();
    client.batch_execute("PREPARE TRANSACTION 'of the shop'").await.unwrap();
    let publisher =
        Api::new(cluster.store(), &[]).get("/topics/orders/why").await.expect(200)["publisher"].clone();
    assert_eq!(
        (&publisher["pid"], &publisher["application_name"]),
        (&Value::Null, &json!("prepared transaction 'of the shop'"))
    );
    client.batch_execute("ROLLBACK PREPARED 'of the shop'").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_explained_is_a_problem() {
    let (scene, api) = scene(&[]).await;
    let missing = api.get("/messages/77/why").await.problem(404);
    assert_eq!(
        missing["detail"],
        "there is no message 77: it was deleted by retention, rolled back, or is not committed yet"
    );
    api.get("/messages/x/why").await.problem(404);
    api.get("/topics/nothing/why").await.problem(404);
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    for path in
        ["/topics/loose/why", "/topics/orders/why?partition_key=", "/topics/orders/why?partition_key=a%00b"]
    {
        assert_eq!(api.get(path).await.problem(422)["field"], "partition_key", "{path}");
    }
    assert_eq!(api.get("/topics/orders/why?key=a").await.problem(422)["field"], "key");
}

#[tokio::test]
async fn the_command_line_gives_the_same_answer() {
    let (scene, api) = idle_scene(&[("name", "'billing'")]).await;
    let id = scene.publish(&["a\u{1b}"]).await[0].to_string();
    let environment = scene.database.environment();
    let run = async |arguments: &[&str]| Process::run(arguments, &environment).await;
    let text = run(&["why", &id]).await;
    assert_eq!(text.code(), 0, "{}", text.output);
    for needle in
        ["billing (webhook 1): waiting (ready)", "partition a\\u{1b}", &format!("Message {id} is ready")]
    {
        assert!(text.output.contains(needle), "no {needle:?} in {}", text.output);
    }
    let json = run(&["why", "--json", &id]).await;
    let told: Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!(told, api.get(&format!("/messages/{id}/why")).await.expect(200));
    scene.sql("UPDATE webhooks SET paused = true").await;
    let partition = run(&["why", "orders", "a\u{1b}"]).await;
    for needle in ["partition a\\u{1b} of topic orders", "→ Resume the webhook.  pgtopic webhooks resume 1"]
    {
        assert!(partition.output.contains(needle), "no {needle:?} in {}", partition.output);
    }
    let empty = run(&["why", "orders", "b"]).await;
    assert!(empty.code() == 0 && empty.output.contains("no webhook is owed anything"), "{}", empty.output);
    for (arguments, code, needle) in [
        (&["why", "77"][..], 1, "deleted by retention"),
        (&["why", "orders"], 2, "must be the id of a message"),
        (&["why", "a b", "key"], 2, "must be a topic's id or name"),
        (&["why", "nothing", "key"], 1, "there is no topic"),
        (&["why"], 2, "MESSAGE"),
    ] {
        let ended = run(arguments).await;
        assert_eq!(ended.code(), code, "{arguments:?}: {}", ended.output);
        assert!(ended.output.contains(needle), "{}", ended.output);
    }
}
