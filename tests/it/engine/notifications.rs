//! What a notification says, what it must not say, and what a worker does with it.

use std::time::Duration;

use pgtopic::store::{Notice, OwedMessage, Room, Told};
use pgtopic_testkit::{Answer, Broker, Gate, Puppet, Scene, check_order, expected, publish};
use rstest::rstest;
use uuid::Uuid;

const ROOM: Room = Room { lanes: 10, full_webhooks: Vec::new() };

#[tokio::test]
async fn a_notification_holds_the_id_and_the_stripe_of_a_message_and_no_more() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    scene.sql("INSERT INTO webhooks (topic_id, url, secrets) SELECT 2, url, secrets FROM webhooks").await;
    let mut ear = Puppet::new(&scene).await;
    let stripe = i32::try_from(scene.number("SELECT stripe(1, 'a')::bigint").await).unwrap();
    for sql in [
        "VALUES (1, 'a', '\"secret\"', NULL, NULL)",
        "VALUES (1, 'a', '1', '{\"authorization\": \"secret\"}', NULL)",
        "VALUES (1, 'a', '1', NULL, 'secret')",
        "VALUES (1, 'a', to_json(repeat('secret', 10000)), NULL, NULL)",
    ] {
        let insert = format!(
            "INSERT INTO messages (topic_id, partition_key, payload, headers, idempotency_key) {sql} RETURNING id"
        );
        let message_id = scene.number(&insert).await;
        assert_eq!(ear.told().await, [Told { message_id, stripe: Some(stripe) }], "{sql}");
    }
    let message_id =
        scene.number("INSERT INTO messages (topic_id, payload) VALUES (2, '1') RETURNING id").await;
    assert_eq!(ear.told().await, [Told { message_id, stripe: None }], "a message of an unordered topic");
}

#[tokio::test]
async fn a_message_that_is_owed_to_nobody_is_not_notified() {
    let scene = Scene::with_webhook(&[("filter", "'$ == 1'")]).await;
    scene.sql("INSERT INTO topics (name) VALUES ('nobodys')").await;
    let mut ear = Puppet::new(&scene).await;
    scene.sql("INSERT INTO messages (topic_id, payload) VALUES (1, '2'), (2, '{}')").await;
    assert!(ear.heard().await.is_empty());
    scene.sql("INSERT INTO messages (topic_id, payload) VALUES (1, '2'), (1, '1')").await;
    assert_eq!(ear.told().await.len(), 1);
}

#[tokio::test]
async fn only_the_first_ten_messages_of_a_transaction_are_notified() {
    let scene = Scene::with_webhook(&[]).await;
    let mut ear = Puppet::new(&scene).await;
    let ids = |notices: &[Notice]| -> Vec<i64> {
        let id = |notice: &Notice| match notice {
            Notice::Published(told) => Some(told.message_id),
            _ => None,
        };
        notices.iter().filter_map(id).collect()
    };
    scene.sql("BEGIN").await;
    let keys: Vec<String> = (0..15).map(|key| format!("key-{key}")).collect();
    let published = scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(ear.heard().await.is_empty(), "no notification comes before the commit");
    scene.sql("COMMIT").await;
    let heard = ear.heard().await;
    assert_eq!(ids(&heard), published[..10]);
    assert_eq!(heard[10..], [Notice::Wake]);

    // The same is true for the rows of one statement.
    let insert = "INSERT INTO messages (topic_id, partition_key, payload)
                  SELECT 1, 'row-' || n, '{}' FROM generate_series(1, 1000) AS n";
    scene.sql(insert).await;
    let heard = ear.heard().await;
    assert_eq!((ids(&heard).len(), heard.len()), (10, 11));

    // A message that is rolled back is not notified. The message after it is.
    scene.sql("BEGIN; SAVEPOINT s").await;
    scene.publish(&["undone"]).await;
    scene.sql("ROLLBACK TO s").await;
    let id = scene.publish(&["undone"]).await[0];
    scene.sql("COMMIT").await;
    assert_eq!(ids(&ear.heard().await), [id]);
}

/// One transaction publishes to both installations. The limit of notifications of a transaction
/// counts for each installation by itself.
#[tokio::test]
async fn two_installations_in_one_database_notify_separately() {
    let scene = Scene::with_webhook(&[]).await;
    let mut config = scene.database.config();
    config.schema = "other \"one\"'s".to_owned();
    let store = pgtopic::store::Store::new(&config).unwrap();
    store.migrate().await.unwrap();
    let other = r#""other ""one""'s""#;
    scene
        .sql(&format!(
            "INSERT INTO {other}.topics (name) VALUES ('orders');
             INSERT INTO {other}.webhooks (topic_id, url, secrets) SELECT 1, url, secrets FROM pgtopic.webhooks"
        ))
        .await;
    let (mut ear, mut other_ear) = (Puppet::new(&scene).await, Puppet::on(store).await);
    scene
        .sql(&format!(
            "BEGIN;
             INSERT INTO pgtopic.messages (topic_id, payload) SELECT 1, '{{}}' FROM generate_series(1, 20);
             INSERT INTO {other}.messages (topic_id, payload) VALUES (1, '{{}}');
             COMMIT"
        ))
        .await;
    assert_eq!(ear.heard().await.len(), 11);
    assert_eq!(other_ear.told().await.len(), 1);
}

