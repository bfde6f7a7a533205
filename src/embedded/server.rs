//! The server process: start, readiness, stop.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use postgresql_commands::{CommandBuilder, postgres::PostgresBuilder};

use super::{
    account::{Account, prepare},
    error::EmbeddedError,
    home::Home,
    settings::{Settings, ShutdownMode},
    watchdog::Watchdog,
};

/// How long a start may take, recovery after a crash included.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How long the processes of a killed postmaster may take to end. One that writes a checkpoint
/// finishes that first.
const ORPHANS_LIMIT: Duration = Duration::from_mins(1);

/// How long a stop may take before the process is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The time between two looks at a process or a file. Nothing tells this process about a change.
const LOOK: Duration = Duration::from_millis(10);

/// A cluster, and what is needed to start a server on it.
pub(super) struct Cluster {
    pub(super) home: Home,
    /// The directory of `postgres` and `initdb`.
    pub(super) binaries: PathBuf,
    /// The account that runs the server; `None` for this process's own user.
    pub(super) account: Option<Account>,
    pub(super) settings: Settings,
    pub(super) port: u16,
}

pub(super) struct Server {
    child: Child,
    log: PathBuf,
    _watchdog: Watchdog,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    pub(super) async fn start(cluster: &Cluster) -> Result<Self, EmbeddedError> {
        let begun = Instant::now();
        loop {
            let (mut server, log_start) = Self::spawn(cluster)?;
            let Some(status) = server.ready(&cluster.home.data()).await? else { return Ok(server) };
            let words = server.words_since(log_start);
            // Processes of a killed postmaster hold the cluster for a moment.
            let orphans = words.contains("pre-existing shared memory block")
                || words.contains("lock file \"postmaster.pid\" already exists");
            if !orphans || begun.elapsed() > ORPHANS_LIMIT {
                return Err(server.failed("did not start", &reason(&words, status)));
            }
            tokio::time::sleep(LOOK * 10).await;
        }
    }

    fn spawn(cluster: &Cluster) -> Result<(Self, u64), EmbeddedError> {
        let Cluster { home, settings, .. } = cluster;
        let log = home.log();
        let (output, errors, log_start) =
            open_log(&log).map_err(|error| EmbeddedError::System("cannot write server.log", error))?;
        let mut command = parameters(cluster).build();
        prepare(&mut command, cluster.account.as_ref());
        let child = command
            .stdin(std::process::Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| EmbeddedError::System("cannot run postgres", error))?;
        let signal = if settings.durable { "INT" } else { "QUIT" };
        let remove = home.is_temporary().then(|| home.path());
        let watchdog = match Watchdog::start(child.id(), signal, remove) {
            Ok(watchdog) => watchdog,
            Err(error) => {
                end(child);
                return Err(EmbeddedError::System("cannot run sh", error));
            }
        };
        Ok((Self { child, log, _watchdog: watchdog }, log_start))
    }

