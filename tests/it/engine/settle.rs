//! One call of `settle` or of `remove_idle_lanes`: what it changes, and what it leaves.

use std::time::Duration;

use pgtopic::{
    domain::{attempt::ErrorClass, batch::Batch, dead_letter::Reason, lane::LaneKey, scope::TopicScope},
    store::{
        Claim, ClaimedLane, DeadDelivery, HeldLane, LaneChange, LaneOutcomes, LaneState, LastError,
        OwedMessage, ReadLimits, Room, SettleOutcome, Settlement,
    },
};
use pgtopic_testkit::{Broker, Puppet, Scene};
use rstest::rstest;
use tokio_postgres::error::SqlState;

fn claim_of(lane: &ClaimedLane) -> Claim {
    (lane.key, lane.token)
}

fn owed(lane: &ClaimedLane) -> Vec<i64> {
    lane.owed.items.iter().map(OwedMessage::id).collect()
}

fn change(state: LaneState, generation: i32, position: i64) -> LaneChange {
    LaneChange {
        generation,
        position,
        state,
        failed: None,
        failures: 0,
        split_until: None,
        last_error: None,
        epoch: None,
    }
}

/// The outcome: everything that the lane owed was accepted, and the lane is released.
fn accepted(lane: &ClaimedLane) -> LaneOutcomes {
    let done = owed(lane);
    let change = change(LaneState::Ready, lane.generation, *done.last().unwrap());
    LaneOutcomes { done, change: Some(change), ..LaneOutcomes::default() }
}

/// A worker that has claimed the lanes of these keys. The lanes are sorted.
async fn holding(scene: &Scene, keys: &[&str]) -> (Puppet, Vec<ClaimedLane>) {
    scene.publish(keys).await;
    let puppet = Puppet::new(scene).await;
    let mut lanes = puppet.claim(1).await.unwrap();
    lanes.sort_by_key(|lane| lane.key);
    (puppet, lanes)
}

#[tokio::test]
async fn a_settle_answers_for_each_claim() {
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

    // The locked lane is written when it is free. A lane without a row is lost.
    client.batch_execute("COMMIT").await.unwrap();
    scene.sql(&format!("DELETE FROM lanes WHERE lane = {}", lost.key.lane)).await;
    let again: Settlement = [locked, lost].map(|lane| (claim_of(lane), accepted(lane))).into();
    let outcomes = puppet.store.settle(puppet.id, &again).await.unwrap();
    assert_eq!(outcomes, [(claim_of(locked), SettleOutcome::Written), (claim_of(lost), SettleOutcome::Lost)]);
}

#[tokio::test]
async fn a_settle_that_waits_too_long_for_a_locked_delivery_writes_nothing() {
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

/// A message was given up in an earlier epoch of the breaker. It is still owed, so the position must
/// not pass it.
#[tokio::test]
async fn a_failure_of_an_earlier_epoch_leaves_the_position_below_what_is_owed() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "a"]).await;
    let [lane] = &lanes[..] else { panic!("{lanes:?}") };
    let [first, second] = owed(lane)[..] else { panic!("{lanes:?}") };
    let opened = "INSERT INTO breakers (webhook_id, state, epoch, opened_at, next_probe_at) VALUES (1, 'open', 1, now(), now())";
    scene.sql(opened).await;
    let reason = Reason::AttemptsExhausted;
    let outcomes = LaneOutcomes {
        done: vec![first],
        dead: vec![DeadDelivery { message_id: second, reason, attempts: 1, last: None }],
        change: Some(LaneChange { epoch: Some(0), ..change(LaneState::Ready, lane.generation, second) }),
        ..LaneOutcomes::default()
    };
    let settlement: Settlement = [(claim_of(lane), outcomes)].into();
    let answers = puppet.store.settle(puppet.id, &settlement).await.unwrap();
    assert_eq!(answers, [(claim_of(lane), SettleOutcome::Written)]);
    assert_eq!(scene.number("SELECT message_id FROM deliveries").await, second);
    assert!(scene.number("SELECT position FROM lanes").await < second);
}

/// Puts an earlier message back into its lane, as a replay does.
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

