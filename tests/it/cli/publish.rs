//! `pgtopic publish`: one message from everywhere, and many from NDJSON.

use std::{fmt::Write as _, io::Write as _, process::Stdio};

use nix::sys::signal::Signal;
use pgtopic_testkit::{Process, Scene, TestDatabase};
use rstest::rstest;
use serde_json::Value;

use super::operators::{Said, run_with, said};

async fn database() -> TestDatabase {
    let database = TestDatabase::new().await;
    said(&database, &["topics", "create", "orders"]).await;
    database
}

async fn payloads(database: &TestDatabase) -> Vec<String> {
    let sql = "SELECT payload::text FROM pgtopic.messages ORDER BY id";
    database.client().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn publish_lines(database: &TestDatabase, lines: &str, further: &[&str]) -> Said {
    run_with(&[&["publish", "orders", "--ndjson"], further].concat(), &database.environment(), lines, |_| {})
        .await
}

#[tokio::test]
async fn a_payload_keeps_its_bytes_wherever_it_comes_from() {
    let database = database().await;
    let payload = "{ \"b\" :1.0,\n \"a\": \"\\u00e9\"}";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("\n {payload}\n")).unwrap();
    said(&database, &["publish", "orders", payload]).await;
    said(&database, &["publish", "orders", "--file", file.path().to_str().unwrap()]).await;
    let piped =
        run_with(&["publish", "orders"], &database.environment(), &format!("{payload}\n"), |_| {}).await;
    assert_eq!(piped.code, 0, "{piped:?}");
    assert_eq!(payloads(&database).await, [payload; 3]);
}

#[tokio::test]
async fn everything_of_a_message_can_be_given() {
    let scene = Scene::new().await;
    let arguments = [
        "publish",
        "1",
        "7",
        "--partition-key",
        "user-42",
        "--header",
        "x-a=1",
        "--header",
        "x-b=2=3",
        "--idempotency-key",
        "once",
    ];
    let first = said(&scene.database, &arguments).await;
    assert!(first.starts_with("Message ") && first.contains("partition user-42"), "{first}");
    let again = said(&scene.database, &arguments).await;
    assert!(again.contains("was published before"), "{again}");
    let stored = "SELECT concat_ws(' ', partition_key, headers, idempotency_key) FROM messages";
    assert_eq!(scene.text(stored).await, r#"user-42 {"x-a":"1","x-b":"2=3"} once"#);
}

/// More lines than a batch takes; an empty one, and a last one without its end.
#[tokio::test]
async fn lines_are_published_in_their_order() {
    let database = database().await;
    let mut lines = String::new();
    for n in 0..2300 {
        writeln!(lines, "{{\"partition_key\":\"k\",\"payload\":{n}}}\n").unwrap();
    }
    let published = publish_lines(&database, lines.trim_end(), &[]).await;
    assert_eq!((published.code, &*published.err), (0, ""), "{published:?}");
    assert_eq!(published.out, "2300 messages were published, with ids from 1 to 2300.\n");
    let expected: Vec<String> = (0..2300).map(|n| n.to_string()).collect();
    assert_eq!(payloads(&database).await, expected);

    let published = publish_lines(&database, lines.trim_end(), &["--json"]).await;
    let ids: Vec<Value> = published
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["ids"].take())
        .collect();
    let lengths: Vec<usize> = ids.iter().map(|ids| ids.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [1000, 1000, 300]);
    assert_eq!([&ids[0][0], &ids[2][299]], [2301, 4600]);
    assert_eq!(publish_lines(&database, "", &[]).await.out, "0 messages were published.\n");
}

#[tokio::test]
async fn the_file_of_the_lines_may_be_an_argument() {
    let database = database().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"payload\":1}\n{\"payload\":2}\n").unwrap();
    let path = file.path().to_str().unwrap();
    for arguments in [
        ["publish", "orders", "--ndjson", path],
        ["publish", "--ndjson", "orders", path],
        ["publish", "orders", path, "--ndjson"],
    ] {
        assert!(said(&database, &arguments).await.starts_with("2 messages were published"), "{arguments:?}");
    }
    assert_eq!(payloads(&database).await, ["1", "2", "1", "2", "1", "2"]);
    let missing =
        run_with(&["publish", "orders", "--ndjson", "/nowhere"], &database.environment(), "", |_| {}).await;
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.err.contains("cannot read /nowhere"), "{missing:?}");
}

/// What only the database refuses counts too: its own limit for a payload.
#[rstest]
#[case::no_json("nope", "not JSON: expected ident at column 2")]
#[case::no_object("[1]", "must be an object, not an array")]
#[case::no_payload("{}", "payload is required")]
#[case::unknown_field(r#"{"payload":1,"colour":2}"#, "colour is not a field here")]
#[case::broken_rule(r#"{"payload":1,"partition_key":""}"#, "partition_key")]
#[case::reserved(r#"{"payload":1,"headers":{"webhook-id":"1"}}"#, "webhook-id")]
#[case::too_large(r#"{"payload":"too long"}"#, "8")]
#[tokio::test]
async fn the_lines_before_a_refused_one_are_published_and_no_other(#[case] line: &str, #[case] reason: &str) {
    let database = database().await;
    database.client().await.batch_execute("UPDATE pgtopic.topics SET max_payload_bytes = 8").await.unwrap();
    let before = "{\"payload\":1}\n".repeat(1450);
    let lines = format!("{before}{line}\n{{\"payload\":2}}\n");
    let refused = publish_lines(&database, &lines, &["--json"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let problem: Value = serde_json::from_str(&refused.err).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("line 1451: ") && detail.contains(reason), "{problem}");
    assert!(detail.ends_with("; before it, 1450 messages were published"), "{problem}");
    assert_eq!([&problem["line"], &problem["published"]], [1451, 1450], "{problem}");
    assert_eq!(payloads(&database).await, vec!["1"; 1450]);
}

#[tokio::test]
async fn a_topic_that_takes_nothing_is_told_at_once() {
    let database = database().await;
    said(&database, &["topics", "pause", "orders"]).await;
    let refused = publish_lines(&database, &"{\"payload\":1}\n".repeat(3), &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("line 1: ") && refused.err.contains("paused"), "{refused:?}");
    assert!(refused.err.contains("0 messages were published"), "{refused:?}");
}

/// The writer of the pipe waits. What came before is published, and said.
#[tokio::test]
async fn the_first_signal_ends_it_after_a_batch() {
    let scene = Scene::new().await;
    let (reader, mut writer) = std::io::pipe().unwrap();
    let arguments = ["publish", "1", "--ndjson"];
    let process = Process::start_with(&arguments, &scene.database.environment(), |command| {
        command.stdin(Stdio::from(reader));
    });
    writer.write_all("{\"payload\":1}\n".repeat(1000).as_bytes()).unwrap();
    scene.until("(SELECT count(*) = 1000 FROM messages)").await;
    process.signal(Signal::SIGINT);
    let ended = process.wait().await;
    assert_eq!(ended.code(), 1, "{}", ended.output);
    assert!(
        ended.output.contains("interrupted; before it, 1000 messages were published"),
        "{}",
        ended.output
    );
    drop(writer);
}
