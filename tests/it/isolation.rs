//! A row that cannot be written costs its own lane, and no other one.

use std::time::{Duration, Instant};

use pgtopic::{
    domain::lane::LaneKey,
    store::{
        Claim, ClaimedLane, DueAfter, HeldLane, LaneChange, LaneOutcomes, LaneState, OwedMessage,
        SettleOutcome, Settlement, Want,
    },
};
use rstest::rstest;
use tokio_postgres::{Client, error::SqlState};

use crate::support::{Answer, Broker, Process, Puppet, Received, Scene};

/// SQL: a trigger that refuses changes of one lane's rows. A claim is none: it is made while nobody holds the lane.
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

/// Two webhooks with many lanes, and a request for the lane that cannot be written then, answered after a while.
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

/// All other lanes go on, while one cannot be written.
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

/// When the row can be written again, everything is, and nothing is sent twice.
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
    let later = Answer::After(Duration::from_secs(2), Box::new(Answer::Status(204)));
    let (scene, broker) = busy_scene("", later).await;
    let locked = lock(&scene, table).await;
    others_go_on(&scene).await;
    locked.batch_execute("COMMIT").await.unwrap();
    all_ends_well(&scene, broker).await;
}

/// The dead letter of one message is being written by somebody else, who does not commit.
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

/// A worker that is asked to stop waits for the row as long as it may for requests, and then leaves it to others.
#[tokio::test]
async fn a_locked_row_keeps_no_worker_from_stopping_and_its_lane_goes_to_another() {
    let later = Answer::After(Duration::from_secs(2), Box::new(Answer::Status(204)));
    let (scene, broker) = busy_scene("", later).await;
    let locked = lock(&scene, "lanes").await;
    others_go_on(&scene).await;
    let begun = Instant::now();
    broker.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
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

// What follows is one call of settle.

fn claim_of(lane: &ClaimedLane) -> Claim {
    (lane.key, lane.token)
}

fn owed(lane: &ClaimedLane) -> Vec<i64> {
    lane.owed.items.iter().map(OwedMessage::id).collect()
}

fn change(state: LaneState, generation: i32, position: i64) -> LaneChange {
    LaneChange { generation, position, state, head_message_id: None, failures: 0, last_error: None }
}

/// Everything that the lane owed was accepted, and the lane is released.
fn accepted(lane: &ClaimedLane) -> LaneOutcomes {
    let done = owed(lane);
    let change = change(LaneState::Ready, lane.generation, *done.last().unwrap());
    LaneOutcomes { done, dead: Vec::new(), change: Some(change) }
}

/// A worker that has claimed these partitions, in the order of their lanes.
async fn holding(scene: &Scene, keys: &[&str]) -> (Puppet, Vec<ClaimedLane>) {
    scene.publish(keys).await;
    let puppet = Puppet::new(scene).await;
    let mut lanes = puppet.claim(1).await.unwrap();
    lanes.sort_by_key(|lane| lane.key);
    (puppet, lanes)
}

#[tokio::test]
async fn a_settle_says_of_each_claim_what_became_of_it() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "b", "c", "d"]).await;
    let [first, locked, lost, last] = &lanes[..] else { panic!("{lanes:?}") };
    let client = scene.another_client().await;
    let lock = format!("BEGIN; SELECT FROM lanes WHERE lane = {} FOR UPDATE", locked.key.lane);
    client.batch_execute(&lock).await.unwrap();
    scene
        .sql(&format!("UPDATE lanes SET claimed_by = NULL, token = NULL WHERE lane = {}", lost.key.lane))
        .await;

    let settlement: Settlement = lanes.iter().map(|lane| (claim_of(lane), accepted(lane))).collect();
    let outcomes = puppet.store.settle(puppet.id, &settlement).await.unwrap();
    let expected = [
        (claim_of(first), SettleOutcome::Written),
        (claim_of(locked), SettleOutcome::Locked),
        (claim_of(lost), SettleOutcome::Lost),
        (claim_of(last), SettleOutcome::Written),
    ];
    assert_eq!(outcomes, expected);
    let left = "SELECT string_agg(lane::text, ' ' ORDER BY lane) FROM deliveries";
    assert_eq!(scene.text(left).await, format!("{} {}", locked.key.lane, lost.key.lane));

    // What was locked is written when it is free, and a row that is gone is lost.
    client.batch_execute("COMMIT").await.unwrap();
    scene.sql(&format!("DELETE FROM lanes WHERE lane = {}", lost.key.lane)).await;
    let again: Settlement = [locked, lost].map(|lane| (claim_of(lane), accepted(lane))).into();
    let outcomes = puppet.store.settle(puppet.id, &again).await.unwrap();
    assert_eq!(outcomes, [(claim_of(locked), SettleOutcome::Written), (claim_of(lost), SettleOutcome::Lost)]);
}

#[tokio::test]
async fn a_settle_waits_for_a_delivery_only_so_long_and_then_writes_nothing() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "b"]).await;
    let client = scene.another_client().await;
    let lock = format!("BEGIN; SELECT FROM deliveries WHERE lane = {} FOR UPDATE", lanes[0].key.lane);
    client.batch_execute(&lock).await.unwrap();
    let settlement: Settlement = lanes.iter().map(|lane| (claim_of(lane), accepted(lane))).collect();
    let error = puppet.store.settle(puppet.id, &settlement).await.unwrap_err();
    assert_eq!(error.sql_state(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 2);
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL").await, 2);
    client.batch_execute("COMMIT").await.unwrap();
    puppet.store.settle(puppet.id, &settlement).await.unwrap();
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 0);
}

