//! What can be done to the broker.

use proptest::prelude::*;

/// How many partitions there are. The open transactions have others: [`OPEN_KEYS`].
pub(super) const KEYS: u8 = 4;
pub(super) const OPEN_KEYS: u8 = 2;

/// How many messages are owed when a worker crashes. They are more than it reads at once.
pub(super) const MANY: usize = 40;

/// How many workers there may be at once.
pub(super) const SLOTS: u8 = 2;

/// One operation. `which` selects a webhook: its remainder by the number of webhooks. Without a
/// webhook, nothing happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// One message in a transaction of its own.
    Publish {
        key: u8,
    },
    /// A message that receivers of webhooks with one attempt refuse for ever.
    Poison {
        key: u8,
    },
    /// Several messages in one statement.
    PublishBatch {
        keys: Vec<u8>,
    },
    /// A transaction that rolls back a part of itself and is committed.
    RollBackSavepoint {
        level: Level,
        before: Vec<u8>,
        undone: Vec<u8>,
        after: Vec<u8>,
    },
    /// A transaction that is rolled back.
    RollBack {
        level: Level,
        keys: Vec<u8>,
    },
    /// One message in a transaction that stays open during later operations. It has partitions of
    /// its own.
    Open {
        key: u8,
        level: Level,
    },
    /// The end of that transaction.
    Close {
        commit: bool,
    },
    CreateWebhook {
        patience: Patience,
    },
    DeleteWebhook {
        which: u8,
    },
    Pause {
        which: u8,
    },
    Resume {
        which: u8,
    },
    /// From now on, the receiver of the webhook fails.
    Fail {
        which: u8,
        how: Failure,
    },
    Recover {
        which: u8,
    },
    /// A worker loses its connections, and its requests are aborted.
    KillWorker {
        slot: u8,
    },
    /// The same while a worker delivers many messages of a partition. It is started again at once.
    /// If it settles late, it reports everything as accepted after others have taken its lanes
    /// over.
    CrashWorker {
        slot: u8,
        key: u8,
        settles_late: bool,
    },
    /// All connections of all workers are cut. The workers live on.
    CutConnections,
    /// A worker is asked to stop.
    StopWorker {
        slot: u8,
    },
    StartWorker {
        slot: u8,
    },
    /// The test waits.
    Wait {
        milliseconds: u8,
    },
}

/// How long a webhook tries to deliver a refused message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Tries for ever.
    Endless,
    /// Makes it a dead letter at once.
    OneAttempt,
}

/// How a receiver fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It answers 503.
    Refuse,
    /// It closes the connection.
    Drop,
    /// It accepts, but slowly.
    Slow,
}

/// A transaction's isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// Any operation. The last ones, to which a case shrinks, are the simplest.
pub(super) fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let key = || 0..KEYS;
    let keys = || prop::collection::vec(0..KEYS, 0..=4);
    let which = || 0u8..4;
    let slot = || 0..SLOTS;
    let level =
        || prop_oneof![Just(Level::ReadCommitted), Just(Level::RepeatableRead), Just(Level::Serializable)];
    let how = prop_oneof![Just(Failure::Refuse), Just(Failure::Drop), Just(Failure::Slow)];
    let patience = prop_oneof![Just(Patience::Endless), Just(Patience::OneAttempt)];
    prop_oneof![
        6 => key().prop_map(|key| Publish { key }),
        3 => keys().prop_map(|keys| PublishBatch { keys }),
        4 => slot().prop_map(|slot| StartWorker { slot }),
        3 => patience.prop_map(|patience| CreateWebhook { patience }),
        2 => key().prop_map(|key| Poison { key }),
        2 => (0u8..80).prop_map(|milliseconds| Wait { milliseconds }),
        2 => (which(), how).prop_map(|(which, how)| Fail { which, how }),
        1 => which().prop_map(|which| Recover { which }),
        1 => which().prop_map(|which| Pause { which }),
        1 => which().prop_map(|which| Resume { which }),
        1 => which().prop_map(|which| DeleteWebhook { which }),
        2 => slot().prop_map(|slot| KillWorker { slot }),
        2 => (slot(), key(), any::<bool>())
            .prop_map(|(slot, key, settles_late)| CrashWorker { slot, key, settles_late }),
        1 => Just(CutConnections),
        1 => slot().prop_map(|slot| StopWorker { slot }),
        1 => (level(), keys()).prop_map(|(level, keys)| RollBack { level, keys }),
        2 => (level(), keys(), keys(), keys())
            .prop_map(|(level, before, undone, after)| RollBackSavepoint { level, before, undone, after }),
        2 => (0..OPEN_KEYS, level()).prop_map(|(key, level)| Open { key, level }),
        1 => any::<bool>().prop_map(|commit| Close { commit }),
    ]
}
