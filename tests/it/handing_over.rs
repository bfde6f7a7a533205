//! Messages that are handed over with their notification: what is told to whom, and who may claim what did not arrive.

use std::collections::BTreeSet;

use pgtopic::{
    domain::lane::LaneKey,
    store::{ClaimedLane, DoneDelivery, Follower, Handed, Notice, OwedMessage, Settlement},
};
use rstest::rstest;

use crate::support::{Puppet, Scene, publish};

/// What a begun lane is told to owe: its key, token and messages.
fn told(lane: &ClaimedLane) -> (LaneKey, i64, Vec<i64>) {
    (lane.key, lane.token, lane.owed.items.iter().map(OwedMessage::id).collect())
}

async fn holders(scene: &Scene) -> String {
    let holder = "coalesce(claimed_by::text, '-') || ' ' || coalesce(token, 0)";
    scene.text(&format!("SELECT string_agg({holder}, ', ' ORDER BY webhook_id) FROM lanes")).await
}

#[tokio::test]
async fn a_message_that_begins_a_lane_is_the_idlest_workers_by_its_row_and_told_to_it_alone() {
    let scene = Scene::with_webhook(&[]).await;
    let (mut busier, mut idler) = (Puppet::accepting(&scene, 2).await, Puppet::accepting(&scene, 1).await);
    let insert = r#"INSERT INTO messages (topic_id, partition_key, payload, created_at)
                    VALUES (1, 'a "key"', '{"a":  "é\n" }', '2026-01-02 03:04:05.678901Z') RETURNING id, lane"#;
    let row = scene.client.query_one(insert, &[]).await.unwrap();
    let (id, lane): (i64, i64) = (row.get(0), row.get(1));

    let handed = idler.handed().await;
    let [begun] = &handed.begun().collect::<Vec<_>>()[..] else { panic!("{handed:?}") };
    assert_eq!(told(begun), (LaneKey { webhook_id: 1, lane }, -id, vec![id]));
    let OwedMessage::Present(message) = &begun.owed.items[0] else { panic!("{begun:?}") };
    assert_eq!((&*message.partition_key, &*message.payload), (r#"a "key""#, r#"{"a":  "é\n" }"#.as_bytes()));
    assert_eq!(message.created_at.to_string(), "2026-01-02T03:04:05.678901Z");
    assert_eq!(holders(&scene).await, format!("{} -{id}", idler.id));
    assert!(busier.heard().await.is_empty());
    assert!(busier.claim(1, Some(&[])).await.unwrap().is_empty(), "it is nobody else's");
}

#[tokio::test]
async fn workers_that_are_equally_idle_share_what_is_handed_over() {
    let scene = Scene::with_webhook(&[]).await;
    let puppets = [Puppet::accepting(&scene, 1).await, Puppet::accepting(&scene, 1).await];
    for key in 0..30 {
        for puppet in &puppets {
            puppet.beat(1, true).await;
        }
        scene.publish(&[&format!("key-{key}")]).await;
    }
    let holders = scene.number("SELECT count(DISTINCT claimed_by) FROM lanes WHERE token < 0").await;
    assert_eq!(holders, 2);
}

#[tokio::test]
async fn what_follows_in_a_held_lane_is_told_to_its_holder_with_what_comes_before() {
    let scene = Scene::with_webhook(&[]).await;
    let mut holder = Puppet::accepting(&scene, 5).await;
    let first = scene.publish(&["a"]).await[0];
    let begun = holder.handed().await.begun().next().unwrap();
    let mut other = Puppet::accepting(&scene, 0).await;

    let follower = |handed: &Handed| {
        let Follower { key, rewinds, after, message } = handed.followers().next().unwrap();
        (key, rewinds, after, message.id)
    };
    let second = scene.publish(&["a"]).await[0];
    assert_eq!(follower(&holder.handed().await), (begun.key, 0, Some(first), second));
    scene.sql("UPDATE lanes SET rewinds = 3").await;
    let third = scene.publish(&["a"]).await[0];
    assert_eq!(follower(&holder.handed().await), (begun.key, 3, Some(second), third));
    let delivery = |message_id| DoneDelivery { key: begun.key, token: begun.token, message_id };
    let mut all = Settlement { done: [first, second, third].map(delivery).into(), ..Settlement::default() };
    holder.store.settle(holder.id, &mut all).await.unwrap();
    let fourth = scene.publish(&["a"]).await[0];
    assert_eq!(follower(&holder.handed().await), (begun.key, 3, None, fourth));
    assert!(other.heard().await.is_empty());
}

#[rstest]
#[case::headers("INSERT INTO messages (topic_id, payload, headers) VALUES (1, '{}', '{\"h\": \"1\"}')")]
#[case::long("INSERT INTO messages (topic_id, payload) VALUES (1, to_json(repeat('x', 6100)))")]
#[case::long_key(
    "INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, repeat('\u{1}', 1024), '{}')"
)]
#[case::after_one_that_cannot(
    "INSERT INTO messages (topic_id, payload, headers) VALUES (1, '{}', '{\"h\": \"1\"}');
     INSERT INTO messages (topic_id, payload) SELECT 1, '{}' FROM generate_series(1, 100)"
)]
#[case::repeatable_read(
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::paused(
    "UPDATE webhooks SET paused = true; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::disabled(
    "UPDATE webhooks SET disabled_reason = 'gone'; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::starting(
    "UPDATE webhooks SET state = 'starting'; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::no_room(
    "UPDATE workers SET accepts = false; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::silent(
    "UPDATE workers SET heartbeat_at = heartbeat_at - interval '3 s'; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::many_versions_of_workers(
    "INSERT INTO workers (id, lock_key, name, version, capacity, lease)
     SELECT gen_random_uuid(), 1, repeat('x', 200), '', 1, '1 s' FROM generate_series(1, 5000);
     INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::no_channel(
    "UPDATE workers SET channel = NULL; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[case::ahead(
    "UPDATE workers SET heartbeat_at = heartbeat_at + interval '1 h'; INSERT INTO messages (topic_id, payload) VALUES (1, '{}')"
)]
#[tokio::test]
async fn what_cannot_be_handed_over_is_due_and_everybody_is_woken(#[case] inserts: &str) {
    let scene = Scene::with_webhook(&[]).await;
    let mut ears = [Puppet::accepting(&scene, 0).await, Puppet::accepting(&scene, 1).await];
    scene.sql(&format!("BEGIN; {inserts}; COMMIT")).await;
    assert_eq!(holders(&scene).await, "- 0");
    for ear in &mut ears {
        let heard: Vec<Notice> =
            ear.heard().await.into_iter().filter(|notice| *notice != Notice::Webhooks).collect();
        assert_eq!(heard, [Notice::Wake]);
    }
}

