//! The rules of the design about calls that overlap, as far as a test can show them. The numbers
//! are those of the design.

use std::time::Duration;

use pgtopic::{
    domain::{dead_letter::Reason, lane::LaneKey},
    store::{
        DeadDelivery, HeldLane, LaneChange, LaneOutcomes, LaneState, OwedMessage, ReadLimits, Release,
        SettleOutcome, Settlement,
    },
};
use pgtopic_testkit::{Answer, Broker, Gate, Puppet, Received, Scene};
use rstest::rstest;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// All rows that a settle may change, as text.
async fn rows(scene: &Scene) -> String {
    let sql = "SELECT (SELECT json_agg(d ORDER BY d) FROM deliveries d)::text
                   || (SELECT json_agg(l ORDER BY webhook_id, lane) FROM lanes l)::text
                   || (SELECT count(*) FROM dead_letters)::text";
    scene.text(sql).await
}

/// A settle that writes everything: one message was accepted, another one is given up, and the lane
/// is released.
fn everything(key: LaneKey, token: i64, ids: &[i64]) -> Settlement {
    let dead =
        DeadDelivery { message_id: ids[1], reason: Reason::AttemptsExhausted, attempts: 5, last: None };
    let change = LaneChange {
        generation: 0,
        position: ids[1],
        state: LaneState::Ready,
        failed: None,
        failures: 0,
        split_until: None,
        last_error: None,
    };
    let outcomes = LaneOutcomes {
        done: vec![ids[0]],
        dead: vec![dead],
        change: Some(change),
        ..LaneOutcomes::default()
    };
    Settlement::from([((key, token), outcomes)])
}

#[tokio::test]
async fn a_stale_settle_changes_nothing() {
    let scene = Scene::with_webhook(&[]).await;
    let ids = scene.publish(&["a", "a", "a"]).await;
    let (holder, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    let claimed = holder.claim(7).await.unwrap();
    let [lane] = &claimed[..] else { panic!("one lane: {claimed:?}") };
    assert_eq!(lane.owed.items.iter().map(OwedMessage::id).collect::<Vec<_>>(), ids);
    let before = rows(&scene).await;

    for (worker, token) in [(holder.id, 6), (holder.id, 8), (other.id, 7), (Uuid::now_v7(), 7)] {
        let stale = everything(lane.key, token, &ids);
        let outcomes = scene.store().settle(worker, &stale).await.unwrap();
        assert_eq!(outcomes, [((lane.key, token), SettleOutcome::Lost)]);
        let held = HeldLane { key: lane.key, token, position: ids[2], generation: 0 };
        assert!(scene.store().remove_idle_lanes(worker, &[held]).await.unwrap().is_empty());
        let limits = ReadLimits { messages_per_lane: 10, payload_bytes: 1 << 20 };
        assert!(scene.store().read_lanes(worker, &[held], limits).await.unwrap().is_empty());
        assert_eq!(rows(&scene).await, before, "{worker} {token}");
    }

    // The same worker releases the lane and claims it again. The settle of the first claim is
    // stale, too.
    let mut release = everything(lane.key, 7, &ids);
    for outcomes in release.values_mut() {
        outcomes.done.clear();
        outcomes.dead.clear();
        outcomes.change.as_mut().unwrap().position = lane.position;
    }
    holder.store.settle(holder.id, &release).await.unwrap();
    assert_eq!(holder.claim(9).await.unwrap().len(), 1);
    let before = rows(&scene).await;
    holder.store.settle(holder.id, &everything(lane.key, 7, &ids)).await.unwrap();
    assert_eq!(rows(&scene).await, before);

    holder.store.settle(holder.id, &everything(lane.key, 9, &ids)).await.unwrap();
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 1, "the settle of the holder counts");
    assert_eq!(scene.number("SELECT message_id FROM dead_letters").await, ids[1]);
}

#[tokio::test]
async fn a_worker_that_was_taken_for_dead_claims_nothing() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b"]).await;
    let (gone, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    assert_eq!(gone.claim(1).await.unwrap().len(), 2);
    assert!(other.claim(1).await.unwrap().is_empty(), "nobody else may claim a claimed lane");
    let released = other.store.release_worker(gone.id).await.unwrap();
    assert_eq!(released, Release { marked: true, lanes: 2, complete: true });
    let again = other.store.release_worker(gone.id).await.unwrap();
    assert_eq!(again, Release { marked: false, lanes: 0, complete: true }, "a worker is marked only once");
    for error in [gone.claim(2).await.unwrap_err(), gone.beat().await.unwrap_err()] {
        assert_eq!(error.sql_state(), Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
        assert!(error.is_not_registered());
    }
    assert_eq!(other.claim(2).await.unwrap().len(), 2);
}

/// Rules 3 and 4. Under an old snapshot, a new statement does not see new rows. So these functions
/// refuse to run there.
#[rstest]
#[case::claim("claim_lanes('00000000-0000-0000-0000-000000000000', 1, '{}', '{}', '{}', true, 1, 1)")]
#[case::look("claim_messages('00000000-0000-0000-0000-000000000000', 1, '{}', '{}', NULL, 1, 1, 1)")]
#[case::release("release_lanes('00000000-0000-0000-0000-000000000000', 0, 0, 1)")]
#[case::settle(
    "settle('00000000-0000-0000-0000-000000000000', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
            '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')"
)]
#[case::remove("remove_idle_lanes('00000000-0000-0000-0000-000000000000', '{}', '{}', '{}', '{}')")]
#[tokio::test]
async fn the_workers_functions_refuse_old_snapshots(#[case] call: &str) {
    let scene = Scene::new().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let sql = format!("BEGIN ISOLATION LEVEL {level}; SELECT FROM {call}");
        let error = scene.client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INVALID_TRANSACTION_STATE), "{error:?}");
        scene.sql("ROLLBACK").await;
    }
}

