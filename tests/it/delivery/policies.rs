//! How a webhook's policy judges failures: which are permanent, and how long the waits are.

use bytes::Bytes;
use pgtopic::config::Config;
use pgtopic_testkit::{Answer, Broker, Http, Received, Scene};
use serde_json::json;

/// What the attempts at each message were, and how many.
fn attempts(received: &[Received]) -> Vec<(i64, &str)> {
    received.iter().map(|one| (one.position(), one.header("webhook-attempt"))).collect()
}

/// The waits that lanes were given, and after how many failures.
async fn note_waits(scene: &Scene) {
    scene
        .sql(
            "CREATE TABLE waits (failures integer, seconds float8);
             CREATE FUNCTION note_wait() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO pgtopic.waits VALUES (NEW.failures, NEW.wait_seconds); RETURN NULL; END';
             CREATE TRIGGER note AFTER UPDATE ON lanes FOR EACH ROW
             WHEN (NEW.failures > OLD.failures) EXECUTE FUNCTION note_wait()",
        )
        .await;
}

#[tokio::test]
async fn a_permanent_status_is_a_dead_letter_at_once_and_its_lane_goes_on() {
    let scene = Scene::with_webhook(&[("permanent_statuses", "'{400,302}'")]).await;
    let ids = scene.publish(&["a", "a", "a"]).await;
    let (bad, moved) = (ids[0], ids[1]);
    scene.receiver.set_script(move |received| match received.position() {
        id if id == bad => Answer::Full(400, vec![("retry-after", "900".to_owned())], Bytes::new()),
        id if id == moved => Answer::Status(302),
        _ => Answer::Status(204),
    });
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    assert_eq!(attempts(&received), [(ids[0], "1"), (ids[1], "1"), (ids[2], "1")]);
    let dead = "SELECT string_agg(concat_ws(' ', message_id, reason, attempts, status_code), ', ' ORDER BY id) FROM dead_letters";
    assert_eq!(scene.text(dead).await, format!("{bad} permanent 1 400, {moved} permanent 1 302"));
    let why = Http::serve(scene.store()).await.get(&format!("/messages/{bad}/why")).await;
    assert_eq!(why["webhooks"][0]["reason"], "permanent", "{why}");
}

#[tokio::test]
async fn a_permanent_status_halts_the_lane_if_the_webhook_says_so() {
    let settings = [("permanent_statuses", "'{422}'"), ("on_exhausted", "'halt'")];
    let scene = Scene::with_webhook(&settings).await;
    scene.receiver.set_script(|_| Answer::Status(422));
    scene.publish(&["a", "a"]).await;
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM lanes WHERE halted AND failures = 1 AND last_status_code = 422)").await;
    assert_eq!(scene.receiver.count(), 1);
}

/// One message of a batch may be the reason. So each is tried by itself.
#[tokio::test]
async fn a_batch_with_a_permanent_status_is_sent_one_by_one() {
    let scene = Scene::with_webhook(&[("permanent_statuses", "'{400}'"), ("batch_size", "3")]).await;
    let ids = scene.publish(&["a", "a", "a"]).await;
    let bad = format!("msg_{}", ids[1]);
    scene.receiver.set_script(move |received| {
        let id = received.header("webhook-id");
        Answer::Status(if id.contains('-') || id == bad { 400 } else { 204 })
    });
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let sent: Vec<_> =
        scene.receiver.received().iter().map(|one| one.header("webhook-id").to_owned()).collect();
    let alone = ids.iter().map(|id| format!("msg_{id}"));
    assert_eq!(sent, [vec![format!("msg_{}-{}", ids[0], ids[2])], alone.collect()].concat());
    let dead = "SELECT string_agg(concat(message_id, ' ', reason), ', ') FROM dead_letters";
    assert_eq!(scene.text(dead).await, format!("{} permanent", ids[1]));
}

/// Whatever the webhook says: the receiver is gone.
#[tokio::test]
async fn a_410_disables_also_where_it_is_a_permanent_status() {
    let scene = Scene::with_webhook(&[("permanent_statuses", "'{410}'")]).await;
    scene.receiver.set_script(|_| Answer::Status(410));
    scene.publish(&["a"]).await;
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM webhooks WHERE disabled_reason LIKE '%410%')").await;
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 1);
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 0);
}

/// Another attempt would be refused, too. The guard of this broker forbids the receiver's address.
#[tokio::test]
async fn an_address_that_may_not_be_used_is_a_permanent_failure() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "a"]).await;
    let _broker = Broker::with(scene.store(), 100, Config::default().delivery);
    scene.nothing_owed().await;
    assert_eq!(scene.receiver.count(), 0);
    let dead = "SELECT string_agg(concat_ws(' ', reason, error_class, attempts), ', ') FROM dead_letters";
    assert_eq!(scene.text(dead).await, "permanent forbidden 1, permanent forbidden 1");
}

#[tokio::test]
async fn a_schedule_says_how_long_each_wait_is_and_its_last_one_repeats() {
    let scene = Scene::with_webhook(&[("retry_schedule", "'{1,2}'"), ("max_retries", "4")]).await;
    note_waits(&scene).await;
    scene.receiver.set_script(|_| Answer::Status(500));
    let id = scene.publish(&["a"]).await[0];
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    assert_eq!(attempts(&received), [(id, "1"), (id, "2"), (id, "3"), (id, "4")]);
    let gap = |at: usize| (received[at].arrived - received[at - 1].ended.unwrap()).as_secs_f64();
    assert!(gap(1) >= 1.0 && gap(2) >= 2.0 && gap(3) >= 2.0, "{} {} {}", gap(1), gap(2), gap(3));
    let waits = "SELECT string_agg(concat(failures, ' ', seconds BETWEEN least(failures, 2) AND 1.2 * least(failures, 2)), ', '
                                   ORDER BY failures) FROM waits WHERE failures < 4";
    assert_eq!(scene.text(waits).await, "1 t, 2 t, 3 t");
}

/// A lane that waits keeps its wait. What follows its next attempt is judged by the new policy.
#[tokio::test]
async fn a_new_policy_holds_from_the_next_failure_on() {
    let scene = Scene::with_webhook(&[("retry_schedule", "'{3600}'")]).await;
    note_waits(&scene).await;
    scene.receiver.set_script(|_| Answer::Status(500));
    scene.publish(&["a"]).await;
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM lanes WHERE failures = 1 AND claimed_by IS NULL)").await;
    let due = "SELECT due_at::text FROM lanes";
    let before = scene.text(due).await;
    let http = Http::serve(scene.store()).await;
    http.patch("/webhooks/1", &json!({"retry_schedule": [7200]})).await;
    scene.sweeps_pass().await;
    assert_eq!(scene.text(due).await, before, "the lane waits as it did");
    http.act("/webhooks/1/lanes/retry", &json!({"partition_key": "a"})).await;
    // Retrying has put its failures back to none.
    scene.until("(SELECT count(*) FROM waits) = 2").await;
    assert_eq!(scene.number("SELECT count(*) FROM waits WHERE seconds BETWEEN 7200 AND 8640").await, 1);
    http.patch("/webhooks/1", &json!({"permanent_statuses": [500]})).await;
    // Then the worker knows it.
    scene.sweeps_pass().await;
    http.act("/webhooks/1/lanes/retry", &json!({"partition_key": "a"})).await;
    scene.nothing_owed().await;
    assert_eq!(scene.text("SELECT reason FROM dead_letters").await, "permanent");
}
