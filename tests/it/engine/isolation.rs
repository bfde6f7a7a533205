//! A row that cannot be written holds up its own lane, and no other lane.

use pgtopic::store::{DueAfter, Want};
use pgtopic_testkit::{Answer, Broker, Gate, Process, Puppet, Received, Scene};
use rstest::rstest;
use tokio_postgres::Client;

/// SQL: a trigger that refuses changes of one lane's rows. It lets claims through: nobody holds the
/// lane then.
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

/// Two webhooks with many lanes. One request is for the lane that cannot be written afterwards. The
/// test decides when it is answered.
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
    scene.receiver.wait_until("a request of the lane", |all| all.iter().any(of_bad_lane)).await;
    (scene, broker)
}

/// All other lanes go on while one cannot be written.
async fn others_go_on(scene: &Scene) {
    let sent = |all: &[Received]| all.iter().filter(|one| of_bad_lane(one)).count();
    scene
        .receiver
        .wait_until("the answer", |all| all.iter().any(|one| of_bad_lane(one) && one.ended.is_some()))
        .await;
    for _ in 0..3 {
        publish_everywhere(scene).await;
        scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE (webhook_id, lane) <> {BAD})")).await;
    }
    assert_eq!(sent(&scene.receiver.received()), 1, "no further request of the lane begins");
    let owed = format!("SELECT count(*) FROM deliveries WHERE (webhook_id, lane) = {BAD}");
    assert_eq!(scene.number(&owed).await, 4, "nothing of it is written");
}

/// When the row can be written again, everything is written, and nothing is sent twice.
async fn all_ends_well(scene: &Scene, broker: Broker) {
    scene.receiver.set_script(|_| Answer::Status(204));
    assert_eq!(scene.all_delivered(&["/one", "/two"]).await, 0);
    scene.no_lane_left().await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 0);
    broker.stop().await;
}

/// Locks a row in a transaction that stays open.
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

/// Somebody else is writing the dead letter of one message, and does not commit.
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
    other.batch_execute("ROLLBACK").await.unwrap();
    scene.no_lane_left().await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters WHERE attempts = 1").await, 1);
    let sent = scene.receiver.received();
    let positions: Vec<i64> = sent.iter().filter(|one| of_bad_lane(one)).map(Received::position).collect();
    assert!(positions.len() == 5 && positions.is_sorted(), "each once, in order: {positions:?}");
    let output = worker.stop().await.output;
    assert_eq!(output.matches("outcomes of a lane cannot be written").count(), 1, "said once");
    assert_eq!(output.matches("can be written again").count(), 1);
}

/// A worker that is asked to stop waits for the row as long as it may wait for requests. Then it
/// leaves the row to others.
#[tokio::test]
async fn a_locked_row_keeps_no_worker_from_stopping_and_its_lane_goes_to_another() {
    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    let (scene, broker) = busy_scene("", held).await;
    let locked = lock(&scene, "lanes").await;
    gate.open();
    others_go_on(&scene).await;
    // The row stays locked until the worker has stopped.
    broker.stop().await;
    let held = "SELECT count(*) FROM lanes l JOIN workers w ON w.id = l.claimed_by AND w.gone";
    assert_eq!(scene.number(held).await, 1, "it says that it is gone, and the lane is anybody's");
    let next = Broker::start(scene.store());
    publish_everywhere(&scene).await;
    scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE (webhook_id, lane) <> {BAD})")).await;
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.all_delivered(&["/one", "/two"]).await, 1, "what could not be written is sent again");
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
async fn an_idle_lane_that_cannot_be_removed_keeps_no_other_one() {
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
async fn a_lane_that_cannot_be_claimed_keeps_no_other_one() {
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
async fn lanes_are_claimed_singly_as_they_are_at_once() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b", "c", "d"]).await;
    let (puppet, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    let locked = scene.another_client().await;
    let lock = "BEGIN; SELECT FROM lanes WHERE partition_key = 'a' FOR UPDATE";
    locked.batch_execute(lock).await.unwrap();
    let want = |slots| [Want { webhook_id: 1, slots, due_after: DueAfter::Beginning }];
    let claimed = puppet.store.claim_lanes_singly(puppet.id, 1, &want(2), true).await.unwrap();
    assert_eq!(claimed.len(), 2, "no more than there is room for");
    assert!(claimed.iter().all(|lane| lane.owed.more && lane.owed.items.is_empty()), "to be read");
    let claimed = other.store.claim_lanes_singly(other.id, 1, &want(10), true).await.unwrap();
    assert_eq!(claimed.len(), 1, "one is locked, and two are the other worker's");
    scene.sql(&format!("UPDATE workers SET gone = true WHERE id = '{}'", puppet.id)).await;
    assert!(other.store.claim_lanes_singly(other.id, 2, &want(10), false).await.unwrap().is_empty());
    assert_eq!(other.store.claim_lanes_singly(other.id, 3, &want(10), true).await.unwrap().len(), 2);
    let error = puppet.store.claim_lanes_singly(puppet.id, 2, &want(10), true).await.unwrap_err();
    assert!(error.is_not_registered());
}
