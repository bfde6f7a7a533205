//! The report of a run.

use std::{collections::BTreeMap, fmt, io::Write, time::Duration};

use pgtopic_testkit::history::{Fault, Verdict};

use crate::{
    incident::Incident,
    kind::Kind,
    memory::{Sample, creeps, milestones},
};

/// Prints past the test harness. The harness shows what `println!` says only if a test fails.
macro_rules! say {
    ($($words:tt)*) => {
        // If this fails, nobody reads it.
        let _ = writeln!(std::io::stderr(), $($words)*);
    };
}

/// How long a lane may wait for another worker after its own was killed.
const TAKEOVER: Duration = Duration::from_secs(2);

/// What became of the lanes of one killed worker.
pub(crate) struct Takeover {
    /// The time from the kill to the first request, for each lane that owed something.
    pub(crate) waited: Vec<Duration>,
    /// The longest time that the machine stood still meanwhile.
    pub(crate) stall: Duration,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.waited.iter().max().copied().unwrap_or_default();
        write!(
            f,
            "{} lanes waited up to {longest:.2?}, the machine stood still for up to {:.2?}",
            self.waited.len(),
            self.stall
        )
    }
}

/// What was noted during the run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Fault>,
    /// How many incidents had this many faults.
    incidents: BTreeMap<usize, usize>,
    /// One for each worker that was killed while everything else was well.
    pub(crate) takeovers: Vec<Takeover>,
    /// The time from PostgreSQL being ready again to the first request, if nothing else was broken.
    pub(crate) recoveries: Vec<Duration>,
    /// The highest usage of the notification queue.
    pub(crate) queue_usage: f64,
    /// Of the worker that is left alone, during the whole run.
    pub(crate) left_alone: Vec<Sample>,
    /// Of every process at the end, with its command.
    pub(crate) at_the_end: Vec<(&'static str, Sample)>,
    skipped: Vec<String>,
}

impl Report {
    /// A fault that cannot be made here.
    pub(crate) fn skip(&mut self, kind: Kind, reason: &str) {
        let skipped = format!("SKIPPED: {kind} was NOT injected: {reason}");
        say!("{skipped}");
        self.skipped.push(skipped);
    }

    /// An incident that was injected.
    pub(crate) fn count(&mut self, incident: &Incident) {
        *self.incidents.entry(incident.steps.len()).or_default() += 1;
    }

    pub(crate) fn print(&self, seed: u64, verdict: &Verdict, took: Duration) {
        say!("== seed {seed}, {} faults in {took:.1?}", self.faults.len());
        let kinds: Vec<_> =
            by_kind(&self.faults).iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        say!("{}", kinds.join(", "));
        let together: Vec<_> = self
            .incidents
            .iter()
            .filter(|(faults, _)| **faults > 1)
            .map(|(faults, count)| format!("{faults} faults {count} times"))
            .collect();
        say!(
            "in effect at once: {}",
            if together.is_empty() { "never".to_owned() } else { together.join(", ") }
        );
        for skipped in &self.skipped {
            say!("{skipped}");
        }
        say!("{verdict}");
        let kills = self.faults.iter().filter(|fault| fault.kind == "KillWorker").count();
        if kills > 0 {
            let after = verdict.duplicates_by.get("KillWorker").copied().unwrap_or_default();
            say!("duplicates by kill -9 of a worker: {after} in {kills} kills");
        }
        let waited: Vec<_> = self.takeovers.iter().flat_map(|takeover| takeover.waited.clone()).collect();
        print_times("lane waited for another worker after kill -9", &waited);
        print_times("first delivery after PostgreSQL was ready again", &self.recoveries);
        if self.queue_usage > 0.0 {
            say!("notification queue: held at {:.2} % (simulated, not filled)", self.queue_usage * 100.0);
        }
        for sample in milestones(&self.left_alone) {
            say!("the worker left alone after {:.1} min: {sample}", sample.at.as_secs_f64() / 60.0);
        }
        for (command, sample) in &self.at_the_end {
            say!("{command} at the end: {sample}");
        }
    }

    /// Panics if a lane waited too long for another worker. The time that the machine stood still
    /// is not counted.
    pub(crate) fn assert_quick(&self) {
        for takeover in &self.takeovers {
            let longest = takeover.waited.iter().max().copied().unwrap_or_default();
            assert!(longest < TAKEOVER + takeover.stall, "{takeover}; {TAKEOVER:?} are allowed");
        }
    }

    /// Panics if the worker that is left alone grows and grows.
    pub(crate) fn assert_no_leak(&self) {
        let found = creeps(&self.left_alone);
        assert!(found.is_empty(), "the worker left alone grows: {found:?}");
    }
}

/// How many of each kind.
fn by_kind(faults: &[Fault]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for fault in faults {
        *kinds.entry(fault.kind.as_str()).or_default() += 1;
    }
    kinds
}

fn print_times(what: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort_unstable();
    if let (Some(middle), Some(longest)) = (times.get(times.len() / 2), times.last()) {
        say!("{what}: p50 {middle:.2?}, max {longest:.2?} ({} times)", times.len());
    }
}
