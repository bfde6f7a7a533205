//! Roles that may see only a part.

use pgtopic::{
    config::DatabaseConfig,
    domain::doctor::{Check, Status},
    store::Store,
};
use pgtopic_testkit::{Process, Scene};
use uuid::Uuid;

use super::{apply_sql, broker, check, is, sql};

/// A lock that somebody holds keeps one check waiting, and no other one.
#[tokio::test]
async fn a_check_that_gets_no_answer_is_skipped_and_the_others_are_made() {
    let scene = Scene::with_webhook(&[]).await;
    let doctor = broker(scene.store());
    let other = scene.another_client().await;
    other.batch_execute("BEGIN; LOCK TABLE activity, dead_letters, background_runs").await.unwrap();
    let report = doctor.diagnose(None).await;
    let finding = |of| report.of(of).unwrap();
    for of in [Check::Leader, Check::Sequences, Check::Retention] {
        assert_eq!(finding(of).status, Status::Skipped, "{:?}", finding(of));
        assert_eq!(finding(of).seen, "no answer within 2 s");
    }
    for of in [Check::Connection, Check::Webhooks, Check::HaltedLanes, Check::LaneRows] {
        assert_eq!(finding(of).status, Status::Ok, "{:?}", finding(of));
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    is(check(&doctor, Check::Sequences).await, Status::Ok);
}

#[tokio::test]
async fn what_a_role_may_not_see_is_skipped_until_the_rights_that_are_named_are_given() {
    let scene = Scene::with_webhook(&[]).await;
    let role = format!("doctor_{}", Uuid::now_v7().simple());
    scene.sql(&format!("CREATE ROLE {role} LOGIN")).await;
    let url = scene.database.url_as(&role);
    let config =
        DatabaseConfig { url: Some(url.clone().into()), listen_url: None, ..scene.database.config() };
    let doctor = broker(Store::new(&config).unwrap());

    let report = doctor.diagnose(None).await;
    let status = |of| report.of(of).unwrap().status;
    assert_eq!(status(Check::Connection), Status::Ok);
    assert_eq!(status(Check::Privileges), Status::Fail);
    for of in [Check::Workers, Check::HaltedLanes, Check::LaneRows, Check::Webhooks, Check::Sending] {
        let finding = report.of(of).unwrap();
        assert_eq!(finding.status, Status::Skipped, "{finding:?}");
        assert_eq!(super::command(finding), "pgtopic doctor --check privileges");
    }
    let ended = Process::run(&["doctor", "--json"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(ended.code(), 1, "{}", ended.output);

    let found = check(&doctor, Check::Privileges).await;
    apply_sql(&scene.client, &found).await;
    is(check(&doctor, Check::Privileges).await, Status::Ok);
    for of in [Check::Workers, Check::HaltedLanes, Check::LaneRows, Check::Webhooks, Check::Sending] {
        assert_ne!(check(&doctor, of).await.status, Status::Skipped, "{of:?}");
    }

    // Others hold something, and nothing tells this role since when.
    let publisher = scene.another_client().await;
    publisher
        .batch_execute("BEGIN; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')")
        .await
        .unwrap();
    for of in [Check::Publishers, Check::Snapshots] {
        let found = is(check(&doctor, of).await, Status::Skipped);
        assert!(sql(&found).starts_with("GRANT pg_read_all_stats TO "), "{found:?}");
    }
    let found = check(&doctor, Check::Publishers).await;
    apply_sql(&scene.client, &found).await;
    for of in [Check::Publishers, Check::Snapshots] {
        is(check(&doctor, of).await, Status::Ok);
    }
    publisher.batch_execute("ROLLBACK").await.unwrap();
    drop(doctor);
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
