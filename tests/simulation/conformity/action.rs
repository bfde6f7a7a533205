//! What the sessions of a script do.

use crate::{
    functions::{
        claim_lanes::Claim, claim_messages::Told, end_probe::Turn, messages_publish::Publication,
        open_breaker::Ask, read_lanes::Held, settle::Settlement,
    },
    postgres::{
        row_lock::{Locked, RowLock},
        tables::{Pause, Reason},
        transaction::Level,
    },
    schedule::Micros,
};

/// How many sessions a script has.
pub(crate) const SESSIONS: usize = 3;

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) session: usize,
    pub(crate) action: Action,
}

/// What a session does in a step.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Begin(Level),
    Commit,
    Rollback,
    Savepoint(u8),
    RollbackTo(u8),
    Release(u8),
    Prepare(u32),
    /// COMMIT PREPARED (true) or ROLLBACK PREPARED.
    EndPrepared(u32, bool),
    Call(Call),
    /// It stands at a break point, and goes on.
    GoOn,
}

/// A statement of a client.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    CreateTopic {
        ordered: bool,
    },
    PauseTopic(i64, Option<Pause>),
    CreateWebhook {
        topic: i64,
        types: Option<u8>,
        starting: bool,
    },
    Backfill {
        job: i64,
        at_most: usize,
    },
    DeleteWebhook(i64),
    PauseWebhook(i64, bool),
    KeepLatest(i64, bool),
    Publish(Publication),
    Register(u32),
    Heartbeat(u32),
    MarkGone(u32),
    ReleaseLanes(u32, usize),
    RemoveWorker(u32),
    Claim(Claim),
    ClaimSingly(Claim),
    ClaimMessages(Told),
    Read {
        worker: u32,
        held: Vec<Held>,
        at_most: usize,
    },
    Settle(Settlement),
    RemoveIdle {
        worker: u32,
        held: Vec<Held>,
    },
    ReplayDeliveries {
        webhook: i64,
        messages: Vec<i64>,
        waits: bool,
    },
    ReplayDeadLetters {
        ids: Vec<i64>,
        waits: bool,
    },
    Cancel {
        webhook: i64,
        messages: Vec<i64>,
        reason: Reason,
        waits: bool,
    },
    Retry {
        webhook: i64,
        lanes: Vec<i64>,
    },
    Discard(Vec<i64>),
    DeleteOld,
    RepairDueAt(usize),
    OpenBreaker(Ask),
    NoteSuccess {
        worker: u32,
        webhooks: Vec<i64>,
    },
    TakeProbes {
        worker: u32,
        token: i64,
    },
    EndProbe {
        turn: Turn,
        failed: bool,
        next_in: Micros,
    },
    /// Absent: an operator closes it.
    CloseBreaker(i64, Option<Turn>),
    WakeLanes(i64, usize),
    /// The clock was stepped back: the lane is due a day later.
    Postpone {
        webhook: i64,
        lane: i64,
    },
    /// Somebody else's lock on a lane's row.
    LockLane {
        webhook: i64,
        lane: i64,
        mode: RowLock,
        locked: Locked,
    },
}

/// How a session stands after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stands {
    Idle,
    /// It waits for a lock.
    Waits,
    /// At a break point.
    Stopped,
}

/// All that can be seen after a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) stands: [Stands; SESSIONS],
    /// Answers that came: the session, and its rows or its SQLSTATE.
    pub(crate) answers: Vec<(usize, String)>,
    /// Sorted.
    pub(crate) notifications: Vec<String>,
    /// What is committed; sorted lines.
    pub(crate) tables: Vec<String>,
}

/// What a script is run with.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mode {
    /// Which sessions stop at break points.
    pub(crate) stops: [bool; SESSIONS],
    /// Whether the functions' `lock_timeout` counts. If not, their waits last until they are over.
    pub(crate) lock_timeouts: bool,
    /// Whether transactions are prepared.
    pub(crate) prepares: bool,
    /// Whether anybody may NOTIFY. Who has done so cannot prepare.
    pub(crate) notifies: bool,
    /// Whether breakers open.
    pub(crate) breakers: bool,
}
