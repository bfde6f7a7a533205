//! Scripts that are written down: random ones come rarely to what they show.

use super::{
    action::{Action, Call, Mode, Step},
    generate::Generator,
    script::PLAIN,
    tests::STOPPING,
};
use crate::{
    functions::{
        claim_lanes::Claim,
        end_probe::Turn,
        messages_publish::Publication,
        open_breaker::Ask,
        read_lanes::Held,
        settle::{Becomes, Outcome, Settlement},
    },
    postgres::{
        row_lock::{Locked, RowLock},
        tables::Reason,
        transaction::Level,
    },
    schedule::SECOND,
};

/// The steps of a scenario; it is told the lane of the first topic's first key.
pub(crate) type Scenario = fn(lane: i64) -> Vec<Step>;

/// All of them.
pub(crate) const SCENARIOS: [(&str, Mode, Scenario); 23] = [
    ("a replay before a settle", PLAIN, replay_before_settle),
    ("a replay before a wait", PLAIN, replay_before_wait),
    ("retention beside a replay", PLAIN, retention_beside_replay),
    ("a replay into a lane that somebody has locked", PLAIN, replay_of_locked_lane),
    ("a replay of what had failed", PLAIN, replay_of_failed),
    ("a replay to an unordered topic", PLAIN, replay_unordered),
    ("a backfill of what is owed", PLAIN, backfill_of_owed),
    ("a backfill beside a publisher", PLAIN, backfill_beside_publisher),
    ("retention beside a backfill", PLAIN, retention_beside_backfill),
    ("a settle of a locked row", PLAIN, settle_of_locked_row),
    ("a removal beside a publisher", PLAIN, removal_beside_publisher),
    ("a removal after a publisher", STOPPING, removal_after_publisher),
    ("a removal by somebody else", PLAIN, removal_by_another),
    ("a retry of a held lane", PLAIN, retry_of_held_lane),
    ("a sweep of a held lane", PLAIN, sweep_of_held_lane),
    ("a repair of a held lane", PLAIN, repair_of_held_lane),
    ("a claim of an open webhook", PLAIN, claim_of_open_webhook),
    ("a settle of an earlier epoch", PLAIN, settle_of_earlier_epoch),
    ("an opening of an earlier epoch", PLAIN, opening_of_earlier_epoch),
    ("an opening with an objection", PLAIN, opening_with_objection),
    ("probes of two workers", PLAIN, probes_of_two_workers),
    ("the end of another worker's turn", PLAIN, end_of_another_turn),
    ("lanes that are made due", PLAIN, waking_of_lanes),
];

fn step(session: usize, action: Action) -> Step {
    Step { session, action }
}

fn call(session: usize, call: Call) -> Step {
    step(session, Action::Call(call))
}

fn publish(session: usize) -> Step {
    call(session, Call::Publish(Publication { topic: 1, key: 0, kind: None, idempotency_key: None }))
}

fn replay(session: usize, webhook: i64, message: i64) -> Step {
    call(session, Call::ReplayDeliveries { webhook, messages: vec![message], waits: true })
}

fn begin(session: usize) -> Step {
    step(session, Action::Begin(Level::ReadCommitted))
}

/// Two webhooks of the first topic; a worker holds their lanes and has settled the first message, which
/// left them as `becomes` says.
fn delivered(lane: i64, becomes: Becomes) -> Vec<Step> {
    let claim = Claim {
        worker: 1,
        token: 1,
        webhooks: vec![(1, 1), (2, 1)],
        due_after: Vec::new(),
        sweep: false,
        messages_per_lane: 3,
    };
    let lanes = [1, 2].map(|webhook| Outcome { webhook, ..outcome(lane, becomes, 1, None) });
    let done = vec![(0, 1), (1, 1)];
    let settlement = Settlement { worker: 1, lanes: lanes.to_vec(), done, dead: Vec::new() };
    let mut steps = Generator::beginning();
    steps.extend([publish(0), call(0, Call::Claim(claim)), call(0, Call::Settle(settlement))]);
    steps
}