#[tokio::test]
async fn nobody_is_told_of_what_nobody_is_owed() {
    let scene = Scene::with_webhook(&[("filter", "'$ == 1'")]).await;
    scene.sql("INSERT INTO topics (name) VALUES ('nobodys')").await;
    let mut ear = Puppet::accepting(&scene, 0).await;
    scene.sql("INSERT INTO messages (topic_id, payload) VALUES (1, '2'), (2, '{}')").await;
    assert!(ear.heard().await.is_empty());
    scene.sql("INSERT INTO messages (topic_id, payload) VALUES (1, '2'), (1, '1')").await;
    assert_eq!(ear.handed().await.begun().count(), 1);
}

#[tokio::test]
async fn of_one_transaction_only_the_first_few_are_handed_over() {
    let scene = Scene::with_webhook(&[]).await;
    let mut ear = Puppet::accepting(&scene, 0).await;
    scene.sql("BEGIN").await;
    let keys: Vec<String> = (0..15).map(|key| format!("key-{key}")).collect();
    let ids = scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(ear.heard().await.is_empty(), "nothing is told before the commit");
    scene.sql("COMMIT").await;
    let heard = ear.heard().await;
    let handed = |notice: &Notice| match notice {
        Notice::Handed(handed) => handed.begun().next().map(|lane| -lane.token),
        _ => None,
    };
    assert_eq!(heard.iter().filter_map(handed).collect::<Vec<_>>(), ids[..10]);
    assert_eq!(heard[10..], [Notice::Wake]);
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NULL").await, 5);

    // So it is with the rows of one statement.
    let insert = "INSERT INTO messages (topic_id, partition_key, payload)
                  SELECT 1, 'row-' || n, '{}' FROM generate_series(1, 1000) AS n";
    scene.sql(insert).await;
    let heard = ear.heard().await;
    assert_eq!((heard.iter().filter_map(handed).count(), heard.len()), (10, 11));
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NULL").await, 5 + 990);

    // What is rolled back was never said.
    scene.sql("BEGIN; SAVEPOINT s").await;
    scene.publish(&["undone"]).await;
    scene.sql("ROLLBACK TO s").await;
    let id = scene.publish(&["undone"]).await[0];
    scene.sql("COMMIT").await;
    assert_eq!(ear.handed().await.begun().next().unwrap().token, -id);
}

