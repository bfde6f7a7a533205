//! Schemas that were renamed, edited, copied without their sequences, or belong to another program.
//! The error is one line that says what to do.

use pgtopic_testkit::{Ended, Http, Process, TestDatabase, TestReceiver};
use rstest::rstest;
use serde_json::json;
use tokio_postgres::Client;

/// Runs a command. It must fail with exit code 4 and one line, which is returned.
async fn refused(database: &TestDatabase, arguments: &[&str]) -> String {
    let Ended { output, .. } = {
        let ended = Process::run(arguments, &[("DATABASE_URL", database.url())]).await;
        assert_eq!(ended.code(), 4, "{arguments:?}: {}", ended.output);
        ended
    };
    let errors = output.lines().filter(|line| line.starts_with("error") || line.contains("ERROR")).count();
    assert!(errors <= 1, "{output}");
    output
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn tables(client: &Client, schema: &str) -> Vec<String> {
    let sql = "SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND relkind IN ('r', 'p', 'S') ORDER BY 1";
    client.query(sql, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The text after a mark, such as "run:".
fn remedy<'a>(output: &'a str, mark: &str) -> &'a str {
    output.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark:?} in {output}")).trim()
}

#[tokio::test]
async fn the_error_for_a_renamed_schema_names_its_old_name() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    run(&client, "ALTER SCHEMA pgtopic RENAME TO \"Old one\"").await;
    for arguments in [&["migrate"][..], &["worker"], &["worker", "--no-migrate"]] {
        let output = refused(&database, arguments).await;
        assert!(output.contains("ALTER SCHEMA \"Old one\" RENAME TO pgtopic"), "{output}");
        let output = refused(&database, &[arguments, &["--schema", "Old one"]].concat()).await;
        assert!(output.contains("ALTER SCHEMA \"Old one\" RENAME TO pgtopic"), "{output}");
    }
    assert!(tables(&client, "pgtopic").await.is_empty(), "no new schema was made");
    run(&client, "ALTER SCHEMA \"Old one\" RENAME TO pgtopic").await;
    assert_eq!(Process::run(&["migrate"], &[("DATABASE_URL", database.url())]).await.code(), 0);
}

#[rstest]
#[case::messages("CREATE TABLE pgtopic.messages (a integer)", "messages")]
#[case::installed("CREATE TABLE pgtopic.installed (a integer)", "installed")]
#[case::a_view("CREATE VIEW pgtopic.orders AS SELECT 1", "orders")]
#[case::a_function("CREATE FUNCTION pgtopic.stripe() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "stripe()")]
#[tokio::test]
async fn a_schema_of_another_program_is_left_as_it_is(#[case] made: &str, #[case] named: &str) {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    run(&client, &format!("CREATE SCHEMA pgtopic; {made}")).await;
    let before = tables(&client, "pgtopic").await;
    for arguments in [&["migrate"][..], &["serve", "--bind", "127.0.0.1:0"], &["worker", "--no-migrate"]] {
        let output = refused(&database, arguments).await;
        assert!(output.contains("another program") && output.contains(named), "{output}");
    }
    assert_eq!(tables(&client, "pgtopic").await, before);
}

#[tokio::test]
async fn an_empty_schema_is_filled() {
    let database = TestDatabase::empty().await;
    run(&database.client().await, "CREATE SCHEMA pgtopic").await;
    assert_eq!(Process::run(&["migrate"], &[("DATABASE_URL", database.url())]).await.code(), 0);
}

#[rstest]
#[case::checksum("UPDATE pgtopic.schema_history SET checksum = '1'")]
#[case::no_checksum("UPDATE pgtopic.schema_history SET checksum = NULL")]
#[case::time("UPDATE pgtopic.schema_history SET applied_on = 'yesterday'")]
#[case::gone("DELETE FROM pgtopic.schema_history")]
#[tokio::test]
async fn an_edited_history_says_how_it_is_repaired(#[case] edit: &str) {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    run(&client, edit).await;
    let mut output = String::new();
    for arguments in [&["migrate"][..], &["migrate", "--repair"], &["worker"], &["worker", "--no-migrate"]] {
        output = refused(&database, arguments).await;
        assert!(output.contains("migration 1 ") && output.contains("\"pgtopic\".schema_history"), "{output}");
    }
    run(&client, remedy(&output, "repair it with ")).await;
    assert_eq!(Process::run(&["migrate", "--repair"], &[("DATABASE_URL", database.url())]).await.code(), 0);
}

#[tokio::test]
async fn an_unknown_migration_is_named() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    run(&client, "INSERT INTO pgtopic.schema_history SELECT 99, name, applied_on, checksum FROM pgtopic.schema_history").await;
    let output = refused(&database, &["migrate"]).await;
    assert!(output.contains("migration 99"), "{output}");
}

