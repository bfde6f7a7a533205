//! Which webhooks have a lane to claim, and what it costs to know that.

use pgtopic::store::{DUE_WEBHOOKS_MAX, DueAfter, DueWebhook, DueWebhooks, ReadLimits, Store, Want};
use pgtopic_testkit::Scene;
use uuid::Uuid;

use super::pages;

/// A call of `list_due_webhooks` from the first webhook on.
const LIST: &str = "SELECT count(*) FROM list_due_webhooks(NULL, 1000, true)";

/// What a call may read, in pages: a few for each webhook with a lane, none for the others.
const FEW_PAGES: i64 = 300;

fn ids(due: &[DueWebhook]) -> Vec<i64> {
    due.iter().map(|due| due.webhook_id).collect()
}

/// A full round, call by call. Returns the webhooks, and how many calls there were.
async fn round(store: &Store) -> (Vec<i64>, usize) {
    let (mut found, mut calls, mut after) = (Vec::new(), 0, None);
    loop {
        let DueWebhooks { webhooks, next } = store.list_due_webhooks(after, false).await.unwrap();
        found.extend(ids(&webhooks));
        calls += 1;
        after = next;
        if after.is_none() {
            return (found, calls);
        }
    }
}

/// Makes webhooks with these ids, and this many topics beside that of the scene.
async fn webhooks(scene: &Scene, count: i64) {
    scene
        .sql(&format!(
            "INSERT INTO topics (name) SELECT 'topic-' || n FROM generate_series(1, {count}) AS n;
             INSERT INTO webhooks (topic_id, url, secrets)
             SELECT id, 'http://127.0.0.1:9/', '{{whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}}'
               FROM topics WHERE name LIKE 'topic-%' ORDER BY id"
        ))
        .await;
}

/// SQL: a lane of each webhook that the condition names.
fn lane(due_at: &str, claimed_by: &str, webhooks: &str) -> String {
    format!(
        "INSERT INTO lanes (webhook_id, lane, position, due_at, claimed_by, token, partition_key)
         SELECT id, 1, 0, {due_at}, {claimed_by}, 1, 'key' FROM webhooks WHERE {webhooks}"
    )
}

#[tokio::test]
async fn webhooks_are_due_while_a_lane_of_theirs_can_be_claimed() {
    let scene = Scene::new().await;
    webhooks(&scene, 10).await;
    let (living, gone) = (Uuid::new_v4(), Uuid::new_v4());
    for (due_at, claimed_by, webhooks) in [
        // 1 has no lane.
        ("now() - interval '1 h'", "NULL".to_owned(), "id = 2 OR id >= 7"),
        ("now() + interval '1 h'", "NULL".to_owned(), "id = 3"),
        ("'infinity'", "NULL".to_owned(), "id = 4"),
        ("now() - interval '1 h'", format!("'{living}'"), "id = 5"),
        ("now() - interval '1 h'", format!("'{gone}'"), "id = 6"),
    ] {
        scene.sql(&lane(due_at, &claimed_by, webhooks)).await;
    }
    scene
        .sql(&format!(
            "INSERT INTO workers (id, lock_key, name, version, capacity, lease) VALUES ('{living}', -1, '', '', 1, '1 min');
             UPDATE webhooks SET paused = true WHERE id = 7;
             UPDATE webhooks SET disabled_reason = 'gone' WHERE id = 8;
             UPDATE webhooks SET state = 'starting' WHERE id = 9;
             UPDATE topics SET paused = 'hold' WHERE id = (SELECT topic_id FROM webhooks WHERE id = 10)"
        ))
        .await;
    let store = scene.store();
    let due = store.list_due_webhooks(None, false).await.unwrap();
    assert_eq!((ids(&due.webhooks), due.next), (vec![2], None));
    let due = store.list_due_webhooks(None, true).await.unwrap();
    assert_eq!(ids(&due.webhooks), [2, 6], "the holder of 6 is not registered");
    assert_eq!(ids(&store.list_due_webhooks(Some(2), true).await.unwrap().webhooks), [6]);

    scene
        .sql(
            "UPDATE webhooks SET paused = false, disabled_reason = NULL, state = 'active';
             UPDATE topics SET paused = 'refuse' WHERE paused = 'hold'; DELETE FROM webhooks WHERE id = 2",
        )
        .await;
    let due = store.list_due_webhooks(None, false).await.unwrap();
    assert_eq!(ids(&due.webhooks), [7, 8, 9, 10], "2 is deleted");
}

