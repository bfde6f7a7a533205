//! The processes under measurement: workers and clients, which are this very program.
//!
//! They are children that never outlive this process. What they say is kept in a file and told only if they fail.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use super::{CliError, failed, server::Database, system};
use crate::embedded::Watchdog;

/// How long a worker may take to come up, and a process to stop.
const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at something that does not report by itself.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// How much of what a failed process said is told, in bytes.
const LAST_WORDS: i64 = 500;

/// A running child; killed on drop.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    id: u32,
    output: NamedTempFile,
    _watchdog: Watchdog,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) processor: Option<Duration>,
    pub(super) peak_memory: Option<u64>,
}

impl Process {
    /// Starts this program with these arguments. Of the environment, no setting reaches it but these.
    pub(super) fn start(
        name: &'static str,
        arguments: &[String],
        settings: &[(String, String)],
    ) -> Result<Self, CliError> {
        let cannot = |error: std::io::Error| failed(format!("cannot start the {name}: {error}"));
        let output = NamedTempFile::new().map_err(cannot)?;
        let file = |file: &NamedTempFile| file.reopen().map_err(cannot);
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            let aliases = ["DATABASE_URL", "WORKER_CONCURRENCY", "MAX_RETRIES", "BACKOFF_FACTOR", "RUST_LOG"];
            if text.starts_with("PGTOPIC_") || aliases.contains(&&*text) {
                command.env_remove(&variable);
            }
        }
        let child = command
            .args(arguments)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file(&output)?)
            .stderr(file(&output)?)
            // Ctrl-C is for this process, which stops its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let id = child.id().ok_or_else(|| failed(format!("the {name} ended at once")))?;
        let watchdog = Watchdog::start(id, "KILL", None).map_err(cannot)?;
        Ok(Self { name, child, id, output, _watchdog: watchdog })
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Usage {
        Usage { processor: system::processor_time(self.id), peak_memory: system::peak_memory(self.id) }
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), CliError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(&format!("ended early ({status})"))),
            Err(error) => Err(self.ended(&error.to_string())),
        }
    }

    /// Waits until it has said this.
    pub(super) async fn wait_for_word(&mut self, word: &str) -> Result<(), CliError> {
        let begun = Instant::now();
        while !self.words().contains(word) {
            self.check()?;
            if begun.elapsed() > LIMIT {
                return Err(self.ended("is not ready"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), CliError> {
        self.check()?;
        let process = i32::try_from(self.id).map(nix::unistd::Pid::from_raw);
        // Fails only if it ended just now, which the wait tells.
        let _ = process.map(|process| nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM));
        match tokio::time::timeout(LIMIT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.ended(&format!("ended badly ({status})"))),
            Ok(Err(error)) => Err(self.ended(&error.to_string())),
            Err(_) => Err(self.ended("does not stop")),
        }
    }

    fn words(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = self.output.reopen()?;
            let length = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::End(-LAST_WORDS.min(i64::try_from(length).unwrap_or(0))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    fn ended(&self, how: &str) -> CliError {
        failed(format!("the {} {how}; it said: {}", self.name, self.words().trim()))
    }
}

/// Workers of one database, as `pgtopic worker` runs them.
pub(super) struct Workers(Vec<Process>);

impl Workers {
    /// Starts them and waits until all are registered; with `threads`, each runs on so many.
    pub(super) async fn start(
        count: usize,
        database: &Database,
        concurrency: usize,
        threads: Option<usize>,
    ) -> Result<Self, CliError> {
        let mut settings = database.settings();
        settings.extend(threads.map(|threads| ("TOKIO_WORKER_THREADS".to_owned(), threads.to_string())));
        settings.extend([
            ("PGTOPIC_WORKER__CONCURRENCY".to_owned(), concurrency.to_string()),
            // Requests that hang would be waited for at the end.
            ("PGTOPIC_WORKER__SHUTDOWN_SECONDS".to_owned(), "1".to_owned()),
            ("PGTOPIC_DELIVERY__ALLOW_NETWORKS".to_owned(), "127.0.0.0/8".to_owned()),
        ]);
        let arguments = ["worker".to_owned()];
        let start = |_| Process::start("worker", &arguments, &settings);
        let mut workers = Self((0..count).map(start).collect::<Result<_, _>>()?);
        let begun = Instant::now();
        while database.store.bench_count_workers().await? < count {
            workers.check()?;
            if begun.elapsed() > LIMIT {
                return Err(failed("a worker is not ready".to_owned()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(workers)
    }

    /// Fails if one has ended.
    pub(super) fn check(&mut self) -> Result<(), CliError> {
        self.0.iter_mut().try_for_each(Process::check)
    }

    /// What they have used so far: processor time together, memory of the largest.
    pub(super) fn usage(&self) -> Usage {
        let usages: Vec<Usage> = self.0.iter().map(Process::usage).collect();
        Usage {
            processor: usages.iter().map(|usage| usage.processor).sum(),
            peak_memory: usages.iter().filter_map(|usage| usage.peak_memory).max(),
        }
    }

    /// Stops all of them.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        for process in self.0 {
            process.stop().await?;
        }
        Ok(())
    }
}
