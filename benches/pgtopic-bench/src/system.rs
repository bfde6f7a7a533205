//! What the operating system knows about this machine and its processes. On systems other than
//! Linux nothing is known.

use std::{fs, time::Duration};

/// Clock ticks a second in `/proc`. They are the same on every Linux that Rust supports.
const TICKS: u64 = 100;

/// The machine a measurement was made on.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Machine {
    processor: Option<String>,
    cores: usize,
    memory_mib: Option<u64>,
    kernel: Option<String>,
}

impl Machine {
    pub(super) fn look() -> Self {
        let read = |path| fs::read_to_string(path).ok();
        Self {
            processor: read("/proc/cpuinfo")
                .as_deref()
                .and_then(|text| field(text, "model name"))
                .map(str::to_owned),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: read("/proc/meminfo")
                .as_deref()
                .and_then(|text| kibibytes(text, "MemTotal"))
                .map(|kibibytes| kibibytes / 1024),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
        }
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        let known = |value: Option<String>, unknown: &str| value.unwrap_or_else(|| unknown.to_owned());
        format!(
            "{}, {} cores, {}, Linux {}",
            known(self.processor.clone(), "unknown processor"),
            self.cores,
            known(self.memory_mib.map(|memory| format!("{memory} MiB")), "unknown memory"),
            known(self.kernel.clone(), "unknown"),
        )
    }
}

/// The processor time that a process has used, its own only.
pub(super) fn processor_time(process: u32) -> Option<Duration> {
    let times = times(process)?;
    Some(times.own)
}

/// The processor time that a server has used: its main process, its children, and children that
/// have ended.
pub(super) fn processor_time_of_tree(process: u32) -> Option<Duration> {
    let main = times(process)?;
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    let living = children.split_whitespace().filter_map(|child| times(child.parse().ok()?));
    Some(main.own + main.ended_children + living.map(|child| child.own).sum::<Duration>())
}

/// The most memory that a process has had resident, in bytes.
pub(super) fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(kibibytes(&status, "VmHWM")? * 1024)
}

struct Times {
    own: Duration,
    ended_children: Duration,
}

fn times(process: u32) -> Option<Times> {
    parse_times(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse_times(stat: &str) -> Option<Times> {
    // The name before the last bracket may hold any character.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let mut two = || Some(Duration::from_millis((ticks.next()? + ticks.next()?) * 1000 / TICKS));
    Some(Times { own: two()?, ended_children: two()? })
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim()).next()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_times_are_read_past_any_name() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 300 100 20 0 1 0";
        let times = parse_times(stat).unwrap();
        assert_eq!(times.own, Duration::from_secs(2));
        assert_eq!(times.ended_children, Duration::from_secs(4));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_used_memory() {
        assert!(peak_memory(std::process::id()).unwrap() > 1024 * 1024);
        assert!(processor_time(std::process::id()).is_some());
    }
}
