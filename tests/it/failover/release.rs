//! Lanes of workers that are gone. A release waits for no lock. Sweeps take lanes that are left.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use pgtopic::store::Release;
use pgtopic_testkit::{Process, Puppet, Scene, eventually, publish};
use rstest::rstest;
use tokio_postgres::Client;

/// Locks rows in a transaction that stays open.
async fn lock(scene: &Scene, rows: &str) -> Client {
    let client = scene.another_client().await;
    client.batch_execute(&format!("BEGIN; SELECT FROM {rows}")).await.unwrap();
    client
}

/// Releases the lanes of a worker. If the call waited for a lock, PostgreSQL would end it with an
/// error.
async fn release(other: &Puppet, gone: &Puppet) -> Release {
    other.store.release_worker(gone.id).await.unwrap()
}

#[rstest]
#[case::by_a_claim("FOR KEY SHARE", true)]
#[case::by_an_operator("FOR UPDATE", false)]
#[tokio::test]
async fn a_release_does_not_wait_for_the_workers_row(#[case] strength: &str, #[case] marked: bool) {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b", "c"]).await;
    let (gone, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    assert_eq!(gone.claim(1).await.unwrap().len(), 3);
    let locked = lock(&scene, &format!("workers WHERE id = '{}' {strength}", gone.id)).await;
    assert_eq!(release(&other, &gone).await, Release { marked, lanes: 3, complete: false });
    assert_eq!(other.claim(1).await.unwrap().len(), 3, "anybody may claim the lanes");
    assert_eq!(release(&other, &gone).await, Release { marked: false, lanes: 0, complete: false });
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(release(&other, &gone).await, Release { marked: !marked, lanes: 0, complete: true });
    assert_eq!(scene.number("SELECT count(*) FROM workers").await, 1);
    assert!(gone.claim(2).await.unwrap_err().is_not_registered());
}

#[tokio::test]
async fn a_release_leaves_a_locked_lane_to_the_sweeps() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a", "b", "c"]).await;
    let (gone, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    assert_eq!(gone.claim(1).await.unwrap().len(), 3);
    let locked = lock(&scene, "lanes WHERE partition_key = 'b' FOR UPDATE").await;
    assert_eq!(release(&other, &gone).await, Release { marked: true, lanes: 2, complete: false });
    assert_eq!(other.claim(1).await.unwrap().len(), 2);
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        other.claim(2).await.unwrap().len(),
        1,
        "the sweep takes the lane, because its holder is gone"
    );
    assert_eq!(release(&other, &gone).await, Release { marked: false, lanes: 0, complete: true });

    // Without a sweep, a later release would free the lane.
    let locked = lock(&scene, "lanes WHERE partition_key = 'c' FOR UPDATE").await;
    let third = Puppet::new(&scene).await;
    assert_eq!(release(&third, &other).await, Release { marked: true, lanes: 2, complete: false });
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(release(&third, &other).await, Release { marked: false, lanes: 1, complete: true });
}

/// Two workers die together, and no lane of either can be released. Sweeps deliver the lanes of both:
/// each of them is marked, however the release of the other one ends.
#[tokio::test]
async fn no_dead_worker_waits_for_the_release_of_another_one() {
    let scene = Scene::with_webhook(&[]).await;
    let mut dead = Vec::new();
    for key in ["a", "b"] {
        scene.publish(&[key]).await;
        let worker = Puppet::new(&scene).await;
        assert_eq!(worker.claim(1).await.unwrap().len(), 1);
        dead.push(worker);
    }
    scene
        .sql(&format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not released''; END';
             CREATE TRIGGER refuse BEFORE UPDATE ON lanes FOR EACH ROW
             WHEN (OLD.claimed_by IN ('{}', '{}') AND NEW.claimed_by IS NULL) EXECUTE FUNCTION refuse()",
            dead[0].id, dead[1].id
        ))
        .await;
    drop(dead);
    let environment =
        [scene.database.environment(), vec![("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")]].concat();
    let _worker = Process::start(&["worker"], &environment);
    scene.receiver.wait_for(2).await;
    assert_eq!(scene.number("SELECT count(*) FROM workers WHERE gone").await, 2);
}

/// Publishers touch no row of `workers`. So locks on these rows do not matter to them.
#[tokio::test]
async fn no_publisher_waits_for_workers() {
    let scene = Scene::with_webhook(&[]).await;
    let worker = Puppet::new(&scene).await;
    scene.publish(&["held"]).await;
    assert_eq!(worker.claim(1).await.unwrap().len(), 1);
    let locked = lock(&scene, "workers FOR UPDATE").await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("SET lock_timeout = '200ms'").await.unwrap();
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        publisher.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        for key in ["held", "new"] {
            publish(&publisher, key).await.unwrap();
        }
        let rows =
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'workers'::regclass";
        assert_eq!(publisher.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), 0, "{level}");
        publisher.batch_execute("COMMIT").await.unwrap();
    }
    locked.batch_execute("LOCK TABLE workers IN ACCESS EXCLUSIVE MODE").await.unwrap();
    publish(&publisher, "held").await.unwrap();
}

/// Returns how many lanes another worker claims.
async fn claims(scene: &Scene, worker: &Puppet, token: i64, sweep: bool) -> usize {
    let sql = "SELECT count(DISTINCT lane) FROM claim_lanes($1, $2, '{1}', '{10}', '{epoch}', $3, 0, 0)";
    let found: i64 = scene.client.query_one(sql, &[&worker.id, &token, &sweep]).await.unwrap().get(0);
    usize::try_from(found).unwrap()
}