/// A settle reports a failed message. Meanwhile a replay may have put an earlier message back. Then
/// that earlier message is the head, and the lane must not wait.
#[rstest]
#[case::waiting(LaneState::Waiting(Duration::from_mins(10)))]
#[case::halted(LaneState::Halted)]
#[tokio::test]
async fn a_failure_holds_up_a_lane_only_if_its_message_is_the_head(#[case] state: LaneState) {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "a", "a"]).await;
    let [lane] = &lanes[..] else { panic!("{lanes:?}") };
    let (ids, mut token) = (owed(lane), lane.token);
    let due = "(due_at <= clock_timestamp())";
    let row =
        format!("SELECT concat_ws(' ', {due}, halted, claimed_by IS NULL, position, generation) FROM lanes");

    // Whether the replay puts the first message back; the generation that the settle knows (0 is
    // the one before the replay); the message that failed; whether the lane waits then.
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
            failed: Batch::of(&[head]),
            failures: 3,
            last_error: Some(LastError {
                text: "no".to_owned(),
                class: Some(ErrorClass::Status),
                status_code: Some(503),
            }),
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

        // The next claim says which message has failed, and how often.
        token += 1;
        scene.sql("UPDATE lanes SET due_at = now(), halted = false").await;
        let claimed = puppet.claim(token).await.unwrap();
        let [claimed] = &claimed[..] else { panic!("{claimed:?}") };
        assert_eq!((claimed.failed, claimed.failures), (Batch::of(&[head]), 3));
    }
}

#[tokio::test]
async fn the_position_moves_only_forward_and_only_at_its_generation() {
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
    assert_eq!(settle(0, ids[0]).await, ids[1], "the position does not move back");
    rewind(&scene, lane.key, ids[0]).await;
    assert_eq!(settle(0, ids[2]).await, ids[0] - 1, "the settle has an older generation");
    assert_eq!(settle(2, ids[2]).await, ids[0] - 1, "the settle has a generation that never was");
    assert_eq!(settle(1, ids[2]).await, ids[2]);
}