fn outcome(lane: i64, becomes: Becomes, position: i64, head: Option<i64>) -> Outcome {
    Outcome {
        webhook: 1,
        lane,
        token: 1,
        becomes,
        generation: 0,
        position,
        delay: 3600 * SECOND,
        head,
        failures: i32::from(head.is_some()),
        batch_last: None,
        batch_count: None,
        split_until: None,
        error: head.map(|_| 503),
        epoch: None,
    }
}

fn settle(outcome: Outcome, done: Vec<(usize, i64)>) -> Step {
    call(0, Call::Settle(Settlement { worker: 1, lanes: vec![outcome], done, dead: Vec::new() }))
}

/// A worker settles a message without knowing that an earlier one was replayed.
pub(crate) fn replay_before_settle(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.extend([publish(1), replay(1, 1, 1), settle(outcome(lane, Becomes::Held, 2, None), vec![(0, 2)])]);
    steps
}

/// A message fails, and its worker does not know that an earlier one was replayed.
pub(crate) fn replay_before_wait(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.extend([
        publish(1),
        replay(1, 1, 1),
        settle(outcome(lane, Becomes::Waiting, 1, Some(2)), Vec::new()),
    ]);
    steps
}

/// A message is past its retention while a replay of it is not committed.
pub(crate) fn retention_beside_replay(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Ready);
    steps.extend([begin(1), replay(1, 1, 1), call(2, Call::DeleteOld), step(1, Action::Commit)]);
    steps
}

/// Somebody has locked the lane's row. Two messages are replayed.
pub(crate) fn replay_of_locked_lane(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    let lock = Call::LockLane { webhook: 1, lane, mode: RowLock::Update, locked: Locked::Wait };
    let both = Call::ReplayDeliveries { webhook: 1, messages: vec![1, 2], waits: false };
    steps.extend([
        publish(1),
        settle(outcome(lane, Becomes::Held, 2, None), vec![(0, 2)]),
        begin(1),
        call(1, lock),
        call(2, both),
        step(1, Action::Commit),
    ]);
    steps
}

/// The lane's row tells of a failure of a message that was accepted after it. Its worker holds the lane,
/// and writes only what was accepted.
pub(crate) fn replay_of_failed(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.extend([
        publish(1),
        settle(outcome(lane, Becomes::Held, 1, Some(2)), Vec::new()),
        settle(outcome(lane, Becomes::Untouched, 2, None), vec![(0, 2)]),
        replay(1, 1, 2),
    ]);
    steps
}

/// A message of an unordered topic is canceled, and replayed. There is no stripe.
fn replay_unordered(_lane: i64) -> Vec<Step> {
    let mut steps = Generator::beginning();
    let publication = Publication { topic: 2, key: 0, kind: None, idempotency_key: None };
    let (webhook, messages, reason) = (3, vec![1], Reason::Canceled);
    steps.extend([
        call(0, Call::Publish(publication)),
        call(0, Call::Cancel { webhook, messages, reason, waits: false }),
        replay(0, webhook, 1),
    ]);
    steps
}

fn create_starting() -> Step {
    call(0, Call::CreateWebhook { topic: 1, types: None, starting: true })
}

fn backfill(session: usize) -> Step {
    call(session, Call::Backfill { job: 1, at_most: 100 })
}

/// A replay was quicker than the backfill.
pub(crate) fn backfill_of_owed(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Ready);
    steps.extend([create_starting(), replay(1, 4, 1), backfill(0)]);
    steps
}

/// Somebody publishes to the partition.
pub(crate) fn backfill_beside_publisher(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Ready);
    steps.extend([
        create_starting(),
        begin(1),
        publish(1),
        backfill(0),
        step(1, Action::Commit),
        backfill(0),
    ]);
    steps
}

/// A message is past its retention while a backfill of it is not committed.
pub(crate) fn retention_beside_backfill(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Ready);
    steps.extend([
        create_starting(),
        begin(1),
        backfill(1),
        call(2, Call::DeleteOld),
        step(1, Action::Commit),
    ]);
    steps
}

/// Somebody has locked the lane's row.
pub(crate) fn settle_of_locked_row(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    let lock = Call::LockLane { webhook: 1, lane, mode: RowLock::Update, locked: Locked::Wait };
    let settled = settle(outcome(lane, Becomes::Ready, 1, None), Vec::new());
    steps.extend([begin(1), call(1, lock), settled, step(1, Action::Commit)]);
    steps
}

