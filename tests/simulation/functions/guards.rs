//! The guards of the protocol. Each can be taken out of the model.

/// A condition, a lock or an order of statements that the protocol needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Guard {
    /// A publisher takes the id after the stripe.
    LockBeforeId,
    /// A publisher reads the webhooks after it took the stripe.
    SubscribersAfterLock,
    /// Above READ COMMITTED, a lane is inserted although the snapshot shows one, and 40001 means
    /// that it is there.
    LaneInAnyCase,
    /// A claim passes over rows that somebody has locked.
    ClaimSkipsLocked,
    /// A claim takes only lanes that are due.
    ClaimDue,
    /// A claim takes only lanes that nobody holds.
    ClaimUnclaimed,
    /// A claim refuses a worker that is gone.
    ClaimRegistered,
    /// A claim keeps its worker's row from being deleted.
    ClaimKeepsWorker,
    /// A claim takes only rows that its snapshot shows as they are.
    ClaimByPlace,
    /// A claim of single lanes checks again when it has the lock.
    SinglyChecksAgain,
    /// A settle writes only lanes of its worker.
    SettleWorker,
    /// A settle writes only lanes of its token.
    SettleToken,
    /// A settle moves `position` only if no replay came between.
    SettleGeneration,
    /// A settle of an older generation writes a wait only for the head that it sent.
    SettleHead,
    /// A settle passes over rows that somebody has locked.
    SettleSkipsLocked,
    /// A removal needs the stripe.
    RemoveStripe,
    /// A removal looks in a new statement, after it has the stripe.
    RemoveNewStatement,
    /// A removal looks at the whole lane if a replay came between.
    RemoveGeneration,
    /// A removal takes only lanes of its worker and token.
    RemoveHolder,
    /// A replay takes the stripe.
    OweStripe,
    /// A replay leaves a message that is owed.
    OweConflict,
    /// A replay lowers the position.
    OwePosition,
    /// A replay raises the generation.
    OweGeneration,
    /// A replay keeps the message from being deleted.
    OweKeepsMessage,
    /// A replay leaves what follows a message whose rows somebody has locked.
    OweFollows,
    /// A replayed message has all its attempts.
    OweForgets,
    /// A cancel raises the generation.
    CancelGeneration,
    /// A cancel leaves the head of a lane that is held.
    CancelInFlight,
    /// A release frees only lanes of its worker.
    ReleaseHolder,
    /// A worker's row is deleted only when it is gone.
    RemoveGone,
    /// A retry leaves lanes that are held.
    RetryUnclaimed,
    /// A sweep takes lanes of gone workers only.
    SweepGone,
    /// A repair of `due_at` leaves lanes that a worker holds.
    RepairUnclaimed,
    /// A claim leaves webhooks whose breakers are open.
    ClaimClosed,
    /// A failure of an earlier epoch of the breaker uses up nothing.
    SettleEpoch,
    /// A breaker opens only for failures of its present epoch.
    OpenEpoch,
    /// A breaker does not open while another worker succeeds.
    OpenObjection,
    /// A webhook is probed by one worker at a time.
    ProbeFree,
    /// Only the worker whose turn it is ends it.
    ProbeTurn,
    /// A read tells which messages are superseded.
    ReadLatest,
    /// The leader gives up nothing of a lane that a worker holds.
    CancelHeld,
}

impl Guard {
    pub(crate) const ALL: [Self; 41] = [
        Self::LockBeforeId,
        Self::SubscribersAfterLock,
        Self::LaneInAnyCase,
        Self::ClaimSkipsLocked,
        Self::ClaimDue,
        Self::ClaimUnclaimed,
        Self::ClaimRegistered,
        Self::ClaimKeepsWorker,
        Self::ClaimByPlace,
        Self::SinglyChecksAgain,
        Self::SettleWorker,
        Self::SettleToken,
        Self::SettleGeneration,
        Self::SettleHead,
        Self::SettleSkipsLocked,
        Self::RemoveStripe,
        Self::RemoveNewStatement,
        Self::RemoveGeneration,
        Self::RemoveHolder,
        Self::OweStripe,
        Self::OweConflict,
        Self::OwePosition,
        Self::OweGeneration,
        Self::OweKeepsMessage,
        Self::OweFollows,
        Self::OweForgets,
        Self::CancelGeneration,
        Self::CancelInFlight,
        Self::ReleaseHolder,
        Self::RemoveGone,
        Self::RetryUnclaimed,
        Self::SweepGone,
        Self::RepairUnclaimed,
        Self::ClaimClosed,
        Self::SettleEpoch,
        Self::OpenEpoch,
        Self::OpenObjection,
        Self::ProbeFree,
        Self::ProbeTurn,
        Self::ReadLatest,
        Self::CancelHeld,
    ];
}

/// Which guards stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Guards(u64);

impl Guards {
    pub(crate) fn all() -> Self {
        Self(u64::MAX)
    }

    pub(crate) fn without(self, guard: Guard) -> Self {
        Self(self.0 & !(1 << guard as u64))
    }

    /// Whether a guard stands.
    pub(crate) fn has(self, guard: Guard) -> bool {
        self.0 & (1 << guard as u64) != 0
    }
}
