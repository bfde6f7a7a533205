//! Idle lanes that are held: for how long, and how a worker learns that they owe something again.
//!
//! A worker learns it from a notification, from a tail read, from a sweep that reads all idle
//! lanes, or by reading a few idle lanes one by one.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use pgtopic_testkit::{
    Answer, Broker, Scene, Tally, blind_claims, eventually, hide_webhooks, keep_silent, one_arrives, publish,
};
use tokio_util::task::AbortOnDropHandle;

/// How many lanes `late-1`, `late-2` and so on there are. [`publish_steadily`] never touches them.
const LATE: usize = 12;

/// Publishes to many lanes, few messages at a time. So more lanes are idle than are read one by
/// one. It publishes slowly, because the machine may be busy with other tests.
async fn publish_steadily(scene: &Scene) -> AbortOnDropHandle<()> {
    let client = scene.another_client().await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        for part in (0..6).cycle() {
            let sql = format!(
                "INSERT INTO messages (topic_id, partition_key, payload, headers)
                 SELECT 1, 'key-' || k, '{{}}', '{{\"x-a\": \"b\"}}' FROM generate_series(1, 60) AS k
                  WHERE k % 6 = {part}
                    AND stripe(1, 'key-' || k) NOT IN (SELECT stripe(1, 'late-' || n) FROM generate_series(1, {LATE}) AS n)"
            );
            client.batch_execute(&sql).await.unwrap();
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
    }))
}

/// Counts the calls of functions in connections that are opened from now on.
async fn count_calls(scene: &Scene) {
    let database = scene.text("SELECT current_database()").await;
    scene.sql(&format!("ALTER DATABASE {database} SET track_functions = 'pl'")).await;
}

/// How often a function was called. A connection reports its calls up to a second late, or when it
/// ends.
async fn calls(scene: &Scene, function: &str) -> i64 {
    let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions WHERE funcname";
    scene.number(&format!("{sql} = '{function}'")).await
}

/// Starts a worker, and waits until tail reads find everything and it claims seldom.
async fn look_alone(scene: &Scene) -> (Broker, [AbortOnDropHandle<()>; 2]) {
    count_calls(scene).await;
    let broker = Broker::start(scene.store());
    let silence = keep_silent(scene.another_client().await);
    let handles = [AbortOnDropHandle::new(tokio::spawn(silence)), publish_steadily(scene).await];
    for _ in 0..10 {
        let before = [calls(scene, "list_news").await, calls(scene, "claim_lanes").await];
        tokio::time::sleep(Duration::from_secs(2)).await;
        let claims = calls(scene, "claim_lanes").await - before[1];
        if calls(scene, "list_news").await - before[0] > 5 * claims.max(1) {
            return (broker, handles);
        }
    }
    panic!("the worker claims all the time");
}

/// Rule 5. If the row were deleted and made again, each time a dead version would stay in the table
/// for as long as an old snapshot is held.
#[tokio::test]
async fn a_lane_where_messages_keep_arriving_keeps_its_row() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let mut tokens = BTreeSet::new();
    for n in 0..60 {
        scene.publish(&["a"]).await;
        scene.nothing_owed().await;
        // At first the worker does not know that messages keep arriving.
        if n >= 5 {
            tokens.insert(scene.number("SELECT coalesce(max(token), 0) FROM lanes").await);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(tokens.len(), 1, "{tokens:?}");
}

/// Each try to remove a lane costs a statement. A message that comes during the try waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_where_messages_keep_arriving_is_seldom_a_candidate_for_removal() {
    let scene = Scene::with_webhook(&[]).await;
    count_calls(&scene).await;
    let broker = Broker::start(scene.store());
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = scene.another_client().await;
        publishers.spawn(async move {
            for _ in 0..500 {
                publish(&client, "a").await.unwrap();
            }
        });
    }
    publishers.join_all().await;
    scene.no_lane_left().await;
    broker.stop().await;
    // A connection reports its calls when it ends. A pooler would keep it open.
    let none_left = "count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
    scene.until(none_left).await;
    // There was one try at least: no lane is left.
    let tries = async || Some(calls(&scene, "remove_idle_lanes").await).filter(|tries| *tries > 0);
    let tries = eventually("the tries are counted", tries).await;
    assert!(tries < 20, "{tries} for 2,000 messages");
}

