//! Counts or prevents what workers do by themselves. If one way to find a message is prevented,
//! another way must find it.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{LIMIT, Received, Scene, TestReceiver, publish, scene::until};

/// A poll comes every half second.
const SOON: Duration = Duration::from_millis(1500);

/// SQL: after this, the transaction sends no notifications, as if it had sent all that it may send.
const UNTOLD: &str = "SELECT set_config(concat('pgtopic_notifications.schema_', 'pgtopic'::regnamespace::oid), repeat('.', 11), true)";

/// Makes one of the engine's functions do something first, also in open sessions.
pub async fn begin_with(client: &Client, function: &str, statement: &str) {
    let sql = format!(
        "DO $do$ BEGIN EXECUTE regexp_replace(
             pg_get_functiondef('{function}'::regproc), E'\\nBEGIN\\n', concat(E'\\nBEGIN\\n', $first${statement}$first$, E'\\n'));
         END $do$"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// From now on some claims of due lanes find nothing. `condition` says which, by the parameters of
/// `claim_lanes`: `true` for all claims, `sweep` for sweeps.
///
/// Workers still find messages of which they are notified.
pub async fn blind_claims(client: &Client, condition: &str) {
    client.batch_execute("CREATE TABLE blind (); INSERT INTO blind DEFAULT VALUES").await.unwrap();
    let nothing = format!("IF ({condition}) AND EXISTS (SELECT FROM pgtopic.blind) THEN RETURN; END IF;");
    begin_with(client, "claim_lanes", &nothing).await;
}

/// Undoes [`blind_claims`].
pub async fn see_again(client: &Client) {
    client.batch_execute("DELETE FROM blind").await.unwrap();
}

/// From now on webhooks cannot be read again. Workers read them every ten seconds, and a successful
/// read brings a look.
pub async fn hide_webhooks(client: &Client) {
    client.batch_execute("ALTER TABLE webhooks RENAME max_in_flight TO hidden").await.unwrap();
}

/// Counts calls of one of the engine's functions when they begin.
pub struct Tally(String);

impl Tally {
    /// From now on counts the calls for which a condition on the function's parameters is true.
    pub async fn of(client: &Client, function: &str, condition: &str) -> Self {
        let sequence = format!("tally_of_{function}");
        client.batch_execute(&format!("CREATE SEQUENCE {sequence}")).await.unwrap();
        let count = format!("IF {condition} THEN PERFORM nextval('pgtopic.{sequence}'); END IF;");
        begin_with(client, function, &count).await;
        Self(sequence)
    }

    /// How many there were so far.
    pub async fn calls(&self, client: &Client) -> i64 {
        let sql = format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}", self.0);
        client.query_one(&sql, &[]).await.unwrap().get(0)
    }
}

/// Publishes messages, each to a new lane, until one of them arrives. Normally the first one
/// arrives. A worker that starts over at this moment may miss it, for example if the machine stood
/// still.
pub async fn one_arrives(client: &Client, receiver: &TestReceiver, key: &str) {
    let mut ids = Vec::new();
    let arriving = async {
        loop {
            ids.push(publish(client, &format!("{key}-{}", ids.len())).await.unwrap());
            let came = |all: &[Received]| all.iter().any(|one| ids.contains(&one.position()));
            if tokio::time::timeout(SOON, receiver.wait_until("one of them", came)).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, arriving).await.expect("one of them arrives");
}

/// Checks that polls find a message, and how soon. Notifications must be off.
///
/// It publishes one message after another, each to a new lane: a worker would find a message of a
/// lane that it holds in another way. Each message is sent after the next poll. The quickest
/// message counts, because the machine may stand still for a moment. The first message does not
/// count: the worker reads webhooks every ten seconds and then looks, and only the first message
/// can meet that by chance.
pub async fn found_by_polls(client: &Client, receiver: &TestReceiver, key: &str) {
    let mut waits = Vec::new();
    for step in 0..4 {
        let (seen, begun) = (receiver.count(), Instant::now());
        publish(client, &format!("{key}-{step}")).await.unwrap();
        receiver.wait_for(seen + 1).await;
        waits.push(begun.elapsed());
    }
    assert!(waits[1..].iter().any(|wait| *wait < SOON), "{waits:?}");
}

impl Scene {
    /// Publishes one message without a notification.
    pub async fn publish_untold(&self, key: &str) -> i64 {
        self.sql(&format!("BEGIN; {UNTOLD}")).await;
        let id = publish(&self.client, key).await.unwrap();
        self.sql("COMMIT").await;
        id
    }

    /// Waits until workers have swept through everything that is due, and what they found was sent.
    /// At least one worker must run. If there are several, one has swept.
    ///
    /// Publishes three messages that only a sweep finds, in a topic of its own. The first one may
    /// also be found because its webhook is new. So a sweep finds the second one. When the third
    /// one has arrived, everything that this sweep found has arrived, too.
    pub async fn sweeps_pass(&self) {
        let (client, receiver) = (self.another_client().await, TestReceiver::accepting().await);
        let subscribed = format!(
            "WITH topic AS (
                 INSERT INTO topics (name) SELECT 'sweeps-' || count(*) FROM topics RETURNING id
             )
             INSERT INTO webhooks (topic_id, url, secrets)
             SELECT id, '{}', ARRAY['{}'] FROM topic RETURNING id, topic_id",
            receiver.url("/"),
            super::SECRET
        );
        let row = client.query_one(&subscribed, &[]).await.unwrap();
        let (webhook, topic): (i64, i64) = (row.get(0), row.get(1));
        for count in 1..=3 {
            let sql = format!(
                "BEGIN;
                 {UNTOLD};
                 INSERT INTO messages (topic_id, partition_key, payload) VALUES ({topic}, 'sweep-{count}', '{{}}');
                 UPDATE lanes SET due_at = due_at - interval '1 hour'
                  WHERE webhook_id = {webhook} AND partition_key = 'sweep-{count}';
                 COMMIT"
            );
            client.batch_execute(&sql).await.unwrap();
            receiver.wait_for_ended(count).await;
        }
        // Nothing of it is left for tests that count.
        until(&client, &format!("NOT EXISTS (SELECT FROM lanes WHERE webhook_id = {webhook})")).await;
        client.batch_execute(&format!("DELETE FROM messages WHERE topic_id = {topic}")).await.unwrap();
    }

    /// How many rows of pgtopic's tables the open transaction of this scene's session has read so
    /// far, in any way.
    pub async fn rows_read(&self) -> i64 {
        let sql = "SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::bigint
                     FROM pg_stat_xact_user_tables WHERE schemaname = 'pgtopic'";
        self.number(sql).await
    }
}