#[tokio::test]
async fn a_look_claims_the_lanes_of_the_notified_messages_and_no_others() {
    let scene = Scene::with_webhook(&[]).await;
    scene.webhook("/other", &[]).await;
    let (first, second) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    let ids = scene.publish(&["a", "b", "a", "c"]).await;
    let looked = first.look(1, &[ids[2], ids[2] + 1000, -1], &ROOM).await;
    assert!(looked.followers.is_empty());
    let owed: Vec<Vec<i64>> =
        looked.claimed.iter().map(|lane| lane.owed.items.iter().map(OwedMessage::id).collect()).collect();
    assert_eq!(owed, [[ids[0], ids[2]], [ids[0], ids[2]]], "both lanes, each read from its beginning");

    let nothing = second.look(1, &[ids[0], ids[2]], &ROOM).await;
    assert!(nothing.claimed.is_empty() && nothing.followers.is_empty(), "the first worker holds the lanes");
    let little = Room { lanes: 1, full_webhooks: vec![1] };
    let looked = second.look(2, &[ids[1], ids[3]], &little).await;
    assert_eq!(looked.claimed.iter().map(|lane| lane.key.webhook_id).collect::<Vec<_>>(), [2]);
}

/// A look claims no lane that waits or is halted, and no lane of a webhook that takes nothing now.
#[rstest]
#[case::waiting("UPDATE lanes SET due_at = clock_timestamp() + interval '1 h'")]
#[case::halted("UPDATE lanes SET due_at = 'infinity', halted = true")]
#[case::paused("UPDATE webhooks SET paused = true")]
#[case::disabled("UPDATE webhooks SET disabled_reason = 'gone'")]
#[case::starting("UPDATE webhooks SET state = 'starting'")]
#[case::deleted("DELETE FROM webhooks")]
#[tokio::test]
async fn a_look_claims_no_lane_that_is_not_due(#[case] change: &str) {
    let scene = Scene::with_webhook(&[]).await;
    let puppet = Puppet::new(&scene).await;
    let ids = scene.publish(&["a"]).await;
    scene.sql(change).await;
    assert!(puppet.look(1, &ids, &ROOM).await.claimed.is_empty());
}

#[tokio::test]
async fn a_look_reads_a_follower_and_names_the_message_before_it() {
    let scene = Scene::with_webhook(&[]).await;
    let (holder, other) = (Puppet::new(&scene).await, Puppet::new(&scene).await);
    let first = scene.publish(&["a"]).await[0];
    let claimed = holder.look(1, &[first], &ROOM).await.claimed;
    let [lane] = &claimed[..] else { panic!("{claimed:?}") };

    let follower = async |puppet: &Puppet, id: i64| {
        let looked = puppet.look(9, &[id], &ROOM).await;
        assert!(looked.claimed.is_empty());
        let told = looked
            .followers
            .first()
            .map(|one| (one.key, one.token, one.generation, one.after, one.message_id));
        (told, looked.followers.first().and_then(|one| one.message.as_ref().map(|message| message.id)))
    };
    let second = scene.publish(&["a"]).await[0];
    assert_eq!(follower(&holder, second).await, (Some((lane.key, 1, 0, first, second)), Some(second)));
    assert_eq!(follower(&other, second).await, (None, None));
    scene.sql("UPDATE lanes SET generation = 3").await;
    scene.sql(&format!("DELETE FROM deliveries WHERE message_id <= {second}")).await;
    let third = scene.publish(&["a"]).await[0];
    assert_eq!(follower(&holder, third).await, (Some((lane.key, 1, 3, lane.position, third)), Some(third)));
    assert_eq!(follower(&holder, second).await, (None, None), "the message is not owed any more");
}

/// Everybody who may connect can send notifications. So they are only hints.
#[tokio::test]
async fn forged_notifications_change_nothing() {
    let scene = Scene::with_webhook(&[]).await;
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.somebody_listens().await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(20), Box::new(Answer::Status(204))));
    let forger = scene.another_client().await;
    for round in 0..20 {
        let ids = scene.publish(&["a", "b", "a"]).await;
        let forged = format!(
            "SELECT pg_notify('pgtopic', text) FROM unnest(ARRAY['{0} 5', '{0}', '{1} -7', '-1', 'x', '', '9223372036854775807 1',
                 'quiet', 'webhooks', 'more', '[[1],[]]' || chr(10) || '[{0},1,0,\"a\"]' || chr(10) || '{{}}']) text",
            ids[0],
            ids[2] + round
        );
        forger.batch_execute(&forged).await.unwrap();
    }
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "each message is sent once, in order");
    assert!(
        scene
            .receiver
            .received()
            .is_sorted_by(|one, next| one.partition() != next.partition() || !one.overlaps(next))
    );
    for broker in brokers {
        broker.stop().await;
    }
}

