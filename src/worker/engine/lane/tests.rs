//! What a held lane makes of what it reads, is told and has sent.

use std::sync::Arc;

use jiff::Timestamp;

use super::{super::super::tuning::FOLLOWERS_MAX, *};
use crate::{
    domain::message::Message,
    store::{Owed, OwedMessage},
};

const KEY: LaneKey = LaneKey { webhook_id: 1, lane: 2 };

/// A lane that has read up to 10, as a claim leaves it.
fn lane() -> Lane {
    Lane::claimed(
        ClaimedLane {
            key: KEY,
            due_at: Timestamp::UNIX_EPOCH,
            token: 1,
            position: 8,
            generation: 3,
            failed: None,
            failures: 0,
            split_until: None,
            owed: Owed { items: vec![OwedMessage::Missing(10)], more: false },
        },
        Instant::now(),
    )
}

/// Starts a burst of a lane that has a slot.
fn start_burst(lane: &mut Lane, size: usize) -> (Vec<Message>, Batching, u32) {
    let now = Instant::now();
    lane.queue(now);
    lane.start_burst(size, false, now)
}

fn message(id: i64, replay: bool) -> Message {
    Message {
        id,
        partition_key: Arc::from("a"),
        r#type: None,
        payload: "{}".into(),
        headers: None,
        created_at: Timestamp::UNIX_EPOCH,
        replay,
        born: Instant::now(),
    }
}

fn follower(message_id: i64, after: i64, generation: i32) -> Follower {
    let message = message(message_id, false);
    Follower { key: KEY, token: 1, generation, after, message_id, message: Some(message) }
}

#[test]
fn what_follows_is_taken_in_only_where_nothing_can_lie_between() {
    for after in [7, 10] {
        let mut lane = lane();
        assert_eq!(lane.follow(follower(15, after, 3), Instant::now()), Owes::TakenIn, "{after:?}");
        assert_eq!(
            (lane.backlog.read_to(), lane.backlog.bytes(), lane.backlog.queued(), lane.backlog.more()),
            (15, 2, 2, false)
        );
        assert_eq!(lane.follow(follower(16, 15, 3), Instant::now()), Owes::TakenIn, "and so on");
    }
    for (what, refused, owes) in [
        ("a message lies between", follower(15, 11, 3), Owes::ReadNow),
        ("a replay has lowered its position", follower(15, 10, 4), Owes::ReadNow),
        ("it was left out", Follower { message: None, ..follower(15, 10, 3) }, Owes::ReadNow),
        ("it was read already", follower(10, 8, 3), Owes::Known),
    ] {
        let mut lane = lane();
        lane.keep_idle(Instant::now());
        assert_eq!(lane.follow(refused, Instant::now()), owes, "{what}");
        assert_eq!(
            (lane.backlog.read_to(), lane.backlog.queued(), lane.backlog.more()),
            (10, 1, false),
            "{what}"
        );
    }
    let mut lane = lane();
    lane.queue(Instant::now());
    lane.reading = Reading::UnderWay;
    assert_eq!(lane.follow(follower(15, 11, 3), Instant::now()), Owes::ReadLater, "it reads by itself");
    assert!(lane.backlog.more() && lane.reading == Reading::Again);
}

/// 12 has left the lane, and is not written yet, when a look begins. Then it is written, a replay
/// puts 3 back, and the lane is read anew. The look has seen 12, and its answer comes last.
#[test]
fn a_look_that_began_before_a_replay_was_read_brings_nothing() {
    let began = Instant::now();
    let later = |seconds| began + Duration::from_secs(seconds);
    for (looked_at, owes) in [(began, Owes::ReadNow), (later(1), Owes::ReadNow), (later(2), Owes::TakenIn)] {
        let mut lane = lane();
        lane.pop_unsendable(None, false, began);
        lane.keep_idle(began);
        lane.backlog.begin_read(later(1));
        let owed = Owed { items: vec![OwedMessage::Missing(3)], more: false };
        let read = ReadLane { key: KEY, position: 2, generation: 4, owed };
        lane.backlog.wrote(1);
        lane.backlog.begin_read(later(1));
        assert!(lane.backlog.read(read, false), "the replay is read");
        assert_eq!(lane.follow(follower(12, 3, 4), looked_at), owes, "{looked_at:?}");
    }
}