    /// Waits until the server is ready, and returns `None`. If the server ends before that, returns
    /// its exit status. The server writes "ready" into the eighth line of its own pid file.
    async fn ready(&mut self, data: &Path) -> Result<Option<ExitStatus>, EmbeddedError> {
        let begun = Instant::now();
        let pid_file = data.join("postmaster.pid");
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            let mut lines = text.lines();
            let ours = lines.next().is_some_and(|line| line.trim() == self.child.id().to_string());
            if ours && lines.nth(6).is_some_and(|line| line.trim() == "ready") {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(self.failed("did not start", &format!("not ready after {} s", START_LIMIT.as_secs())))
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(super) async fn stop(mut self, mode: ShutdownMode) -> Result<(), EmbeddedError> {
        self.signal(match mode {
            ShutdownMode::Fast => Signal::SIGINT,
            ShutdownMode::Immediate => Signal::SIGQUIT,
        });
        let begun = Instant::now();
        while begun.elapsed() < STOP_LIMIT {
            if self.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        let failed = self.failed("was killed", &format!("it did not stop within {} s", STOP_LIMIT.as_secs()));
        self.kill().await?;
        Err(failed)
    }

    pub(super) async fn kill(mut self) -> Result<(), EmbeddedError> {
        self.signal(Signal::SIGKILL);
        while self.try_wait()?.is_none() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, EmbeddedError> {
        self.child.try_wait().map_err(|error| EmbeddedError::System("cannot wait for postgres", error))
    }

    fn signal(&self, signal: Signal) {
        // The process id stays ours until the child is waited for. This fails only if it has ended
        // already.
        if let Some(pid) = pid(self.child.id()) {
            let _ = kill(pid, signal);
        }
    }

    fn words_since(&self, start: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log)
            && file.seek(SeekFrom::Start(start)).is_ok()
        {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn failed(&self, what: &'static str, reason: &str) -> EmbeddedError {
        EmbeddedError::Server { what, reason: reason.to_owned(), log: self.log.clone() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(Signal::SIGQUIT);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().map(Pid::from_raw)
}

fn open_log(log: &Path) -> io::Result<(File, File, u64)> {
    let output = OpenOptions::new().create(true).append(true).open(log)?;
    let start = output.metadata()?.len();
    Ok((output.try_clone()?, output, start))
}

fn parameters(cluster: &Cluster) -> PostgresBuilder {
    let Cluster { home, settings, .. } = cluster;
    let port = cluster.port.to_string();
    let socket_dir = home.socket_dir().to_string_lossy();
    let mut builder = PostgresBuilder::new()
        .program_dir(&cluster.binaries)
        .data_dir(home.data())
        .runtime_param("listen_addresses", if settings.tcp { "127.0.0.1" } else { "" })
        .runtime_param("port", &port)
        .runtime_param("unix_socket_directories", &socket_dir)
        .runtime_param("cluster_name", "pgtopic");
    if !settings.durable {
        builder = builder.runtime_param("fsync", "off").runtime_param("full_page_writes", "off");
    }
    for (name, value) in &settings.parameters {
        builder = builder.runtime_param(name, value);
    }
    builder
}

/// Why the server ended: the first fatal line of the log, otherwise its last line, otherwise the
/// exit status.
fn reason(words: &str, status: ExitStatus) -> String {
    let fatal = words.lines().find(|line| line.contains("FATAL:") || line.contains("PANIC:"));
    let line = fatal.or_else(|| words.lines().next_back()).map(str::trim).filter(|line| !line.is_empty());
    line.map_or_else(|| status.to_string(), str::to_owned)
}

/// Stops a server that an earlier process left running on this home.
///
/// The caller holds the home's lock, so nobody uses that server. The process id in the pid file
/// counts only if the process that listens on the server's socket has it. The file may be old, and
/// another process may have that id by now.
pub(super) async fn stop_left_over(home: &Home) -> Result<(), EmbeddedError> {
    let Some(found) = left_over(home).await else { return Ok(()) };
    tracing::info!(process_id = found.as_raw(), "stopping a PostgreSQL that an earlier run left behind");
    for (signal, limit) in [(Signal::SIGINT, STOP_LIMIT), (Signal::SIGQUIT, Duration::from_secs(10))] {
        let _ = kill(found, signal);
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if left_over(home).await.is_none() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Err(EmbeddedError::Server {
        what: "of an earlier run does not stop",
        reason: format!("process {found}"),
        log: home.log(),
    })
}

async fn left_over(home: &Home) -> Option<Pid> {
    let text = fs::read_to_string(home.data().join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let (process, port, directory) = (lines.first()?, lines.get(3)?, lines.get(4)?);
    let socket = Path::new(directory).join(format!(".s.PGSQL.{port}"));
    let listener = tokio::net::UnixStream::connect(socket).await.ok()?.peer_cred().ok()?.pid()?;
    (process.parse() == Ok(listener)).then(|| Pid::from_raw(listener))
}