#[tokio::test]
async fn a_tail_read_finds_a_message_that_committed_late_if_it_asks_for_it() {
    let scene = Scene::with_webhook(&[]).await;
    let store = scene.store();
    assert!(store.list_news(None, &[], 10).await.unwrap().is_empty(), "nothing was ever published");
    let first = scene.publish(&["a", "b"]).await[1];
    let news = store.list_news(None, &[], 10).await.unwrap();
    assert_eq!(
        news.iter().map(|news| news.message_id).collect::<Vec<_>>(),
        [first],
        "only the newest message"
    );

    let late = scene.another_client().await;
    late.batch_execute("BEGIN").await.unwrap();
    let late_id = publish(&late, "c").await.unwrap();
    let ids = scene.publish(&["d", "e", "f"]).await;
    let seen = async |after, missing: &[i64], limit| {
        let news = store.list_news(Some(after), missing, limit).await.unwrap();
        news.iter().map(|news| news.message_id).collect::<Vec<_>>()
    };
    assert_eq!(seen(first, &[], 2).await, ids[..2]);
    assert_eq!(seen(ids[2], &[late_id], 2).await, [0_i64; 0]);
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(seen(ids[2], &[], 2).await, [0_i64; 0], "the call has not asked for the late message");
    assert_eq!(seen(ids[2], &[late_id, late_id + 1_000], 2).await, [late_id]);
    let lane = scene.number(&format!("SELECT lane FROM deliveries WHERE message_id = {late_id}")).await;
    assert_eq!(store.list_news(Some(ids[2]), &[late_id], 2).await.unwrap()[0].lane, lane);
}

/// More lanes than are read one by one, and two webhooks. One of the webhooks has a filter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_idle_lanes_go_on_in_order() {
    let scene = Scene::with_webhook(&[]).await;
    scene.webhook("/some", &[("filter", "'$.n > 1'")]).await;
    let _broker = Broker::start(scene.store());
    let round = async |publisher: &tokio_postgres::Client, n: usize| {
        let sql = format!(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || k, '{{\"n\": {}}}' FROM generate_series(1, 60) AS k
              WHERE stripe(1, 'key-' || k) <> stripe(1, 'late')",
            n % 4
        );
        publisher.batch_execute(&sql).await.unwrap();
    };
    let mut warm_up = 0;
    while scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL").await < 40 {
        round(&scene.client, warm_up).await;
        scene.nothing_owed().await;
        warm_up += 1;
    }
    // The transactions overlap, so ids become visible out of order.
    let others = [scene.another_client().await, scene.another_client().await];
    for n in 0..20 {
        let late = &others[n % 2];
        late.batch_execute("BEGIN").await.unwrap();
        let id = publish(late, "late").await.unwrap();
        round(&scene.client, n).await;
        late.batch_execute("COMMIT").await.unwrap();
        scene.receiver.wait_until("the late message", |all| all.iter().any(|one| one.position() == id)).await;
    }
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    let (all, some): (Vec<_>, Vec<_>) = received.into_iter().partition(|request| request.path == "/");
    let keys = scene.number("SELECT count(DISTINCT partition_key) - 1 FROM messages").await;
    let keys = usize::try_from(keys).unwrap();
    let wanted = (0..warm_up).chain(0..20).filter(|n| n % 4 > 1).count();
    assert_eq!((all.len(), some.len()), ((warm_up + 20) * keys + 20, wanted * keys));
    for requests in [&all, &some] {
        for key in 1..=60 {
            let key = format!("key-{key}");
            let positions: Vec<i64> = requests
                .iter()
                .filter(|one| one.partition() == key)
                .map(pgtopic_testkit::Received::position)
                .collect();
            assert!(positions.is_sorted_by(|one, next| one < next), "{key}: {positions:?}");
        }
    }
}

/// Publishes two messages to a lane, thirty times. The second message comes while the request of
/// the first one is under way, and without a notification. Returns how often the second message
/// arrived without a call that `without` counts.
async fn arrive_behind_another(scene: &Scene, without: &Tally) -> usize {
    scene.receiver.set_script(move |request| match request.partition() {
        "slow" => Answer::After(Duration::from_millis(50), Box::new(Answer::Status(204))),
        _ => Answer::Status(204),
    });
    let mut arrived = 0;
    for _ in 0..30 {
        let first = scene.publish(&["slow"]).await[0];
        scene.arrival(first).await;
        let before = without.calls(&scene.client).await;
        let second = scene.publish_untold("slow").await;
        scene.arrival(second).await;
        arrived += usize::from(without.calls(&scene.client).await == before);
        scene.until("NOT EXISTS (SELECT FROM deliveries JOIN messages ON id = message_id WHERE partition_key = 'slow')").await;
    }
    println!("{arrived} of 30");
    arrived
}