/// As a replay does: it puts an earlier message back.
async fn rewind(scene: &Scene, key: LaneKey, message_id: i64) {
    scene
        .sql(&format!(
            "INSERT INTO deliveries VALUES ({webhook}, {lane}, {message_id}) ON CONFLICT DO NOTHING;
             UPDATE lanes SET position = {message_id} - 1, generation = generation + 1 WHERE lane = {lane}",
            webhook = key.webhook_id,
            lane = key.lane
        ))
        .await;
}

/// The lane's first message was accepted before, the second one has failed, and a replay came in between.
#[rstest]
#[case::waiting(LaneState::Waiting(Duration::from_mins(10)))]
#[case::halted(LaneState::Halted)]
#[tokio::test]
async fn a_failure_holds_up_a_lane_only_if_it_is_of_what_comes_first(#[case] state: LaneState) {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "a", "a"]).await;
    let [lane] = &lanes[..] else { panic!("{lanes:?}") };
    let (ids, mut token) = (owed(lane), lane.token);
    let due = "(due_at <= clock_timestamp())";
    let row =
        format!("SELECT concat_ws(' ', {due}, halted, claimed_by IS NULL, position, generation) FROM lanes");

    // Of the settle, by what it knows: the generation, the failed message; and whether the replay put back the first message.
    for (replayed, known, head, held_up) in
        [(true, 0, ids[1], false), (true, 1, ids[0], true), (true, 0, ids[0], true), (false, 2, ids[1], true)]
    {
        let generation = if replayed {
            rewind(&scene, lane.key, ids[0]).await;
            scene.number("SELECT generation::bigint FROM lanes").await
        } else {
            scene.sql(&format!("DELETE FROM deliveries WHERE message_id = {}", ids[0])).await;
            scene.number("SELECT generation::bigint FROM lanes").await
        };
        let known = if known == 0 { generation - 1 } else { generation };
        let failed = LaneChange {
            head_message_id: Some(head),
            failures: 3,
            last_error: Some("no".to_owned()),
            ..change(state, i32::try_from(known).unwrap(), head - 1)
        };
        let position = if known == generation { head - 1 } else { ids[0] - 1 };
        let outcomes = LaneOutcomes { change: Some(failed), ..LaneOutcomes::default() };
        let settlement = Settlement::from([((lane.key, token), outcomes)]);
        let written = puppet.store.settle(puppet.id, &settlement).await.unwrap();
        assert_eq!(written, [((lane.key, token), SettleOutcome::Written)]);
        let halted = held_up && state == LaneState::Halted;
        let (ready, halted) = (if held_up { "f" } else { "t" }, if halted { "t" } else { "f" });
        assert_eq!(scene.text(&row).await, format!("{ready} {halted} t {position} {generation}"), "{head}");

        // Claims tell whose failures these are.
        token += 1;
        scene.sql("UPDATE lanes SET due_at = now(), halted = false").await;
        let claimed = puppet.claim(token).await.unwrap();
        let [claimed] = &claimed[..] else { panic!("{claimed:?}") };
        assert_eq!((claimed.head_message_id, claimed.failures), (Some(head), 3));
    }
}

#[tokio::test]
async fn the_position_moves_at_the_same_generation_alone_and_never_back() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "a", "a"]).await;
    let [lane] = &lanes[..] else { panic!("{lanes:?}") };
    let ids = owed(lane);
    let settle = async |generation, position| {
        let change = change(LaneState::Held, generation, position);
        let outcomes = LaneOutcomes { change: Some(change), ..LaneOutcomes::default() };
        let settlement = Settlement::from([(claim_of(lane), outcomes)]);
        puppet.store.settle(puppet.id, &settlement).await.unwrap();
        scene.number("SELECT position FROM lanes WHERE claimed_by IS NOT NULL").await
    };
    assert_eq!(settle(0, ids[1]).await, ids[1]);
    assert_eq!(settle(0, ids[0]).await, ids[1], "not back");
    rewind(&scene, lane.key, ids[0]).await;
    assert_eq!(settle(0, ids[2]).await, ids[0] - 1, "an older generation");
    assert_eq!(settle(2, ids[2]).await, ids[0] - 1, "one that never was");
    assert_eq!(settle(1, ids[2]).await, ids[2]);
}

#[tokio::test]
async fn idle_lanes_are_removed_around_one_that_is_locked() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "b", "c"]).await;
    let settlement: Settlement = lanes
        .iter()
        .map(|lane| {
            let change = change(LaneState::Held, 0, owed(lane)[0]);
            (claim_of(lane), LaneOutcomes { done: owed(lane), dead: Vec::new(), change: Some(change) })
        })
        .collect();
    puppet.store.settle(puppet.id, &settlement).await.unwrap();
    let client = scene.another_client().await;
    let lock = format!("BEGIN; SELECT FROM lanes WHERE lane = {} FOR UPDATE", lanes[1].key.lane);
    client.batch_execute(&lock).await.unwrap();
    let held: Vec<HeldLane> = lanes
        .iter()
        .map(|lane| HeldLane { key: lane.key, token: lane.token, position: owed(lane)[0], generation: 0 })
        .collect();
    assert_eq!(puppet.store.remove_idle_lanes(puppet.id, &held).await.unwrap().len(), 2);
    client.batch_execute("COMMIT").await.unwrap();
    let removed = puppet.store.remove_idle_lanes(puppet.id, &held).await.unwrap();
    assert_eq!(removed.keys().copied().collect::<Vec<_>>(), [lanes[1].key]);
}
