//! The command line: help, settings, errors in one line, exit codes.

use futures_util::future::join_all;
use pgtopic_testkit::{Ended, Process, TestCluster, TestDatabase};
use rstest::rstest;

async fn migrate(database: &TestDatabase) -> Ended {
    Process::run(&["migrate"], &database.environment()).await
}

/// Checks that the error is one line, begins with the program's name, and holds every needle.
fn assert_one_line(ended: &Ended, code: i32, needles: &[&str]) {
    assert_eq!(ended.code(), code, "{}", ended.output);
    assert_eq!(ended.output.lines().count(), 1, "{}", ended.output);
    assert!(ended.output.starts_with("pgtopic: "), "{}", ended.output);
    for needle in needles {
        assert!(ended.output.contains(needle), "no {needle:?} in {}", ended.output);
    }
}

#[tokio::test]
async fn help_names_the_commands_and_the_exit_codes() {
    let help = Process::run(&["--help"], &[]).await;
    assert_eq!(help.code(), 0);
    for word in ["dev", "serve", "api", "worker", "migrate", "openapi", "Exit codes:", "PGTOPIC_SECTION__KEY"]
    {
        assert!(help.output.contains(word), "no {word} in {}", help.output);
    }
}

#[rstest]
#[case::unknown_command(&["serv"], &[])]
#[case::unknown_flag(&["migrate", "--databse-url", "x"], &[])]
#[tokio::test]
async fn wrong_usage_is_exit_code_2(#[case] arguments: &[&str], #[case] environment: &[(&str, &str)]) {
    assert_eq!(Process::run(arguments, environment).await.code(), 2);
}

/// A database that does not exist. Wrong settings are refused before anything connects.
const NOWHERE: (&str, &str) = ("DATABASE_URL", "postgresql://127.0.0.1:1/x");

#[rstest]
#[case::unknown_setting(&["migrate"], &[NOWHERE, ("PGTOPIC_WORKER__CONCURENCY", "5")],
    &["worker.concurency", "PGTOPIC_WORKER__CONCURENCY", "did you mean PGTOPIC_WORKER__CONCURRENCY?"])]
#[case::out_of_range(&["migrate"], &[NOWHERE, ("WORKER_CONCURRENCY", "0")], &["worker.concurrency", "1 to 10000", "WORKER_CONCURRENCY"])]
#[case::no_database(&["migrate"], &[], &["database.url", "not set"])]
#[case::wrong_url(&["migrate", "--database-url", "mysql://u:hunter2@h"], &[], &["database.url"])]
#[case::wrong_schema(&["migrate", "--schema", "pg_x", "--database-url", "postgresql://h"], &[], &["database.schema"])]
#[case::wrong_filter(&["migrate"], &[NOWHERE, ("RUST_LOG", "a=b=c")], &["RUST_LOG"])]
#[case::unknown_level(&["worker"], &[NOWHERE, ("PGTOPIC_LOG__LEVEL", "debugg")], &["log.level", "did you mean debug?"])]
#[case::unknown_level_of_a_module(&["worker"], &[NOWHERE, ("RUST_LOG", "pgtopic=debugg")], &["RUST_LOG", "did you mean debug?"])]
#[case::no_file(&["migrate", "--config", "no/such.toml"], &[NOWHERE], &["no/such.toml"])]
#[case::wrong_token(&["worker"], &[NOWHERE, ("PGTOPIC_API__TOKENS", "hunter2")], &["api.tokens[0]"])]
#[case::no_address(&["serve", "--bind", "localhost"], &[NOWHERE], &["api.bind", "127.0.0.1:8000"])]
#[case::unknown_name(&["serve", "--bind", "no-such-host.invalid:80"], &[NOWHERE], &["api.bind", "cannot resolve no-such-host.invalid:80"])]
#[case::open_to_all(&["api", "--bind", "0.0.0.0:0"], &[NOWHERE], &["api.bind", "api.tokens"])]
#[case::token_without_role(&["api"], &[NOWHERE, ("PGTOPIC_API__TOKENS", "hunter2")], &["api.tokens[0]", "role:token"])]
#[case::token_of_no_role(&["serve"], &[NOWHERE, ("PGTOPIC_API__TOKENS", "hunter2:x")], &["api.tokens[0]", "read-payloads"])]
#[case::token_twice(&["api"], &[NOWHERE, ("PGTOPIC_API__TOKENS", "read:hunter2,admin:hunter2")], &["api.tokens[1]", "under another role"])]
#[case::host_with_port(&["api"], &[NOWHERE, ("PGTOPIC_API__ALLOWED_HOSTS", "a.example:80")], &["api.allowed_hosts[0]", "a.example:80"])]
#[tokio::test]
async fn wrong_settings_are_one_line_and_exit_code_2(
    #[case] arguments: &[&str],
    #[case] environment: &[(&str, &str)],
    #[case] needles: &[&str],
) {
    let ended = Process::run(arguments, environment).await;
    assert_one_line(&ended, 2, needles);
    assert!(!ended.output.contains("hunter2"), "{}", ended.output);
}

