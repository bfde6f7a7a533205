//! The log, the metrics ([`metrics`]) and the traces ([`traces`]). The log is text or JSON on standard error. Standard output is
//! for what a command prints.
//!
//! The log is best effort. A thread that logs never waits for standard error, and never fails
//! because of it. One thread writes the lines. Lines that it cannot write are lost and counted
//! ([`lost_lines`]). The messages of panics go the same way. Lines that still wait at the end of
//! the process are written if that takes no longer than [`FLUSH_LIMIT`].

mod filter;
mod log_throttle;
pub mod metrics;
mod output;
mod sink;
pub mod traces;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::RefCell,
    fs::File,
    io::{self, IsTerminal, Write, stderr},
    os::fd::AsFd,
    panic,
    sync::OnceLock,
    thread,
    time::Duration,
};

use self::filter::filter;
pub use self::{
    filter::TelemetryError,
    output::{flush_output, print_line, show_line, try_print_line},
    sink::{QUEUE_BYTES, QUEUE_LINES},
};
pub(crate) use self::{log_throttle::LogThrottle, sink::Sink};
use crate::config::{LogConfig, LogFormat};

/// How long the end of a process waits for lines that are not written yet, at most.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// How long a thread that panics waits for its message to be written, at most. A second panic may
/// end the process at once. Then the message would be lost.
const PANIC_LIMIT: Duration = Duration::from_millis(100);

/// Standard error. `None` if its thread could not be started.
static STDERR: OnceLock<Option<Sink>> = OnceLock::new();

thread_local! {
    /// Where a thread collects a line instead of handing it over.
    static COLLECTED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Checks that [`start`] will accept these.
///
/// # Errors
/// [`TelemetryError::Filter`] if the filter cannot be parsed.
pub fn check(config: &LogConfig, rust_log: Option<&str>) -> Result<(), TelemetryError> {
    filter(config, rust_log).map(drop)
}

/// Starts logging for the whole process. `rust_log` is the variable `RUST_LOG`; it wins over
/// `log.level`.
///
/// A second call changes nothing.
///
/// # Errors
/// [`TelemetryError::Filter`] if the filter cannot be parsed.
pub fn start(config: &LogConfig, rust_log: Option<&str>) -> Result<(), TelemetryError> {
    let filter = filter(config, rust_log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter)
        // Otherwise its own errors would go to standard error directly.
        .log_internal_errors(false);
    let started = match config.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal() && !no_color()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // Fails only if another subscriber is set already, as in tests.
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// Whether somebody asked for no colours: <https://no-color.org>.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty())
}

/// Writes a line to standard error, after everything that was logged: the reason why the process
/// ends. It is best effort, as the log, but the queue always has room for it.
pub fn say(line: &str) {
    let line = format!("{line}\n").into_bytes();
    match standard_error() {
        Some(sink) => sink.push_always(line),
        None => drop(stderr().write_all(&line)),
    }
}

/// How many lines of the log were lost since the process began. There was no room for them in the
/// queue ([`QUEUE_LINES`], [`QUEUE_BYTES`]), or writing them failed.
pub fn lost_lines() -> u64 {
    STDERR.get().and_then(Option::as_ref).map_or(0, Sink::lost)
}

/// Keep it to the end of `main`. When it is dropped, it waits until all lines are written, for
/// [`FLUSH_LIMIT`] at most.
#[must_use]
#[derive(Debug)]
pub struct FlushAtEnd(());

/// The guard for the end of `main`. It also works if a panic drops it.
pub fn flush_at_end() -> FlushAtEnd {
    FlushAtEnd(())
}

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        if let Some(Some(sink)) = STDERR.get() {
            sink.flush(FLUSH_LIMIT);
        }
    }
}

/// An output of this process without the lock of the standard library. Other threads might wait for
/// that lock.
pub(crate) fn unlocked(output: &impl AsFd) -> io::Result<File> {
    Ok(output.as_fd().try_clone_to_owned()?.into())
}

fn standard_error() -> Option<&'static Sink> {
    let start = || Sink::start("log", unlocked(&stderr())?, lost_lines_line);
    STDERR.get_or_init(|| start().ok()).as_ref()
}

/// The line that says how many lines were lost, in the log's format. It is empty if warnings are
/// hidden.
fn lost_lines_line(lost: u64) -> Vec<u8> {
    COLLECTED.set(Some(Vec::new()));
    tracing::warn!(lines = lost, "log lines were lost: standard error did not take them in time, or at all");
    COLLECTED.take().unwrap_or_default()
}

/// Gets one line in each call from the subscriber.
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let collect = |collected: &RefCell<Option<Vec<u8>>>| {
            collected.borrow_mut().as_mut().map(|collected| collected.extend_from_slice(line)).is_some()
        };
        // A thread that is ending collects nothing.
        let collected = COLLECTED.try_with(collect).unwrap_or(false);
        if !collected && let Some(sink) = standard_error() {
            sink.push(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs a panic. If the log hides errors, the message is written without the log.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(&backtrace);
    let sink = standard_error();
    if tracing::enabled!(tracing::Level::ERROR) {
        let backtrace = backtrace.map(tracing::field::display);
        tracing::error!(thread, place, backtrace, "panic: {message}");
    } else if let Some(sink) = sink {
        sink.push(format!("thread {thread} panicked at {place}: {message}\n").into_bytes());
    }
    if let Some(sink) = sink {
        sink.flush(PANIC_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(level: &str) -> LogConfig {
        LogConfig { format: LogFormat::Text, level: level.to_owned() }
    }

    /// It is set in a child process of the test, because a panic hook belongs to the whole process.
    const CHILD: &str = "PGTOPIC_TEST_PANIC";

    #[test]
    fn panics_go_the_way_of_the_log() {
        if std::env::var_os(CHILD).is_some() {
            let _log = flush_at_end();
            start(&level("info"), None).unwrap();
            thread::Builder::new()
                .name("sender".to_owned())
                .spawn(|| panic!("on purpose"))
                .unwrap()
                .join()
                .unwrap_err();
            return;
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::tests::panics_go_the_way_of_the_log", "--nocapture"])
            .env(CHILD, "1")
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success(), "{said}");
        let line = said.lines().find(|line| line.contains("panic: on purpose")).expect(&said);
        assert!(
            line.contains("ERROR") && line.contains("sender") && line.contains("telemetry/mod.rs:"),
            "{line}"
        );
    }
}
