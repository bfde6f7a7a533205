//! What the worker that is left alone holds, and whether it grows and grows.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// The time between two looks at it.
const EVERY: Duration = Duration::from_secs(10);

/// A shorter run says nothing: a process grows until every part of it was used.
const LONG_ENOUGH: Duration = Duration::from_mins(10);

const MINUTE: Duration = Duration::from_mins(1);

/// How much more than a quarter each measure may grow. Memory is in KiB.
const MORE_MEMORY: u64 = 8 << 10;
const MORE_DESCRIPTORS: u64 = 8;
const MORE_THREADS: u64 = 4;

/// What a process holds at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    /// `VmRSS`, in KiB.
    pub(crate) resident: u64,
    /// `VmHWM`: the most memory that it ever had, in KiB.
    pub(crate) peak: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Sample {
    /// Of a running process. A process that has ended holds nothing.
    pub(crate) fn of(process: u32, at: Duration) -> Option<Self> {
        let home = PathBuf::from(format!("/proc/{process}"));
        let status = std::fs::read_to_string(home.join("status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            at,
            resident: number("VmRSS")?,
            peak: number("VmHWM")?,
            descriptors: std::fs::read_dir(home.join("fd")).ok()?.count() as u64,
            threads: number("Threads")?,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB (at most {}), {} descriptors, {} threads",
            mebibytes(self.resident),
            mebibytes(self.peak),
            self.descriptors,
            self.threads
        )
    }
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{}.{}", kibibytes >> 10, (kibibytes & 1023) * 10 / 1024)
}

/// Looks at one process at regular times.
pub(crate) struct Watch {
    watching: JoinHandle<()>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Watch {
    /// Times are counted from `origin`.
    pub(crate) fn start(process: u32, origin: Instant) -> Self {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let noted = Arc::clone(&samples);
        let watching = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                // Another check notices a process that has ended.
                noted.lock().unwrap().extend(Sample::of(process, origin.elapsed()));
            }
        });
        Self { watching, samples }
    }

    /// Everything that was seen.
    pub(crate) fn end(self) -> Vec<Sample> {
        self.watching.abort();
        std::mem::take(&mut self.samples.lock().unwrap())
    }
}

/// The instants that get a line in the report: the end of the first minute, of every ten minutes,
/// and the last one.
pub(crate) fn milestones(samples: &[Sample]) -> Vec<Sample> {
    let Some(last) = samples.last() else { return Vec::new() };
    let tens = (1..).map(|ten| 10 * ten * MINUTE).take_while(|at| *at < last.at);
    let instants = [MINUTE].into_iter().filter(|at| *at < last.at).chain(tens);
    let sample = |at| samples.iter().min_by_key(|sample| sample.at.abs_diff(at)).copied();
    instants.filter_map(sample).chain([*last]).collect()
}

/// What grows and grows: the median of the last quarter of the run is more than 1.25 times that of
/// the second quarter, and a little. A run that is too short for that passes.
pub(crate) fn creeps(samples: &[Sample]) -> Vec<String> {
    let Some(last) = samples.last().filter(|last| last.at >= LONG_ENOUGH) else { return Vec::new() };
    let quarter = |number: u32, measure: fn(&Sample) -> u64| {
        let (from, to) = (last.at * (number - 1) / 4, last.at * number / 4);
        median(samples.iter().filter(|one| from < one.at && one.at <= to).map(measure))
    };
    let creeps = |what: &str, more: u64, measure: fn(&Sample) -> u64| {
        let (before, after) = (quarter(2, measure)?, quarter(4, measure)?);
        let allowed = before + before / 4 + more;
        (after > allowed).then(|| format!("{what}: {before}, later {after}, and {allowed} were fine"))
    };
    [
        creeps("KiB of memory", MORE_MEMORY, |sample| sample.resident),
        creeps("descriptors", MORE_DESCRIPTORS, |sample| sample.descriptors),
        creeps("threads", MORE_THREADS, |sample| sample.threads),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn median(numbers: impl Iterator<Item = u64>) -> Option<u64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// An hour of a worker that has 30 MiB. `change` changes each sample.
    fn hour(change: impl Fn(u64, &mut Sample)) -> Vec<Sample> {
        minutes(60, change)
    }

    fn minutes(minutes: u64, change: impl Fn(u64, &mut Sample)) -> Vec<Sample> {
        let sample = |second| {
            let at = Duration::from_secs(second);
            let mut sample = Sample { at, resident: 30 << 10, peak: 0, descriptors: 40, threads: 5 };
            change(second, &mut sample);
            sample
        };
        (0..=60 * minutes).step_by(10).map(sample).collect()
    }

    fn grows_by_a_mebibyte_a_minute(second: u64, sample: &mut Sample) {
        sample.resident += second * 1024 / 60;
    }

    #[rstest]
    #[case::memory(hour(grows_by_a_mebibyte_a_minute), "KiB")]
    #[case::memory_in_little_time(minutes(20, |second, sample| sample.resident += second * 40), "KiB")]
    #[case::memory_under_peaks(
        hour(|second, sample| sample.resident += second * 15 + if second % 60 == 0 { 50 << 10 } else { 0 }),
        "KiB"
    )]
    #[case::descriptors(hour(|second, sample| sample.descriptors += second / 60), "descriptors")]
    #[case::threads(hour(|second, sample| sample.threads += second / 180), "threads")]
    fn what_leaks_is_caught(#[case] samples: Vec<Sample>, #[case] what: &str) {
        let found = creeps(&samples);
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    }

    #[rstest]
    #[case::nothing(hour(|_, _| {}))]
    #[case::what_it_grows_to_at_first(hour(|second, sample| sample.resident += second.min(800) * 100))]
    #[case::peaks(hour(|second, sample| sample.resident += if second % 60 == 0 { 50 << 10 } else { 0 }))]
    #[case::waves(hour(|second, sample| sample.descriptors += second / 10 % 12 * 4))]
    #[case::what_cannot_be_told_yet(minutes(9, grows_by_a_mebibyte_a_minute))]
    #[case::no_samples(Vec::new())]
    fn what_does_not_leak_is_fine(#[case] samples: Vec<Sample>) {
        assert_eq!(creeps(&samples), Vec::<String>::new());
    }

    #[rstest]
    #[case::an_hour(60, vec![1, 10, 20, 30, 40, 50, 60])]
    #[case::some_minutes(3, vec![1, 3])]
    #[case::a_moment(0, vec![0])]
    fn milestones_are_few(#[case] length: u64, #[case] expected: Vec<u64>) {
        let found = milestones(&minutes(length, |_, _| {}));
        assert_eq!(found.iter().map(|one| one.at.as_secs() / 60).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let sample = Sample::of(std::process::id(), MINUTE).unwrap();
        assert!(sample.resident > 1024 && sample.peak >= sample.resident, "{sample:?}");
        assert!(sample.descriptors > 2 && sample.threads > 0, "{sample:?}");
    }
}
