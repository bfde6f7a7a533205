//! What `migrate` makes: a function for each file, the triggers of `sql/triggers.sql`, and the same
//! schema whichever way it is made.

use std::{collections::BTreeSet, path::Path};

use pgtopic_testkit::{Ended, Process, Scene, TestDatabase, eventually};
use rstest::rstest;
use tokio_postgres::Client;

/// The schema of version 1 as users have it: `pg_dump --schema-only` of a fresh install on
/// PostgreSQL 15, with the rows that say what is installed. While version 1 may be edited in place,
/// write the file again with `PGTOPIC_WRITE_V1_DUMP=1` when it differs.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/schema/v1.sql");

/// Describes a schema as one text. Two schemas that differ have different texts.
const DESCRIBE: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT concat_ws(' ', pg_get_functiondef(p.oid),
                         (SELECT string_agg(given::text, ' ' ORDER BY given::text) FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS given))
          FROM pg_proc p WHERE p.pronamespace = 'pgtopic'::regnamespace
        UNION ALL
        SELECT pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'pgtopic'::regnamespace AND NOT t.tgisinternal
        UNION ALL
        SELECT concat_ws(' ', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
                         pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'pgtopic'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
           AND c.relname !~ '^attempts_'
        UNION ALL
        SELECT concat_ws(' ', c.relname, c.relkind, c.relpersistence, c.reloptions, c.relacl, obj_description(c.oid, 'pg_class'))
          FROM pg_class c WHERE c.relnamespace = 'pgtopic'::regnamespace AND c.relname !~ '^attempts_' AND c.relname <> 'schema_history_pkey'
        UNION ALL
        SELECT pg_get_constraintdef(k.oid) || ' ' || k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
         WHERE k.connamespace = 'pgtopic'::regnamespace AND c.relname !~ '^attempts_'
        UNION ALL
        SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         WHERE c.relnamespace = 'pgtopic'::regnamespace AND c.relname !~ '^attempts_'
        UNION ALL
        SELECT concat_ws(' ', s.sequencename, s.data_type, s.start_value, s.min_value, s.max_value, s.increment_by, s.cycle, s.cache_size)
          FROM pg_sequences s WHERE s.schemaname = 'pgtopic'
        UNION ALL
        SELECT concat_ws(' ', 'installed', number, works_from, functions_hash) FROM pgtopic.installed
        UNION ALL
        SELECT concat_ws(' ', 'installation', notify, cell) FROM pgtopic.installation
    ) AS lines (line)";

async fn describe(client: &Client) -> String {
    client.batch_execute("SET search_path = pg_catalog").await.unwrap();
    client.query_one(DESCRIBE, &[]).await.unwrap().get(0)
}

async fn pgtopic(arguments: &[&str], database: &TestDatabase) -> Ended {
    let ended = Process::run(arguments, &database.environment()).await;
    assert_eq!(ended.code(), 0, "{arguments:?}: {}", ended.output);
    ended
}

async fn fresh() -> (TestDatabase, Client) {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    (database, client)
}

/// The names of the functions whose files are below a folder. The name is the part of the file's
/// name before the first dot.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(files(&path));
        } else {
            let name = path.file_name().unwrap().to_str().unwrap();
            names.insert(name.split('.').next().unwrap().to_owned());
        }
    }
    names
}

