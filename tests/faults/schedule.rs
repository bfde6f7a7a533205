//! Which faults, in which order: all of it follows from the seed.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Makes the kinds and the list of them, which is what a seed draws from: a change of its order changes every schedule.
macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// What can go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        /// All of it.
        const ALL: &[Kind] = &[$(Kind::$kind,)*];
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

/// Those that the long run injects oftener than others.
const OFTEN: [Kind; 6] = [
    Kind::KillWorker,
    Kind::KillWorker,
    Kind::TerminateBackend,
    Kind::DatabaseLinkCut,
    Kind::PostgresCrash,
    Kind::PostgresImmediate,
];

impl Kind {
    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// Which worker, webhook or connection it hits: modulo how many there are.
    pub(crate) target: usize,
    /// For how long, where it lasts.
    pub(crate) lasts: Duration,
    /// How long everything is well before it.
    pub(crate) pause: Duration,
}

/// The faults of a run, one after another.
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    random: StdRng,
    kinds: Vec<Kind>,
    /// When the long run is over; the short one ends with its list.
    until: Option<(Instant, Duration)>,
}

impl Schedule {
    /// Every fault once.
    pub(crate) fn short(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self { seed, kinds: list(&mut random, &[]), random, until: None }
    }

    /// All faults, again and again, each time in another order.
    pub(crate) fn long(seed: u64, length: Duration) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self { seed, kinds: list(&mut random, &OFTEN), random, until: Some((Instant::now(), length)) }
    }

    /// The next fault, if there is one.
    pub(crate) fn next(&mut self) -> Option<Step> {
        if let Some((begun, length)) = self.until {
            if begun.elapsed() >= length {
                return None;
            }
            if self.kinds.is_empty() {
                self.kinds = list(&mut self.random, &OFTEN);
            }
        }
        let kind = self.kinds.pop()?;
        let mut milliseconds = |range| Duration::from_millis(self.random.random_range(range));
        Some(Step {
            kind,
            lasts: milliseconds(300..1500),
            pause: milliseconds(50..300),
            target: self.random.random_range(0..1000),
        })
    }
}

/// Every fault once, and some oftener, the last first.
fn list(random: &mut StdRng, often: &[Kind]) -> Vec<Kind> {
    if let Ok(only) = std::env::var("FAULTS_ONLY") {
        let find = |name: &str| ALL.iter().copied().find(|kind| kind.name() == name);
        let known = || ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        return only
            .split(',')
            .rev()
            .map(|name| find(name).unwrap_or_else(|| panic!("FAULTS_ONLY: {name} is none of {}", known())))
            .collect();
    }
    let mut kinds: Vec<Kind> = ALL.iter().chain(often).copied().collect();
    kinds.shuffle(random);
    kinds
}