/// Errors in the file, the environment, flags, and settings of the database, the log and the API.
#[rstest]
#[case("serve")]
#[case("api")]
#[tokio::test]
async fn every_wrong_setting_is_reported_at_once_and_nothing_is_migrated(#[case] command: &str) {
    let database = TestDatabase::empty().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "[worker]\nconcurrency = 0\ncolour = 'blue'\n[delivery]\ntimeout_seconds = 'long'\n";
    std::fs::write(file.path(), text).unwrap();
    let mut environment = database.environment();
    environment.extend([
        ("PGTOPIC_RETENTION__MESSAGE_DAYS", "1"),
        ("PGTOPIC_LOG__LEVEL", "loud"),
        ("PGTOPIC_API__TOKENS", "hunter2"),
        ("PGTOPIC_DATABASE__LISTEN_URL", "mysql://u:hunter2@h"),
        ("PGTOPIC_DATABASE__CA_FILE", "/no/such.pem"),
        ("BACKOFF_FACTOR", "0"),
    ]);
    let arguments = [
        command,
        "--config",
        file.path().to_str().unwrap(),
        "--schema",
        "pg_x",
        "--bind",
        "nowhere.invalid:1",
    ];
    let ended = Process::run(&arguments, &environment).await;
    assert_eq!(ended.code(), 2, "{}", ended.output);
    let needles = [
        "worker.concurrency must be 1 to 10000, not 0",
        "unknown setting worker.colour in ",
        "delivery.timeout_seconds: ",
        "unknown setting retention.message_days in the environment variable PGTOPIC_RETENTION__MESSAGE_DAYS: \
         did you mean PGTOPIC_RETENTION__MESSAGES_DAYS?",
        "log.level: \"loud\" is no level",
        "api.tokens[0] must be role:token",
        "database.listen_url: ",
        "database.ca_file /no/such.pem: ",
        "delivery.backoff_factor must be 1 to 100, not 0",
        "database.schema: ",
        "api.bind: cannot resolve nowhere.invalid:1: ",
    ];
    for needle in needles {
        let lines = ended.output.lines().filter(|line| line.contains(needle)).count();
        assert_eq!(lines, 1, "{needle}: {}", ended.output);
    }
    assert_eq!(ended.output.lines().count(), needles.len(), "{}", ended.output);
    assert!(ended.output.lines().all(|line| line.starts_with("pgtopic: ")), "{}", ended.output);
    assert!(!ended.output.contains("hunter2"), "{}", ended.output);
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('pgtopic', 'pg_x')";
    let made: i64 = database.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(made, 0);
}

/// `.env` is read in the working directory.
#[tokio::test]
async fn dot_env_is_read_in_the_working_directory() {
    let database = TestDatabase::empty().await;
    let directory = tempfile::tempdir().unwrap();
    let dot_env = format!("DATABASE_URL='{}'\nPGTOPIC_DATABASE__SCHEMA=of_file\n", database.url());
    std::fs::write(directory.path().join(".env"), dot_env).unwrap();
    let migrate = |environment: &[(&str, &str)]| {
        Process::start_with(&["migrate"], environment, |command| {
            command.current_dir(&directory);
        })
    };
    let ended = migrate(&[]).wait().await;
    assert!(ended.code() == 0 && ended.output.contains("\"of_file\""), "{}", ended.output);
    let ended = migrate(&[("PGTOPIC_DATABASE__SCHEMA", "of_process")]).wait().await;
    assert!(ended.code() == 0 && ended.output.contains("\"of_process\""), "{}", ended.output);

    std::fs::write(directory.path().join(".env"), "RUST_LOG=loud\nhunter2\n").unwrap();
    let ended = migrate(&[("DATABASE_URL", database.url())]).wait().await;
    assert_eq!(ended.code(), 2, "{}", ended.output);
    for needle in ["RUST_LOG: \"loud\" is no level", ".env, line 2: not NAME=value"] {
        assert!(ended.output.contains(needle), "{}", ended.output);
    }
    assert!(!ended.output.contains("hunter2"), "{}", ended.output);
}

