//! A row that cannot be written holds up only its own lane.

use pgtopic::store::{DueAfter, Want};
use pgtopic_testkit::{Answer, Broker, Gate, Process, Puppet, Received, Scene};
use rstest::rstest;
use tokio_postgres::Client;

/// SQL: a trigger that refuses changes of the rows of one lane. `claimed` may restrict it: with
/// `OLD.claimed_by IS NOT NULL`, the lane can still be claimed.
fn refuse(event: &str, claimed: &str) -> String {
    format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
           AS 'BEGIN RAISE EXCEPTION ''this row stays as it is''; END';
         DO $$ BEGIN EXECUTE format('CREATE TRIGGER refuse {event} FOR EACH ROW
           WHEN (OLD.webhook_id = 1 AND OLD.lane = %s {claimed}) EXECUTE FUNCTION refuse()',
           hashtextextended('key-0', 1)); END $$"
    )
}

/// SQL: the lane of the key `key-0` of the first webhook.
const BAD: &str = "(1, hashtextextended('key-0', 1))";

fn keys() -> Vec<String> {
    (0..40).map(|key| format!("key-{key}")).collect()
}

async fn publish_everywhere(scene: &Scene) {
    let keys = keys();
    scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

fn of_bad_lane(received: &Received) -> bool {
    received.partition() == "key-0" && received.path == "/one"
}

/// Two webhooks with many lanes. It returns when the bad lane has sent its first request.
/// `first_answer` is the answer to that request. `before` is SQL that runs before the worker
/// starts.
async fn busy_scene(before: &str, first_answer: Answer) -> (Scene, Broker) {
    let scene = Scene::new().await;
    scene.webhook("/one", &[]).await;
    scene.webhook("/two", &[]).await;
    scene.receiver.set_script(move |received| {
        let first = of_bad_lane(received) && received.header("webhook-attempt") == "1";
        if first { first_answer.clone() } else { Answer::Status(204) }
    });
    publish_everywhere(&scene).await;
    scene.sql(before).await;
    let broker = Broker::start(scene.store());
    scene.receiver.wait_until("a request of the bad lane", |all| all.iter().any(of_bad_lane)).await;
    (scene, broker)
}

/// Checks that all other lanes go on while the bad lane cannot be written.
async fn others_go_on(scene: &Scene) {
    let sent = |all: &[Received]| all.iter().filter(|one| of_bad_lane(one)).count();
    scene
        .receiver
        .wait_until("the answer to the bad lane", |all| {
            all.iter().any(|one| of_bad_lane(one) && one.ended.is_some())
        })
        .await;
    for _ in 0..3 {
        publish_everywhere(scene).await;
        scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE (webhook_id, lane) <> {BAD})")).await;
    }
    assert_eq!(sent(&scene.receiver.received()), 1, "the bad lane sends no further request");
    let owed = format!("SELECT count(*) FROM deliveries WHERE (webhook_id, lane) = {BAD}");
    assert_eq!(scene.number(&owed).await, 4, "nothing of the bad lane is written");
}

/// The row can be written again. Checks that everything is written and nothing is sent twice.
async fn all_ends_well(scene: &Scene, broker: Broker) {
    scene.receiver.set_script(|_| Answer::Status(204));
    assert_eq!(scene.all_delivered(&["/one", "/two"]).await, 0);
    scene.no_lane_left().await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 0);
    broker.stop().await;
}

/// Locks a row of the bad lane in a transaction that stays open.
async fn lock(scene: &Scene, table: &str) -> Client {
    let client = scene.another_client().await;
    client.batch_execute("BEGIN").await.unwrap();
    let sql = format!("SELECT FROM {table} WHERE (webhook_id, lane) = {BAD} FOR UPDATE");
    assert_eq!(client.query(&sql, &[]).await.unwrap().len(), 1);
    client
}

#[rstest]
#[case::lane("lanes")]
#[case::delivery("deliveries")]
#[tokio::test]
async fn a_locked_row_holds_up_its_own_lane_alone(#[case] table: &str) {
    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    let (scene, broker) = busy_scene("", held).await;
    let locked = lock(&scene, table).await;
    gate.open();
    others_go_on(&scene).await;
    locked.batch_execute("COMMIT").await.unwrap();
    all_ends_well(&scene, broker).await;
}

/// Another session inserts the dead letter of one message, and does not commit.
#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_holds_up_its_own_lane_alone() {
    let scene = Scene::new().await;
    scene.webhook("/one", &[("max_retries", "1")]).await;
    scene.webhook("/two", &[("max_retries", "1")]).await;
    let first = scene.publish(&["key-0"]).await[0];
    scene.receiver.set_script(move |received| {
        Answer::Status(if received.position() == first && received.path == "/one" { 503 } else { 204 })
    });
    publish_everywhere(&scene).await;
    let other = scene.another_client().await;
    let blocking = format!(
        "BEGIN;
         INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
         VALUES (1, 1, 'key-0', hashtextextended('key-0', 1), {first}, 'attempts_exhausted', 9)"
    );
    other.batch_execute(&blocking).await.unwrap();
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut worker = Process::start(&["worker"], &environment);
    for _ in 0..3 {
        publish_everywhere(&scene).await;
        scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE (webhook_id, lane) <> {BAD})")).await;
    }
    assert_eq!(scene.receiver.received().iter().filter(|one| of_bad_lane(one)).count(), 1);
    assert_eq!(
        scene.number(&format!("SELECT count(*) FROM deliveries WHERE (webhook_id, lane) = {BAD}")).await,
        5
    );
    worker.wait_for_output("outcomes of a lane cannot be written").await;
    other.batch_execute("ROLLBACK").await.unwrap();
    scene.no_lane_left().await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters WHERE attempts = 1").await, 1);
    let sent = scene.receiver.received();
    let positions: Vec<i64> = sent.iter().filter(|one| of_bad_lane(one)).map(Received::position).collect();
    assert!(
        positions.len() == 5 && positions.is_sorted(),
        "each message is sent once, in order: {positions:?}"
    );
    let output = worker.stop().await.output;
    assert_eq!(output.matches("outcomes of a lane cannot be written").count(), 1, "it is logged once");
    assert_eq!(output.matches("can be written again").count(), 1);
}

