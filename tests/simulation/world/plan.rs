//! What happens in a run: all of it follows from a seed. Each item of the plan can be left out.

use std::time::Duration;

use pgtopic::domain::policy::{OnExhausted, Policy};

use crate::{
    functions::guards::Guard,
    postgres::transaction::Level,
    random::Random,
    schedule::{Micros, SECOND},
};

const MILLISECOND: Micros = SECOND / 1_000;

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) workers: usize,
    pub(super) concurrency: usize,
    /// Whether each topic is ordered.
    pub(super) topics: Vec<bool>,
    /// The webhooks that are there when it begins: their topics.
    pub(super) webhooks: Vec<usize>,
    pub(super) keys: usize,
    /// Whether publishers notify.
    pub(super) notifies: bool,
    pub(super) items: Vec<Item>,
    /// When the last item has begun.
    pub(super) lasts: Micros,
    pub(super) without: Option<Guard>,
}

/// Something that happens at some time.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) at: Micros,
    /// For what it draws itself.
    pub(super) seed: u64,
    pub(super) what: What,
}

/// How a publisher's transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Commit,
    Rollback,
    /// It stays open for some time, and commits.
    Open(Micros),
    /// It is prepared, and committed later.
    Prepare(Micros),
}

/// How a receiver answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    Accepts,
    Fails,
    /// It accepts about half.
    Flaky,
    /// It accepts about half, and asks for a pause otherwise.
    Busy,
    Hangs,
    Gone,
    /// It accepts, and the answer is lost.
    Cuts,
    Slow,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Publish { topic: usize, level: Level, messages: usize, ending: Ending, once: bool },
    Replay { webhook: usize, waits: bool },
    ReplayDead { waits: bool },
    Cancel { webhook: usize, skip: bool, waits: bool },
    Retry { webhook: usize },
    PauseWebhook { webhook: usize, time: Micros },
    HoldTopic { topic: usize, time: Micros },
    CreateWebhook { topic: usize, typed: bool },
    ChangeWebhook { webhook: usize },
    DeleteWebhook { webhook: usize },
    Enable { webhook: usize },
    DeleteOldMessages,
    Vacuum,
    Receiver { webhook: usize, manner: Manner, time: Micros },
    Crash { worker: usize, down: Micros },
    Stop { worker: usize, down: Micros },
    Pause { worker: usize, time: Micros },
    EndSession { worker: usize },
    Statements { worker: usize, trouble: Trouble, time: Micros },
    Notices { worker: usize, trouble: Hearing, time: Micros },
    Forged { worker: usize, notices: usize },
    Suppress { worker: usize, time: Micros },
    NotSending { time: Micros },
    StepClock { by: Micros },
    CrashDatabase,
    LockLane { time: Micros },
    LockStripe { time: Micros },
}

/// What goes wrong with the statements of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// Some are refused.
    Refused,
    /// Some succeed, and their answers are lost.
    AnswerLost,
    /// Some hang.
    Hang,
    /// Some are canceled under way.
    Canceled,
    /// All take long.
    Slow,
}

/// What goes wrong with the notifications for a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hearing {
    Lost,
    Late,
    Doubled,
}

