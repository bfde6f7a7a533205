//! Lanes that ran dry and are held: for how long, and how a worker hears that they owe something
//! again.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use pgtopic_testkit::{
    Answer, Broker, Scene, Tally, blind_claims, eventually, hide_webhooks, keep_silent, one_arrives, publish,
};
use tokio_util::task::AbortOnDropHandle;

/// How many lanes, `late-1` and so on, are left alone by what is published steadily.
const LATE: usize = 12;

/// Messages for many lanes, few at a time: always, more are dry than are asked one by one. Told by
/// notifications that hand nothing over, and rarely. No more than a machine can bear that has much
/// else to do.
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

/// How often a function was called. A connection tells it a second late, or when it ends.
async fn calls(scene: &Scene, function: &str) -> i64 {
    let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions WHERE funcname";
    scene.number(&format!("{sql} = '{function}'")).await
}

/// Starts a worker that looks at the news alone, since they tell of everything.
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
    panic!("it asks for lanes all the time");
}

/// Rule 5: each time the row is made anew, a version of it stays while an old snapshot is held.
#[tokio::test]
async fn a_lane_where_messages_keep_arriving_keeps_its_row() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let mut tokens = BTreeSet::new();
    for n in 0..60 {
        scene.publish(&["a"]).await;
        scene.nothing_owed().await;
        // At first, messages are not known to keep arriving.
        if n >= 5 {
            tokens.insert(scene.number("SELECT coalesce(max(token), 0) FROM lanes").await);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(tokens.len(), 1, "{tokens:?}");
}

/// Each try to retire it costs a statement, and keeps the message waiting that came in the
/// meantime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_where_messages_keep_arriving_is_not_tried_to_be_retired_again_and_again() {
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
    // A pooler keeps its connections, which tell what they counted when they end.
    let none_left = "count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
    scene.until(none_left).await;
    // Once at least: no lane was left.
    let tries = async || Some(calls(&scene, "remove_idle_lanes").await).filter(|tries| *tries > 0);
    let tries = eventually("the tries are counted", tries).await;
    assert!(tries < 20, "{tries} for 2,000 messages");
}

#[tokio::test]
async fn a_message_that_commits_late_is_among_the_news_once_it_is_asked_for() {
    let scene = Scene::with_webhook(&[]).await;
    let store = scene.store();
    assert!(store.list_news(None, &[], 10).await.unwrap().is_empty(), "nothing was ever published");
    let first = scene.publish(&["a", "b"]).await[1];
    let news = store.list_news(None, &[], 10).await.unwrap();
    assert_eq!(news.iter().map(|news| news.message_id).collect::<Vec<_>>(), [first], "the newest alone");

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
    assert_eq!(seen(ids[2], &[], 2).await, [0_i64; 0], "nobody asked for it");
    assert_eq!(seen(ids[2], &[late_id, late_id + 1_000], 2).await, [late_id]);
    let lane = scene.number(&format!("SELECT lane FROM deliveries WHERE message_id = {late_id}")).await;
    assert_eq!(store.list_news(Some(ids[2]), &[late_id], 2).await.unwrap()[0].lane, lane);
}

/// More than are asked one by one, for two webhooks, one of which wants only some messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_lanes_that_ran_dry_go_on_in_order() {
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
    // In transactions that overlap, so that ids become visible out of order.
    let others = [scene.another_client().await, scene.another_client().await];
    for n in 0..20 {
        let late = &others[n % 2];
        late.batch_execute("BEGIN").await.unwrap();
        let id = publish(late, "late").await.unwrap();
        round(&scene.client, n).await;
        late.batch_execute("COMMIT").await.unwrap();
        scene.receiver.wait_until("the late one", |all| all.iter().any(|one| one.position() == id)).await;
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

/// Publishes to a lane thirty times twice, the second time while it waits for its receiver, without
/// a word to the workers. Says how often the second message has arrived without a call of those
/// that are counted in between.
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

/// The calls that ask more lanes than are asked one by one: all that are dry.
async fn ask_all(scene: &Scene) -> Tally {
    Tally::of(&scene.client, "read_lanes", "cardinality(lanes) > 16").await
}

/// The news tell of it. By nothing but a call that asks all dry lanes, no message at all would come
/// without such a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_comes_while_its_lane_sends_leaves_when_that_is_done() {
    let scene = Scene::with_webhook(&[]).await;
    let _alone = look_alone(&scene).await;
    let arrived = arrive_behind_another(&scene, &ask_all(&scene).await).await;
    assert!(arrived > 5, "{arrived} of 30");
}