/// A replay. As rule 1 demands, it first locks the stripe and then the row of the lane.
async fn replay(scene: &Scene, key: &str, id: i64) {
    scene
        .sql(&format!(
            "BEGIN;
             SELECT pg_advisory_xact_lock(stripe_class(), stripe(1, '{key}'));
             INSERT INTO deliveries VALUES (1, hashtextextended('{key}', 1), {id}) ON CONFLICT DO NOTHING;
             INSERT INTO lanes (webhook_id, lane, stripe, partition_key, due_at, position)
             VALUES (1, hashtextextended('{key}', 1), stripe(1, '{key}'), '{key}', clock_timestamp(), {id} - 1)
             ON CONFLICT (webhook_id, lane) DO UPDATE
                SET position = least(lanes.position, excluded.position), generation = lanes.generation + 1;
             SELECT notify_workers({id}, stripe(1, '{key}'));
             COMMIT"
        ))
        .await;
}

fn positions(received: &[Received]) -> Vec<i64> {
    received.iter().map(Received::position).collect()
}

/// Rule 2, with a request under way. The settle of the holder does not know the replay yet.
#[tokio::test]
async fn a_replay_into_a_lane_that_is_being_sent_is_sent() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let first = scene.publish(&["a", "a", "a"]).await;
    scene.nothing_owed().await;
    // A settle takes long. So the lane is read before its outcomes are written.
    scene
        .sql(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN OLD; END';
             CREATE TRIGGER wait BEFORE DELETE ON deliveries FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        .await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |_| Answer::Held(held.clone(), Box::new(Answer::Status(204))));
    let more = scene.publish(&["a", "a"]).await;
    scene.receiver.wait_for(4).await;
    replay(&scene, "a", first[1]).await;
    gate.open();
    scene.no_lane_left().await;
    let mut received = positions(&scene.receiver.received());
    let last = received.iter().rposition(|id| *id == first[1]).unwrap();
    assert!(last > 2, "the replayed message is sent again: {received:?}");
    received.remove(last);
    assert_eq!(received, [&first[..], &more].concat(), "every other message is sent once");
}

/// Rule 2 for three lanes: one is held and idle, one waits after a failure, and one has no row.
#[tokio::test]
async fn a_replay_into_a_lane_without_a_request_is_sent() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let ids = scene.publish(&["a", "a", "a"]).await;
    scene.no_lane_left().await;
    replay(&scene, "a", ids[2]).await;
    scene.nothing_owed().await;
    // The lane has just become idle. The worker holds it for a second.
    replay(&scene, "a", ids[0]).await;
    scene.nothing_owed().await;
    replay(&scene, "a", ids[1]).await;
    scene.nothing_owed().await;
    let newest = scene.publish(&["a"]).await[0];
    scene.nothing_owed().await;
    let all = positions(&scene.receiver.received());
    assert_eq!(all[3..], [ids[2], ids[0], ids[1], newest]);

    let seen = scene.receiver.received().len();
    scene.receiver.set_script(|_| Answer::Status(503));
    let refused = scene.publish(&["a"]).await[0];
    scene.receiver.wait_for_ended(seen + 1).await;
    scene.receiver.set_script(|_| Answer::Status(204));
    replay(&scene, "a", ids[0]).await;
    scene.no_lane_left().await;
    let mut last = positions(&scene.receiver.received()).split_off(seen + 1);
    last.sort_unstable();
    assert_eq!(last, [ids[0], refused]);
}

/// Rule 2. Replays come at random times while new messages arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replays_beside_new_messages_skip_nothing() {
    let scene = Scene::with_webhook(&[]).await;
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    let mut published = Vec::new();
    let mut replayed = 0;
    for step in 0..150_usize {
        published.extend(scene.publish(&[["a", "b"][step % 2]]).await);
        if step % 3 == 2 {
            let at = published.len() - 1 - (step * 7) % published.len().min(10);
            replay(&scene, ["a", "b"][at % 2], published[at]).await;
            replayed += 1;
        }
        tokio::time::sleep(Duration::from_millis((step % 4) as u64)).await;
    }
    scene.no_lane_left().await;
    let received = scene.receiver.received();
    for key in ["a", "b"] {
        let mut ids =
            positions(&received.iter().filter(|one| one.partition() == key).cloned().collect::<Vec<_>>());
        // As a receiver that ignores each id that is not above the highest id so far.
        let mut highest = 0;
        ids.retain(|id| {
            let new = *id > highest;
            highest = highest.max(*id);
            new
        });
        let mine: Vec<i64> = published.iter().skip(usize::from(key == "b")).step_by(2).copied().collect();
        assert_eq!(ids, mine, "{replayed} replays");
    }
    drop(brokers);
}