#[tokio::test]
async fn idle_lanes_are_removed_although_one_is_locked() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a", "b", "c"]).await;
    let settlement: Settlement = lanes
        .iter()
        .map(|lane| {
            let change = change(LaneState::Held, 0, owed(lane)[0]);
            (
                claim_of(lane),
                LaneOutcomes { done: owed(lane), change: Some(change), ..LaneOutcomes::default() },
            )
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

/// Failed attempts count only for the message that failed.
#[rstest]
#[case::of_the_head("message_id", "4")]
#[case::of_an_earlier_message("message_id - 1", "1")]
#[case::of_a_later_message("message_id + 1", "1")]
#[case::of_no_message("NULL", "1")]
#[tokio::test]
async fn failures_count_for_their_own_message_alone(#[case] head: &str, #[case] attempt: &str) {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "a"]).await;
    scene
        .sql(&format!(
            "UPDATE lanes SET failures = 3, last_error = 'no', head_message_id = {head}
               FROM (SELECT min(message_id) AS message_id FROM deliveries) d"
        ))
        .await;
    let broker = Broker::start(scene.store());
    let sent = scene.receiver.wait_for(2).await;
    assert_eq!(sent[0].header("webhook-attempt"), attempt);
    assert_eq!(sent[1].header("webhook-attempt"), "1");
    broker.stop().await;
}

#[tokio::test]
async fn a_lane_keeps_how_its_head_failed_until_the_head_has_left() {
    let scene = Scene::with_webhook(&[]).await;
    let (puppet, lanes) = holding(&scene, &["a"]).await;
    let [lane] = &lanes[..] else { panic!("{lanes:?}") };
    let settle = async |failures, last_error| {
        let change = LaneChange { failures, last_error, ..change(LaneState::Held, 0, 0) };
        let outcomes = LaneOutcomes { change: Some(change), ..LaneOutcomes::default() };
        puppet.store.settle(puppet.id, &Settlement::from([(claim_of(lane), outcomes)])).await.unwrap();
        scene.text("SELECT concat_ws(' ', last_error, last_error_class, last_status_code) FROM lanes").await
    };
    let error = |class, status_code| Some(LastError { text: "no".to_owned(), class, status_code });
    assert_eq!(settle(1, error(Some(ErrorClass::Status), Some(503))).await, "no status 503");
    assert_eq!(settle(1, None).await, "no status 503", "nothing new is known");
    assert_eq!(settle(2, error(Some(ErrorClass::Timeout), None)).await, "no timeout");
    assert_eq!(settle(3, error(None, None)).await, "no");
    assert_eq!(settle(0, None).await, "");
}

#[tokio::test]
async fn a_dead_letter_keeps_the_type_of_its_message() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql("INSERT INTO messages (topic_id, type, payload) SELECT id, 'order.paid', '1' FROM topics")
        .await;
    scene.sql("INSERT INTO messages (topic_id, payload) SELECT id, '2' FROM topics").await;
    let puppet = Puppet::new(&scene).await;
    let claimed = puppet.claim(1).await.unwrap();
    let [lane] = &claimed[..] else { panic!("{claimed:?}") };
    let dead = owed(lane)
        .into_iter()
        .map(|message_id| DeadDelivery {
            message_id,
            reason: Reason::AttemptsExhausted,
            attempts: 1,
            last: None,
        })
        .collect();
    let outcomes = LaneOutcomes { dead, ..LaneOutcomes::default() };
    puppet.store.settle(puppet.id, &Settlement::from([(claim_of(lane), outcomes)])).await.unwrap();
    let types = "SELECT string_agg(coalesce(type, 'none'), ' ' ORDER BY message_id) FROM dead_letters";
    assert_eq!(scene.text(types).await, "order.paid none");
}

/// Whether a message is a replay belongs to its delivery.
#[tokio::test]
async fn every_way_to_read_tells_type_and_replay() {
    let scene = Scene::with_webhook(&[]).await;
    let publish =
        "INSERT INTO messages (topic_id, type, payload) SELECT id, $1, '1' FROM topics RETURNING id";
    let client = &scene.client;
    let mut ids: Vec<i64> = Vec::new();
    for kind in ["order.paid", "order.sent"] {
        ids.push(client.query_one(publish, &[&kind]).await.unwrap().get(0));
    }
    client
        .execute("UPDATE deliveries SET replayed_at = now() WHERE message_id = $1", &[&ids[0]])
        .await
        .unwrap();
    let read = |items: &[OwedMessage]| -> Vec<(String, bool)> {
        let present = items.iter().map(|item| match item {
            OwedMessage::Present(message) => message,
            OwedMessage::Missing(id) | OwedMessage::Superseded(id) => panic!("{id}"),
        });
        present.map(|message| (message.r#type.clone().unwrap(), message.replay)).collect()
    };
    let both = [("order.paid".to_owned(), true), ("order.sent".to_owned(), false)];
    let limits = ReadLimits { messages_per_lane: 10, payload_bytes: 1 << 20 };

    let puppet = Puppet::new(&scene).await;
    let claimed = puppet.claim(1).await.unwrap();
    assert_eq!(read(&claimed[0].owed.items), both);
    let key = claimed[0].key;
    let held = HeldLane { key, token: 1, position: 0, generation: 0 };
    let lanes = puppet.store.read_lanes(puppet.id, &[held], limits).await.unwrap();
    assert_eq!(read(&lanes[0].owed.items), both);
    let looked = puppet
        .store
        .claim_messages(puppet.id, 2, &ids, &Room::default(), limits, &TopicScope::All)
        .await
        .unwrap();
    let followers: Vec<_> = looked.followers.into_iter().filter_map(|follower| follower.message).collect();
    assert_eq!(read(&followers.into_iter().map(OwedMessage::Present).collect::<Vec<_>>()), both);
    scene.sql("UPDATE lanes SET claimed_by = NULL").await;
    let room = Room { lanes: 1, full_webhooks: Vec::new() };
    let looked =
        puppet.store.claim_messages(puppet.id, 3, &ids, &room, limits, &TopicScope::All).await.unwrap();
    assert_eq!(read(&looked.claimed[0].owed.items), both);
}