/// Nobody who could read it is woken by its notification: the lane itself is read on. By nothing
/// but a sweep, no message at all would come without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_comes_while_its_lane_sends_is_found_by_the_lane_where_few_are_dry() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let sweeps = Tally::of(&scene.client, "claim_lanes", "sweep").await;
    arrive_behind_another(&scene, &sweeps).await;
    let held =
        scene.text("SELECT string_agg(partition_key, ' ') FROM lanes JOIN workers ON id = claimed_by").await;
    assert_eq!(held, "slow", "it is known that messages keep arriving");
    let arrived = arrive_behind_another(&scene, &sweeps).await;
    assert!(arrived > 5, "{arrived} of 30");
}

/// Such a look finds no lane that is not held, but says that there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_begins_a_lane_waits_for_no_sweep() {
    let scene = Scene::with_webhook(&[]).await;
    let _alone = look_alone(&scene).await;
    blind_claims(&scene.client, "sweep").await;
    hide_webhooks(&scene.client).await;
    scene.sql("CREATE TABLE dbg (at timestamptz default clock_timestamp(), what text, n int)").await;
    pgtopic_testkit::begin_with(
        &scene.client,
        "claim_lanes",
        "INSERT INTO pgtopic.dbg (what, n) VALUES (concat('claim ', sweep), cardinality(webhook_ids));",
    )
    .await;
    pgtopic_testkit::begin_with(
        &scene.client,
        "claim_messages",
        "INSERT INTO pgtopic.dbg (what, n) VALUES ('look', cardinality(message_ids));",
    )
    .await;
    pgtopic_testkit::begin_with(
        &scene.client,
        "list_news",
        "INSERT INTO pgtopic.dbg (what, n) VALUES ('news', cardinality(missing));",
    )
    .await;
    for n in 0..15 {
        one_arrives(&scene.client, &scene.receiver, &format!("new-{n}")).await;
        // Until claims find nothing again, and the news are looked at alone.
        tokio::time::sleep(Duration::from_millis(170)).await;
    }
    dbg(&scene).await;
}

#[allow(dead_code)]
async fn dbg(scene: &Scene) {
    for row in scene
        .client
        .query(
            "SELECT date_trunc('second', at)::text, what, count(*) FROM dbg GROUP BY 1, 2 ORDER BY 1, 2",
            &[],
        )
        .await
        .unwrap()
    {
        println!("{} {} {}", row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, i64>(2));
    }
}

/// Of a lane that is held, and committed when looks no longer ask for it: the sweeps do. By nothing
/// but a call that asks all dry lanes, hardly any would come without such a call: one whose lane
/// happened to be retired first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_commits_very_late_waits_for_a_sweep() {
    let scene = Scene::with_webhook(&[]).await;
    let _alone = look_alone(&scene).await;
    let stripes =
        format!("SELECT count(DISTINCT stripe(1, 'late-' || n)) FROM generate_series(1, {LATE}) AS n");
    assert_eq!(usize::try_from(scene.number(&stripes).await), Ok(LATE), "they are in nobody's way");
    let ask_all = ask_all(&scene).await;
    let late = (1..=LATE).map(|n| {
        let (scene, ask_all) = (&scene, &ask_all);
        async move {
            let (key, client) = (format!("late-{n}"), scene.another_client().await);
            // All over the two seconds between those sweeps that ask all dry lanes.
            tokio::time::sleep(Duration::from_millis(170) * u32::try_from(n).unwrap()).await;
            let first = publish(&client, &key).await.unwrap();
            scene.arrival(first).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            publish(&client, &key).await.unwrap();
            client.batch_execute("BEGIN").await.unwrap();
            let id = publish(&client, &key).await.unwrap();
            // Longer than any look but a sweep's asks for it.
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

/// A worker that holds what keeps coming leaves a part of it to one that is started later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_is_added_gets_some_of_the_lanes_that_are_held() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    let _steady = publish_steadily(&scene).await;
    // Published to ten at a time: all are claimed at once only when they are held.
    let all = "(SELECT count(DISTINCT partition_key) FROM messages)";
    scene
        .until(&format!("{all} > 40 AND {all} = (SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL)"))
        .await;
    let first = scene.text("SELECT id::text FROM workers").await;
    let _added = Broker::start(scene.store());
    scene.until(&format!("5 <= (SELECT count(*) FROM lanes WHERE claimed_by <> '{first}')")).await;
}
