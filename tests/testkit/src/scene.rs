//! A topic, a receiver, and webhooks between them. Most tests of delivery begin with these.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use pgtopic::store::{LeaderStore, Store};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Answer, Expected, Received, TestDatabase, TestReceiver, check_order, eventually};

/// The signing secret of webhooks that are made by SQL.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The topic of every scene. It is the first one of its database.
pub const TOPIC: i64 = 1;

/// Makes the topic `orders`, with id [`TOPIC`].
pub async fn create_topic(client: &Client) {
    client.batch_execute("INSERT INTO topics (name) VALUES ('orders')").await.unwrap();
}

/// Subscribes a URL to the topic. `settings` are columns and SQL values, such as `("max_retries",
/// "2")`.
pub async fn create_webhook(client: &Client, url: &str, settings: &[(&str, &str)]) -> i64 {
    let secret = format!("ARRAY['{SECRET}']");
    let (topic, url) = (TOPIC.to_string(), format!("'{url}'"));
    let always = [("topic_id", topic.as_str()), ("url", &url), ("secrets", &secret)];
    let (columns, values): (Vec<_>, Vec<_>) = always.iter().chain(settings).copied().unzip();
    let (columns, values) = (columns.join(", "), values.join(", "));
    let sql = format!("INSERT INTO webhooks ({columns}) VALUES ({values}) RETURNING id");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// SQL: the incarnations `w` whose sessions `p` hold their lock. An incarnation that has ended has
/// no lock. Those that test a lock hold it shared for a moment.
pub const LIVING: &str = "workers w JOIN pg_locks p ON p.locktype = 'advisory' AND p.mode = 'ExclusiveLock'
       AND p.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND p.granted AND p.classid = stripe_class()::oid AND p.objid = w.lock_key::oid";

/// Publishes an empty object and returns the message's id.
pub async fn publish(client: &Client, key: &str) -> Result<i64, tokio_postgres::Error> {
    let sql = "INSERT INTO messages (topic_id, partition_key, payload) VALUES ($1, $2, '{}') RETURNING id";
    Ok(client.query_one(sql, &[&TOPIC, &key]).await?.get(0))
}

/// Suppresses notifications, as under load. Workers poll then.
pub async fn keep_silent(client: Client) {
    loop {
        client.query("SELECT suppress_notifications(1000000)", &[]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the messages in the database mean for receivers at these paths.
pub async fn expected(client: &Client, paths: &[&str]) -> Expected {
    let sql = "SELECT partition_key, array_agg(id ORDER BY id) FROM messages GROUP BY partition_key";
    let partitions: Vec<(String, Vec<i64>)> =
        client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let lane = |path: &&str| {
        let path = (*path).to_owned();
        partitions.iter().map(move |(key, ids)| ((path.clone(), key.clone()), ids.clone()))
    };
    paths.iter().flat_map(lane).collect::<BTreeMap<_, _>>()
}

/// Waits until nothing is owed any more.
pub async fn nothing_owed(client: &Client) {
    until(client, "NOT EXISTS (SELECT FROM deliveries)").await;
}

/// Waits until a condition in SQL is true.
pub(super) async fn until(client: &Client, condition: &str) {
    let sql = format!("SELECT {condition}");
    let met = async || client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0).then_some(());
    eventually(condition, met).await;
}

/// A database with one topic, and a receiver that accepts everything.
pub struct Scene {
    /// Its database.
    pub database: TestDatabase,
    /// In pgtopic's schema.
    pub client: Client,
    /// Where its webhooks point.
    pub receiver: TestReceiver,
}

impl Scene {
    /// Without a webhook.
    pub async fn new() -> Self {
        let (database, receiver) = (TestDatabase::new().await, TestReceiver::accepting().await);
        let client = database.broker_client().await;
        create_topic(&client).await;
        Self { database, client, receiver }
    }

    /// One webhook, at `/`.
    pub async fn with_webhook(settings: &[(&str, &str)]) -> Self {
        let scene = Self::new().await;
        scene.webhook("/", settings).await;
        scene
    }

    /// A store of its own.
    pub fn store(&self) -> Store {
        self.database.store()
    }

    /// Registers a worker that does nothing. Real workers take it for dead after a second.
    pub async fn idle_worker(&self) -> Uuid {
        let sql = "INSERT INTO workers (id, lock_key, name, version, capacity, lease)
                   VALUES (gen_random_uuid(), -1, 'idle', '', 1, '1 min') RETURNING id";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The statements of background work, led by a worker that does nothing. Nobody may lead.
    pub async fn leader(&self) -> LeaderStore {
        let (store, worker) = (self.store(), self.idle_worker().await);
        let lead = store.take_lead(worker).await.unwrap().unwrap();
        store.lead(lead)
    }

    /// Another connection in pgtopic's schema.
    pub async fn another_client(&self) -> Client {
        self.database.broker_client().await
    }

    /// Subscribes a path of the receiver.
    pub async fn webhook(&self, path: &str, settings: &[(&str, &str)]) -> i64 {
        create_webhook(&self.client, &self.receiver.url(path), settings).await
    }

    /// Publishes one message to each of these partitions, in order.
    pub async fn publish(&self, keys: &[&str]) -> Vec<i64> {
        let mut ids = Vec::new();
        for key in keys {
            ids.push(publish(&self.client, key).await.unwrap());
        }
        ids
    }

    /// When a message first arrived. Waits for it.
    pub async fn arrival(&self, id: i64) -> Instant {
        let came = |all: &[Received]| all.iter().any(|one| one.position() == id);
        let all = self.receiver.wait_until(&format!("message {id}"), came).await;
        all.iter().find(|one| one.position() == id).unwrap().arrived
    }

    /// Runs statements.
    pub async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// From now on nobody is notified of what is published.
    pub async fn lose_notifications(&self) {
        self.sql(
            "CREATE OR REPLACE FUNCTION notify_workers(message_id bigint, stripe integer) RETURNS void LANGUAGE sql AS ''",
        )
        .await;
    }

    /// Waits until publishers notify: a worker listens.
    pub async fn somebody_listens(&self) {
        self.until("last_value > 0 FROM notify_until").await;
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// One text.
    pub async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Waits until a condition in SQL is true.
    pub async fn until(&self, condition: &str) {
        until(&self.client, condition).await;
    }

    /// Waits until a session of this database waits for a lock. `lock` is a condition on `pg_locks`
    /// as `l`. The view shows the locks of all databases, and copies of one template have tables
    /// with the same numbers.
    pub async fn somebody_waits(&self, kind: &str) {
        self.until(&format!(
            "EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database()
                      WHERE NOT l.granted AND {kind})"
        ))
        .await;
    }

    /// Waits until nothing is owed any more.
    pub async fn nothing_owed(&self) {
        nothing_owed(&self.client).await;
    }

    /// Waits until no lane is left either. This takes three seconds if messages kept arriving.
    pub async fn no_lane_left(&self) {
        self.until("NOT EXISTS (SELECT FROM deliveries) AND NOT EXISTS (SELECT FROM lanes)").await;
    }

    /// Every message has its delivery, every lane begins right before its first message.
    pub async fn check_fan_out(&self, messages: i64, lanes: i64) {
        assert_eq!(self.number("SELECT count(*) FROM deliveries").await, messages);
        assert_eq!(self.number("SELECT count(*) FROM lanes").await, lanes);
        let wrong = "SELECT count(*) FROM lanes l
                      WHERE position <> (SELECT min(message_id) - 1 FROM deliveries d
                                          WHERE (d.webhook_id, d.lane) = (l.webhook_id, l.lane))";
        assert_eq!(self.number(wrong).await, 0);
    }

    /// Waits until everything that was published is delivered to these paths, and checks the order.
    /// Returns how many requests repeated an accepted message.
    pub async fn all_delivered(&self, paths: &[&str]) -> usize {
        self.nothing_owed().await;
        check_order(&self.receiver.received(), &expected(&self.client, paths).await)
    }
}

/// Refuses every request for a message until it was asked for `times` times. Accepts everything
/// else.
pub fn refuse(id: i64, times: usize) -> impl Fn(&Received) -> Answer {
    move |received| {
        let attempt: usize = received.header("webhook-attempt").parse().unwrap();
        Answer::Status(if received.position() == id && attempt <= times { 503 } else { 204 })
    }
}
