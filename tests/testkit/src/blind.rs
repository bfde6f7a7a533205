//! What workers find by themselves, taken away: then something else must bring a message.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use super::{Scene, TestReceiver, eventually, publish, scene::until};

/// A poll comes every half second.
const SOON: Duration = Duration::from_millis(1500);

/// SQL: this transaction has told workers of so many messages that it tells of no more.
const UNTOLD: &str = "SELECT set_config(concat('pgtopic_notifications.schema_', 'pgtopic'::regnamespace::oid), repeat('.', 11), true)";

/// From now on those looks for due lanes find nothing of which a condition on the parameters of
/// `claim_lanes` is true: `true` for all of them, `sweep` for those that look from the beginning.
///
/// What workers are told of they find all the same.
pub async fn blind_claims(client: &Client, condition: &str) {
    let sql = format!(
        "CREATE TABLE blind ();
         DO $$ BEGIN EXECUTE regexp_replace(
             pg_get_functiondef('claim_lanes'::regproc), E'\\nBEGIN\\n',
             E'\\nBEGIN\\n IF ({condition}) AND EXISTS (SELECT FROM pgtopic.blind) THEN RETURN; END IF;\\n');
         END $$;
         INSERT INTO blind DEFAULT VALUES"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Whether those looks that [`blind_claims`] has blinded find something again.
pub async fn see_again(client: &Client, see: bool) {
    let sql = if see { "DELETE FROM blind" } else { "INSERT INTO blind DEFAULT VALUES" };
    client.batch_execute(sql).await.unwrap();
}

/// Sees that notifications alone bring a message: publishes to lanes that are new each, until one
/// arrives. Looks must be blind.
///
/// More than one is lost where the worker starts over, as it does where the machine has stood
/// still.
pub async fn found_by_notification(client: &Client, receiver: &TestReceiver, key: &str) {
    let (seen, step) = (receiver.count(), Cell::new(0));
    eventually("a message that was told", async || {
        step.set(step.get() + 1);
        publish(client, &format!("{key}-{}", step.get())).await.unwrap();
        (receiver.count() > seen).then_some(())
    })
    .await;
}

/// Sees that polls alone bring a message, and how soon: publishes to lanes that are new each, one
/// when the one before has arrived. Of a lane that it still holds, a worker would find out by
/// itself. Nobody may be told.
///
/// Each leaves with the next poll, and the quickest counts: the machine may stand still for a
/// while. But not the first: webhooks are read anew every ten seconds, which brings a look, and no
/// message but the first can meet that by luck.
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
    /// Publishes one message of which no worker is told.
    pub async fn publish_untold(&self, key: &str) -> i64 {
        self.sql(&format!("BEGIN; {UNTOLD}")).await;
        let id = publish(&self.client, key).await.unwrap();
        self.sql("COMMIT").await;
        id
    }

    /// Waits until workers have swept through everything that is due, and what they found was sent.
    /// Needs one worker at least; of several, one has swept.
    ///
    /// A message that nothing but a sweep finds, in a topic of its own, three times: the first may
    /// be found because its webhook is new, and what the second one's sweep found has arrived when
    /// the third one has.
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
        // Nothing of it is left for those who count.
        until(&client, &format!("NOT EXISTS (SELECT FROM lanes WHERE webhook_id = {webhook})")).await;
        client.batch_execute(&format!("DELETE FROM messages WHERE topic_id = {topic}")).await.unwrap();
    }

    /// How many rows of pgtopic's tables the open transaction of this scene's session has read so
    /// far, by whatever way.
    pub async fn rows_read(&self) -> i64 {
        let sql = "SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::bigint
                     FROM pg_stat_xact_user_tables WHERE schemaname = 'pgtopic'";
        self.number(sql).await
    }
}
