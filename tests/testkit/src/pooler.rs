//! PgBouncer in transaction mode, in front of a test's server.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use tokio_postgres::NoTls;

use super::eventually;

/// Where packages put it.
const PROGRAMS: [&str; 3] = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];

/// The port in the name of its socket. Any number works.
const PORT: u16 = 6432;

/// A PgBouncer that runs, or that was killed. It is gone when dropped, and when this process ends
/// in any way.
pub struct TestPooler {
    directory: tempfile::TempDir,
    /// A shell that starts PgBouncer and kills it when its own input ends.
    guard: Option<(Child, Pid)>,
    program: PathBuf,
    owner: (u32, u32),
    sessions: usize,
}

impl TestPooler {
    /// Starts one with this many server sessions for each database. `server` is the directory of
    /// the server's socket.
    ///
    /// `None` if PgBouncer is not installed. Then the test is skipped, and says so past the capture
    /// of its output.
    pub async fn start(server: &Path, sessions: usize) -> Option<Self> {
        let Some(program) = PROGRAMS.iter().map(PathBuf::from).find(|program| program.is_file()) else {
            assert!(std::env::var_os("PGTOPIC_TEST_REQUIRED").is_none(), "PgBouncer is not installed");
            let _ = writeln!(std::io::stderr(), "!!!! SKIPPED: PgBouncer is not installed");
            return None;
        };
        // It refuses to run as root, as the server does.
        let of_server = std::fs::metadata(server).unwrap();
        let owner = (of_server.uid(), of_server.gid());
        let directory = tempfile::tempdir().unwrap();
        let mut pooler = Self { directory, guard: None, program, owner, sessions };
        pooler.write_settings(server);
        let directory = &pooler.directory;
        std::os::unix::fs::chown(directory.path(), Some(owner.0), Some(owner.1)).unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        pooler.start_again().await;
        Some(pooler)
    }

    fn write_settings(&self, server: &Path) {
        let (at, sessions) = (self.directory.path().display(), self.sessions);
        let settings = format!(
            "[databases]\n* = host={} port=5432 user=postgres\n\
             [pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {at}\nauth_type = any\n\
             logfile = {at}/log\npool_mode = transaction\ndefault_pool_size = {sessions}\nmax_client_conn = 1000\n\
             server_login_retry = 1\nserver_idle_timeout = 2\n",
            server.display(),
        );
        std::fs::write(self.directory.path().join("ini"), settings).unwrap();
    }

    /// Sends new transactions to another server, as after a promotion.
    pub fn lead_to(&self, server: &Path) {
        self.write_settings(server);
        if let Some((_, process)) = &self.guard {
            // It reads its settings again.
            kill(*process, Signal::SIGHUP).unwrap();
        }
    }

    /// Starts it after a kill.
    pub async fn start_again(&mut self) {
        // Standard output belongs to the shell. PgBouncer must not hold it open.
        const GUARD: &str = r#""$1" -q "$2" >/dev/null & echo $!; read -r _; kill -9 $!"#;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(&self.program).arg(self.directory.path().join("ini"));
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if Uid::effective().is_root() {
            command.uid(self.owner.0).gid(self.owner.1);
        }
        let mut shell = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.guard = Some((shell, Pid::from_raw(line.trim().parse().unwrap())));
        let url = self.url("postgres");
        eventually("PgBouncer answers", || async {
            tokio_postgres::connect(&url, NoTls).await.is_ok().then_some(())
        })
        .await;
    }

    /// Kills it as `kill -9` does.
    pub fn kill9(&mut self) {
        if let Some((mut shell, process)) = self.guard.take() {
            kill(process, Signal::SIGKILL).unwrap();
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }

    /// libpq URL of a database through it, as superuser.
    pub fn url(&self, database: &str) -> String {
        let directory = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgresql://postgres@{directory}:{PORT}/{database}")
    }
}

impl Drop for TestPooler {
    fn drop(&mut self) {
        self.kill9();
    }
}
