//! `Retry-After`: how a receiver asks for a longer wait, or for nothing to be sent at all.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pgtopic::store::{DueAfter, Room, Want};
use pgtopic_testkit::{Answer, Broker, Gate, Http, Puppet, Received, Scene, check_order, expected};
use serde_json::Value;

/// An answer that asks to wait.
fn asks(status: u16, retry_after: &str) -> Answer {
    Answer::Full(status, vec![("retry-after", retry_after.to_string())], Bytes::new())
}

fn to<'a>(received: &'a [Received], key: &str) -> Vec<&'a Received> {
    received.iter().filter(|one| one.partition() == key).collect()
}

/// For how many seconds the webhook was held.
const HELD: &str =
    "SELECT round(extract(epoch FROM hold_until - changed_at))::bigint FROM webhooks WHERE id = 1";

#[tokio::test]
async fn with_most_statuses_it_lengthens_the_wait_of_the_lane_alone() {
    let scene = Scene::with_webhook(&[("max_backoff_seconds", "2")]).await;
    let ids = scene.publish(&["a", "b"]).await;
    let first = ids[0];
    scene.receiver.set_script(move |received| {
        let asked = received.position() == first && received.header("webhook-attempt") == "1";
        if asked { asks(500, "3600") } else { Answer::Status(204) }
    });
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    let [refused, accepted] = to(&received, "a")[..] else { panic!("{received:?}") };
    assert_eq!(accepted.header("webhook-attempt"), "2", "it was a failure");
    assert!(accepted.arrived - refused.ended.unwrap() >= Duration::from_secs(2), "up to max_backoff_seconds");
    assert_eq!(scene.number("SELECT count(*) FROM webhooks WHERE hold_until IS NOT NULL").await, 0);
    let asked = "SELECT string_agg(coalesce(retry_after_seconds::text, '-'), ' ' ORDER BY attempted_at)
                   FROM attempts WHERE message_id = (SELECT min(id) FROM messages)";
    scene.until(&format!("({asked}) = '3600 -'")).await;
}

/// Seconds, or a date.
#[tokio::test]
async fn a_receiver_that_has_too_much_to_do_holds_its_webhook_and_uses_up_no_attempt() {
    for (status, asked, least, most) in
        [(429, Some("2"), 2, 2), (502, Some("0"), 1, 1), (503, Some("3600"), 60, 60), (504, None, 54, 55)]
    {
        let scene = Scene::with_webhook(&[("max_retries", "1"), ("name", "'billing'")]).await;
        scene.webhook("/other", &[]).await;
        let ids = scene.publish(&["a", "b"]).await;
        scene.receiver.set_script(move |received| match &*received.path {
            "/" if received.position() == ids[0] => {
                let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(55));
                asks(status, &asked.map_or_else(date, str::to_owned))
            }
            _ => Answer::Status(204),
        });
        let broker = Broker::start(scene.store());
        scene.until("EXISTS (SELECT FROM webhooks WHERE hold_until IS NOT NULL)").await;
        let held = scene.number(HELD).await;
        assert!((least..=most).contains(&held), "{status}: {held} s");
        scene.until("EXISTS (SELECT FROM lanes WHERE webhook_id = 1 AND claimed_by IS NULL)").await;
        assert_eq!(
            scene.number("SELECT count(*) FROM dead_letters").await,
            0,
            "its only attempt is not used up"
        );
        scene
            .receiver
            .wait_until("the other webhook goes on", |all| {
                all.iter().filter(|one| one.path == "/other").count() == 2
            })
            .await;
        if most > 10 {
            says_so(&scene).await;
            scene
                .sql("UPDATE webhooks SET hold_until = NULL; UPDATE lanes SET due_at = clock_timestamp()")
                .await;
            broker.kill().await;
            scene.receiver.set_script(|_| Answer::Status(204));
            let _another = Broker::start(scene.store());
            scene.nothing_owed().await;
            continue;
        }
        scene.receiver.set_script(|_| Answer::Status(204));
        scene.nothing_owed().await;
        check_order(&scene.receiver.received(), &expected(&scene.client, &["/", "/other"]).await);
        let received = scene.receiver.received();
        let head: Vec<_> = received.iter().filter(|one| one.path == "/" && one.partition() == "a").collect();
        assert!(head.len() >= 2 && head.iter().all(|one| one.header("webhook-attempt") == "1"), "{head:?}");
        let pause = head.last().unwrap().arrived - head[0].ended.unwrap();
        assert!(pause >= Duration::from_secs(most.unsigned_abs()), "{status}: {pause:?}");
    }
}

/// The health of the webhook, why the message waits, and the attempt.
async fn says_so(scene: &Scene) {
    let http = Http::serve(scene.store()).await;
    let health = http.get("/webhooks/orders:billing").await["health"].clone();
    assert_eq!(health["state"], "holding", "{health}");
    assert!(health["hold_until"].is_string(), "{health}");
    let listed = http.get("/webhooks?state=holding").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let id = scene.number("SELECT min(id) FROM messages").await;
    let entry = |why: &Value| {
        let entries = why["webhooks"].as_array().unwrap();
        entries.iter().find(|entry| entry["webhook_id"] == 1).unwrap().clone()
    };
    let why = entry(&http.get(&format!("/messages/{id}/why")).await);
    assert_eq!((&why["state"], &why["reason"]), (&"waiting".into(), &"held_by_receiver".into()), "{why}");
    assert!(why["next_attempt_at"].is_string() && why["text"].as_str().unwrap().contains("asked"), "{why}");
    scene
        .until("EXISTS (SELECT FROM attempts WHERE webhook_id = 1 AND retry_after_seconds IS NOT NULL)")
        .await;
    let attempts = http.get(&format!("/webhooks/1/deliveries/{id}/attempts")).await;
    assert!(attempts["items"][0]["retry_after_seconds"].is_i64(), "{attempts}");
}

