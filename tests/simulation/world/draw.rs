//! How a plan is drawn.
//!
//! Each seed draws a few kinds of faults and operations, and leaves out all others (swarm testing:
//! Groce, Zhang, Eide, Chen and Regehr, 2012). So in some runs much happens of one kind, and nothing
//! else hides what it does. Most runs have few lanes, so that all of it meets on them.

use super::plan::{
    CALM_REQUEST, Down, Ending, Hearing, HookPolicies, Item, Kind, Manner, Pace, Plan, Trouble, What,
};
use crate::{
    postgres::transaction::Level,
    random::Random,
    schedule::{Micros, SECOND},
};

const MILLISECOND: Micros = SECOND / 1_000;

/// How many kinds of faults and of operations there are to draw from.
const FAULTS: usize = 17;
const OPERATIONS: usize = 11;

/// The kind of faults that troubles statements.
const STATEMENTS: usize = 4;

/// The kind of operations that are the leader's, half of the time.
const LEADER: usize = 10;

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x51A1);
        let calm = random.once_in(7);
        // Many lanes that get messages again and again: only then workers read the tail.
        let wide = random.once_in(9);
        let topics: Vec<bool> =
            (0..random.pick(&[1, 1, 1, 2, 3])).map(|_| wide || !random.once_in(6)).collect();
        let hooks = if wide { 3 } else { random.pick(&[1, 1, 2, 3]) };
        let webhooks: Vec<usize> = (0..hooks).map(|_| random.below(topics.len())).collect();
        let mut plan = Self {
            seed,
            workers: if wide { 1 } else { random.pick(&[1, 2, 2, 3]) },
            concurrency: random.pick(&[1, 1, 2, 3, 6]),
            topics,
            webhooks,
            keys: if wide { 14 } else { random.pick(&[1, 1, 1, 2, 2, 4]) },
            notifies: !random.once_in(4),
            pace: pace(calm, &mut random),
            hooks: HookPolicies {
                batches: random.once_in(3),
                backoffs: random.pick(&[[1, 1, 20], [20, 20, 20], [20, 200, 1_000], [200, 200, 1_000]]),
                retries: random.pick(&[1, 2, 4]),
                halts: random.once_in(2),
            },
            policy: None,
            breakers: false,
            down: Down::Nobody,
            payload: match random.below(16) {
                0 => 12 << 20,
                1 => 3 << 19,
                _ => 2,
            },
            items: Vec::new(),
            lasts: MILLISECOND * random.pick(&[100, 300, 300, 1_000, 1_000, 3_000, 8_000]),
            without: None,
        };
        plan.draw_publishers(wide, &mut random);
        plan.draw_operations(calm, &mut random);
        // Breakers open seldom unless a receiver is down for the whole run.
        plan.breakers = !calm && random.once_in(4);
        if plan.breakers && !random.once_in(3) {
            let for_one = plan.workers > 1 && random.once_in(4);
            plan.down = if for_one { Down::OneWorker } else { Down::AllWorkers };
        }
        if !calm {
            plan.draw_faults(&mut random);
        }
        plan.items.sort_by_key(|item| item.at);
        plan
    }

    fn draw_publishers(&mut self, wide: bool, random: &mut Random) {
        let count = if wide { 150 } else { random.pick(&[5, 15, 40, 80]) + random.below(10) };
        let large = random.once_in(3);
        for _ in 0..count {
            let what = self.publish(large, random);
            self.add(random, what);
        }
        // A burst of commits at one time, now and then.
        for _ in 0..random.below(3) {
            let at = self.time(random);
            for _ in 0..random.below(20) {
                let what = self.publish(large, random);
                self.items.push(Item { at, seed: random.next(), what });
            }
        }
    }

    fn draw_operations(&mut self, calm: bool, random: &mut Random) {
        let count = random.pick(&[0, 5, 20, 40]);
        let mut kinds: Vec<usize> = (0..random.pick(&[1, 2, 3])).map(|_| random.below(OPERATIONS)).collect();
        // Of webhooks that keep the latest message, the leader gives up the earlier ones.
        if self.seed.is_multiple_of(3) && random.once_in(3) {
            kinds.push(LEADER);
        }
        let longest = random.pick(&[1_000, 1_000, 8_000]);
        for _ in 0..count {
            // A calm run has no pauses.
            let kind = if calm { random.below(3) } else { random.pick(&kinds) };
            let what = self.operation(kind, longest, random);
            self.add(random, what);
        }
    }

    fn draw_faults(&mut self, random: &mut Random) {
        let count = random.pick(&[0, 2, 5, 12, 25]);
        let mut kinds: Vec<usize> =
            (0..random.pick(&[1, 1, 2, 3, 5])).map(|_| random.below(FAULTS)).collect();
        // Many faults do harm only while statements, or what they say, are late.
        if random.once_in(if self.breakers { 2 } else { 3 }) {
            kinds.push(STATEMENTS);
        }
        let longest = random.pick(&[30, 300, 300, 2_000, 4_000]);
        let of = random.pick(&[
            None,
            Some(Kind::Claim),
            Some(Kind::Read),
            Some(Kind::Read),
            Some(Kind::Settle),
            Some(Kind::Settle),
            Some(Kind::Remove),
            Some(Kind::Other),
        ]);
        // Workers ask and hear of breakers by other statements.
        let of = if self.breakers && random.once_in(2) { Some(Kind::Other) } else { of };
        for _ in 0..count {
            let kind = random.pick(&kinds);
            let what = self.fault(kind, longest, of, random);
            self.add(random, what);
        }
    }

    fn time(&self, random: &mut Random) -> Micros {
        random.below(usize::try_from(self.lasts).unwrap_or(1)) as Micros
    }

    fn add(&mut self, random: &mut Random, what: What) {
        let at = self.time(random);
        self.items.push(Item { at, seed: random.next(), what });
    }

    fn publish(&self, large: bool, random: &mut Random) -> What {
        let level = random.pick(&[
            Level::ReadCommitted,
            Level::ReadCommitted,
            Level::ReadCommitted,
            Level::RepeatableRead,
            Level::Serializable,
        ]);
        let time = span(random, 1_000);
        let prepared = !self.notifies && random.once_in(8);
        let ending = match random.below(12) {
            0 => Ending::Rollback,
            1 => Ending::Open(time),
            _ if prepared => Ending::Prepare(time),
            _ => Ending::Commit,
        };
        let messages = if large { random.pick(&[1, 4, 12]) } else { random.pick(&[1, 1, 1, 2]) };
        let topic = random.below(self.topics.len());
        What::Publish { topic, level, messages, ending, once: random.once_in(20) }
    }

    fn operation(&self, kind: usize, longest: usize, random: &mut Random) -> What {
        // Also webhooks that come later.
        let webhook = random.below(self.webhooks.len() + 1);
        let topic = random.below(self.topics.len());
        let (waits, time) = (random.once_in(2), span(random, longest));
        match kind {
            0 => What::Replay { webhook, waits },
            1 => What::Cancel { webhook, skip: false, waits },
            2 => What::ReplayDead { waits },
            3 => What::Cancel { webhook, skip: true, waits },
            4 => What::Retry { webhook },
            6 => What::HoldTopic { topic, time },
            7 => What::CreateWebhook { topic, typed: random.once_in(3) },
            8 => What::ChangeWebhook { webhook },
            9 if random.once_in(6) => What::DeleteWebhook { webhook },
            5 | 9 => What::PauseWebhook { webhook, time },
            LEADER if random.once_in(2) => What::Enable { webhook },
            _ => What::DeleteOldMessages,
        }
    }

    fn fault(&self, kind: usize, longest: usize, of: Option<Kind>, random: &mut Random) -> What {
        let worker = random.below(self.workers);
        let webhook = random.below(self.webhooks.len() + 1);
        let time = span(random, longest);
        match kind {
            0 => What::Crash { worker, down: time },
            1 => What::Stop { worker, down: time },
            // Long enough, now and then, for others to take it for hung.
            2 if random.once_in(6) => What::Pause { worker, time: SECOND * (10 + random.below(8) as Micros) },
            2 => What::Pause { worker, time: span(random, 30_000) },
            3 => What::EndSession { worker },
            STATEMENTS | 5 => {
                let trouble = random.pick(&[
                    Trouble::Refused,
                    Trouble::Refused,
                    Trouble::AnswerLost,
                    Trouble::Hang,
                    Trouble::Canceled,
                    Trouble::Slow,
                    Trouble::Slow,
                    Trouble::Late,
                    Trouble::Late,
                    Trouble::Late,
                ]);
                What::Statements { worker, trouble, of, time }
            }
            6 => {
                let trouble = random.pick(&[Hearing::Lost, Hearing::Late, Hearing::Doubled]);
                What::Notices { worker, trouble, time }
            }
            7 => match random.below(4) {
                0 => What::Forged { worker, notices: random.pick(&[1, 20, 400]) },
                1 => What::Suppress { worker, time },
                2 => What::Vacuum,
                _ => What::StepClock { by: random.pick(&[-3_600, -20, -1, 1, 20, 3_600]) * SECOND },
            },
            8 => What::NotSending { time: span(random, 4_000) },
            9 => What::CrashDatabase,
            10 | 11 => What::LockLane { time },
            12 => What::LockStripe { time },
            13 => What::Cut { worker, time: span(random, 6_000) },
            14 => What::FreeLane,
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
                let from = (self.workers > 1 && random.once_in(4)).then_some(worker);
                What::Receiver { webhook, manner, from, time }
            }
        }
    }
}

fn pace(calm: bool, random: &mut Random) -> Pace {
    Pace {
        pauses: random.pick(&[0, 3, 20]),
        pause: random.pick(&[200, 3_000]),
        late: random.pick(&[8, 8, 3]),
        late_way: if calm { 20_000 } else { random.pick(&[20_000, 20_000, 100_000, 600_000]) },
        slow: random.pick(&[50_000, 200_000, 2_000_000]),
        request: random.pick(if calm {
            &[1_000, CALM_REQUEST]
        } else {
            &[1_000, 3_000, 10_000, 40_000, 120_000]
        }),
        limited: if calm { 0 } else { random.pick(&[0, 0, 200, 20]) },
    }
}

/// Up to some milliseconds; short ones are as likely as long ones.
fn span(random: &mut Random, most: usize) -> Micros {
    let most = most.min(1 << (1 + random.below(15)));
    (1 + random.below(most)) as Micros * MILLISECOND
}
