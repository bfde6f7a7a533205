//! What can go wrong, and which parts of the stage each fault needs for itself.

use std::{fmt, ops::Range, time::Duration};

use crate::stage::{HOOKS, KILLED, LANES, WORKERS};

/// Nobody waits for some commits, such as those of settles. They stay in memory until a publisher's
/// commit writes them to the disk too. That takes this long at most: there is a publisher's commit
/// every few milliseconds.
const UNFLUSHED: Duration = Duration::from_millis(100);

/// How long a worker may go on with what it has read without settling it: 0.7 s by its clock, and
/// what the machine adds.
const BLIND: Duration = Duration::from_secs(1);

/// Makes the kinds and their list. A seed draws from the list. So a change of its order changes
/// every schedule.
macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// What can go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// All of them.
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

/// What a fault breaks, or what must be well while it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Server,
    Api,
    /// A worker's process.
    Process(usize),
    /// The link between a worker and the server.
    Link(usize),
    /// The answers of a receiver.
    Receiver(usize),
    ReceiverLink(usize),
}

impl Kind {
    /// Whether it is in effect until it is healed. The others are over at once; then the system
    /// recovers.
    pub(crate) fn remains(self) -> bool {
        !matches!(self, Self::TerminateBackend | Self::DatabaseLinkCut | Self::ReceiverLinkCut)
    }

    /// Whether it is healed by starting a process. The process needs the server and its link to it.
    pub(crate) fn starts_a_process(self) -> bool {
        matches!(self, Self::KillWorker | Self::StopWorker | Self::KillApi | Self::StopApi)
    }

    /// Whether the server is down meanwhile.
    pub(crate) fn stops_the_server(self) -> bool {
        matches!(self, Self::PostgresFast | Self::PostgresImmediate | Self::PostgresCrash | Self::WalDiskFull)
    }

    /// How many requests may have been in flight where it hits. Their messages are sent again. Two
    /// workers never have the same lane in flight, so the number of workers does not matter. Faults
    /// at once count each by itself: lanes that the first fault cut off may have been taken over,
    /// and may be in flight again.
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

    /// The time in which acceptances may not have been settled, or in which settles may be lost, if
    /// the fault was made between these two instants.
    pub(crate) fn unwritten(self, begun: Duration, made: Duration) -> Range<Duration> {
        match self {
            Self::PostgresImmediate | Self::PostgresCrash => begun.saturating_sub(UNFLUSHED)..made,
            // The server dies at the end.
            Self::WalDiskFull => made.saturating_sub(UNFLUSHED)..made,
            // While the server stops.
            Self::PostgresFast => begun..made,
            Self::DatabaseLinkDead | Self::WorkerCutOff => begun..made + BLIND,
            _ => begun..begun,
        }
    }

    /// Which workers a fault of this kind may hit, if it hits a known one. The worker that is left
    /// alone keeps its process. It meets all other faults.
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
            // They look into the database, and need receivers that take their time.
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
