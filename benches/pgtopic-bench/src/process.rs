//! The processes that are measured: workers and clients. They run this program.
//!
//! They are children that never outlive this process. Their output is shown only if they fail.

use std::{
    ffi::OsStr,
    future::ready,
    os::unix::process::CommandExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use pgtopic_testkit::{LIMIT, within_limit};

use super::{CliError, child::Role, failed, meter::mebibytes, server::Database, system};

/// The time between two looks at something that signals nothing.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// How much of a failed process's output is shown, in bytes.
const LAST_WORDS: usize = 500;

/// A running child. It is killed on drop.
pub(super) struct Process {
    name: &'static str,
    child: pgtopic_testkit::Process,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) processor: Option<Duration>,
    pub(super) peak_memory: Option<u64>,
}

impl Usage {
    /// The peak memory in MiB.
    pub(super) fn peak_mib(self) -> Option<f64> {
        self.peak_memory.map(mebibytes)
    }
}

impl Process {
    /// Starts this program in a role. It gets only these settings of the environment.
    pub(super) fn start(
        name: &'static str,
        role: Role,
        arguments: &[String],
        settings: &[(String, String)],
    ) -> Result<Self, CliError> {
        let program =
            std::env::current_exe().map_err(|error| failed(format!("cannot start the {name}: {error}")))?;
        let arguments: Vec<&str> =
            std::iter::once(role.name()).chain(arguments.iter().map(String::as_str)).collect();
        let child = pgtopic_testkit::Process::of(&program, &arguments, &[], |command| {
            command
                .envs(std::env::vars_os().filter(|(name, _)| !is_setting(name)))
                .envs(settings.iter().map(|(name, value)| (name, value)))
                // It ends when this closes.
                .stdin(Stdio::piped())
                // Ctrl-C is for this process. It stops its children.
                .process_group(0);
        });
        Ok(Self { name, child })
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Usage {
        let id = self.child.id();
        Usage { processor: system::processor_time(id), peak_memory: system::peak_memory(id) }
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), CliError> {
        if self.child.has_ended() { Err(self.failed("ended early")) } else { Ok(()) }
    }

    /// Waits until it has said this. Returns all that it has said.
    pub(super) async fn wait_for_word(&mut self, word: &str) -> Result<String, CliError> {
        let child = &mut self.child;
        let said = || ready((child.output().contains(word) || child.has_ended()).then_some(()));
        within_limit(said).await.ok_or_else(|| self.failed("is not ready"))?;
        self.check()?;
        Ok(self.child.output())
    }

    /// Asks it to stop and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), CliError> {
        self.check()?;
        self.child.sigterm();
        let child = &mut self.child;
        let ended = within_limit(|| ready(child.has_ended().then_some(()))).await;
        ended.ok_or_else(|| self.failed("does not stop"))?;
        let status = self.child.ended().await.status;
        if status.success() { Ok(()) } else { Err(self.failed(&format!("ended badly ({status})"))) }
    }

    fn failed(&self, how: &str) -> CliError {
        let words = self.child.output();
        let last = words.floor_char_boundary(words.len().saturating_sub(LAST_WORDS));
        failed(format!("the {} {how}; it said: {}", self.name, words[last..].trim()))
    }
}

/// Whether a variable of the environment is a setting of pgtopic.
fn is_setting(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let aliases = ["DATABASE_URL", "WORKER_CONCURRENCY", "MAX_RETRIES", "BACKOFF_FACTOR", "RUST_LOG"];
    name.starts_with("PGTOPIC_") || aliases.contains(&&*name)
}

/// Workers of one database. Each runs as `pgtopic worker`.
pub(super) struct Workers(Vec<Process>);

impl Workers {
    /// Starts them and waits until all are registered. `threads` is the number of threads of each.
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
            // At the end it would wait for requests that hang.
            ("PGTOPIC_WORKER__SHUTDOWN_SECONDS".to_owned(), "1".to_owned()),
            ("PGTOPIC_DELIVERY__ALLOW_NETWORKS".to_owned(), "127.0.0.0/8".to_owned()),
        ]);
        let arguments = ["worker".to_owned()];
        let start = |_| Process::start("worker", Role::Pgtopic, &arguments, &settings);
        let mut workers = Self((0..count).map(start).collect::<Result<_, _>>()?);
        let begun = Instant::now();
        while database.count_workers().await? < count {
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

    /// What they have used so far: their processor time together, and the memory of the largest.
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
