//! The tables of the protocol: what one row holds, and its unique keys.
//!
//! A partition key is a number here. Columns that no decision of the SQL depends on are left out.

use std::rc::Rc;

use super::table::{Row, Table};
use crate::schedule::Micros;

/// `due_at` of a halted lane.
pub(crate) const INFINITY: Micros = Micros::MAX;

/// What `topics.paused` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pause {
    Refuse,
    Hold,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topic {
    pub(crate) id: i64,
    pub(crate) ordered: bool,
    pub(crate) paused: Option<Pause>,
    /// Null if a webhook of the topic has types.
    pub(crate) webhook_ids: Option<Rc<[i64]>>,
}

#[expect(clippy::struct_excessive_bools, reason = "they are columns")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Webhook {
    pub(crate) id: i64,
    pub(crate) topic: i64,
    /// The one type that it is owed.
    pub(crate) types: Option<u8>,
    pub(crate) starting: bool,
    pub(crate) paused: bool,
    pub(crate) disabled: bool,
    pub(crate) hold_until: Option<Micros>,
    /// Whether `on_overflow` is `keep_latest`.
    pub(crate) latest: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) topic: i64,
    pub(crate) key: u32,
    pub(crate) kind: Option<u8>,
    pub(crate) idempotency_key: Option<u32>,
    pub(crate) lane: i64,
    pub(crate) created_at: Micros,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Delivery {
    pub(crate) webhook: i64,
    pub(crate) lane: i64,
    pub(crate) message: i64,
    pub(crate) replayed: bool,
}

#[expect(clippy::struct_field_names, reason = "the columns' names")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    pub(crate) webhook: i64,
    pub(crate) lane: i64,
    pub(crate) key: u32,
    pub(crate) stripe: Option<i32>,
    pub(crate) position: i64,
    pub(crate) due_at: Micros,
    pub(crate) wait: Option<Micros>,
    pub(crate) token: Option<i64>,
    pub(crate) claimed_by: Option<u32>,
    pub(crate) generation: i32,
    pub(crate) head: Option<i64>,
    pub(crate) batch_last: Option<i64>,
    pub(crate) batch_count: Option<i32>,
    pub(crate) split_until: Option<i64>,
    pub(crate) failures: i32,
    pub(crate) halted: bool,
    pub(crate) error: Option<i32>,
}

impl Lane {
    /// A new row: ready, from some message on.
    pub(crate) fn ready(
        webhook: i64,
        lane: i64,
        key: u32,
        stripe: Option<i32>,
        first: i64,
        now: Micros,
    ) -> Self {
        Self {
            webhook,
            lane,
            key,
            stripe,
            position: first - 1,
            due_at: now,
            wait: None,
            token: None,
            claimed_by: None,
            generation: 0,
            head: None,
            batch_last: None,
            batch_count: None,
            split_until: None,
            failures: 0,
            halted: false,
            error: None,
        }
    }

    /// Without failures, wait and halt.
    pub(crate) fn cleared(&self, now: Micros) -> Self {
        Self { halted: false, due_at: self.due_at.min(now), wait: None, ..self.without_failures() }
    }

    pub(crate) fn without_failures(&self) -> Self {
        Self { failures: 0, head: None, batch_last: None, batch_count: None, error: None, ..self.clone() }
    }
}

/// Why a delivery was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    AttemptsExhausted,
    Canceled,
    Skipped,
    Superseded,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) id: i64,
    pub(crate) webhook: i64,
    pub(crate) lane: i64,
    pub(crate) message: i64,
    pub(crate) key: u32,
    pub(crate) reason: Reason,
    pub(crate) attempts: i32,
    pub(crate) error: Option<i32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Worker {
    pub(crate) id: u32,
    pub(crate) lock_key: i32,
    pub(crate) gone: bool,
    pub(crate) heartbeat_at: Micros,
}