/// Whatever is published meanwhile, whoever the worker is, and however often one starts.
#[tokio::test]
async fn a_hold_binds_all_workers_and_outlives_them() {
    let scene = Scene::with_webhook(&[]).await;
    let id = scene.publish(&["a"]).await[0];
    scene.receiver.set_script(move |received| match received.number {
        0 => asks(429, "4"),
        _ => Answer::Status(204),
    });
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.until("EXISTS (SELECT FROM webhooks WHERE hold_until IS NOT NULL)").await;
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    scene.sweeps_pass().await;
    for broker in brokers {
        broker.kill().await;
    }
    let _another = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    let ended = received[0].ended.unwrap();
    for one in &received[1..] {
        assert!(one.arrived - ended >= Duration::from_millis(3900), "too early: {one:?}");
    }
    assert_eq!(received.iter().filter(|one| one.position() == id).count(), 2);
}

/// What was in flight when the receiver asked for a pause counts as it ends.
#[tokio::test]
async fn requests_in_flight_count_as_they_end() {
    let scene = Scene::with_webhook(&[]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |received| {
        let first = received.header("webhook-attempt") == "1";
        let later = |answer| Answer::Held(held.clone(), Box::new(answer));
        match received.partition() {
            "asks" if received.number < 4 => asks(503, "2"),
            "fails" if first => later(Answer::Status(500)),
            "accepts" => later(Answer::Status(204)),
            _ => Answer::Status(204),
        }
    });
    let _broker = Broker::start(scene.store());
    let [.., follower] = scene.publish(&["fails", "accepts", "accepts"]).await[..] else { panic!() };
    scene.receiver.wait_for(2).await;
    scene.publish(&["asks"]).await;
    scene.until("EXISTS (SELECT FROM webhooks WHERE hold_until IS NOT NULL)").await;
    gate.open();
    scene.until("EXISTS (SELECT FROM lanes WHERE partition_key = 'fails' AND failures = 1)").await;
    scene.until("(SELECT count(*) FROM deliveries) = 3").await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    let asked = to(&received, "asks")[0].ended.unwrap();
    let next = received.iter().find(|one| one.position() == follower).unwrap();
    assert!(next.arrived - asked >= Duration::from_secs(2), "the burst was stopped");
    let attempts: Vec<_> = to(&received, "fails").iter().map(|one| one.header("webhook-attempt")).collect();
    assert_eq!(attempts, ["1", "2"]);
}

/// Somebody has locked the webhook's row. Then the worker that was asked holds it alone.
#[tokio::test]
async fn a_worker_holds_also_while_that_cannot_be_written() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b"]).await;
    let blocker = scene.another_client().await;
    blocker.batch_execute("BEGIN; SELECT FROM webhooks FOR UPDATE").await.unwrap();
    scene.receiver.set_script(|received| match received.number {
        0 | 1 => asks(429, "3"),
        _ => Answer::Status(204),
    });
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    let pause = received[2].arrived - received[1].ended.unwrap();
    assert!(pause >= Duration::from_millis(2900), "{pause:?}");
    blocker.batch_execute("COMMIT").await.unwrap();
}

/// A worker may not know of a hold yet. The functions of the engine do.
#[tokio::test]
async fn nothing_claims_or_finds_lanes_of_a_held_webhook() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "b"]).await;
    let puppet = Puppet::new(&scene).await;
    let free = async || scene.sql("UPDATE lanes SET claimed_by = NULL").await;
    let found = async |token: i64| {
        let listed = puppet.store.list_due_webhooks(None, true).await.unwrap().webhooks.len();
        let all = puppet.claim(token).await.unwrap().len();
        free().await;
        let wants = [Want { webhook_id: 1, slots: 10, due_after: DueAfter::Beginning }];
        let singly = puppet.store.claim_lanes_singly(puppet.id, token + 1, &wants, true).await.unwrap().len();
        free().await;
        let room = Room { lanes: 10, full_webhooks: Vec::new() };
        let named = puppet.look(token + 2, &ids, &room).await.claimed.len();
        free().await;
        [listed, all, singly, named]
    };
    let hold = async |seconds: &str| {
        scene
            .sql(&format!("UPDATE webhooks SET hold_until = clock_timestamp() + interval '{seconds} s'"))
            .await;
    };
    hold("50").await;
    assert_eq!(found(1).await, [0, 0, 0, 0]);
    // It was written before the clock was stepped back.
    hold("3600").await;
    assert_eq!(found(4).await, [1, 2, 2, 2]);
    hold("-1").await;
    assert_eq!(found(7).await, [1, 2, 2, 2]);
}

#[tokio::test]
async fn a_hold_is_only_made_longer_and_is_a_minute_at_most() {
    let scene = Scene::with_webhook(&[]).await;
    let store = scene.store();
    for (asked, held) in [(10, 10), (5, 10), (20, 20), (600, 60)] {
        store.hold_webhook(1, Duration::from_secs(asked)).await.unwrap();
        assert_eq!(scene.number(HELD).await, held, "{asked}");
    }
    // As after a step of the clock.
    scene.sql("UPDATE webhooks SET hold_until = clock_timestamp() + interval '1 h'").await;
    store.hold_webhook(1, Duration::from_secs(10)).await.unwrap();
    assert_eq!(scene.number(HELD).await, 10);
}