#[tokio::test]
async fn a_sweep_takes_lanes_of_holders_that_are_gone_or_unknown_and_of_no_other() {
    let scene = Scene::with_webhook(&[]).await;
    scene.publish(&["a"]).await;
    let (holder, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    for (token, change) in [
        (1, format!("UPDATE workers SET gone = true WHERE id = '{}'", holder.id)),
        (10, format!("DELETE FROM workers WHERE id = '{}'", holder.id)),
    ] {
        assert_eq!(claims(&scene, &holder, token, false).await, 1);
        assert_eq!(claims(&scene, &other, token, true).await, 0, "the holder is registered");
        scene.sql(&change).await;
        assert_eq!(
            claims(&scene, &other, token + 1, false).await,
            0,
            "a claim that is no sweep takes nothing"
        );
        assert_eq!(claims(&scene, &other, token + 2, true).await, 1, "{change}");
        scene.sql("UPDATE workers SET gone = false; UPDATE lanes SET claimed_by = NULL, token = NULL").await;
    }
}

/// Workers register and claim lanes while a sweep goes over thousands of lanes. The sweep comes to
/// their lanes last. Its snapshot does not show these workers, because they registered after its
/// begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sweep_takes_no_lane_of_a_worker_that_has_just_registered() {
    const ROUNDS: usize = 100;
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key)
             SELECT 1, n, 0, CASE WHEN n <= 2000 THEN '2020-01-01' ELSE '2021-01-01' END::timestamptz, ''
               FROM generate_series(1, 2030) AS n",
        )
        .await;
    let sweeps = AtomicUsize::new(0);
    let (scene, sweeps) = (&scene, &sweeps);
    let sweeping = async {
        let client = scene.another_client().await;
        let id = register(&client).await;
        for _ in 0..ROUNDS {
            client.batch_execute(&claim(&id, 5000, "2019-01-01")).await.unwrap();
            sweeps.fetch_add(1, Ordering::Relaxed);
            client.batch_execute(&free(&id)).await.unwrap();
        }
        sweeps.fetch_add(ROUNDS, Ordering::Relaxed);
    };
    let claimants = (0..3).map(|_| async move {
        let client = scene.another_client().await;
        let mut claimed = 0;
        while sweeps.load(Ordering::Relaxed) < ROUNDS {
            let before = sweeps.load(Ordering::Relaxed);
            let id = register(&client).await;
            client.batch_execute(&claim(&id, 5, "2020-07-01")).await.unwrap();
            let mine = format!("SELECT count(*) FROM lanes WHERE claimed_by = '{id}'");
            let lanes: i64 = client.query_one(&mine, &[]).await.unwrap().get(0);
            claimed += lanes;
            // The sweep that is under way ends.
            let ended = async || (sweeps.load(Ordering::Relaxed) > before).then_some(());
            eventually("a sweep ends", ended).await;
            assert_eq!(
                client.query_one(&mine, &[]).await.unwrap().get::<_, i64>(0),
                lanes,
                "a sweep takes no lane of a new worker"
            );
            // As a worker does that stops.
            client.batch_execute(&free(&id)).await.unwrap();
            client.batch_execute(&format!("DELETE FROM workers WHERE id = '{id}'")).await.unwrap();
        }
        claimed
    });
    let (claimed, ()) = tokio::join!(join_all(claimants), sweeping);
    println!("claimed {claimed:?}");
    assert!(claimed.iter().all(|lanes| *lanes > 0));
}

/// Registers a worker that no process runs.
async fn register(client: &Client) -> String {
    let sql = "INSERT INTO workers (id, lock_key, name, version, capacity, lease)
               VALUES (gen_random_uuid(), -1, '', '', 1, '1 min') RETURNING id::text";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn claim(id: &str, slots: usize, due_after: &str) -> String {
    format!("SELECT FROM claim_lanes('{id}', 1, '{{1}}', '{{{slots}}}', '{{{due_after}}}', true, 0, 0)")
}

fn free(id: &str) -> String {
    format!("UPDATE lanes SET claimed_by = NULL, token = NULL WHERE claimed_by = '{id}'")
}

#[tokio::test]
async fn thousands_of_lanes_are_released_in_steps() {
    const LANES: i64 = 12_000;
    let scene = Scene::with_webhook(&[]).await;
    let (gone, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    // The other worker holds every second lane.
    scene
        .sql(&format!(
            "INSERT INTO lanes (webhook_id, lane, position, due_at, claimed_by, token, partition_key)
             SELECT n % 3, n, 0, '2020-01-01', CASE n % 2 WHEN 0 THEN '{}'::uuid ELSE '{}' END, 1, ''
               FROM generate_series(1, {}) AS n",
            gone.id,
            other.id,
            2 * LANES
        ))
        .await;
    let locked = lock(&scene, "lanes WHERE lane IN (2, 9000, 24000) FOR UPDATE").await;
    assert_eq!(release(&other, &gone).await, Release { marked: true, lanes: LANES - 3, complete: false });
    locked.batch_execute("COMMIT").await.unwrap();
    assert_eq!(release(&other, &gone).await, Release { marked: false, lanes: 3, complete: true });
    let owners = format!("SELECT count(*) FROM lanes WHERE claimed_by = '{}' AND token = 1", other.id);
    assert_eq!(scene.number(&owners).await, LANES);
    assert_eq!(
        scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NULL AND due_at > '2021-01-01'").await,
        LANES
    );
}
