//! Failures: the next attempt, the delay before it, and the dead letter after the last attempt.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pgtopic_testkit::{Answer, Broker, Http, Received, Scene, check_order, expected, refuse};

fn of(received: &[Received], id: i64) -> Vec<&Received> {
    received.iter().filter(|one| one.position() == id).collect()
}

#[tokio::test]
async fn a_refused_message_is_repeated_until_it_is_accepted_while_other_lanes_go_on() {
    let scene = Scene::with_webhook(&[("backoff_factor", "1.1")]).await;
    scene
        .sql(
            "CREATE TABLE waits (failures integer, seconds float8);
             CREATE FUNCTION note_wait() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO pgtopic.waits VALUES (NEW.failures, NEW.wait_seconds); RETURN NULL; END';
             CREATE TRIGGER note AFTER UPDATE ON lanes FOR EACH ROW
             WHEN (NEW.failures > OLD.failures) EXECUTE FUNCTION note_wait()",
        )
        .await;
    let ids = scene.publish(&["a", "b", "a", "b", "b", "b"]).await;
    let (head, last_of_other, twice) = (ids[0], ids[5], refuse(ids[0], 2));
    let other_went_on = AtomicBool::new(false);
    // The head is accepted only after the other lane has sent everything.
    scene.receiver.set_script(move |received| {
        other_went_on.fetch_or(received.position() == last_of_other, Ordering::Relaxed);
        let too_early = received.position() == head && !other_went_on.load(Ordering::Relaxed);
        if too_early { Answer::Status(503) } else { twice(received) }
    });
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);

    let received = scene.receiver.received();
    let head = of(&received, ids[0]);
    let attempts: Vec<_> = head.iter().map(|one| one.header("webhook-attempt")).collect();
    let counted: Vec<_> = (1..=attempts.len()).map(|attempt| attempt.to_string()).collect();
    assert!(attempts.len() >= 3 && attempts == counted, "{attempts:?}");
    assert!(head.iter().all(|one| one.header("webhook-id") == format!("msg_{}", ids[0])));
    let gap = |at: usize| (head[at].arrived - head[at - 1].ended.unwrap()).as_secs_f64();
    assert!(gap(1) >= 1.1 && gap(2) >= 1.21, "1.1 and 1.1 squared: {} {}", gap(1), gap(2));
    // A wait is longer by up to a fifth, at random. A due lane is sent after the next poll.
    let waits = "SELECT string_agg(concat(failures, ' ', seconds), ', ' ORDER BY failures)
                   FROM waits WHERE seconds NOT BETWEEN 1.1 ^ failures AND 1.2 * 1.1 ^ failures";
    assert_eq!(scene.text(waits).await, "", "no wait is too short or too long");
    assert_eq!(scene.number("SELECT count(*) + 1 FROM waits").await, i64::try_from(attempts.len()).unwrap());
    let follower = of(&received, ids[2]);
    assert_eq!(follower[0].header("webhook-attempt"), "1", "waiting for its predecessor is not a failure");
}

#[tokio::test]
async fn a_message_that_used_up_its_attempts_is_a_dead_letter_and_its_lane_goes_on() {
    let scene = Scene::new().await;
    let webhook = scene.webhook("/", &[("max_retries", "2")]).await;
    let ids = scene.publish(&["a", "a", "a"]).await;
    scene.receiver.set_script(refuse(ids[1], 99));
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;

    let received = scene.receiver.received();
    let order: Vec<_> = received.iter().map(|one| (one.position(), one.header("webhook-attempt"))).collect();
    assert_eq!(order, [(ids[0], "1"), (ids[1], "1"), (ids[1], "2"), (ids[2], "1")]);

    let http = Http::serve(scene.store()).await;
    assert_eq!(http.get("/dead-letter/count").await["count"], 1);
    let list = http.get(&format!("/dead-letter?webhook_id={webhook}")).await;
    let dead = &list["items"][0];
    assert_eq!((&dead["message_id"], &dead["attempts"]), (&ids[1].into(), &2.into()));
    assert_eq!((&dead["reason"], &dead["partition_key"]), (&"attempts_exhausted".into(), &"a".into()));
    assert!(dead["last_error"].as_str().unwrap().contains("503"), "{dead}");
    let detail = http.get(&format!("/dead-letter/{}", dead["id"])).await;
    assert_eq!(detail["payload"], serde_json::json!({}));
    let delivery = http.get(&format!("/webhooks/{webhook}/deliveries/{}", ids[1])).await;
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&"dead".into(), &2.into()));
}

/// A receiver may drop messages whose id is not above the highest id that it has seen. A message
/// that comes after its successor would be lost there. So a dead letter must be on disk before the
/// next message is sent.
#[tokio::test]
async fn the_next_message_waits_until_the_dead_letter_is_written() {
    let scene = Scene::new().await;
    scene.webhook("/", &[("max_retries", "1")]).await;
    let ids = scene.publish(&["a", "a"]).await;
    scene.receiver.set_script(refuse(ids[0], 99));
    let blocker = scene.another_client().await;
    blocker.batch_execute("BEGIN; LOCK TABLE dead_letters IN SHARE MODE").await.unwrap();
    let _broker = Broker::start(scene.store());
    // Background work may wait for this lock, too. So first wait for the request.
    scene.receiver.wait_for_ended(1).await;
    scene.somebody_waits("l.relation = 'pgtopic.dead_letters'::regclass").await;
    let other = scene.publish(&["b"]).await;
    scene.receiver.wait_until("b goes on", |all| all.iter().any(|one| one.position() == other[0])).await;
    assert!(of(&scene.receiver.received(), ids[1]).is_empty(), "the dead letter is not written yet");

    blocker.batch_execute("COMMIT").await.unwrap();
    scene.nothing_owed().await;
    let order: Vec<_> = scene.receiver.received().iter().map(Received::position).collect();
    assert_eq!(order, [ids[0], other[0], ids[1]]);
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 1);
}

