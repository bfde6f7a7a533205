//! Roles that own nothing. The rights that the documentation names are enough. The error names a
//! right that is missing.

use pgtopic_testkit::{Process, Scene};
use rstest::rstest;
use uuid::Uuid;

/// A partition of the attempt log for a later day.
const LAST_PARTITION: &str =
    "format('attempts_%s', to_char((now() AT TIME ZONE 'UTC') + interval '7 days', 'YYYYMMDD'))";

/// A block of SQL of docs/operations.md. The names of roles are replaced.
fn documented(block: &str, roles: &[(&str, &str)]) -> String {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let begin = format!("```sql {block}\n");
    let sql =
        text.split(&begin).nth(1).unwrap_or_else(|| panic!("no {begin:?}")).split("```").next().unwrap();
    roles.iter().fold(sql.to_owned(), |sql, (name, role)| {
        let sql = sql.replace(&format!("TO {name};"), &format!("TO {role};"));
        sql.replace(&format!("TO {name}\n"), &format!("TO {role}\n"))
    })
}

/// A role that may log in and owns nothing.
async fn role(scene: &Scene, name: &str) -> String {
    let role = format!("{name}_{}", Uuid::now_v7().simple());
    scene.sql(&format!("CREATE ROLE {role} LOGIN")).await;
    role
}

async fn forget(scene: &Scene, role: &str) {
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// Also if other roles may not take advisory locks.
#[rstest]
#[tokio::test]
async fn a_role_that_owns_nothing_runs_everything_but_migrations(
    #[values(&["--no-migrate"][..], &[])] flags: &[&str],
    #[values(false, true)] locks_revoked: bool,
) {
    let scene = Scene::with_webhook(&[]).await;
    let role = role(&scene, "worker").await;
    scene.sql(&documented("worker", &[("worker", &role)])).await;
    if locks_revoked {
        let roles = [("worker", role.as_str()), ("owner", "postgres")];
        scene.sql(&documented("advisory locks", &roles)).await;
    }
    scene.sql(&format!("DO $$ BEGIN EXECUTE 'DROP TABLE pgtopic.' || {LAST_PARTITION}; END $$")).await;
    let url = scene.database.url_as(&role);
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")];
    let arguments = [&["serve", "--bind", "127.0.0.1:0"], flags].concat();
    let mut process = Process::start(&arguments, &environment);
    scene.publish(&["a", "a", "b"]).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    scene.until(&format!("to_regclass('pgtopic.' || {LAST_PARTITION}) IS NOT NULL")).await;
    scene.until("(SELECT count(*) FROM pgtopic.attempts) = 3").await;
    let ended = process.stop().await;
    for level in ["WARN", "ERROR"] {
        assert!(!ended.output.contains(level), "{}", ended.output);
    }
    forget(&scene, &role).await;
}

#[rstest]
#[case::schema("REVOKE USAGE ON SCHEMA pgtopic FROM", "GRANT USAGE ON SCHEMA")]
#[case::a_table("REVOKE INSERT ON pgtopic.lanes FROM", "DELETE ON ALL TABLES IN SCHEMA")]
#[case::what_is_installed("REVOKE SELECT ON pgtopic.installed FROM", "DELETE ON ALL TABLES IN SCHEMA")]
#[case::a_sequence("REVOKE ALL ON SEQUENCE pgtopic.notify_until FROM", "ON ALL SEQUENCES IN SCHEMA")]
#[case::a_function(
    "REVOKE EXECUTE ON FUNCTION pgtopic.claim_lanes_singly FROM",
    "EXECUTE ON ALL FUNCTIONS IN SCHEMA"
)]
#[tokio::test]
async fn a_right_that_is_missing_is_named_with_its_grant(#[case] revoke: &str, #[case] says: &str) {
    let scene = Scene::new().await;
    let role = role(&scene, "worker").await;
    scene.sql(&documented("worker", &[("worker", &role)])).await;
    scene.sql(&format!("{revoke} {role}")).await;
    let url = scene.database.url_as(&role);
    for arguments in [&["worker", "--no-migrate"][..], &["worker"], &["api", "--bind", "127.0.0.1:0"]] {
        let ended = Process::run(arguments, &[("DATABASE_URL", &url)]).await;
        assert_eq!(ended.code(), 4, "{arguments:?}: {}", ended.output);
        assert!(
            ended.output.contains(says) && ended.output.contains(&format!("TO {role}")),
            "{}",
            ended.output
        );
        // The GRANT that the error names is enough.
        let sql = ended.output.split("must run: ").nth(1).unwrap();
        scene.sql(&format!("BEGIN; {sql}; ROLLBACK")).await;
    }
    forget(&scene, &role).await;
}

#[tokio::test]
async fn a_role_that_may_make_no_schema_is_told_what_it_needs() {
    let scene = Scene::new().await;
    let role = role(&scene, "worker").await;
    scene.sql("DROP SCHEMA pgtopic CASCADE").await;
    let url = scene.database.url_as(&role);
    let ended = Process::run(&["migrate"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(ended.code(), 4, "{}", ended.output);
    assert!(ended.output.contains("GRANT CREATE ON DATABASE"), "{}", ended.output);
    assert!(
        ended.output.contains(&format!("CREATE SCHEMA \"pgtopic\" AUTHORIZATION {role}")),
        "{}",
        ended.output
    );
    scene.sql(&format!("CREATE SCHEMA pgtopic AUTHORIZATION {role}")).await;
    assert_eq!(Process::run(&["migrate"], &[("DATABASE_URL", &url)]).await.code(), 0);
    forget(&scene, &role).await;
}

#[tokio::test]
async fn an_application_publishes_with_the_rights_that_are_documented() {
    let scene = Scene::with_webhook(&[]).await;
    let role = role(&scene, "app").await;
    scene.sql(&documented("app", &[("app", &role)])).await;
    let app = scene.another_client().await;
    app.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    app.batch_execute("SELECT publish('orders', 'a', '{}')").await.unwrap();
    app.batch_execute("INSERT INTO messages (topic_id, payload) SELECT id, '{}' FROM topics WHERE name = 'orders' RETURNING id")
        .await
        .unwrap();
    let once = "INSERT INTO messages (topic_id, payload, idempotency_key) VALUES (1, '{}', 'once')
                ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id";
    assert_eq!(app.query(once, &[]).await.unwrap().len(), 1);
    assert_eq!(app.query(once, &[]).await.unwrap().len(), 0);
    for refused in ["SELECT payload FROM messages", "SELECT secrets FROM webhooks", "DELETE FROM messages"] {
        assert!(app.batch_execute(refused).await.is_err(), "{refused}");
    }
    drop(app);
    forget(&scene, &role).await;
}
