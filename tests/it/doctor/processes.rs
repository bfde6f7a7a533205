//! Whether messages are sent, the workers, their leader, and their settings.

use pgtopic::domain::doctor::{Check, Status};
use pgtopic_testkit::{Broker as Worker, Process, Scene};

use super::{apply_command, becomes, broker, check, command, is};

#[tokio::test]
async fn sending_that_was_switched_off_and_a_copy_are_switched_on() {
    let scene = Scene::new().await;
    let worker = Worker::start(scene.store());
    scene.until("(SELECT database_oid IS NOT NULL FROM installation)").await;
    worker.stop().await;
    let doctor = broker(scene.store());
    is(check(&doctor, Check::Sending).await, Status::Ok);
    let environment = scene.database.environment();
    let off = "pgtopic sending off --reason tests";
    assert_eq!(super::shell(off, &environment).await.code(), 0);
    let found = is(check(&doctor, Check::Sending).await, Status::Fail);
    assert!(found.seen.ends_with("): tests"), "{found:?}");
    apply_command(&found, &environment).await;
    is(check(&doctor, Check::Sending).await, Status::Ok);

    scene.sql("UPDATE installation SET database_oid = 1").await;
    let found = is(check(&doctor, Check::Sending).await, Status::Fail);
    assert!(found.seen.contains("is a copy"), "{found:?}");
    apply_command(&found, &environment).await;
    is(check(&doctor, Check::Sending).await, Status::Ok);
}

#[tokio::test]
async fn a_topic_without_a_worker_and_background_work_without_a_leader_are_named() {
    let scene = Scene::with_webhook(&[]).await;
    let doctor = broker(scene.store());
    is(check(&doctor, Check::Workers).await, Status::Warn);
    scene.publish(&["a"]).await;
    let found = is(check(&doctor, Check::Workers).await, Status::Fail);
    assert_eq!(command(&found), "pgtopic worker");
    is(check(&doctor, Check::Leader).await, Status::Fail);

    let other = Worker::of_topics(scene.store(), &["other"]);
    becomes(&doctor, Check::Leader, Status::Ok).await;
    let found = becomes(&doctor, Check::Workers, Status::Fail).await;
    assert!(found.seen.contains("orders"), "{found:?}");
    let topics = command(&found).split([' ', '=']).nth(1).unwrap();
    let worker = Worker::of_topics(scene.store(), &[topics]);
    becomes(&doctor, Check::Workers, Status::Ok).await;
    scene.nothing_owed().await;
    other.stop().await;

    // A worker that says that something is wrong.
    scene.sql("UPDATE installation SET database_oid = 1").await;
    let found = becomes(&doctor, Check::Workers, Status::Warn).await;
    assert!(found.seen.contains("is a copy"), "{found:?}");
    apply_command(&check(&doctor, Check::Sending).await, &scene.database.environment()).await;
    becomes(&doctor, Check::Workers, Status::Ok).await;
    worker.stop().await;
}

#[tokio::test]
async fn background_work_that_fails_or_is_late_is_named() {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    let worker = Worker::start(scene.store());
    becomes(&doctor, Check::Leader, Status::Ok).await;
    let insert = |piece: &str, finished: &str, error: &str| {
        format!(
            "INSERT INTO background_runs (piece, worker, started_at, finished_at, did, did_in_all, error)
             VALUES ('{piece}', gen_random_uuid(), now(), {finished}, 0, 0, {error})"
        )
    };
    scene.sql(&insert("fails", "now()", "'disk full'")).await;
    let found = is(check(&doctor, Check::Leader).await, Status::Warn);
    assert!(found.seen.contains("fails failed") && found.seen.contains("disk full"), "{found:?}");
    scene.sql("DELETE FROM background_runs WHERE piece = 'fails'").await;
    is(check(&doctor, Check::Leader).await, Status::Ok);
    scene.sql(&insert("late", "now() - interval '1 h'", "NULL")).await;
    is(check(&doctor, Check::Leader).await, Status::Ok);
    scene.sql("UPDATE leader SET since = now() - interval '1 h'").await;
    let found = is(check(&doctor, Check::Leader).await, Status::Warn);
    assert!(found.seen.contains("late ran last"), "{found:?}");
    worker.stop().await;
}

#[tokio::test]
async fn processes_whose_settings_differ_are_named_until_they_agree() {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    let environment = scene.database.environment();
    let start = async |more: &[(&str, &str)]| {
        let mut worker = Process::start(&["worker"], &[&environment[..], more].concat());
        worker.wait_for_output("worker is ready").await;
        worker
    };
    let mut first = start(&[]).await;
    is(check(&doctor, Check::Processes).await, Status::Ok);
    let mut other = start(&[("PGTOPIC_RETENTION__MESSAGES_DAYS", "7")]).await;
    let found = is(check(&doctor, Check::Processes).await, Status::Warn);
    assert!(
        found.seen.starts_with("retention.messages_days is 30 in ") && found.seen.contains("; 7 in "),
        "{found:?}"
    );
    assert_eq!(found.items.len(), 1, "{found:?}");
    other.stop().await;
    let mut other = start(&[]).await;
    is(check(&doctor, Check::Processes).await, Status::Ok);
    scene
        .sql("UPDATE workers SET version = '0.0.1' WHERE started_at = (SELECT max(started_at) FROM workers)")
        .await;
    let found = is(check(&doctor, Check::Processes).await, Status::Warn);
    assert!(found.seen.contains("0.0.1"), "{found:?}");
    other.stop().await;
    first.stop().await;
}