impl What {
    /// Whether it is a fault, and not an operation.
    pub(super) fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Publish { .. }
                | Self::Replay { .. }
                | Self::ReplayDead { .. }
                | Self::Cancel { .. }
                | Self::Retry { .. }
                | Self::PauseWebhook { .. }
                | Self::HoldTopic { .. }
                | Self::CreateWebhook { .. }
                | Self::ChangeWebhook { .. }
                | Self::DeleteWebhook { .. }
                | Self::Enable { .. }
                | Self::DeleteOldMessages
        )
    }
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x51A1);
        let workers = 1 + random.below(3);
        let topics: Vec<bool> = (0..=random.below(2)).map(|_| !random.once_in(5)).collect();
        let webhooks: Vec<usize> = (0..=random.below(3)).map(|_| random.below(topics.len())).collect();
        let lasts = MILLISECOND * random.pick(&[200, 200, 1_000, 1_000, 3_000, 8_000]);
        let mut plan = Self {
            seed,
            workers,
            concurrency: 1 + random.below(6),
            topics,
            webhooks,
            keys: random.pick(&[1, 1, 2, 2, 4]),
            notifies: !random.once_in(4),
            items: Vec::new(),
            lasts,
            without: None,
        };
        // Some runs have only publishers; some have no faults; some have few of many kinds.
        let publishers = 10 + random.below(120);
        let operations = random.pick(&[0, 10, 30, 80]);
        let faults = random.pick(&[0, 3, 8, 16, 30]);
        for _ in 0..publishers {
            let what = plan.publish(&mut random);
            plan.add(&mut random, what);
        }
        // A burst of commits at one time, now and then.
        for _ in 0..random.below(3) {
            let at = plan.time(&mut random);
            for _ in 0..random.below(20) {
                let what = plan.publish(&mut random);
                plan.items.push(Item { at, seed: random.next(), what });
            }
        }
        for _ in 0..operations {
            let what = plan.operation(&mut random);
            plan.add(&mut random, what);
        }
        for _ in 0..faults {
            let what = plan.fault(&mut random);
            plan.add(&mut random, what);
        }
        plan.items.sort_by_key(|item| item.at);
        plan
    }

    fn time(&self, random: &mut Random) -> Micros {
        random.below(usize::try_from(self.lasts).unwrap_or(1)) as Micros
    }

    fn add(&mut self, random: &mut Random, what: What) {
        let at = self.time(random);
        self.items.push(Item { at, seed: random.next(), what });
    }

    fn publish(&self, random: &mut Random) -> What {
        let level = random.pick(&[
            Level::ReadCommitted,
            Level::ReadCommitted,
            Level::ReadCommitted,
            Level::RepeatableRead,
            Level::Serializable,
        ]);
        let time = span(random, 3_000);
        let prepared = !self.notifies && random.once_in(8);
        let ending = match random.below(10) {
            0 => Ending::Rollback,
            1 => Ending::Open(time),
            _ if prepared => Ending::Prepare(time),
            _ => Ending::Commit,
        };
        let messages = 1 + random.pick(&[0, 0, 0, 1, 3, 11]);
        let topic = random.below(self.topics.len());
        What::Publish { topic, level, messages, ending, once: random.once_in(12) }
    }

    fn operation(&self, random: &mut Random) -> What {
        // Also webhooks that come later.
        let webhook = random.below(self.webhooks.len() + 1);
        let topic = random.below(self.topics.len());
        let (waits, time) = (random.once_in(2), span(random, 2_000));
        match random.below(20) {
            0..=4 => What::Replay { webhook, waits },
            5..=6 => What::ReplayDead { waits },
            7..=9 => What::Cancel { webhook, skip: random.once_in(3), waits },
            10..=11 => What::Retry { webhook },
            12..=13 => What::PauseWebhook { webhook, time },
            14 => What::HoldTopic { topic, time },
            15 => What::CreateWebhook { topic, typed: random.once_in(3) },
            16 => What::ChangeWebhook { webhook },
            17 if random.once_in(3) => What::DeleteWebhook { webhook },
            18 => What::DeleteOldMessages,
            _ => What::Enable { webhook },
        }
    }

    fn fault(&self, random: &mut Random) -> What {
        let worker = random.below(self.workers);
        let webhook = random.below(self.webhooks.len() + 1);
        let time = span(random, 4_000);
        match random.below(24) {
            0..=2 => What::Crash { worker, down: span(random, 3_000) },
            3 => What::Stop { worker, down: span(random, 3_000) },
            4 => What::Pause { worker, time: span(random, 30_000) },
            5 => What::EndSession { worker },
            6..=9 => {
                let trouble = random.pick(&[
                    Trouble::Refused,
                    Trouble::AnswerLost,
                    Trouble::Hang,
                    Trouble::Canceled,
                    Trouble::Slow,
                ]);
                What::Statements { worker, trouble, time }
            }
            10..=11 => {
                let trouble = random.pick(&[Hearing::Lost, Hearing::Late, Hearing::Doubled]);
                What::Notices { worker, trouble, time }
            }
            12 => What::Forged { worker, notices: random.pick(&[1, 20, 400]) },
            13 => What::Suppress { worker, time },
            14 => What::NotSending { time },
            15 => {
                let by = random.pick(&[-3_600, -20, -1, 1, 20, 3_600]) * SECOND;
                What::StepClock { by }
            }
            16 => What::CrashDatabase,
            17 => What::LockLane { time },
            18 => What::LockStripe { time },
            19 => What::Vacuum,
            _ => {
                let manner = random.pick(&[
                    Manner::Fails,
                    Manner::Flaky,
                    Manner::Flaky,
                    Manner::Busy,
                    Manner::Hangs,
                    Manner::Gone,
                    Manner::Cuts,
                    Manner::Slow,
                ]);
                What::Receiver { webhook, manner, time }
            }
        }
    }
}

/// Up to some milliseconds; short ones are as likely as long ones.
fn span(random: &mut Random, most: usize) -> Micros {
    let most = most.min(1 << (1 + random.below(15)));
    (1 + random.below(most)) as Micros * MILLISECOND
}

/// A webhook's policy, and how many messages one request carries.
pub(super) fn policy(random: &mut Random) -> (Policy, usize) {
    let policy = Policy {
        max_retries: 1 + u32::try_from(random.below(4)).unwrap_or(0),
        backoff_factor: 1.0,
        max_backoff: Duration::from_millis(random.pick(&[20, 200, 1_000])),
        retry_schedule: Vec::new(),
        permanent_statuses: Vec::new(),
        timeout: Duration::from_secs(random.pick(&[1, 1, 5])),
        on_exhausted: random.pick(&[OnExhausted::DeadLetter, OnExhausted::DeadLetter, OnExhausted::Halt]),
        max_in_flight: random.pick(&[None, None, Some(1), Some(2)]),
        max_age: None,
    };
    (policy, random.pick(&[1, 1, 1, 3, 10]))
}