#[rstest]
#[case::messages(
    "INSERT INTO pgtopic.topics (name) VALUES ('a'); INSERT INTO pgtopic.messages (topic_id, payload) SELECT 1, '{}' FROM generate_series(1, 5);
     ALTER SEQUENCE pgtopic.message_ids RESTART"
)]
#[case::topics("INSERT INTO pgtopic.topics (name) VALUES ('a'); ALTER TABLE pgtopic.topics ALTER id RESTART")]
#[tokio::test]
async fn the_error_for_a_sequence_below_the_ids_in_use_says_how_to_raise_it(#[case] sql: &str) {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    run(&client, sql).await;
    let mut output = String::new();
    for arguments in [&["migrate"][..], &["worker", "--no-migrate"], &["api", "--bind", "127.0.0.1:0"]] {
        output = refused(&database, arguments).await;
    }
    run(&client, remedy(&output, "run: ")).await;
    assert_eq!(Process::run(&["migrate"], &[("DATABASE_URL", database.url())]).await.code(), 0);
    run(&client, "INSERT INTO pgtopic.topics (name) VALUES ('b')").await;
    run(
        &client,
        "INSERT INTO pgtopic.messages (topic_id, payload) SELECT id, '{}' FROM pgtopic.topics LIMIT 1",
    )
    .await;
}

/// Every character that a name may have works everywhere.
#[rstest]
#[case::punctuation("a%b\\c'd\"e;f,g.h:i--j/*k*/l")]
#[case::brackets("{}[]()<>&|=*?!~^`@# ")]
#[case::other_letters("Ünïcødé 名前 🙂")]
#[case::its_own_name("pgtopic.pgtopic 'pgtopic' \"pgtopic\"")]
#[case::placeholders("%s %I %L %1 {0} :x ? ")]
#[case::as_long_as_can_be("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
#[case::public("public")]
#[tokio::test]
async fn a_schema_may_have_any_name(#[case] schema: &str) {
    let database = TestDatabase::empty().await;
    let receiver = TestReceiver::accepting().await;
    let mut environment = database.environment();
    environment.extend([
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
        ("PGTOPIC_DATABASE__SCHEMA", schema),
    ]);
    let mut serve = Process::start(&["serve"], &environment);
    let api = Http::of(&mut serve).await;
    serve.wait_for_output("worker is ready").await;
    api.post("/topics", &json!({ "name": "orders" })).await;
    let filter = "$.a == 1";
    api.post("/webhooks", &json!({ "topic": "orders", "url": receiver.url("/"), "filter": filter })).await;
    for key in ["a", "b"] {
        let message = json!({ "partition_key": key, "payload": { "a": 1 }, "idempotency_key": key });
        api.post("/topics/orders/messages", &message).await;
    }
    receiver.wait_for(2).await;
    assert!(api.text("/metrics").await.contains("pgtopic_table_dead_tuples{table=\"lanes\"}"));
    let ended = serve.stop().await;
    for level in ["WARN", "ERROR"] {
        assert!(!ended.output.contains(level), "{}", ended.output);
    }
    // Once more with the schema that is there, and once with the printed SQL.
    for arguments in [&["migrate"][..], &["migrate", "--repair"], &["worker", "--no-migrate"]] {
        let mut process = Process::start(arguments, &environment);
        if arguments[0] == "worker" {
            process.wait_for_output("worker is ready").await;
            process.stop().await;
        } else {
            assert_eq!(process.wait().await.code(), 0);
        }
    }
    let other = TestDatabase::empty().await;
    let mut environment = other.environment();
    environment.push(("PGTOPIC_DATABASE__SCHEMA", schema));
    let printed = Process::run(&["migrate", "--print"], &environment).await;
    run(&other.client().await, &printed.output).await;
    let ended = Process::run(&["migrate"], &environment).await;
    assert!(ended.code() == 0 && ended.output.contains("already"), "{}", ended.output);
}

#[rstest]
#[case("a$b")]
#[case("a\nb")]
#[case("pg_x")]
#[case("information_schema")]
#[case("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
#[tokio::test]
async fn an_impossible_schema_name_is_refused_at_once(#[case] schema: &str) {
    // No server listens there. The error comes before a connection.
    let ended =
        Process::run(&["migrate", "--schema", schema], &[("DATABASE_URL", "postgresql://u@127.0.0.1:1/x")])
            .await;
    assert_eq!(ended.code(), 2, "{}", ended.output);
    assert!(ended.output.contains("database.schema"), "{}", ended.output);
}