/// A worker that is asked to stop waits for the locked row, as long as it would for a request. Then
/// it stops, and the row is left to other workers.
#[tokio::test]
async fn a_worker_stops_while_a_row_is_locked_and_another_worker_takes_the_lane() {
    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    let (scene, broker) = busy_scene("", held).await;
    let locked = lock(&scene, "lanes").await;
    gate.open();
    others_go_on(&scene).await;
    // The row stays locked until the worker has stopped.
    broker.stop().await;
    let held = "SELECT count(*) FROM lanes l JOIN workers w ON w.id = l.claimed_by AND w.gone";
    assert_eq!(scene.number(held).await, 1, "the worker is marked as gone, so anybody may take the lane");
    let next = Broker::start(scene.store());
    publish_everywhere(&scene).await;
    scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE (webhook_id, lane) <> {BAD})")).await;
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        scene.all_delivered(&["/one", "/two"]).await,
        1,
        "the message whose outcome could not be written is sent again"
    );
    scene.until("count(*) = 1 FROM workers").await;
    next.stop().await;
}

#[rstest]
#[case::delivery("BEFORE DELETE ON deliveries", "", 204)]
#[case::lane("BEFORE UPDATE ON lanes", "AND OLD.claimed_by IS NOT NULL", 503)]
#[tokio::test]
async fn a_row_that_is_refused_holds_up_its_own_lane_alone(
    #[case] event: &str,
    #[case] claimed: &str,
    #[case] status: u16,
) {
    let (scene, broker) = busy_scene(&refuse(event, claimed), Answer::Status(status)).await;
    others_go_on(&scene).await;
    scene.sql("DROP FUNCTION refuse CASCADE").await;
    all_ends_well(&scene, broker).await;
}

#[tokio::test]
async fn an_idle_lane_that_cannot_be_removed_holds_up_no_other_lane() {
    let (scene, broker) = busy_scene(&refuse("BEFORE DELETE ON lanes", ""), Answer::Status(204)).await;
    for _ in 0..2 {
        publish_everywhere(&scene).await;
        scene.nothing_owed().await;
        scene.until(&format!("NOT EXISTS (SELECT FROM lanes WHERE (webhook_id, lane) <> {BAD})")).await;
        assert_eq!(scene.number("SELECT count(*) FROM lanes").await, 1);
    }
    scene.sql("DROP FUNCTION refuse CASCADE").await;
    all_ends_well(&scene, broker).await;
}

#[tokio::test]
async fn a_lane_that_cannot_be_claimed_holds_up_no_other_lane() {
    let scene = Scene::new().await;
    scene.webhook("/one", &[]).await;
    scene.webhook("/two", &[]).await;
    publish_everywhere(&scene).await;
    scene.sql(&refuse("BEFORE UPDATE ON lanes", "")).await;
    let broker = Broker::start(scene.store());
    for _ in 0..3 {
        scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE (webhook_id, lane) <> {BAD})")).await;
        publish_everywhere(&scene).await;
    }
    assert!(!scene.receiver.received().iter().any(of_bad_lane));
    scene.sql("DROP FUNCTION refuse CASCADE").await;
    all_ends_well(&scene, broker).await;
}

#[tokio::test]
async fn lanes_are_claimed_one_by_one_by_the_same_rules_as_together() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b", "c", "d"]).await;
    let (puppet, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    let locked = scene.another_client().await;
    let lock = "BEGIN; SELECT FROM lanes WHERE partition_key = 'a' FOR UPDATE";
    locked.batch_execute(lock).await.unwrap();
    let want = |slots| [Want { webhook_id: 1, slots, due_after: DueAfter::Beginning }];
    let claimed = puppet.store.claim_lanes_singly(puppet.id, 1, &want(2), true).await.unwrap();
    assert_eq!(claimed.len(), 2, "no more lanes than slots");
    assert!(
        claimed.iter().all(|lane| lane.owed.more && lane.owed.items.is_empty()),
        "a claim of single lanes reads no messages"
    );
    let claimed = other.store.claim_lanes_singly(other.id, 1, &want(10), true).await.unwrap();
    assert_eq!(claimed.len(), 1, "one lane is locked, and the other worker holds two");
    scene.sql(&format!("UPDATE workers SET gone = true WHERE id = '{}'", puppet.id)).await;
    assert!(other.store.claim_lanes_singly(other.id, 2, &want(10), false).await.unwrap().is_empty());
    assert_eq!(other.store.claim_lanes_singly(other.id, 3, &want(10), true).await.unwrap().len(), 2);
    let error = puppet.store.claim_lanes_singly(puppet.id, 2, &want(10), true).await.unwrap_err();
    assert!(error.is_not_registered());
}
