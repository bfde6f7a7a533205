//! Lanes that do not move, rows that lack another one, and webhooks.

use pgtopic::domain::doctor::{Check, Status};
use pgtopic_testkit::{Answer, Broker as Worker, Scene};

use super::{apply_command, apply_sql, becomes, broker, check, command, is};

#[tokio::test]
async fn a_halted_lane_is_released_by_the_command_that_is_named() {
    let scene =
        Scene::with_webhook(&[("name", "'billing'"), ("max_retries", "1"), ("on_exhausted", "'halt'")]).await;
    let doctor = broker(scene.store());
    is(check(&doctor, Check::HaltedLanes).await, Status::Ok);
    scene.receiver.set_script(|_| Answer::Status(500));
    let worker = Worker::start(scene.store());
    scene.publish(&["it's"]).await;
    let found = becomes(&doctor, Check::HaltedLanes, Status::Fail).await;
    assert!(found.seen.contains("orders:billing") && found.seen.contains("500"), "{found:?}");
    scene.receiver.set_script(|_| Answer::Status(204));
    apply_command(&found, &scene.database.environment()).await;
    scene.nothing_owed().await;
    is(check(&doctor, Check::HaltedLanes).await, Status::Ok);
    worker.stop().await;
}

#[tokio::test]
async fn lanes_that_wait_for_long_are_named_by_how_they_wait() {
    let scene = Scene::with_webhook(&[("name", "'billing'")]).await;
    let doctor = broker(scene.store());
    let id = scene.publish(&["a"]).await[0];
    is(check(&doctor, Check::WaitingLanes).await, Status::Ok);
    scene
        .sql(
            "UPDATE messages SET published_at = now() - interval '2 h';
             UPDATE lanes SET failures = 3, head_message_id = (SELECT id FROM messages), due_at = now() + interval '1 h',
                              wait_seconds = 3600, last_error = 'status 500'",
        )
        .await;
    let found = is(check(&doctor, Check::WaitingLanes).await, Status::Warn);
    assert!(found.seen.contains("status 500") && found.seen.contains("2 h ago"), "{found:?}");
    apply_command(&found, &scene.database.environment()).await;
    is(check(&doctor, Check::WaitingLanes).await, Status::Ok);

    scene.sql("UPDATE lanes SET due_at = now() - interval '6 min'").await;
    let found = is(check(&doctor, Check::WaitingLanes).await, Status::Warn);
    assert_eq!(command(&found), format!("pgtopic why {id}"));
    apply_command(&found, &scene.database.environment()).await;
    let worker = Worker::start(scene.store());
    scene.nothing_owed().await;
    is(check(&doctor, Check::WaitingLanes).await, Status::Ok);
    worker.stop().await;
}

#[tokio::test]
async fn rows_that_lack_another_one_are_made_or_go_away() {
    let scene = Scene::with_webhook(&[]).await;
    let doctor = broker(scene.store());
    scene.publish(&["a", "a", "b"]).await;
    is(check(&doctor, Check::LaneRows).await, Status::Ok);
    scene.sql("DELETE FROM lanes").await;
    let found = is(check(&doctor, Check::LaneRows).await, Status::Fail);
    assert_eq!(found.items.len(), 2);
    apply_sql(&scene.client, &found).await;
    is(check(&doctor, Check::LaneRows).await, Status::Ok);
    scene.check_fan_out(3, 2).await;

    scene.sql("DELETE FROM deliveries; UPDATE lanes SET halted = true, due_at = 'infinity'").await;
    let found = is(check(&doctor, Check::LaneRows).await, Status::Warn);
    let worker = Worker::start(scene.store());
    apply_sql(&scene.client, &found).await;
    scene.until("NOT EXISTS (SELECT FROM lanes)").await;
    is(check(&doctor, Check::LaneRows).await, Status::Ok);
    worker.stop().await;
}

#[tokio::test]
async fn a_webhook_that_gets_nothing_is_named_with_the_reason() {
    let scene = Scene::with_webhook(&[("name", "'billing'")]).await;
    let doctor = broker(scene.store());
    let environment = scene.database.environment();
    is(check(&doctor, Check::Webhooks).await, Status::Ok);

    scene.receiver.set_script(|_| Answer::Status(410));
    let worker = Worker::start(scene.store());
    scene.publish(&["a"]).await;
    let found = becomes(&doctor, Check::Webhooks, Status::Fail).await;
    assert!(found.seen.contains("disabled"), "{found:?}");
    scene.receiver.set_script(|_| Answer::Status(204));
    apply_command(&found, &environment).await;
    scene.nothing_owed().await;
    is(check(&doctor, Check::Webhooks).await, Status::Ok);

    worker.stop().await;

    // What fails is seen with the next sample of the leader. No leader is there.
    scene
        .sql(
            "INSERT INTO webhook_samples (webhook_id, failing_since, last_error) SELECT id, now(), 'status 500' FROM webhooks
                 ON CONFLICT (webhook_id) DO UPDATE SET failing_since = now(), last_error = excluded.last_error",
        )
        .await;
    let found = is(check(&doctor, Check::Webhooks).await, Status::Warn);
    assert!(found.seen.contains("status 500"), "{found:?}");
    assert_eq!(command(&found), "pgtopic tail --webhook orders:billing");
    scene.sql("UPDATE webhook_samples SET failing_since = NULL").await;
    is(check(&doctor, Check::Webhooks).await, Status::Ok);

    scene
        .sql("INSERT INTO breakers (webhook_id, state, opened_at) SELECT id, 'open', now() FROM webhooks")
        .await;
    let found = is(check(&doctor, Check::Webhooks).await, Status::Fail);
    assert!(found.seen.contains("breaker"), "{found:?}");
    apply_command(&found, &environment).await;
    is(check(&doctor, Check::Webhooks).await, Status::Ok);

    scene.sql("UPDATE webhooks SET url = 'http://10.0.0.1/'").await;
    let found = is(check(&doctor, Check::Webhooks).await, Status::Fail);
    assert!(found.seen.contains("cannot be sent to"), "{found:?}");
    let line = command(&found).replace("https://…", "https://example.com/");
    assert_eq!(super::shell(&line, &environment).await.code(), 0);
    is(check(&doctor, Check::Webhooks).await, Status::Ok);
}
