//! The embedded PostgreSQL: run by root and by an ordinary user, kept data, crashes, and a server
//! that an earlier run has left.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use pgtopic::embedded::{EmbeddedError, EmbeddedPostgres, Settings, ShutdownMode};
use pgtopic_testkit::{TestCluster, TestDatabase, eventually};
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A directory that the account of the server can reach. The cluster lives in it.
fn kept() -> (tempfile::TempDir, Settings) {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let settings = Settings { data_dir: Some(parent.path().join("home")), ..Settings::default() };
    (parent, settings)
}

fn runs(process: u32) -> bool {
    // A zombie has ended, too.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim().starts_with('Z'))
}

async fn gone(process: u32) {
    eventually("the server is gone", || async move { (!runs(process)).then_some(()) }).await;
}

#[tokio::test]
async fn the_server_starts_under_any_account_and_leaves_nothing_behind() {
    let postgres = EmbeddedPostgres::start(Settings::default()).await.unwrap();
    let answer = connect(&postgres.url("postgres")).await.query_one("SELECT 6 * 7", &[]).await.unwrap();
    assert_eq!(answer.get::<_, i32>(0), 42);
    let (process, home) = (postgres.process_id().unwrap(), postgres.data_dir().to_owned());
    drop(postgres);
    assert!(!runs(process));
    assert!(!home.exists());
}

#[tokio::test]
async fn a_stop_keeps_the_data_and_a_crash_does_too() {
    let (_parent, settings) = kept();
    let mut postgres = EmbeddedPostgres::start(settings.clone()).await.unwrap();
    let url = postgres.url("postgres");
    connect(&url)
        .await
        .batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
        .await
        .unwrap();

    for end in ["fast", "immediate", "kill", "drop"] {
        match end {
            "fast" => postgres.stop(ShutdownMode::Fast).await.unwrap(),
            "immediate" => postgres.stop(ShutdownMode::Immediate).await.unwrap(),
            "kill" => postgres.kill().await.unwrap(),
            _ => {
                drop(postgres);
                postgres = EmbeddedPostgres::start(settings.clone()).await.unwrap();
            }
        }
        postgres.start_again().await.unwrap();
        assert_eq!(postgres.url("postgres"), url, "the URL is the same as before");
        let row = connect(&url).await.query_one("SELECT count(*) FROM kept", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 1, "after {end}");
    }
}

#[tokio::test]
async fn a_killed_server_is_started_again_under_load() {
    let mut cluster = TestCluster::private().await;
    for _ in 0..5 {
        let client = cluster.client().await;
        // This statement fails when the server dies.
        tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(60)").await });
    }
    let observer = cluster.client().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    eventually("all sessions sleep", || async {
        let sleeping: i64 = observer.query_one(sql, &[]).await.unwrap().get(0);
        (sleeping == 5).then_some(())
    })
    .await;
    cluster.postgres.kill().await.unwrap();
    cluster.postgres.start_again().await.unwrap();
    cluster.store().check_schema().await.unwrap();
}

#[tokio::test]
async fn one_directory_serves_one_process() {
    let (_parent, settings) = kept();
    let _first = EmbeddedPostgres::start(settings.clone()).await.unwrap();
    let second = EmbeddedPostgres::start(settings).await.err().unwrap();
    assert!(matches!(second, EmbeddedError::Directory { .. }), "{second}");
    assert!(second.to_string().contains("in use"), "{second}");
}

#[tokio::test]
async fn a_directory_with_other_things_in_it_is_left_alone() {
    let (_parent, settings) = kept();
    let home = settings.data_dir.clone().unwrap();
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("letter.txt"), "dear").unwrap();
    let error = EmbeddedPostgres::start(settings).await.err().unwrap();
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
}

#[tokio::test]
async fn tcp_asks_for_the_password() {
    let postgres = EmbeddedPostgres::start(Settings { tcp: true, ..Settings::default() }).await.unwrap();
    let url = postgres.tcp_url("postgres").unwrap();
    connect(&url).await.batch_execute("SELECT 1").await.unwrap();
    let (scheme_and_user, rest) = url.split_once('@').unwrap();
    let wrong = format!("{}:wrong@{rest}", scheme_and_user.rsplit_once(':').unwrap().0);
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err());
}

