//! A worker whose role owns nothing: the rights that the documentation names are enough.

use pgtopic_testkit::{Process, Scene};
use uuid::Uuid;

/// The partition of attempts of some day ahead.
const LAST_PARTITION: &str =
    "format('attempts_%s', to_char((now() AT TIME ZONE 'UTC') + interval '7 days', 'YYYYMMDD'))";

#[tokio::test]
async fn a_role_that_owns_nothing_runs_everything_but_migrations() {
    let scene = Scene::with_webhook(&[]).await;
    let role = format!("worker_{}", Uuid::now_v7().simple());
    // As docs/operations.md says it.
    scene
        .sql(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT USAGE ON SCHEMA pgtopic TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgtopic TO {role};
             GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA pgtopic TO {role};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgtopic TO {role}"
        ))
        .await;
    scene.sql(&format!("DO $$ BEGIN EXECUTE 'DROP TABLE pgtopic.' || {LAST_PARTITION}; END $$")).await;
    let url = scene.database.url_as(&role);
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")];
    let mut process = Process::start(&["serve", "--no-migrate", "--bind", "127.0.0.1:0"], &environment);
    scene.publish(&["a", "a", "b"]).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    scene.until(&format!("to_regclass('pgtopic.' || {LAST_PARTITION}) IS NOT NULL")).await;
    scene.until("(SELECT count(*) FROM pgtopic.attempts) = 3").await;
    let ended = process.stop().await;
    for level in ["WARN", "ERROR"] {
        assert!(!ended.output.contains(level), "{}", ended.output);
    }
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