fn remove(session: usize, worker: u32, lane: i64) -> Step {
    let held = Held { webhook: 1, lane, token: 1, position: 1, generation: 0 };
    call(session, Call::RemoveIdle { worker, held: vec![held] })
}

/// A lane is idle, and somebody has published to it without a commit.
pub(crate) fn removal_beside_publisher(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.extend([begin(1), publish(1), remove(0, 1, lane), step(1, Action::Commit)]);
    steps
}

/// A removal has read that a lane is idle. Before it takes the stripe, somebody publishes.
pub(crate) fn removal_after_publisher(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    let go_on = || step(1, Action::GoOn);
    steps.extend([remove(1, 1, lane), go_on(), publish(0), go_on(), go_on()]);
    steps
}

/// The lane is another worker's.
pub(crate) fn removal_by_another(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.push(remove(0, 2, lane));
    steps
}

/// An operator tries a lane again that a worker holds.
pub(crate) fn retry_of_held_lane(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.push(call(1, Call::Retry { webhook: 1, lanes: vec![lane] }));
    steps
}

/// A sweep finds a lane whose worker lives.
pub(crate) fn sweep_of_held_lane(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    let webhooks = vec![(1, 10), (2, 10)];
    steps.push(call(
        1,
        Call::Claim(Claim {
            worker: 2,
            token: 1,
            webhooks,
            due_after: Vec::new(),
            sweep: true,
            messages_per_lane: 1,
        }),
    ));
    steps
}

/// The clock was stepped back while a worker holds a lane.
pub(crate) fn repair_of_held_lane(lane: i64) -> Vec<Step> {
    let mut steps = delivered(lane, Becomes::Held);
    steps.extend([call(0, Call::Postpone { webhook: 1, lane }), call(1, Call::RepairDueAt(10))]);
    steps
}

// -- Breakers -------------------------------------------------------------------------------------

fn ask(worker: u32, epoch: i64) -> Step {
    let ask = Ask { worker, webhook: 1, epoch, objection: 0, first_probe: 0 };
    call(0, Call::OpenBreaker(ask))
}

/// Worker 1 opens the breaker of webhook 1. The first question goes to the other workers.
fn opened() -> Vec<Step> {
    let mut steps = Generator::beginning();
    steps.extend([publish(0), ask(1, 0), ask(1, 0)]);
    steps
}

fn claim(worker: u32) -> Claim {
    let (webhooks, due_after) = (vec![(1, 1)], Vec::new());
    Claim { worker, token: 1, webhooks, due_after, sweep: false, messages_per_lane: 3 }
}

fn turn(worker: u32) -> Turn {
    Turn { worker, token: 7, webhook: 1, epoch: 1 }
}

/// Nothing of a webhook is claimed while its breaker is open.
pub(crate) fn claim_of_open_webhook(_lane: i64) -> Vec<Step> {
    let mut steps = opened();
    steps.push(call(1, Call::Claim(claim(2))));
    steps
}

/// A request began before the breaker opened. Its failure uses up nothing.
pub(crate) fn settle_of_earlier_epoch(lane: i64) -> Vec<Step> {
    let mut steps = Generator::beginning();
    let failed = Outcome { epoch: Some(0), ..outcome(lane, Becomes::Waiting, 0, Some(1)) };
    let dead = Outcome { epoch: Some(0), ..outcome(lane, Becomes::Ready, 1, None) };
    let settled = |lanes, dead| Call::Settle(Settlement { worker: 1, lanes, done: Vec::new(), dead });
    steps.extend([publish(0), call(0, Call::Claim(claim(1))), ask(2, 0), ask(2, 0)]);
    steps.push(call(0, settled(vec![failed], Vec::new())));
    steps.extend([call(0, Call::CloseBreaker(1, None)), call(0, Call::Claim(claim(1)))]);
    steps.push(call(0, settled(vec![dead], vec![(0, 1, 3, Reason::AttemptsExhausted)])));
    steps
}

/// It has opened and closed since these requests failed.
pub(crate) fn opening_of_earlier_epoch(_lane: i64) -> Vec<Step> {
    let mut steps = opened();
    steps.extend([call(0, Call::CloseBreaker(1, None)), ask(1, 2), ask(1, 0), ask(1, 1), ask(1, 2)]);
    steps
}

