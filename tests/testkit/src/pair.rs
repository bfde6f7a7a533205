//! A primary and a synchronous standby.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use pgtopic::{
    embedded::{EmbeddedPostgres, Settings, ShutdownMode},
    store::Store,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    database::{connect, database_config, settings},
    eventually,
};

/// Two servers. Every synchronous commit waits until the standby has it on disk.
pub struct TestPair {
    /// Takes writes, until it is lost.
    pub primary: EmbeddedPostgres,
    /// Has every synchronous commit.
    pub standby: EmbeddedPostgres,
    _directory: tempfile::TempDir,
}

impl TestPair {
    /// Starts both, migrated.
    ///
    /// The standby begins as a copy of the stopped primary, as a base backup is. Not every
    /// installation has `pg_basebackup`.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (first, second) = (directory.path().join("a"), directory.path().join("b"));
        let with = |home: &Path, parameters: &[(&str, String)]| {
            let mut settings = Settings { data_dir: Some(home.to_owned()), durable: true, ..settings() };
            settings
                .parameters
                .extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            settings
        };
        let mut primary = EmbeddedPostgres::start(with(&first, &[])).await.unwrap();
        Store::new(&database_config(&primary.url("postgres"))).unwrap().migrate().await.unwrap();
        primary.stop(ShutdownMode::Fast).await.unwrap();
        drop(primary);
        let copied = Command::new("cp").arg("-a").args([&first, &second]).status().unwrap();
        assert!(copied.success());
        let signal = second.join("data/standby.signal");
        // It is a copy of one of the server's files, so that it belongs to the server.
        let copied =
            Command::new("cp").arg("-a").arg(second.join("data/PG_VERSION")).arg(&signal).status().unwrap();
        assert!(copied.success());

        let names = ("synchronous_standby_names", "standby".to_owned());
        let primary = EmbeddedPostgres::start(with(&first, &[names])).await.unwrap();
        let link = format!("host={} port=5432 user=postgres application_name=standby", first.display());
        let parameters = [("primary_conninfo", link), ("wal_retrieve_retry_interval", "100ms".to_owned())];
        let standby = EmbeddedPostgres::start(with(&second, &parameters)).await.unwrap();
        let client = connect(&primary.url("postgres")).await;
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        eventually("the standby follows", async || {
            (client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
        })
        .await;
        Self { primary, standby, _directory: directory }
    }

    /// Kills all processes of the primary at once, as the loss of its machine does.
    ///
    /// Killing the postmaster alone is something else. Publishers that wait for the standby notice
    /// it and give up waiting. For an instant others see commits that the standby has not got.
    pub async fn lose_primary(&mut self) {
        let postmaster = self.primary.process_id().unwrap();
        let signal = |process: u32, signal| {
            // A process that has just ended by itself is fine too.
            let _ = kill(Pid::from_raw(i32::try_from(process).unwrap()), signal);
        };
        // From here on the postmaster starts no process, and does not see the others die.
        signal(postmaster, Signal::SIGSTOP);
        for process in children(postmaster) {
            signal(process, Signal::SIGKILL);
        }
        self.primary.kill().await.unwrap();
    }

    /// libpq URL of the server that takes writes.
    pub fn url(&self) -> String {
        let host = |server: &EmbeddedPostgres| {
            let url = server.url("postgres");
            let (_, rest) = url.split_once('@').unwrap();
            rest.split_once('/').unwrap().0.to_owned()
        };
        format!(
            "postgresql://postgres@{},{}/postgres?target_session_attrs=read-write",
            host(&self.primary),
            host(&self.standby)
        )
    }
}

fn children(parent: u32) -> Vec<u32> {
    let parent_of = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before it is in parentheses, and may hold any character.
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|process| parent_of(process) == Some(parent))
        .collect()
}