#[test]
fn a_lane_is_read_on_for_what_it_owes_when_it_has_sent_what_it_has() {
    let mut idle = lane();
    idle.keep_idle(Instant::now());
    assert_eq!([idle.owes(10), idle.owes(11)], [Owes::Known, Owes::ReadNow]);
    let mut busy = lane();
    busy.reading = Reading::UnderWay;
    assert_eq!((busy.owes(10), busy.backlog.more()), (Owes::Known, false));
    assert_eq!((busy.owes(11), busy.backlog.more()), (Owes::ReadLater, true));
    assert!(busy.reading == Reading::Again);
}

#[test]
fn a_lane_that_sends_slowly_is_not_told_more_than_it_can_hold() {
    let mut lane = lane();
    lane.queue(Instant::now());
    for id in 11..1000 {
        assert_ne!(lane.follow(follower(id, id - 1, 3), Instant::now()), Owes::ReadNow, "it reads by itself");
    }
    assert_eq!((lane.backlog.queued(), lane.backlog.more()), (FOLLOWERS_MAX, true));
    let (messages, ..) = start_burst(&mut lane, 1);
    assert_eq!(messages.len(), 0, "the first one is missing");
    lane.end_burst(messages);
    assert_eq!(lane.pop_unsendable(None, false, Instant::now()).map(|(id, ..)| id), Some(10));
    assert_eq!(start_burst(&mut lane, 1).0.last().map(|message| message.id), Some(25));
    assert_eq!(lane.follow(follower(1000, 999, 3), Instant::now()), Owes::ReadLater);
    assert!(!lane.backlog.has_messages() && lane.backlog.more(), "messages lie between");
}

#[test]
fn failures_belong_to_the_message_that_failed() {
    let mut lane = lane();
    (lane.failures, lane.failed) = (4, Batch::of(&[9]));
    let popped = lane.pop_unsendable(None, false, Instant::now());
    assert_eq!(popped, Some((10, 0, Reason::MessageMissing)), "9 has failed, and not 10");
    assert_eq!(lane.failures, 4, "9 may come again");
    lane.follow(follower(11, 10, 3), Instant::now());
    start_burst(&mut lane, 1);
    assert_eq!(lane.failures, 0, "9 is not the head any more");
    let head = Batch::of(&[11]);
    assert_eq!((lane.failed(head), lane.failed(head)), (1, 2));
    let change = lane.change(LaneState::Waiting(Duration::ZERO), None);
    assert_eq!((change.failed, change.failures), (head, 2));
    assert_eq!(lane.failed(Batch::of(&[11, 12])), 1, "another request with the same head");
    lane.failures = 0;
    assert_eq!(lane.change(LaneState::Held, None).failed, None);
}

#[test]
fn a_batch_that_failed_is_read_whole_before_it_is_sent_again() {
    let mut lane = lane();
    lane.pop_unsendable(None, false, Instant::now());
    lane.follow(follower(11, 10, 3), Instant::now());
    (lane.failures, lane.failed) = (1, Batch::of(&[11, 12, 14]));
    lane.backlog.expect_more();
    assert!(lane.is_incomplete());
    lane.follow(follower(12, 11, 3), Instant::now());
    assert!(lane.is_incomplete());
    lane.follow(follower(14, 12, 3), Instant::now());
    assert!(!lane.is_incomplete());
    let (messages, batching, _) = start_burst(&mut lane, 5);
    let members: Vec<Member> = messages.iter().map(Member::from).collect();
    assert_eq!((batching.next(&members), lane.failures), (3, 1));
}

#[test]
fn a_batch_that_does_not_exist_any_more_is_not_waited_for() {
    let mut lane = lane();
    lane.pop_unsendable(None, false, Instant::now());
    lane.follow(follower(11, 10, 3), Instant::now());
    (lane.failures, lane.failed) = (1, Batch::of(&[11, 12]));
    assert!(!lane.is_incomplete(), "the lane owes nothing more");
    lane.failed = Batch::of(&[9, 12]);
    lane.backlog.expect_more();
    assert!(!lane.is_incomplete(), "another head");
}

#[test]
fn what_was_split_is_over_when_its_last_message_has_left() {
    let mut lane = lane();
    lane.failed(Batch::of(&[10, 11]));
    lane.split(11);
    lane.backlog.left(10);
    assert!(!lane.overcame());
    assert_eq!(lane.change(LaneState::Held, None).split_until, Some(11));
    lane.backlog.left(11);
    assert!(lane.overcame());
    assert!(!lane.overcame(), "once");
    assert_eq!(lane.change(LaneState::Held, None).split_until, None);
}

