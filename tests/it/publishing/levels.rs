//! Publishers at every isolation level.

use futures_util::future::join_all;
use pgtopic_testkit::{Broker, Scene, publish};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_of_all_levels_share_partitions_without_serialization_failures() {
    let scene = Scene::new().await;
    scene.webhook("/1", &[]).await;
    scene.webhook("/2", &[("filter", "'$.even == true'")]).await;
    let broker = Broker::start(scene.store());
    let publishing = (0..9).map(|publisher| {
        let scene = &scene;
        async move {
            let client = scene.another_client().await;
            for step in 0..40 {
                let level = LEVELS[publisher % 3];
                client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
                // The snapshot is older than the commit of the last holder of the stripe.
                client.batch_execute("SELECT pg_sleep(0.002)").await.unwrap();
                let key = format!("key-{}", (publisher + step) % 3);
                for _ in 0..=step % 2 {
                    let done = publish(&client, &key).await;
                    done.unwrap_or_else(|error| panic!("{level}: {error:?}"));
                }
                let sql = format!("SELECT publish('orders', '{key}', '{{\"even\": true}}')");
                client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{level}: {error:?}"));
                client.batch_execute("COMMIT").await.unwrap_or_else(|error| panic!("{level}: {error:?}"));
            }
        }
    });
    join_all(publishing).await;
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    let (first, second): (Vec<_>, Vec<_>) = received.into_iter().partition(|one| one.path == "/1");
    let all = pgtopic_testkit::expected(&scene.client, &["/1"]).await;
    assert_eq!(pgtopic_testkit::check_order(&first, &all), 0);
    scene.sql("DELETE FROM messages WHERE payload::text = '{}'").await;
    let even = pgtopic_testkit::expected(&scene.client, &["/2"]).await;
    assert_eq!(pgtopic_testkit::check_order(&second, &even), 0);
    broker.stop().await;
}

/// The snapshot shows the row of the lane. The row was deleted later.
#[tokio::test]
async fn a_lane_that_was_removed_after_an_old_snapshot_is_made_again() {
    for level in LEVELS {
        let scene = Scene::with_webhook(&[]).await;
        scene.publish(&["a"]).await;
        let publisher = scene.another_client().await;
        publisher.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        let lanes = publisher.query("SELECT FROM lanes", &[]).await.unwrap();
        assert_eq!(lanes.len(), 1, "the snapshot shows the lane");

        let _broker = Broker::start(scene.store());
        scene.no_lane_left().await;
        publish(&publisher, "a").await.unwrap();
        publisher.batch_execute("COMMIT").await.unwrap();
        assert_eq!(scene.all_delivered(&["/"]).await, 0);
        assert_eq!(scene.receiver.received().len(), 2, "{level}");
    }
}

/// The snapshot does not show the row of the lane. The row was made later.
#[tokio::test]
async fn a_lane_that_was_made_after_an_old_snapshot_is_used() {
    for level in LEVELS {
        let scene = Scene::with_webhook(&[]).await;
        let publisher = scene.another_client().await;
        publisher.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).await.unwrap();
        scene.publish(&["a", "b"]).await;
        let sql = "INSERT INTO messages (topic_id, partition_key, payload)
                   SELECT 1, key, '{}' FROM unnest(ARRAY['a', 'b', 'c', 'a']) AS key ORDER BY stripe(1, key)";
        publisher.batch_execute(sql).await.unwrap();
        publisher.batch_execute("COMMIT").await.unwrap_or_else(|error| panic!("{level}: {error:?}"));
        let _broker = Broker::start(scene.store());
        assert_eq!(scene.all_delivered(&["/"]).await, 0);
        assert_eq!(scene.receiver.received().len(), 6, "{level}");
    }
}

/// SERIALIZABLE may fail a publisher. The error is the same as for a lane that was made after the
/// snapshot. pgtopic must tell them apart. Otherwise a delivery would be owed without a lane.
#[tokio::test]
async fn a_publisher_that_fails_under_serializable_leaves_nothing_behind() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("CREATE TABLE public.other (value int); INSERT INTO public.other VALUES (1)").await;
    let (reader, publisher) = (scene.another_client().await, scene.another_client().await);
    // The reader comes before the publisher (lanes), the publisher before the writer (other), and
    // the writer commits first.
    reader.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM lanes").await.unwrap();
    publisher
        .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT value FROM public.other")
        .await
        .unwrap();
    let writer = scene.another_client().await;
    writer
        .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE public.other SET value = 2; COMMIT")
        .await
        .unwrap();
    let error = publish(&publisher, "a").await.unwrap_err();
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::T_R_SERIALIZATION_FAILURE));
    publisher.batch_execute("ROLLBACK").await.unwrap();
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 0);
}
