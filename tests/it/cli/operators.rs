//! The commands of operators: they print what the API answers, ask before they delete, and end with
//! the documented codes.

use std::{
    fs::File,
    io::Write,
    process::{Command, Stdio},
};

use pgtopic_testkit::{Answer, Http, Process, Scene, TestDatabase};
use rstest::rstest;
use serde_json::{Value, json};

/// How a command ended, and what it said on each of its outputs.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs a command, with this text as its standard input.
pub(super) async fn run_with(
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
    change: impl FnOnce(&mut Command),
) -> Said {
    let files = [(); 3].map(|()| tempfile::NamedTempFile::new().unwrap());
    std::fs::write(files[0].path(), input).unwrap();
    let process = Process::start_with(arguments, environment, |command| {
        command
            .stdin(File::open(files[0].path()).unwrap())
            .stdout(File::create(files[1].path()).unwrap())
            .stderr(File::create(files[2].path()).unwrap());
        change(command);
    });
    let code = process.wait().await.code();
    let [out, err] = [1, 2].map(|file: usize| std::fs::read_to_string(files[file].path()).unwrap());
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "colours for a file: {out}{err}");
    Said { code, out, err }
}

/// Runs a command on a database. It must succeed, and say nothing but its result.
pub(super) async fn said(database: &TestDatabase, arguments: &[&str]) -> String {
    let said = run_with(arguments, &database.environment(), "", |_| {}).await;
    assert_eq!((said.code, &*said.err), (0, ""), "{arguments:?}: {said:?}");
    said.out
}

pub(super) async fn json_of(database: &TestDatabase, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(database, &[arguments, &["--json"]].concat()).await).unwrap()
}

/// Webhooks may point to this machine.
pub(super) const LOOPBACK: [&str; 2] = ["--allow-network", "127.0.0.0/8"];

pub(super) async fn create_webhook(database: &TestDatabase, further: &[&str]) -> Value {
    let create = ["webhooks", "create", "--topic", "orders", "--url", "http://127.0.0.1:9/"];
    json_of(database, &[&create[..], &LOOPBACK, further].concat()).await
}