/// `trace_notify` shows a client the notifications of its session. A role that may only publish
/// must learn no secret from it, and a listener neither.
#[tokio::test]
async fn a_publisher_that_traces_its_notifications_learns_no_secret() {
    let scene = Scene::with_webhook(&[]).await;
    let _broker = Broker::start(scene.store());
    scene.somebody_listens().await;
    let role = format!("publisher_{}", Uuid::now_v7().simple());
    scene
        .sql(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA pgtopic TO {role}; GRANT INSERT, SELECT (id) ON messages TO {role}"
        ))
        .await;
    let (client, mut connection) =
        tokio_postgres::connect(scene.database.url(), tokio_postgres::NoTls).await.unwrap();
    let (said, mut saying) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
            let _ = said.send(format!("{message:?}"));
        }
    });
    client
        .batch_execute(&format!(
            "SET client_min_messages = debug5; SET trace_notify = on; LISTEN pgtopic; SET search_path = pgtopic; SET ROLE {role}"
        ))
        .await
        .unwrap();
    for _ in 0..10 {
        let sql = "INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'the key', '\"the payload\"')";
        client.batch_execute(sql).await.unwrap();
    }
    scene.nothing_owed().await;
    client.batch_execute("SELECT 1").await.unwrap();
    let mut all = String::new();
    while let Ok(text) = saying.try_recv() {
        all.push_str(&text);
    }
    assert!(all.contains("pgtopic"), "the client has got notifications: {all}");
    let notified: Vec<&str> = all.split("Notification").skip(1).collect();
    assert!(!notified.is_empty(), "{all}");
    for text in notified {
        assert!(!text.contains("the key") && !text.contains("the payload"), "{text}");
    }
    let channels =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'workers'::regclass AND attname = 'channel'";
    assert_eq!(scene.number(channels).await, 0);
    drop(client);
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn notified_messages_are_delivered_in_order_by_several_workers() {
    let scene = Scene::with_webhook(&[]).await;
    let other = scene.webhook("/other", &[("filter", "'$.nothing == 1'")]).await;
    let brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.somebody_listens().await;
    for round in 0..10 {
        for key in ["a", "b"] {
            scene.sql("BEGIN").await;
            scene.publish(&[key, key, &format!("{key}-{round}")]).await;
            scene.sql("COMMIT").await;
            scene.nothing_owed().await;
        }
    }
    scene.no_lane_left().await;
    assert_eq!(check_order(&scene.receiver.received(), &expected(&scene.client, &["/"]).await), 0, "{other}");
    for broker in brokers {
        broker.stop().await;
    }
}

/// The publisher commits after its worker has stopped. Another worker finds the message.
#[tokio::test]
async fn a_message_whose_publisher_outlives_a_worker_is_delivered_by_another_worker() {
    let scene = Scene::with_webhook(&[]).await;
    let first = Broker::start(scene.store());
    scene.somebody_listens().await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("BEGIN").await.unwrap();
    let id = publish(&publisher, "a").await.unwrap();
    first.stop().await;
    let _second = Broker::start(scene.store());
    publisher.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.receiver.wait_for(1).await[0].position(), id);
}

/// The request takes several sweeps. The lane must not be taken for one that its worker has lost.
#[tokio::test]
async fn a_request_that_takes_long_is_not_sent_a_second_time() {
    let scene = Scene::with_webhook(&[]).await;
    scene.receiver.set_script(|_| Answer::After(Duration::from_millis(2500), Box::new(Answer::Status(204))));
    let _brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    scene.somebody_listens().await;
    scene.publish(&["a"]).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    scene.no_lane_left().await;
    assert_eq!(scene.receiver.count(), 1);
}

/// A lane is taken from its worker while a request is under way, and is claimed again. The next
/// request begins after the end of the first one.
#[tokio::test]
async fn a_lane_that_is_claimed_anew_waits_for_the_request_under_way() {
    let scene = Scene::with_webhook(&[]).await;
    let broker = Broker::start(scene.store());
    scene.somebody_listens().await;
    let gate = Gate::closed();
    let held = Answer::Held(gate.clone(), Box::new(Answer::Status(204)));
    scene.receiver.set_script(move |_| held.clone());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for(1).await;
    let token = scene.number("SELECT token FROM lanes").await;
    scene.sql("UPDATE lanes SET claimed_by = NULL, token = NULL, due_at = clock_timestamp()").await;
    scene.until(&format!("EXISTS (SELECT FROM lanes WHERE token <> {token})")).await;
    let other = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    gate.open();
    // The outcome of the first request is lost: its claim is not valid any more.
    let received = scene.receiver.wait_for_ended(3).await;
    assert!(received.is_sorted_by(|one, next| !one.overlaps(next)), "{received:?}");
    assert_eq!(scene.all_delivered(&["/"]).await, 1);
    scene.no_lane_left().await;
    broker.stop().await;
    other.stop().await;
}
