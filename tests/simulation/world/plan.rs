//! What happens in a run: all of it follows from a seed (`draw`). Each item of the plan can be left
//! out.

use std::time::Duration;

use pgtopic::domain::policy::{OnExhausted, Policy};

use crate::{functions::guards::Guard, postgres::transaction::Level, random::Random, schedule::Micros};

/// How long a request may take in a calm run.
pub(super) const CALM_REQUEST: Micros = 3_000;

/// The longest way of a late answer, and the largest payload, at which a lane is sent soon.
const CALM_WAY: Micros = 20_000;
const CALM_PAYLOAD: usize = 1024 * 1024;

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
    pub(super) pace: Pace,
    pub(super) hooks: HookPolicies,
    /// What all webhooks are like; `None`: that is drawn.
    pub(super) policy: Option<Policy>,
    /// Whether breakers open. Otherwise all webhooks have them off.
    pub(super) breakers: bool,
    /// Who finds the receiver of the first webhook down for the whole run.
    pub(super) down: Down,
    /// The bytes of each payload.
    pub(super) payload: usize,
    pub(super) items: Vec<Item>,
    /// When the last item has begun.
    pub(super) lasts: Micros,
    pub(super) without: Option<Guard>,
}

/// Who finds a receiver down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Down {
    Nobody,
    AllWorkers,
    /// The first one.
    OneWorker,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Once in so many steps a statement stands still; 0: never. And for how long at most.
    pub(super) pauses: usize,
    pub(super) pause: Micros,
    /// Once in so many calls the way to the server, or back, is long. And how long at most.
    pub(super) late: usize,
    pub(super) late_way: Micros,
    /// How long a statement stands still if all are slow.
    pub(super) slow: Micros,
    /// How long a request takes at most.
    pub(super) request: Micros,
    /// Once in so many requests the rate of the webhook is used up; 0: never.
    pub(super) limited: usize,
}

/// What webhooks may be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct HookPolicies {
    /// Whether one request may carry several messages.
    pub(super) batches: bool,
    /// The longest wait after a failure, in milliseconds: one of these.
    pub(super) backoffs: [u64; 3],
    /// The most attempts: up to this many.
    pub(super) retries: usize,
    pub(super) halts: bool,
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
    /// Nobody listens.
    Refuses,
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
    Publish {
        topic: usize,
        level: Level,
        messages: usize,
        ending: Ending,
        once: bool,
    },
    Replay {
        webhook: usize,
        waits: bool,
    },
    ReplayDead {
        waits: bool,
    },
    Cancel {
        webhook: usize,
        skip: bool,
        waits: bool,
    },
    Retry {
        webhook: usize,
    },
    PauseWebhook {
        webhook: usize,
        time: Micros,
    },
    HoldTopic {
        topic: usize,
        time: Micros,
    },
    CreateWebhook {
        topic: usize,
        typed: bool,
    },
    ChangeWebhook {
        webhook: usize,
    },
    DeleteWebhook {
        webhook: usize,
    },
    Enable {
        webhook: usize,
    },
    /// The leader also gives up what newer messages supersede.
    DeleteOldMessages,
    Vacuum,
    Receiver {
        webhook: usize,
        manner: Manner,
        /// Only for requests of this worker.
        from: Option<usize>,
        time: Micros,
    },
    Crash {
        worker: usize,
        down: Micros,
    },
    Stop {
        worker: usize,
        down: Micros,
    },
    Pause {
        worker: usize,
        time: Micros,
    },
    EndSession {
        worker: usize,
    },
    Statements {
        worker: usize,
        trouble: Trouble,
        of: Option<Kind>,
        time: Micros,
    },
    /// Nothing comes to the server, and nothing comes back.
    Cut {
        worker: usize,
        time: Micros,
    },
    Notices {
        worker: usize,
        trouble: Hearing,
        time: Micros,
    },
    Forged {
        worker: usize,
        notices: usize,
    },
    Suppress {
        worker: usize,
        time: Micros,
    },
    NotSending {
        time: Micros,
    },
    StepClock {
        by: Micros,
    },
    CrashDatabase,
    LockLane {
        time: Micros,
    },
    LockStripe {
        time: Micros,
    },
    /// Somebody frees a lane by hand that a worker holds.
    FreeLane,
}

/// A kind of statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Claim,
    Read,
    Settle,
    Remove,
    Session,
    Other,
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
    /// They are carried out at once, and their answers take long.
    Late,
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
    /// Whether something of a sort happens in it.
    pub(super) fn has(&self, is_it: impl Fn(&What) -> bool) -> bool {
        self.items.iter().any(|item| is_it(&item.what))
    }

    /// Whether nothing keeps workers from the database, or rows from workers.
    pub(super) fn is_smooth(&self) -> bool {
        !self.has(|what| {
            what.is_fault()
                && !matches!(
                    what,
                    What::Receiver { .. }
                        | What::NotSending { .. }
                        | What::Notices { .. }
                        | What::Forged { .. }
                        | What::Vacuum
                        | What::Stop { .. }
                        | What::Suppress { .. }
                )
        })
    }

    /// Whether workers that live find out soon which others have ended.
    pub(super) fn takes_over_soon(&self) -> bool {
        self.pace.late_way <= CALM_WAY
            && !self.has(|what| {
                matches!(
                    what,
                    What::Pause { .. }
                        | What::Statements { .. }
                        | What::Cut { .. }
                        | What::StepClock { .. }
                        | What::CrashDatabase
                        | What::LockLane { .. }
                        | What::LockStripe { .. }
                )
            })
    }

    /// Whether nobody steps the server's clock.
    pub(super) fn clock_is_steady(&self) -> bool {
        !self.has(|what| matches!(what, What::StepClock { .. }))
    }

    /// Whether failed requests use up attempts, each in its turn. Probes use up none, and what waits
    /// at an open breaker has no wait of its own. So with breakers nothing is judged that counts
    /// attempts: their numbers, the waits after failures, repeated batches, and whether a message was
    /// given up too early.
    pub(super) fn counts_attempts(&self) -> bool {
        !self.breakers
    }

    /// Whether all that is published should be sent at once.
    pub(super) fn is_calm(&self) -> bool {
        !self.breakers
            && self.pace.limited == 0
            && self.pace.request <= CALM_REQUEST
            && self.pace.late_way <= CALM_WAY
            && self.payload <= CALM_PAYLOAD
            && !self.has(|what| {
                what.is_fault() && !matches!(what, What::Vacuum)
                    || matches!(
                        what,
                        What::PauseWebhook { .. } | What::HoldTopic { .. } | What::DeleteWebhook { .. }
                    )
            })
    }
}

/// A webhook's policy, and how many messages one request carries.
pub(super) fn policy(hooks: HookPolicies, random: &mut Random) -> (Policy, usize) {
    let dead_letter = [OnExhausted::DeadLetter, OnExhausted::DeadLetter, OnExhausted::Halt];
    let policy = Policy {
        max_retries: 1 + u32::try_from(random.below(hooks.retries)).unwrap_or(0),
        backoff_factor: 1.0,
        max_backoff: Duration::from_millis(random.pick(&hooks.backoffs)),
        retry_schedule: Vec::new(),
        permanent_statuses: Vec::new(),
        timeout: Duration::from_secs(random.pick(&[1, 1, 5, 12])),
        on_exhausted: random.pick(&dead_letter[..if hooks.halts { 3 } else { 2 }]),
        max_in_flight: random.pick(&[None, None, Some(1), Some(2)]),
        max_age: None,
        latest_only: false,
    };
    (policy, if hooks.batches { random.pick(&[1, 2, 3, 10]) } else { 1 })
}