/// Kubernetes gives every container variables about every service of its namespace.
#[tokio::test]
async fn variables_of_kubernetes_are_no_settings_and_a_forgotten_underscore_is_reported() {
    let database = TestDatabase::empty().await;
    let mut environment = database.environment();
    environment.extend([
        ("PGTOPIC_SERVICE_HOST", "10.0.0.1"),
        ("PGTOPIC_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("PGTOPIC_API_SERVICE_PORT", "8000"),
        ("PGTOPIC_API__V2_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("PGTOPIC_WORKER_CONCURRENCY", "many"),
    ]);
    let ended = Process::run(&["migrate"], &environment).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    let warnings: Vec<_> = ended.output.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.output);
    assert!(warnings[0].contains("did you mean PGTOPIC_WORKER__CONCURRENCY?"), "{}", ended.output);
}

/// A token in a file has a wrong form. No error may show it.
#[rstest]
#[case("tokens = 77215567")]
#[case("tokens = [77215567]")]
#[case("tokens = [[\"admin:77215567\"]]")]
#[case("tokens = { admin = \"77215567\" }")]
#[case("tokens = [{ role = \"admin\", token = \"77215567\" }]")]
#[case("tokens = \"77215567\"")]
#[case("tokens = true # 77215567")]
#[case("tokens = [\"admin:77215567]")]
#[case("tokens = 77215567.5")]
#[case("[tokens]\nadmin = 77215567")]
#[tokio::test]
async fn a_token_in_the_wrong_shape_is_not_shown(#[case] tokens: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[api]\n{}", tokens.replace("[tokens]", "[api.tokens]"))).unwrap();
    let ended = Process::run(&["api", "--config", file.path().to_str().unwrap()], &[]).await;
    assert_eq!(ended.code(), 2, "{}", ended.output);
    assert!(!ended.output.contains("77215567"), "{}", ended.output);
}

#[tokio::test]
async fn an_unreachable_database_is_one_line_and_exit_code_3() {
    let url = "postgresql://user:hunter2@127.0.0.1:1/x";
    for command in ["migrate", "worker"] {
        let ended = Process::run(&[command], &[("DATABASE_URL", url), ("PGTOPIC_LOG__LEVEL", "off")]).await;
        assert_one_line(&ended, 3, &["cannot connect to the database"]);
        assert!(!ended.output.contains("hunter2"), "{}", ended.output);
    }
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let database = TestDatabase::empty().await;
    let first = migrate(&database).await;
    assert_eq!(first.code(), 0, "{}", first.output);
    assert!(first.output.contains("applied"), "{}", first.output);
    let second = migrate(&database).await;
    assert_eq!(second.code(), 0, "{}", second.output);
    assert!(second.output.contains("already"), "{}", second.output);
    database.store().check_schema().await.unwrap();
}

#[tokio::test]
async fn four_processes_may_migrate_at_once() {
    let database = TestDatabase::empty().await;
    let ended = join_all((0..4).map(|_| migrate(&database))).await;
    let applied = ended.iter().filter(|ended| ended.output.contains("applied")).count();
    assert!(ended.iter().all(|ended| ended.code() == 0), "{ended:?}");
    assert_eq!(applied, 1, "{ended:?}");
}

#[tokio::test]
async fn another_schema_holds_everything() {
    let database = TestDatabase::empty().await;
    let arguments = ["migrate", "--schema", "Order events", "--database-url", database.url()];
    let ended = Process::run(&arguments, &[]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'Order events' AND tablename = 'messages'";
    let found: i64 = database.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(found, 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_exit_code_4() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    // A newer schema that accepts this binary is left as it is.
    client.batch_execute("UPDATE pgtopic.installed SET number = 9998, functions_hash = 'x'").await.unwrap();
    let accepted = migrate(&database).await;
    assert!(accepted.code() == 0 && accepted.output.contains("accepts it"), "{}", accepted.output);
    client.batch_execute("UPDATE pgtopic.installed SET number = 9999, works_from = 9998").await.unwrap();
    for arguments in [&["migrate"][..], &["migrate", "status"], &["serve"], &["worker", "--no-migrate"]] {
        let ended = Process::run(arguments, &[("DATABASE_URL", database.url())]).await;
        assert_eq!(ended.code(), 4, "{arguments:?}: {}", ended.output);
        for words in ["9999", "9998", "upgrade pgtopic"] {
            assert!(ended.output.contains(words), "{arguments:?}: {}", ended.output);
        }
    }
}

#[tokio::test]
async fn a_database_that_is_down_at_the_start_is_exit_code_3() {
    let mut cluster = TestCluster::private().await;
    cluster.postgres.kill().await.unwrap();
    let ended = Process::run(&["migrate"], &[("DATABASE_URL", &cluster.url())]).await;
    assert_one_line(&ended, 3, &["cannot connect to the database"]);
}