/// Another worker's requests are accepted.
pub(crate) fn opening_with_objection(_lane: i64) -> Vec<Step> {
    let mut steps = Generator::beginning();
    steps.extend([publish(0), ask(1, 0)]);
    steps.push(call(1, Call::NoteSuccess { worker: 2, webhooks: vec![1, 2] }));
    steps.push(ask(1, 0));
    steps
}

/// While one worker probes, no other does.
pub(crate) fn probes_of_two_workers(_lane: i64) -> Vec<Step> {
    let mut steps = opened();
    // Another lane, which the second worker could probe.
    steps.push(call(0, Call::Publish(Publication { topic: 1, key: 1, kind: None, idempotency_key: None })));
    steps.push(call(0, Call::TakeProbes { worker: 1, token: 7 }));
    steps.push(call(1, Call::TakeProbes { worker: 2, token: 7 }));
    steps.push(call(0, Call::EndProbe { turn: turn(1), failed: true, next_in: 0 }));
    steps.push(call(1, Call::TakeProbes { worker: 2, token: 8 }));
    steps
}

/// A worker whose turn has passed to another one changes nothing.
pub(crate) fn end_of_another_turn(_lane: i64) -> Vec<Step> {
    let mut steps = opened();
    steps.push(call(0, Call::TakeProbes { worker: 1, token: 7 }));
    steps.push(call(1, Call::EndProbe { turn: turn(2), failed: true, next_in: 0 }));
    steps.push(call(1, Call::CloseBreaker(1, Some(turn(2)))));
    steps.push(call(0, Call::CloseBreaker(1, Some(turn(1)))));
    steps
}

/// Lanes that wait are due when the breaker has closed.
pub(crate) fn waking_of_lanes(lane: i64) -> Vec<Step> {
    let mut steps = Generator::beginning();
    let failed = outcome(lane, Becomes::Waiting, 0, Some(1));
    steps.extend([publish(0), call(0, Call::Claim(claim(1))), settle(failed, Vec::new())]);
    steps.extend([
        ask(1, 0),
        ask(1, 0),
        call(0, Call::WakeLanes(1, 1)),
        call(0, Call::CloseBreaker(1, None)),
    ]);
    steps.extend([1, 1, 1].map(|at_most| call(0, Call::WakeLanes(1, at_most))));
    steps
}

/// A webhook that keeps the latest message is owed four. Its lane is claimed with two of them, and read
/// on; one that was sent before is a replay.
pub(crate) fn read_of_latest(lane: i64) -> Vec<Step> {
    let mut steps = Generator::beginning();
    steps.push(call(0, Call::KeepLatest(1, true)));
    steps.extend([publish(0), publish(0), publish(0), publish(0)]);
    steps.push(call(0, Call::Claim(Claim { messages_per_lane: 2, ..claim(1) })));
    let held = Held { webhook: 1, lane, token: 1, position: 2, generation: 0 };
    steps.push(call(0, Call::Read { worker: 1, held: vec![held], at_most: 3 }));
    let done = Outcome { generation: 0, ..outcome(lane, Becomes::Held, 4, None) };
    let dead = [1, 2, 3].map(|message| (0, message, 0, Reason::Superseded)).to_vec();
    let settlement = Settlement { worker: 1, lanes: vec![done], done: vec![(0, 4)], dead };
    steps.push(call(0, Call::Settle(settlement)));
    steps.extend([replay(0, 1, 2), publish(0), publish(0)]);
    let held = Held { position: 4, ..held };
    steps.push(call(0, Call::Read { worker: 1, held: vec![held], at_most: 3 }));
    steps
}

/// The leader gives up a message behind the head of a lane that a worker holds.
pub(crate) fn giving_up_of_held_lane(_lane: i64) -> Vec<Step> {
    let mut steps = Generator::beginning();
    steps.extend([publish(0), publish(0), call(0, Call::Claim(claim(1)))]);
    let (webhook, messages, reason) = (1, vec![2], Reason::Superseded);
    steps.push(call(0, Call::Cancel { webhook, messages, reason, waits: false }));
    steps
}