/// Counts the calls that read all idle lanes: more lanes than are read one by one.
async fn ask_all(scene: &Scene) -> Tally {
    Tally::of(&scene.client, "read_lanes", "cardinality(lanes) > 16").await
}

/// Without tail reads, only a call that reads all idle lanes would find the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_comes_while_its_lane_sends_is_found_by_a_tail_read() {
    let scene = Scene::with_webhook(&[]).await;
    let _alone = look_alone(&scene).await;
    let arrived = arrive_behind_another(&scene, &ask_all(&scene).await).await;
    assert!(arrived > 5, "{arrived} of 30");
}

/// Few lanes are idle here. The worker reads a lane again after its request, and finds the message.
/// Without that read, only a sweep would find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_comes_while_its_lane_sends_is_found_by_the_next_read_of_the_lane() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let sweeps = Tally::of(&scene.client, "claim_lanes", "sweep").await;
    arrive_behind_another(&scene, &sweeps).await;
    let held =
        scene.text("SELECT string_agg(partition_key, ' ') FROM lanes JOIN workers ON id = claimed_by").await;
    assert_eq!(held, "slow", "the worker holds the lane where messages keep arriving");
    let arrived = arrive_behind_another(&scene, &sweeps).await;
    assert!(arrived > 5, "{arrived} of 30");
}

/// A tail read cannot claim the lane, which nobody holds. It tells the worker to claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_message_of_a_lane_waits_for_no_sweep() {
    let scene = Scene::with_webhook(&[]).await;
    let _alone = look_alone(&scene).await;
    blind_claims(&scene.client, "sweep").await;
    hide_webhooks(&scene.client).await;
    for n in 0..15 {
        one_arrives(&scene.client, &scene.receiver, &format!("new-{n}")).await;
        // Until claims find nothing again, and the worker only does tail reads.
        tokio::time::sleep(Duration::from_millis(170)).await;
    }
}

/// A message of a held lane commits so late that tail reads no longer ask for its id. Sweeps still
/// ask for it. Without that, only a call that reads all idle lanes would find the message, or a
/// claim if the lane was removed before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_commits_very_late_waits_for_a_sweep() {
    let scene = Scene::with_webhook(&[]).await;
    let _alone = look_alone(&scene).await;
    let stripes =
        format!("SELECT count(DISTINCT stripe(1, 'late-' || n)) FROM generate_series(1, {LATE}) AS n");
    assert_eq!(usize::try_from(scene.number(&stripes).await), Ok(LATE), "no two of the lanes share a stripe");
    let ask_all = ask_all(&scene).await;
    let late = (1..=LATE).map(|n| {
        let (scene, ask_all) = (&scene, &ask_all);
        async move {
            let (key, client) = (format!("late-{n}"), scene.another_client().await);
            // All idle lanes are read each two seconds. The tries are spread over that time.
            tokio::time::sleep(Duration::from_millis(170) * u32::try_from(n).unwrap()).await;
            let first = publish(&client, &key).await.unwrap();
            scene.arrival(first).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            publish(&client, &key).await.unwrap();
            client.batch_execute("BEGIN").await.unwrap();
            let id = publish(&client, &key).await.unwrap();
            // After this time only sweeps ask for the id.
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            let before = ask_all.calls(&client).await;
            client.batch_execute("COMMIT").await.unwrap();
            scene.arrival(id).await;
            ask_all.calls(&client).await == before
        }
    });
    let arrived = join_all(late).await.iter().filter(|without| **without).count();
    println!("{arrived} of {LATE}");
    assert!(arrived >= LATE / 2, "{arrived} of {LATE}");
}

/// A worker holds all lanes where messages keep arriving. A worker that starts later gets some.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_is_added_gets_some_of_the_lanes_that_are_held() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let _steady = publish_steadily(&scene).await;
    // Messages come to ten lanes at a time. So all lanes are claimed only if idle lanes are held.
    let all = "(SELECT count(DISTINCT partition_key) FROM messages)";
    scene
        .until(&format!("{all} > 40 AND {all} = (SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL)"))
        .await;
    let first = scene.text("SELECT id::text FROM workers").await;
    let _added = Broker::start(scene.store());
    scene.until(&format!("5 <= (SELECT count(*) FROM lanes WHERE claimed_by <> '{first}')")).await;
}
