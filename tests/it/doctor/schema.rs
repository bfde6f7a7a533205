//! The schema: its version, functions, triggers, indexes and sequences.

use pgtopic::domain::doctor::{Check, Status};
use pgtopic_testkit::{Process, Scene, TestDatabase};
use rstest::rstest;

use super::{apply_command, apply_sql, broker, check, is};

/// Each is repaired by the command that is named.
#[rstest]
#[case::drift(Check::Schema, "UPDATE installed SET functions_hash = 'x'", "another build")]
#[case::body(
    Check::Functions,
    "CREATE OR REPLACE FUNCTION body_format(format text, batch_size integer) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL'",
    "body_format"
)]
#[case::rights_of_a_function(
    Check::Functions,
    "ALTER FUNCTION messages_publish() SECURITY INVOKER",
    "publishing/messages_publish"
)]
#[case::off(
    Check::Triggers,
    "ALTER TABLE messages DISABLE TRIGGER zz_messages_publish",
    "zz_messages_publish"
)]
#[case::gone(Check::Triggers, "DROP TRIGGER webhooks_name ON webhooks", "webhooks_name")]
#[tokio::test]
async fn what_differs_from_this_version_is_repaired(
    #[case] of: Check,
    #[case] harm: &str,
    #[case] says: &str,
) {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    is(check(&doctor, of).await, Status::Ok);
    scene.sql(harm).await;
    let found = check(&doctor, of).await;
    assert!(found.status > Status::Skipped && found.seen.contains(says), "{found:?}");
    apply_command(&found, &scene.database.environment()).await;
    is(check(&doctor, of).await, Status::Ok);
}

#[tokio::test]
async fn what_somebody_has_done_to_the_schema_is_undone_by_the_sql_that_is_named() {
    let scene = Scene::with_webhook(&[]).await;
    let doctor = broker(scene.store());
    scene.publish(&["a"]).await;
    for (of, harm, status, says) in [
        (
            Check::Triggers,
            "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
             CREATE TRIGGER zzz_later BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION later()",
            Status::Warn,
            "zzz_later",
        ),
        (Check::Indexes, "DROP INDEX lanes_due", Status::Fail, "lanes_due"),
        (
            Check::Indexes,
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'lanes_due'::regclass",
            Status::Fail,
            "lanes_due",
        ),
        (Check::Sequences, "SELECT setval('message_ids', 1, false)", Status::Fail, "given again"),
    ] {
        is(check(&doctor, of).await, Status::Ok);
        scene.sql(harm).await;
        let found = is(check(&doctor, of).await, status);
        assert!(found.seen.contains(says), "{found:?}");
        apply_sql(&scene.client, &found).await;
        is(check(&doctor, of).await, Status::Ok);
    }
}

/// Under another name of the schema everything is found all the same.
#[tokio::test]
async fn another_schema_is_judged_like_the_usual_one() {
    let database = TestDatabase::empty().await;
    let config = pgtopic::config::DatabaseConfig { schema: "Its \"own\"".to_owned(), ..database.config() };
    let store = pgtopic::store::Store::new(&config).unwrap();
    store.migrate().await.unwrap();
    let doctor = broker(store);
    for of in [Check::Schema, Check::Functions, Check::Triggers, Check::Indexes, Check::Sequences] {
        is(check(&doctor, of).await, Status::Ok);
    }
    let client = database.client().await;
    client.batch_execute(r#"DROP INDEX "Its ""own""".lanes_due"#).await.unwrap();
    let found = is(check(&doctor, Check::Indexes).await, Status::Fail);
    apply_sql(&client, &found).await;
    is(check(&doctor, Check::Indexes).await, Status::Ok);
}

#[tokio::test]
async fn a_schema_that_does_not_fit_has_its_exit_code() {
    let database = TestDatabase::empty().await;
    let environment = database.environment();
    let ended = Process::run(&["doctor"], &environment).await;
    assert_eq!(ended.code(), 4, "{}", ended.output);
    assert!(
        ended.output.contains("holds no pgtopic") && ended.output.contains("pgtopic migrate"),
        "{}",
        ended.output
    );
    assert_eq!(super::shell("pgtopic migrate", &environment).await.code(), 0);
    let ended = Process::run(&["doctor", "--check", "schema"], &environment).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);

    let client = database.broker_client().await;
    client.batch_execute("UPDATE installed SET number = 999, works_from = 999").await.unwrap();
    let ended = Process::run(&["doctor", "--check", "schema"], &environment).await;
    assert_eq!(ended.code(), 4, "{}", ended.output);
    assert!(ended.output.contains("→ Upgrade pgtopic."), "{}", ended.output);
}