/// What a read returns after a replay has lowered the position.
fn replayed(items: &[i64]) -> ReadLane {
    let items = items.iter().map(|id| OwedMessage::Missing(*id)).collect();
    ReadLane { key: KEY, position: 1, generation: 4, owed: Owed { items, more: false } }
}

#[test]
fn a_read_after_a_replay_counts_only_if_all_that_left_was_written_when_it_was_sent() {
    let now = Instant::now();
    let mut lane = lane();
    lane.pop_unsendable(None, false, Instant::now());
    lane.begin_read(now);
    assert!(!lane.read(replayed(&[2, 10])), "10 has left, and was not written");
    assert!(lane.backlog.more() && !lane.backlog.has_messages());
    lane.begin_read(now);
    lane.backlog.wrote(1);
    assert!(!lane.read(replayed(&[2, 10])), "it was written after the read was sent");
    lane.begin_read(now);
    lane.backlog.left(11);
    lane.backlog.wrote(1);
    assert!(!lane.read(replayed(&[2, 11])), "11 has left since");
    lane.begin_read(now);
    assert!(lane.read(replayed(&[2])));
    assert_eq!(
        (lane.pop_unsendable(None, false, Instant::now()), lane.backlog.generation()),
        (Some((2, 0, Reason::MessageMissing)), 4)
    );
}

/// A lane that owes these: `r` replays, `s` superseded ones, `m` missing ones, `p` present ones.
fn owing(items: &[(char, i64)]) -> Lane {
    let items = items.iter().map(|(kind, id)| match kind {
        's' => OwedMessage::Superseded(*id),
        'm' => OwedMessage::Missing(*id),
        kind => OwedMessage::Present(message(*id, *kind == 'r')),
    });
    let mut lane = lane();
    lane.pop_unsendable(None, false, Instant::now());
    let owed = Owed { items: items.collect(), more: false };
    lane.begin_read(Instant::now());
    lane.read(ReadLane { key: KEY, position: 10, generation: 3, owed });
    lane
}

/// What is given up before a burst, and what the burst takes.
type Course = (Vec<(i64, Reason)>, Vec<i64>);

/// A burst, and another one.
fn courses(items: &[(char, i64)], latest_only: bool) -> Vec<Course> {
    let mut lane = owing(items);
    let mut course = || {
        let given_up = std::iter::from_fn(|| lane.pop_unsendable(None, latest_only, Instant::now()));
        let given_up = given_up.map(|(id, _, reason)| (id, reason)).collect();
        lane.queue(Instant::now());
        let sent = lane.start_burst(1, latest_only, Instant::now()).0;
        lane.end_burst(Vec::new());
        (given_up, sent.iter().map(|message| message.id).collect())
    };
    vec![course(), course()]
}

#[test]
fn only_the_newest_message_of_a_lane_is_sent_replays_aside() {
    use Reason::{MessageMissing, Superseded};
    let plain = [('p', 11), ('p', 12), ('p', 13)];
    assert_eq!(courses(&plain, false), [(vec![], vec![11, 12, 13]), (vec![], vec![])]);
    let expected = [(vec![(11, Superseded), (12, Superseded)], vec![13]), (vec![], vec![])];
    assert_eq!(courses(&plain, true), expected);
    // What the database has told is so, whatever the worker knows of the webhook.
    let told = [('s', 11), ('p', 12)];
    assert_eq!(courses(&told, false), [(vec![(11, Superseded)], vec![12]), (vec![], vec![])]);
    // A replay is sent, and takes nobody's place. What is behind it leaves the lane after it.
    let replays = [('r', 11), ('p', 12), ('r', 13), ('p', 14), ('r', 15)];
    let expected = [(vec![], vec![11]), (vec![(12, Superseded)], vec![13, 14, 15])];
    assert_eq!(courses(&replays, true), expected);
    // A deleted message that is newer than all others has taken their place.
    let deleted = [('p', 11), ('m', 12)];
    let expected = [(vec![(11, Superseded), (12, MessageMissing)], vec![]), (vec![], vec![])];
    assert_eq!(courses(&deleted, true), expected);
}

#[test]
fn a_message_that_is_superseded_takes_its_failures_with_it_and_its_bytes() {
    let mut lane = owing(&[('p', 11), ('p', 12)]);
    assert_eq!(lane.failed(Batch::of(&[11])), 1);
    let bytes = lane.backlog.bytes();
    assert_eq!(lane.pop_unsendable(None, true, Instant::now()), Some((11, 1, Reason::Superseded)));
    assert_eq!(lane.backlog.bytes(), bytes / 2);
    assert_eq!(lane.failed(Batch::of(&[12])), 1);
}