#[tokio::test]
async fn every_function_has_a_file_and_every_file_is_applied() {
    let (_database, client) = fresh().await;
    let sql = "SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'pgtopic'::regnamespace";
    let found: BTreeSet<String> =
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(found, files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/functions")));
}

/// To make a trigger locks its table. So `migrate` makes a trigger again only if it differs.
#[rstest]
#[case::usual("pgtopic")]
#[case::quoted("it's \"x\" y")]
#[tokio::test]
async fn triggers_that_are_current_are_not_made_again(#[case] schema: &str) {
    let database = TestDatabase::empty().await;
    pgtopic(&["migrate", "--schema", schema], &database).await;
    let client = database.client().await;
    let sql = "SELECT string_agg(t.oid || ' ' || t.tgname || ' ' || t.xmin::text || ' ' || t.tgenabled::text, ', ' ORDER BY t.tgname)
                 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND NOT t.tgisinternal";
    let triggers = async || client.query_one(sql, &[&schema]).await.unwrap().get::<_, String>(0);
    let before = triggers().await;
    pgtopic(&["migrate", "--repair", "--schema", schema], &database).await;
    assert_eq!(triggers().await, before);

    let quoted = schema.replace('"', "\"\"");
    let disable = format!("ALTER TABLE \"{quoted}\".messages DISABLE TRIGGER zz_messages_publish");
    client.batch_execute(&disable).await.unwrap();
    pgtopic(&["migrate", "--repair", "--schema", schema], &database).await;
    let sql = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'zz_messages_publish'";
    assert_eq!(
        client.query_one(sql, &[]).await.unwrap().get::<_, String>(0),
        "O",
        "the trigger is switched on again"
    );
}

#[tokio::test]
async fn a_drift_is_reported_and_repaired_on_request() {
    let (database, client) = fresh().await;
    let whole = describe(&client).await;
    client.batch_execute("UPDATE pgtopic.installed SET functions_hash = 'another'").await.unwrap();
    client.batch_execute("DROP FUNCTION pgtopic.stripe_class()").await.unwrap();
    for arguments in [&["migrate"][..], &["migrate", "status"]] {
        let said = pgtopic(arguments, &database).await.output;
        assert!(said.contains("migrate --repair"), "{said}");
    }
    pgtopic(&["migrate", "--repair"], &database).await;
    assert_eq!(describe(&client).await, whole);
    assert!(!pgtopic(&["migrate"], &database).await.output.contains("--repair"));
}

#[rstest]
#[case::migrating(&[])]
#[case::not_migrating(&["--no-migrate"])]
#[tokio::test]
async fn a_process_that_starts_on_a_drifted_schema_logs_it(#[case] flags: &[&str]) {
    let (database, client) = fresh().await;
    client.batch_execute("UPDATE pgtopic.installed SET functions_hash = 'another'").await.unwrap();
    let arguments = [&["worker"][..], flags].concat();
    let mut worker = Process::start(&arguments, &database.environment());
    worker.wait_for_output("run `pgtopic migrate --repair`").await;
    worker.stop().await;
}

/// A process dies after it has made the tables.
#[tokio::test]
async fn functions_that_were_not_applied_are_applied_by_the_next_migration() {
    let (database, client) = fresh().await;
    let whole = describe(&client).await;
    client
        .batch_execute(
            "UPDATE pgtopic.installed SET number = 0, functions_hash = '';
             DROP FUNCTION pgtopic.settle; DROP TRIGGER zz_messages_publish ON pgtopic.messages",
        )
        .await
        .unwrap();
    pgtopic(&["migrate"], &database).await;
    assert_eq!(describe(&client).await, whole);
}

#[tokio::test]
async fn the_printed_sql_makes_the_same_schema() {
    let (_database, client) = fresh().await;
    let whole = describe(&client).await;
    let database = TestDatabase::empty().await;
    let printed = pgtopic(&["migrate", "--print"], &database).await.output;
    let client = database.client().await;
    client.batch_execute(&printed).await.unwrap();
    assert_eq!(describe(&client).await, whole);
    assert!(pgtopic(&["migrate"], &database).await.output.contains("already"));
    assert!(pgtopic(&["migrate", "--print"], &database).await.output.contains("Nothing is missing"));
}

/// A schema of version 1 becomes the same as a fresh install when it is migrated.
#[tokio::test]
async fn a_kept_dump_that_is_migrated_equals_a_fresh_install() {
    let (database, client) = fresh().await;
    let whole = describe(&client).await;
    if std::env::var_os("PGTOPIC_WRITE_V1_DUMP").is_some() {
        std::fs::write(KEPT, dump(&database, &client).await).unwrap();
    }
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    client.batch_execute(&std::fs::read_to_string(KEPT).unwrap()).await.unwrap();
    pgtopic(&["migrate"], &database).await;
    let migrated = describe(&client).await;
    let only_in = |one: &str, other: &str| {
        one.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
    };
    assert!(
        migrated == whole,
        "version 1 was edited: write {KEPT} anew with PGTOPIC_WRITE_V1_DUMP=1, if that was allowed.\n\
         Only in the migrated one:\n{}\nOnly in the fresh one:\n{}",
        only_in(&migrated, &whole),
        only_in(&whole, &migrated)
    );
}

/// A dump of the schema. It differs only if the schema differs: it has no partitions of days, no
/// times and no owners.
async fn dump(database: &TestDatabase, client: &Client) -> String {
    let pg_dump = |what: &[&str]| {
        let mut command = std::process::Command::new("/usr/lib/postgresql/15/bin/pg_dump");
        command
            .args(["--dbname", database.url(), "--no-owner", "--exclude-table=pgtopic.attempts_*"])
            .args(what);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // Newer versions of pg_dump also write commands of psql. They are not SQL.
        text.lines().filter(|line| !line.starts_with(['\\', '-'])).collect::<Vec<_>>().join("\n")
    };
    client
        .batch_execute(
            "UPDATE pgtopic.installed SET applied_at = '2026-01-01Z';
             UPDATE pgtopic.schema_history SET applied_on = '2026-01-01T00:00:00Z'",
        )
        .await
        .unwrap();
    let schema = pg_dump(&["--schema-only", "--schema=pgtopic"]);
    let rows = pg_dump(&[
        "--data-only",
        "--inserts",
        "--table=pgtopic.installed",
        "--table=pgtopic.installation",
        "--table=pgtopic.schema_history",
    ]);
    let text = format!("-- Written by a test, see schema.rs.\n{schema}\n{rows}\n");
    text.split("\n\n\n").filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

#[rstest]
#[case("LATIN1")]
#[case("SQL_ASCII")]
#[tokio::test]
async fn a_database_that_is_not_utf_8_is_refused(#[case] encoding: &str) {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let name = format!("encoded_{}", encoding.to_lowercase());
    let create = format!(
        "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    client.batch_execute(&create).await.unwrap();
    let (server, _) = database.url().rsplit_once('/').unwrap();
    let url = format!("{server}/{name}");
    for arguments in [&["migrate"][..], &["serve", "--bind", "127.0.0.1:0"], &["worker", "--no-migrate"]] {
        let ended = Process::run(arguments, &[("DATABASE_URL", &url)]).await;
        assert_eq!(ended.code(), 4, "{arguments:?}: {}", ended.output);
        assert!(
            ended.output.contains(encoding) && ended.output.contains("ENCODING 'UTF8'"),
            "{}",
            ended.output
        );
    }
    client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

/// A migration waits for another one. Whoever asked for it does not wait any more.
#[tokio::test]
async fn a_migration_that_is_given_up_leaves_no_task() {
    let scene = Scene::new().await;
    scene.sql("SELECT pg_advisory_lock(hashtextextended('pgtopic migrate pgtopic', 0))").await;
    let store = scene.store();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    tokio::select! {
        outcome = store.migrate_and_repair() => panic!("{outcome:?}"),
        () = scene.somebody_waits("l.locktype = 'advisory'") => {}
    }
    eventually("its connection has no task", async || (tasks() == before).then_some(())).await;
}