/// Whose turn it is to probe a webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    pub(crate) by: u32,
    pub(crate) token: i64,
    pub(crate) until: Micros,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Breaker {
    pub(crate) webhook: i64,
    pub(crate) open: bool,
    pub(crate) epoch: i64,
    pub(crate) opened_at: Micros,
    pub(crate) next_probe_at: Micros,
    pub(crate) probes: i32,
    pub(crate) probe: Option<Probe>,
    pub(crate) probe_lane: i64,
    pub(crate) suspected_at: Option<Micros>,
    /// Who has said last that its requests are accepted, and when.
    pub(crate) success: Option<(u32, Micros)>,
    pub(crate) wake_after: Option<i64>,
}

impl Breaker {
    /// A new row.
    pub(crate) fn closed(webhook: i64) -> Self {
        Self {
            webhook,
            open: false,
            epoch: 0,
            opened_at: 0,
            next_probe_at: 0,
            probes: 0,
            probe: None,
            probe_lane: i64::MIN,
            suspected_at: None,
            success: None,
            wake_after: None,
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
}

impl JobState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A backfill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) topic: i64,
    pub(crate) webhook: i64,
    pub(crate) state: JobState,
    /// Its progress: the next step begins after this message, the last one ends at that.
    pub(crate) after: i64,
    pub(crate) until: i64,
    /// Messages that earlier steps have left.
    pub(crate) left: Vec<i64>,
    pub(crate) done: i64,
    pub(crate) already_owed: i64,
}

/// A row of `used_idempotency_keys`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UsedKey {
    pub(crate) topic: i64,
    pub(crate) idempotency_key: u32,
}

/// All tables.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) topics: Table<Topic>,
    pub(crate) webhooks: Table<Webhook>,
    pub(crate) messages: Table<Message>,
    pub(crate) deliveries: Table<Delivery>,
    pub(crate) lanes: Table<Lane>,
    pub(crate) dead_letters: Table<DeadLetter>,
    pub(crate) workers: Table<Worker>,
    pub(crate) breakers: Table<Breaker>,
    pub(crate) jobs: Table<Job>,
    pub(crate) used_keys: Table<UsedKey>,
}

/// Names a table, for queues of those who wait for a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TableName {
    Topics,
    Webhooks,
    Messages,
    Deliveries,
    Lanes,
    DeadLetters,
    Workers,
    Breakers,
    Jobs,
    UsedKeys,
}

macro_rules! row {
    ($row:ident, $field:ident, $name:ident, $key:ty, |$this:ident| $make:expr, $second:ty, $other:expr) => {
        impl Row for $row {
            const TABLE: TableName = TableName::$name;
            type Key = $key;
            type Second = $second;
            fn key(&self) -> $key {
                let $this = self;
                $make
            }
            fn second(&self) -> Option<$second> {
                let $this = self;
                let _ = $this;
                $other
            }
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }
            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
        }
    };
}

row!(Topic, topics, Topics, i64, |row| row.id, (), None);
row!(Webhook, webhooks, Webhooks, i64, |row| row.id, (), None);
row!(
    Message,
    messages,
    Messages,
    i64,
    |row| row.id,
    (i64, u32),
    row.idempotency_key.map(|key| (row.topic, key))
);
row!(Delivery, deliveries, Deliveries, (i64, i64, i64), |row| (row.webhook, row.lane, row.message), (), None);
row!(Lane, lanes, Lanes, (i64, i64), |row| (row.webhook, row.lane), (), None);
row!(DeadLetter, dead_letters, DeadLetters, i64, |row| row.id, (i64, i64), Some((row.webhook, row.message)));
row!(Worker, workers, Workers, u32, |row| row.id, (), None);
row!(Breaker, breakers, Breakers, i64, |row| row.webhook, (), None);
row!(UsedKey, used_keys, UsedKeys, (i64, u32), |row| (row.topic, row.idempotency_key), (), None);
row!(Job, jobs, Jobs, i64, |row| row.id, (), None);