/// If a crash loses an accepted outcome, the message is sent again. If a crash lost a dead letter,
/// a message could be sent after its successor.
#[tokio::test]
async fn a_dead_letter_is_flushed() {
    let scene = Scene::new().await;
    scene.webhook("/", &[("max_retries", "1")]).await;
    // A trigger records how each transaction that inserts a dead letter will commit.
    scene
        .sql(
            "CREATE TABLE how (setting text);
             CREATE FUNCTION note_how() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN INSERT INTO pgtopic.how VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER note AFTER INSERT ON dead_letters DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION note_how()",
        )
        .await;
    let ids = scene.publish(&["a", "a"]).await;
    scene.receiver.set_script(refuse(ids[0], 99));
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    assert_eq!(scene.text("SELECT string_agg(setting, ',') FROM how").await, "on");
}

#[tokio::test]
async fn halt_stops_the_lane_at_its_head_and_no_other_lane() {
    let scene = Scene::with_webhook(&[("max_retries", "2"), ("on_exhausted", "'halt'")]).await;
    let ids = scene.publish(&["a", "a", "b"]).await;
    scene.receiver.set_script(refuse(ids[0], 2));
    let broker = Broker::start(scene.store());
    scene
        .until("EXISTS (SELECT FROM lanes WHERE halted AND due_at = 'infinity' AND claimed_by IS NULL)")
        .await;
    let later = scene.publish(&["a", "b"]).await;
    scene.receiver.wait_until("b goes on", |all| all.iter().any(|one| one.position() == later[1])).await;
    scene.sweeps_pass().await;
    let to_a = scene.receiver.received().iter().filter(|one| one.partition() == "a").count();
    assert_eq!(to_a, 2, "only the two attempts of the head");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 0);
    assert_eq!(scene.number("SELECT failures::bigint FROM lanes WHERE halted").await, 2);

    // An operator lets the lane go on.
    scene.sql("UPDATE lanes SET halted = false, failures = 0, due_at = clock_timestamp() WHERE halted").await;
    scene.receiver.set_script(|_| Answer::Status(204));
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
}

#[tokio::test]
async fn failures_are_counted_across_workers() {
    let scene = Scene::with_webhook(&[("max_retries", "4")]).await;
    let ids = scene.publish(&["a", "a"]).await;
    scene.receiver.set_script(refuse(ids[0], 2));
    let broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM lanes WHERE failures = 1 AND claimed_by IS NULL)").await;
    broker.stop().await;
    let _another = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let received = scene.receiver.received();
    let attempts: Vec<_> = received.iter().map(|one| one.header("webhook-attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3", "1"]);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_never_followed() {
    let scene = Scene::with_webhook(&[("max_retries", "2")]).await;
    scene
        .receiver
        .set_script(|_| Answer::Full(302, vec![("location", "/elsewhere".to_owned())], Bytes::new()));
    scene.publish(&["a"]).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    // The attempt log is written after the settle.
    scene.until("(SELECT string_agg(error_class, ' ') FROM attempts) = 'redirect redirect'").await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 1);
    let received = scene.receiver.received();
    assert!(received.len() == 2 && received.iter().all(|one| one.path == "/"), "{received:?}");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_and_one_that_breaks_off_are_failures() {
    let scene = Scene::with_webhook(&[("timeout_seconds", "1")]).await;
    scene.publish(&["a"]).await;
    scene.receiver.set_script(|received| match received.number {
        0 => Answer::Hang,
        1 => Answer::Close,
        _ => Answer::Status(200),
    });
    let _broker = Broker::start(scene.store());
    let begun = Instant::now();
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let classes = "SELECT string_agg(coalesce(error_class, 'none'), ' ' ORDER BY attempt) FROM attempts";
    // The attempt log is written after the settle.
    scene.until(&format!("({classes}) = 'timeout protocol none'")).await;
}

#[tokio::test]
async fn a_410_disables_the_webhook_and_keeps_its_backlog() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "a"]).await;
    scene.receiver.set_script(|_| Answer::Status(410));
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM webhooks WHERE disabled_reason LIKE '%410%')").await;
    scene.publish(&["a", "b"]).await;
    scene.sweeps_pass().await;
    assert_eq!(scene.receiver.received().len(), 1, "the first request is the only one");
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 4);
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 0);

    scene.receiver.set_script(|_| Answer::Status(204));
    scene.sql("UPDATE webhooks SET disabled_reason = NULL").await;
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    assert_eq!(of(&received, ids[0]).len(), 2, "the refused message is sent again");
    check_order(&received, &expected(&scene.client, &["/"]).await);
}