#[tokio::test]
async fn no_more_webhooks_are_told_than_a_notification_holds() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.webhook(&format!("/{number}"), &[]).await;
    }
    // One that wants none of it.
    scene.webhook("/none", &[("filter", "'$.a == 1'")]).await;
    // The longest that a number can be written.
    scene.sql("SELECT setval('message_ids', 8000000000000000000)").await;
    let mut ear = Puppet::accepting(&scene, 0).await;
    let insert =
        "INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'a', to_json(repeat('x', 5800)))";
    scene.sql(insert).await;
    let heard = ear.heard().await;
    let [Notice::Handed(handed), Notice::Wake] = &heard[..] else { panic!("{heard:?}") };
    let webhooks: BTreeSet<i64> = handed.begun().map(|lane| lane.key.webhook_id).collect();
    assert_eq!((webhooks.len(), handed.followers().count()), (30, 0));
    assert_eq!(scene.number("SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL").await, 30);

    // All lanes exist now, and 30 of them are held.
    scene.sql(insert).await;
    let heard = ear.heard().await;
    let [Notice::Handed(handed), Notice::Wake] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(handed.followers().map(|follower| follower.key.webhook_id).collect::<BTreeSet<_>>(), webhooks);
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 80);
}

/// By its worker after a second, by others never while that one is there.
#[tokio::test]
async fn what_did_not_arrive_is_claimed_by_its_worker_again_and_by_others_once_that_is_gone() {
    let scene = Scene::with_webhook(&[]).await;
    let (taker, other) = (Puppet::accepting(&scene, 0).await, Puppet::accepting(&scene, 1).await);
    let ids = scene.publish(&["lost", "arrived"]).await;
    assert_eq!(holders(&scene).await, format!("{0} -{1}, {0} -{2}", taker.id, ids[0], ids[1]));
    let arrived = [-ids[1]];
    assert!(taker.claim(1, Some(&arrived)).await.unwrap().is_empty(), "it may be on its way");
    scene.sql("UPDATE lanes SET due_at = due_at - interval '2 s'").await;
    assert!(taker.claim(1, None).await.unwrap().is_empty());
    assert!(other.claim(1, Some(&[])).await.unwrap().is_empty());
    let claimed = taker.claim(1, Some(&arrived)).await.unwrap();
    assert_eq!(
        claimed.iter().map(|lane| (lane.token, told(lane).2)).collect::<Vec<_>>(),
        [(-ids[0], vec![ids[0]])],
        "by the claim that its notification speaks of"
    );

    // A publisher that commits after its worker was struck off.
    let publisher = scene.another_client().await;
    taker.beat(0, true).await;
    publisher.batch_execute("BEGIN").await.unwrap();
    let late = publish(&publisher, "late").await.unwrap();
    other.store.release_worker(taker.id).await.unwrap().unwrap();
    assert_eq!(other.claim(1, Some(&[])).await.unwrap().len(), 2, "what was committed is released");
    publisher.batch_execute("COMMIT").await.unwrap();
    assert!(other.claim(1, None).await.unwrap().is_empty());
    let claimed = other.claim(1, Some(&[])).await.unwrap();
    assert_eq!(
        claimed.iter().map(|lane| (lane.token, told(lane).2)).collect::<Vec<_>>(),
        [(1, vec![late])],
        "by a claim of its own"
    );
}

/// A rolling upgrade: the database is migrated while workers of the version before run.
#[tokio::test]
async fn workers_of_the_version_before_go_on() {
    let scene = Scene::with_webhook(&[]).await;
    let ear = Puppet::accepting(&scene, 0).await;
    let id = ear.id;
    assert_eq!(scene.number(&format!("SELECT worker_heartbeat('{id}', 1, 20)")).await, 0);
    assert_eq!(scene.text("SELECT accepts::text FROM workers").await, "false");
    // As it registers.
    scene.sql("UPDATE workers SET channel = NULL").await;
    scene.publish(&["a", "b"]).await;
    let claim = format!(
        "SELECT count(DISTINCT lane) FROM claim_lanes('{id}', 1, '{{1}}', '{{10}}', '{{-infinity}}', 16, 100000)"
    );
    assert_eq!(scene.number(&claim).await, 2);
}
