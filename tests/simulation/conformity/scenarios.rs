//! Scripts that are written down: random ones come rarely to what they show.

use super::{
    action::{Action, Call, Step},
    generate::Generator,
};
use crate::{
    functions::{
        claim_lanes::Claim,
        messages_publish::Publication,
        settle::{Becomes, Outcome, Settlement},
    },
    postgres::transaction::Level,
    schedule::SECOND,
};

/// The steps of a scenario; it is told the lane of the first topic's first key.
pub(crate) type Scenario = fn(lane: i64) -> Vec<Step>;

/// All of them.
pub(crate) const SCENARIOS: [(&str, Scenario); 6] = [
    ("a replay before a settle", replay_before_settle),
    ("a replay before a wait", replay_before_wait),
    ("retention beside a replay", retention_beside_replay),
    ("a backfill of what is owed", backfill_of_owed),
    ("a backfill beside a publisher", backfill_beside_publisher),
    ("retention beside a backfill", retention_beside_backfill),
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
    let claim =
        Claim { worker: 1, token: 1, webhooks: vec![(1, 1), (2, 1)], due_after: Vec::new(), sweep: false, messages_per_lane: 3 };
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