/// A free port is found, and then another process takes it.
#[tokio::test]
async fn another_port_is_used_if_a_port_is_taken() {
    let mut postgres = EmbeddedPostgres::start(Settings { tcp: true, ..Settings::default() }).await.unwrap();
    let before = postgres.tcp_url("postgres").unwrap();
    postgres.stop(ShutdownMode::Fast).await.unwrap();
    let (_, address) = before.rsplit_once(':').unwrap();
    let port: u16 = address.split('/').next().unwrap().parse().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    postgres.start_again().await.unwrap();
    let after = postgres.tcp_url("postgres").unwrap();
    assert_ne!(before, after);
    connect(&after).await.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_server_that_refuses_its_settings_says_why() {
    let parameters = vec![("shared_buffers".to_owned(), "many".to_owned())];
    let error = EmbeddedPostgres::start(Settings { parameters, ..Settings::default() }).await.err().unwrap();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

/// Starts the server in another process. That process is this test binary; it runs only [`holder`].
/// Returns the process and the process id of the server.
async fn start_in_another_process(home: &Path) -> (std::process::Child, u32) {
    // Tests are called by their path in the crate.
    let (_, module) = module_path!().split_once("::").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::holder"), "--nocapture", "--include-ignored"])
        .env("PGTOPIC_TEST_HOLD", home)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid_file = home.join("data/postmaster.pid");
    let server = eventually("the other process's server is ready", || async {
        let text = std::fs::read_to_string(&pid_file).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        (*lines.get(7)? == "ready").then(|| lines[0].parse().unwrap())
    })
    .await;
    (child, server)
}

/// Not a test: what [`start_in_another_process`] runs. Does nothing in an ordinary run.
#[tokio::test]
async fn holder() {
    let Some(home) = std::env::var_os("PGTOPIC_TEST_HOLD") else { return };
    let settings = Settings { data_dir: Some(home.into()), ..Settings::default() };
    let _postgres = EmbeddedPostgres::start(settings).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_server_of_a_killed_process_stops() {
    let (_parent, settings) = kept();
    let (mut child, server) = start_in_another_process(settings.data_dir.as_deref().unwrap()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    gone(server).await;
    EmbeddedPostgres::start(settings).await.unwrap();
}

#[tokio::test]
async fn a_server_left_over_because_its_watchdog_died_too_is_stopped_by_the_next_start() {
    let (_parent, settings) = kept();
    let home = settings.data_dir.clone().unwrap();
    let (mut child, server) = start_in_another_process(&home).await;
    kill_children_called("sh", child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(runs(server), "the server runs on, because nobody stops it");
    let postgres = EmbeddedPostgres::start(settings).await.unwrap();
    assert!(!runs(server));
    assert_ne!(postgres.process_id(), Some(server));
}

/// Kills the children of a process that have this name, with their process groups.
fn kill_children_called(name: &str, parent: u32) {
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    // Children belong to the thread that started them.
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let all: String = threads
        .map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default())
        .chain([children])
        .collect::<Vec<_>>()
        .join(" ");
    for child in all.split_whitespace().map(|text| text.parse::<i32>().unwrap()) {
        let command = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        if command.trim() == name {
            let group = nix::unistd::Pid::from_raw(child);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[tokio::test]
async fn every_test_has_a_migrated_database_of_its_own() {
    let (one, other) = (TestDatabase::new().await, TestDatabase::new().await);
    let sql = "INSERT INTO pgtopic.topics (name) VALUES ('only here')";
    let error = one.client().await.batch_execute(sql).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("topics_name_check"));
    one.client().await.batch_execute(&sql.replace("only here", "only-here")).await.unwrap();
    let count = other.client().await.query_one("SELECT count(*) FROM pgtopic.topics", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
}
