//! What can go wrong, and which parts of the stage each fault needs for itself.

use std::{fmt, ops::Range, time::Duration};

use crate::stage::{HOOKS, KILLED, LANES, WORKERS};

/// How long a commit that nobody waits for, such as a settle's, stays in memory: until a
/// publisher's commit, which takes it along to the disk. There is one every few milliseconds.
const UNFLUSHED: Duration = Duration::from_millis(100);

/// How long a worker may go on with what it has read, and settle none of it: 0.7 s by its clock,
/// and what the machine adds.
const BLIND: Duration = Duration::from_secs(1);

/// Makes the kinds and the list of them, which is what a seed draws from: a change of its order
/// changes every schedule.
macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// What can go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// All of it.
            pub(crate) const ALL: &[Self] = &[$(Self::$kind,)*];
        }
    };
}

kinds! {
    KillWorker,
    StopWorker,
    PauseWorker,
    PauseWorkerOverLease,
    KillApi,
    StopApi,
    PostgresFast,
    PostgresImmediate,
    PostgresCrash,
    TerminateBackend,
    DatabaseLinkCut,
    DatabaseLinkSlow,
    DatabaseLinkDead,
    WorkerCutOff,
    ReceiverLinkCut,
    ReceiverLinkSlow,
    ReceiverLinkDead,
    ReceiverHangs,
    ReceiverCloses,
    ReceiverHalf,
    ReceiverSlow,
    ReceiverRefuses,
    NotificationQueue,
    WalDiskFull,
}

/// What a fault breaks, or needs to be well while it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Server,
    Api,
    /// A worker's process.
    Process(usize),
    /// Between a worker and the server.
    Link(usize),
    /// What a receiver answers.
    Receiver(usize),
    ReceiverLink(usize),
}

impl Kind {
    /// Whether it is in effect until it is healed. The others are over at once, and leave others to
    /// recover.
    pub(crate) fn remains(self) -> bool {
        !matches!(self, Self::TerminateBackend | Self::DatabaseLinkCut | Self::ReceiverLinkCut)
    }

    /// Whether it is healed by starting a process, which needs the server and its link to it.
    pub(crate) fn starts_a_process(self) -> bool {
        matches!(self, Self::KillWorker | Self::StopWorker | Self::KillApi | Self::StopApi)
    }

    /// Whether the server is down meanwhile.
    pub(crate) fn stops_the_server(self) -> bool {
        matches!(self, Self::PostgresFast | Self::PostgresImmediate | Self::PostgresCrash | Self::WalDiskFull)
    }

    /// How many requests may have been in flight where it hits, whose messages are sent again.
    /// However many workers it hits, no two have the same lane in flight; and a fault that comes
    /// while another is in effect counts for itself, as lanes that the first has cut off may have
    /// been taken over and be in flight again.
    pub(crate) fn in_flight(self) -> usize {
        match self {
            Self::KillApi | Self::StopApi | Self::NotificationQueue => 0,
            Self::ReceiverLinkCut
            | Self::ReceiverLinkSlow
            | Self::ReceiverLinkDead
            | Self::ReceiverHangs
            | Self::ReceiverCloses
            | Self::ReceiverHalf
            | Self::ReceiverSlow
            | Self::ReceiverRefuses => LANES / HOOKS,
            _ => LANES,
        }
    }

    /// When what was accepted may not have been settled, or the settle may be lost, if the fault
    /// was made from one instant to another.
    pub(crate) fn unwritten(self, begun: Duration, made: Duration) -> Range<Duration> {
        match self {
            Self::PostgresImmediate | Self::PostgresCrash => begun.saturating_sub(UNFLUSHED)..made,
            // It dies in the end.
            Self::WalDiskFull => made.saturating_sub(UNFLUSHED)..made,
            // While it stops.
            Self::PostgresFast => begun..made,
            Self::DatabaseLinkDead | Self::WorkerCutOff => begun..made + BLIND,
            _ => begun..begun,
        }
    }

    /// Which of the workers a fault of this kind hits, if it hits one that is known: the one that
    /// is left alone keeps its process, and shares everything else.
    pub(crate) fn worker(self, target: usize) -> usize {
        let hits_a_process = matches!(
            self,
            Self::KillWorker | Self::StopWorker | Self::PauseWorker | Self::PauseWorkerOverLease
        );
        target % if hits_a_process { KILLED } else { WORKERS }
    }

    /// What nobody else may break at the same time.
    pub(crate) fn parts(self, target: usize) -> Vec<Part> {
        let (worker, hook) = (self.worker(target), target % HOOKS);
        match self {
            Self::KillWorker | Self::StopWorker | Self::PauseWorker => vec![Part::Process(worker)],
            Self::KillApi | Self::StopApi => vec![Part::Api],
            Self::PostgresFast
            | Self::PostgresImmediate
            | Self::PostgresCrash
            | Self::TerminateBackend
            | Self::NotificationQueue
            | Self::WalDiskFull => vec![Part::Server],
            Self::DatabaseLinkCut | Self::DatabaseLinkSlow | Self::DatabaseLinkDead => {
                vec![Part::Link(worker)]
            }
            // They look into the database, and have the receivers take their time.
            Self::PauseWorkerOverLease | Self::WorkerCutOff => {
                let receivers = (0..HOOKS).map(Part::Receiver);
                receivers.chain([Part::Server, Part::Process(worker), Part::Link(worker)]).collect()
            }
            Self::ReceiverLinkCut | Self::ReceiverLinkSlow | Self::ReceiverLinkDead => {
                vec![Part::ReceiverLink(hook)]
            }
            Self::ReceiverHangs
            | Self::ReceiverCloses
            | Self::ReceiverHalf
            | Self::ReceiverSlow
            | Self::ReceiverRefuses => vec![Part::Receiver(hook)],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