/// Without the times of samples, which are those of the question.
fn at_no_time(mut answer: Value) -> Value {
    match &mut answer {
        Value::Object(fields) => {
            fields.remove("sampled_at");
            fields.values_mut().for_each(|field| *field = at_no_time(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = at_no_time(item.take())),
        _ => {}
    }
    answer
}

#[tokio::test]
async fn json_is_what_the_api_answers() {
    let database = TestDatabase::new().await;
    let http = Http::serve(database.store()).await;
    let topic = json_of(&database, &["topics", "create", "orders", "--retention-seconds", "60"]).await;
    create_webhook(&database, &["--name", "billing", "--header", "x-team=a", "--filter", "$.n > 1"]).await;
    create_webhook(&database, &[]).await;
    said(&database, &["publish", "orders", r#"{"n": 2}"#, "--idempotency-key", "once"]).await;
    for (route, arguments) in [
        ("/topics", &["topics", "list"][..]),
        ("/topics/orders", &["topics", "show", "orders"]),
        ("/webhooks?limit=1", &["webhooks", "list", "--limit", "1"]),
        ("/topics/orders/webhooks", &["webhooks", "list", "--topic", "orders"]),
        ("/webhooks/orders:billing", &["webhooks", "show", "orders:billing"]),
        ("/topics/orders/messages", &["messages", "list", "orders"]),
        ("/messages/1", &["messages", "show", "1"]),
        ("/messages/1/why", &["why", "1"]),
        ("/topics/orders/why?partition_key=default", &["why", "orders", "default"]),
        ("/deliveries", &["deliveries", "list"]),
        ("/webhooks/1/deliveries/1", &["deliveries", "show", "1", "1"]),
        ("/webhooks/1/deliveries/1/attempts", &["deliveries", "attempts", "1", "1"]),
        ("/webhooks/1/lanes", &["lanes", "list", "1"]),
        ("/dead-letter", &["dead-letter", "list"]),
        ("/dead-letter/count", &["dead-letter", "count"]),
        ("/dead-letter/groups", &["dead-letter", "groups"]),
        ("/stats", &["stats"]),
        ("/workers", &["workers"]),
        ("/sending", &["sending"]),
    ] {
        let (printed, answered) = (json_of(&database, arguments).await, http.get(route).await);
        assert_eq!(at_no_time(printed), at_no_time(answered), "{route}");
    }
    let paused = json_of(&database, &["topics", "pause", "orders"]).await;
    assert_ne!(paused["paused"], topic["paused"]);
    assert_eq!(json_of(&database, &["topics", "resume", "orders"]).await, topic);
    assert_eq!(json_of(&database, &["webhooks", "pause", "1"]).await["paused"], true);
    assert_eq!(json_of(&database, &["webhooks", "resume", "1"]).await["paused"], false);
    let deleted = json_of(&database, &["webhooks", "delete", "orders:billing", "--yes"]).await;
    assert_eq!(deleted, json!({"deleted": true, "dropped_deliveries": 1, "dropped_dead_letters": 0}));
    let deleted = json_of(&database, &["topics", "delete", "orders", "--force", "--yes"]).await;
    assert_eq!(deleted, json!({"deleted": true, "webhooks": 1, "dropped_deliveries": 1}));
}

#[tokio::test]
async fn settings_are_changed_and_return_to_their_defaults() {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    let settings =
        ["--max-retries", "3", "--timeout-seconds", "7", "--header", "x-a=1", "--format", "envelope"];
    let before = create_webhook(&database, &settings).await;
    assert_eq!([&before["max_retries"], &before["format"]], [&json!(3), &json!("envelope")]);
    let update =
        ["webhooks", "update", "1", "--unset", "max-retries,headers", "--rate-limit-per-second", "2.5"];
    let after = json_of(&database, &update).await;
    assert_eq!(after["max_retries"], Value::Null);
    assert_eq!(after["header_names"], json!([]));
    assert_eq!(after["rate_limit_per_second"], 2.5);
    assert_eq!(after["timeout_seconds"], 7);

    let topic = json_of(&database, &["topics", "update", "orders", "--retention-seconds", "9"]).await;
    assert_eq!(topic["retention_seconds"], 9);
    let topic = json_of(&database, &["topics", "update", "1", "--unset", "retention-seconds"]).await;
    assert_eq!(topic["retention_seconds"], Value::Null);
}

#[tokio::test]
async fn a_topic_is_put_as_often_as_one_likes() {
    let database = TestDatabase::new().await;
    let put = ["topics", "put", "orders", "--ordering", "none"];
    let created = json_of(&database, &put).await;
    assert_eq!(created["ordering"], "none");
    assert_eq!(json_of(&database, &put).await, created);
    let changed = json_of(&database, &["topics", "put", "orders", "--retention-seconds", "9"]).await;
    assert_eq!([&changed["id"], &changed["retention_seconds"]], [&created["id"], &json!(9)]);
}

#[rstest]
#[case::accepted(204, 0, "accepted")]
#[case::refused(500, 1, "failed")]
#[tokio::test]
async fn a_webhook_is_tested(#[case] status: u16, #[case] code: i32, #[case] outcome: &str) {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(move |_| Answer::Status(status));
    let arguments = ["webhooks", "test", "1", "--json", "--allow-network", "127.0.0.0/8"];
    let tested = run_with(&arguments, &scene.database.environment(), "", |_| {}).await;
    assert_eq!(tested.code, code, "{tested:?}");
    let result: Value = serde_json::from_str(&tested.out).unwrap();
    assert_eq!([&result["outcome"], &result["status_code"]], [&json!(outcome), &json!(status)]);
    assert_eq!(scene.receiver.received().len(), 1);
}

#[tokio::test]
async fn people_get_tables_and_are_told_how_to_go_on() {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    said(&database, &["topics", "create", "audit", "--ordering", "none", "--retention-seconds", "0"]).await;
    let first = run_with(&["topics", "list", "--limit", "1"], &database.environment(), "", |_| {}).await;
    assert_eq!(
        first.out,
        "ID  TOPIC   ORDERING   RETENTION SECONDS  PAUSED\n1   orders  partition  default            no\n"
    );
    let next = first.err.trim_end().strip_prefix("There is more: --after ").unwrap();
    let second = said(&database, &["topics", "list", "--after", next]).await;
    assert_eq!(
        second,
        "ID  TOPIC  ORDERING  RETENTION SECONDS  PAUSED\n2   audit  none      for ever           no\n"
    );
    assert_eq!(said(&database, &["topics", "pause", "orders"]).await, "Topic orders refuses messages.\n");
}

#[tokio::test]
async fn a_generated_secret_is_shown_once_and_a_given_one_never() {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    let create = ["webhooks", "create", "--topic", "orders", "--url", "https://example.com/"];
    let created = run_with(&create, &database.environment(), "", |_| {}).await;
    assert!(created.err.contains("only this once"), "{created:?}");
    let secret = created.out.lines().find(|line| line.starts_with("secret ")).unwrap();
    let stored = "SELECT secrets[1] FROM pgtopic.webhooks ORDER BY id DESC LIMIT 1";
    let client = database.client().await;
    let kept: String = client.query_one(stored, &[]).await.unwrap().get(0);
    assert_eq!(secret.split_whitespace().nth(1), Some(&*kept));
    assert!(!said(&database, &["webhooks", "show", "1"]).await.contains(&kept));

    let given = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let arguments = [&create[..], &["--secret-file", "-"]].concat();
    let created = run_with(&arguments, &database.environment(), &format!("{given}\n"), |_| {}).await;
    assert_eq!((created.code, &*created.err), (0, ""), "{created:?}");
    assert!(!created.out.contains("whsec"), "{created:?}");
    let kept: String = client.query_one(stored, &[]).await.unwrap().get(0);
    assert_eq!(kept, given);

    let arguments = [&create[..], &["--headers-file", "-"]].concat();
    let created =
        run_with(&arguments, &database.environment(), r#"{"authorization": "hunter2"}"#, |_| {}).await;
    assert!(created.code == 0 && created.out.contains("authorization"), "{created:?}");
    assert!(!created.out.contains("hunter2"), "{created:?}");
    let refused = run_with(&arguments, &database.environment(), r#"["hunter2"]"#, |_| {}).await;
    assert!(refused.code == 2 && !refused.err.contains("hunter2"), "{refused:?}");
}

#[tokio::test]
async fn nothing_is_deleted_without_a_yes() {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    create_webhook(&database, &[]).await;
    for arguments in [&["topics", "delete", "orders", "--force"], &["webhooks", "delete", "1", "--json"][..]]
    {
        let refused = run_with(arguments, &database.environment(), "y\n", |_| {}).await;
        assert!(refused.code == 2 && refused.err.contains("--yes") && refused.out.is_empty(), "{refused:?}");
    }
    assert!(said(&database, &["webhooks", "list"]).await.contains("orders:webhook-1"));
}

/// Each class of failure, told to people and to programs.
#[rstest]
#[case::unknown(&["topics", "show", "nope"], 1, 404, "there is no topic \"nope\"")]
#[case::taken(&["topics", "create", "orders"], 1, 409, "exists already")]
#[case::broken_rule(&["topics", "create", "42"], 1, 422, "name must be 1 to 255")]
#[case::foreign_page(&["webhooks", "list", "--after", "x"], 1, 422, "after must be `next`")]
#[case::no_json(&["publish", "orders", "hello"], 2, 400, "the payload is not JSON")]
#[case::no_change(&["webhooks", "update", "1"], 2, 400, "say what to change")]
#[case::no_file(&["publish", "orders", "--file", "/no/such"], 2, 400, "cannot read /no/such")]
#[tokio::test]
async fn a_failure_is_one_line_or_one_problem(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] status: u16,
    #[case] reason: &str,
) {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    assert_fails(arguments, &database.environment(), code, status, reason).await;
}

async fn assert_fails(
    arguments: &[&str],
    environment: &[(&str, &str)],
    code: i32,
    status: u16,
    reason: &str,
) {
    let failed = run_with(arguments, environment, "", |_| {}).await;
    assert_eq!((failed.code, &*failed.out), (code, ""), "{failed:?}");
    assert_eq!(failed.err.lines().count(), 1, "{failed:?}");
    assert!(failed.err.starts_with("pgtopic: ") && failed.err.contains(reason), "{failed:?}");

    let failed = run_with(&[arguments, &["--json"]].concat(), environment, "", |_| {}).await;
    assert_eq!((failed.code, &*failed.out), (code, ""), "{failed:?}");
    let problem: Value =
        serde_json::from_str(&failed.err).unwrap_or_else(|error| panic!("{error}: {failed:?}"));
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
}

#[tokio::test]
async fn a_database_or_a_schema_that_is_not_there_is_exit_code_3_or_4() {
    let nowhere = [("DATABASE_URL", "postgresql://127.0.0.1:1/x")];
    assert_fails(&["topics", "list"], &nowhere, 3, 503, "cannot connect to the database").await;
    assert_fails(&["topics", "list"], &[], 2, 400, "database.url: not set").await;
    let empty = TestDatabase::empty().await;
    assert_fails(&["topics", "list"], &empty.environment(), 4, 503, "pgtopic migrate").await;
}

/// Only the flags are not read yet, so nobody knows that JSON is wanted.
#[tokio::test]
async fn wrong_flags_are_told_as_text() {
    let wrong =
        run_with(&["topics", "create", "orders", "--ordering", "fifo", "--json"], &[], "", |_| {}).await;
    assert_eq!((wrong.code, &*wrong.out), (2, ""), "{wrong:?}");
    assert!(wrong.err.contains("possible values: partition, none"), "{wrong:?}");
}

#[tokio::test]
async fn dot_env_says_where_the_database_is() {
    let database = TestDatabase::new().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), format!("DATABASE_URL='{}'\n", database.url())).unwrap();
    let created = run_with(&["topics", "create", "orders"], &[], "", |command| {
        command.current_dir(&directory);
    })
    .await;
    assert_eq!((created.code, &*created.err), (0, ""), "{created:?}");
}

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
#[tokio::test]
async fn completions_know_the_verbs_and_need_no_database(#[case] shell: &str) {
    let script = run_with(&["completions", shell], &[], "", |_| {}).await;
    assert_eq!((script.code, &*script.err), (0, ""));
    for word in ["topics", "idempotency-key"] {
        assert!(script.out.contains(word), "{word}");
    }
}

/// The document is longer than a pipe holds.
#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let errors = tempfile::NamedTempFile::new().unwrap();
    let process = Process::start_with(&["openapi"], &[], |command| {
        command.stdout(writer).stderr(File::create(errors.path()).unwrap());
    });
    assert_eq!(process.wait().await.code(), 0);
    assert_eq!(std::fs::read_to_string(errors.path()).unwrap(), "");
}

/// Answers on a terminal, which `script` makes.
#[rstest]
#[case("y\n", 0, "The topic was deleted")]
#[case("\n", 1, "nothing was changed")]
#[tokio::test]
async fn a_terminal_is_asked(#[case] answer: &str, #[case] code: i32, #[case] said: &str) {
    let database = TestDatabase::new().await;
    let binary = std::env::var("CARGO_BIN_EXE_pgtopic").unwrap();
    let ask = format!("{binary} topics create orders && {binary} topics delete orders");
    let child = Command::new("script")
        .args(["-qec", &ask, "/dev/null"])
        .envs(database.environment())
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: script is not installed");
        return;
    };
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert!(
        shown.contains("Delete topic orders with its messages (0 deliveries still owed)? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains(said) && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(ended.status.code(), Some(code), "{shown}");
}