#[tokio::test]
async fn a_call_looks_at_a_bounded_number_of_webhooks_and_says_where_it_stopped() {
    let scene = Scene::new().await;
    let most = i64::from(DUE_WEBHOOKS_MAX);
    webhooks(&scene, most * 2 + 10).await;
    let store = scene.store();
    scene.sql(&lane("now() + interval '1 h'", "NULL", &format!("id <= {most} * 2"))).await;
    assert_eq!(round(&store).await, (Vec::new(), 3), "the last call finds the end");
    scene.sql(&lane("now() - interval '1 h'", "NULL", &format!("id > {most} * 2"))).await;
    scene.sql(&format!("UPDATE lanes SET due_at = now() WHERE webhook_id IN (1, {most}, {most} + 1)")).await;
    let mut expected = vec![1, most, most + 1];
    expected.extend(most * 2 + 1..=most * 2 + 10);
    assert_eq!(round(&store).await, (expected, 3));
    let first = store.list_due_webhooks(None, false).await.unwrap();
    assert_eq!(first.next, Some(most), "the one that was looked at last is due itself");
}

/// Ten of 10,000 webhooks are due. One of them has a lane in each state, many times. The plan was
/// made while there was no lane.
#[tokio::test]
async fn a_call_reads_little_however_many_webhooks_and_lanes_there_are() {
    let scene = Scene::new().await;
    for _ in 0..6 {
        scene.number(LIST).await;
    }
    webhooks(&scene, 10_000).await;
    scene.sql(&lane("now() - interval '1 h'", "NULL", "id % 1000 = 7")).await;
    for (webhook, due_at) in
        [(7, "now() - interval '1 day'"), (8, "now() + interval '1 day'"), (9, "'infinity'")]
    {
        scene
            .sql(&format!(
                "INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key)
                 SELECT {webhook}, -n, 0, {due_at}, 'key' FROM generate_series(1, 50000) AS n"
            ))
            .await;
    }
    let publisher = scene.another_client().await;
    publisher.batch_execute("VACUUM ANALYZE lanes, webhooks, topics").await.unwrap();
    assert_eq!(scene.number(LIST).await, 10);
    let read = pages(&scene, LIST).await;
    assert!(read < FEW_PAGES, "{read} pages");
}

/// While a snapshot is held, the versions of removed lanes stay, and each look walks over them. A
/// claim that begins where the look has found a lane does not walk over them again.
#[tokio::test]
async fn a_claim_begins_where_the_look_has_found_a_lane() {
    let scene = Scene::new().await;
    webhooks(&scene, 2).await;
    let holder = scene.another_client().await;
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM lanes").await.unwrap();
    scene
        .sql(
            "INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key)
             SELECT 1, n, 0, now() - interval '1 h', 'key' FROM generate_series(1, 20000) AS n",
        )
        .await;
    // Not in the same transaction: its own versions go at once.
    scene.sql("DELETE FROM lanes").await;
    scene.sql(&lane("now() - interval '1 min'", "NULL", "id = 1")).await;
    let (store, worker) = (scene.store(), scene.idle_worker().await);
    let due = store.list_due_webhooks(None, false).await.unwrap().webhooks;
    assert_eq!(ids(&due), [1]);
    let claim = |due_after: String| {
        format!(
            "SELECT count(*) FROM claim_lanes('{worker}', 1, '{{1}}', '{{1}}', ARRAY[{due_after}::timestamptz], true, 16, 1000)"
        )
    };
    let from_the_beginning = pages(&scene, &claim("'-infinity'".to_owned())).await;
    scene.sql("UPDATE lanes SET claimed_by = NULL").await;
    let from_the_lane = pages(&scene, &claim(format!("'{}'", due[0].due_at))).await;
    assert!(from_the_beginning > 2 * FEW_PAGES, "{from_the_beginning} pages: the snapshot holds nothing");
    assert!(from_the_lane < FEW_PAGES, "{from_the_lane} pages");

    scene.sql("UPDATE lanes SET claimed_by = NULL").await;
    let want = Want { webhook_id: 1, slots: 1, due_after: DueAfter::At(due[0].due_at) };
    let limits = ReadLimits { messages_per_lane: 16, payload_bytes: 1_000 };
    let claimed = store.claim_lanes(worker, 2, &[want], false, limits).await.unwrap();
    assert_eq!(claimed.len(), 1);
}
