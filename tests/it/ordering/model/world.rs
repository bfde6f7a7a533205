//! The real broker. Every operation is also done on the model.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pgtopic_testkit::{Answer, Broker, Scene, Stall};
use tokio_postgres::Client;

use super::{
    expectation::{Loss, Model, Outcome},
    late,
    operation::{Failure, KEYS, Level, MANY, OPEN_KEYS, Operation, Patience, SLOTS},
};

/// If something is owed and nothing happens for this time, the test fails. This is longer than a
/// takeover plus a back-off on a slow machine.
const STANDSTILL: Duration = Duration::from_secs(8);

/// How long a worker may go on sending after it has lost its connections.
const ALIVE_FOR: Duration = Duration::from_millis(700);

/// How long a request may be on its way to the receiver on a busy machine.
const ARRIVES_WITHIN: Duration = Duration::from_millis(250);

/// After this time, a worker holds what was published. The worker may have been started just now.
const CLAIMED_WITHIN: Duration = Duration::from_millis(500);

/// After this time, others have taken over the lanes of a lost worker, even on a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(8);

/// How each path fails.
type Failures = Arc<Mutex<HashMap<String, Failure>>>;

pub(super) struct World {
    scene: Scene,
    model: Model,
    failures: Failures,
    workers: Vec<Option<Broker>>,
    /// The transaction that stays open.
    open: Option<(Client, Level)>,
    /// How many incarnations of workers there must be.
    started: i64,
    losses: Vec<Loss>,
    stall: Stall,
}

/// A partition key.
fn key(number: u8) -> String {
    format!("key-{}", number % KEYS)
}

fn open_key(number: u8) -> String {
    format!("open-{}", number % OPEN_KEYS)
}

impl World {
    /// One webhook with endless patience, and no worker.
    pub(super) async fn new() -> Self {
        let (scene, failures) = (Scene::new().await, Failures::default());
        let known = Arc::clone(&failures);
        scene.receiver.set_script(move |request| {
            if request.path.starts_with("/once") && request.body.ends_with(br#""poison":true}"#) {
                return Answer::Status(422);
            }
            match known.lock().unwrap().get(&request.path) {
                None => Answer::Status(204),
                Some(Failure::Refuse) => Answer::Status(503),
                Some(Failure::Drop) => Answer::Close,
                Some(Failure::Slow) => {
                    Answer::After(Duration::from_millis(40), Box::new(Answer::Status(204)))
                }
            }
        });
        let keys: Vec<String> = (0..KEYS).map(key).chain((0..OPEN_KEYS).map(open_key)).collect();
        let sql = "SELECT count(DISTINCT stripe(1, key)) FROM unnest($1::text[]) AS key";
        let stripes: i64 = scene.client.query_one(sql, &[&keys]).await.unwrap().get(0);
        assert_eq!(
            stripes,
            i64::from(KEYS + OPEN_KEYS),
            "no two keys share a stripe, so the open transaction holds up no other key"
        );
        let workers = (0..SLOTS).map(|_| None).collect();
        let mut world = Self {
            scene,
            model: Model::default(),
            failures,
            workers,
            open: None,
            started: 0,
            losses: Vec::new(),
            stall: Stall::watch(),
        };
        world.create_webhook(Patience::Endless).await;
        world
    }

    /// Does one operation, on the broker and on the model.
    pub(super) async fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Publish { key } => self.publish(&[*key], false).await,
            Operation::Poison { key } => self.publish(&[*key], true).await,
            Operation::PublishBatch { keys } => self.publish(keys, false).await,
            Operation::RollBackSavepoint { level, before, undone, after } => {
                self.begin(level.sql()).await;
                let mut kept = self.insert(before, false).await;
                self.scene.sql("SAVEPOINT here").await;
                self.insert(undone, false).await;
                self.scene.sql("ROLLBACK TO here").await;
                kept.extend(self.insert(after, false).await);
                self.scene.sql("COMMIT").await;
                self.model.committed(&kept);
            }
            Operation::RollBack { level, keys } => {
                self.begin(level.sql()).await;
                self.insert(keys, false).await;
                self.scene.sql("ROLLBACK").await;
            }
            Operation::Open { key, level } => self.publish_open(open_key(*key), *level).await,
            Operation::Close { commit } => self.close(*commit).await,
            Operation::CreateWebhook { patience } => self.create_webhook(*patience).await,
            Operation::DeleteWebhook { which } => {
                if let Some(index) = self.webhook(*which) {
                    let id = self.model.webhooks[index].id;
                    self.scene.sql(&format!("DELETE FROM webhooks WHERE id = {id}")).await;
                    self.model.webhooks[index].deleted = Some(Instant::now());
                }
            }
            Operation::Pause { which } => self.set_paused(*which, true).await,
            Operation::Resume { which } => self.set_paused(*which, false).await,
            Operation::Fail { which, how } => {
                if let Some(index) = self.webhook(*which) {
                    self.failures.lock().unwrap().insert(self.model.webhooks[index].path.clone(), *how);
                }
            }
            Operation::Recover { which } => {
                if let Some(index) = self.webhook(*which) {
                    self.failures.lock().unwrap().remove(&self.model.webhooks[index].path);
                }
            }
            Operation::KillWorker { slot } => self.kill_worker(*slot).await,
            Operation::CrashWorker { slot, key, settles_late } => {
                self.crash_worker(*slot, *key, *settles_late).await;
            }
            Operation::CutConnections => {
                let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                            WHERE datname = current_database() AND application_name = 'pgtopic'";
                let at = Instant::now();
                if self.scene.number(cut).await > 0 {
                    self.lost(at, ALIVE_FOR).await;
                    self.started += i64::try_from(self.workers.iter().flatten().count()).unwrap();
                }
            }
            Operation::StopWorker { slot } => {
                if let Some(worker) = self.slot(*slot).take() {
                    worker.stop().await;
                }
            }
            Operation::StartWorker { slot } => self.start_worker(*slot),
            Operation::Wait { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(u64::from(*milliseconds))).await;
            }
        }
    }

    async fn kill_worker(&mut self, slot: u8) {
        if let Some(worker) = self.slot(slot).take() {
            let at = Instant::now();
            worker.kill().await;
            self.lost(at, Duration::ZERO).await;
        }
    }

    async fn crash_worker(&mut self, slot: u8, key: u8, settles_late: bool) {
        if self.slot(slot).is_none() {
            return;
        }
        self.publish(&[key; MANY], false).await;
        let holding = async { while !late::is_anything_held(&self.scene.client).await {} };
        // If nothing may be sent, this wait ends at its limit.
        let _ = tokio::time::timeout(CLAIMED_WITHIN, holding).await;
        self.kill_worker(slot).await;
        let mut held = late::what_is_held(&self.scene.client).await;
        self.start_worker(slot);
        if settles_late {
            // No other worker takes over sooner.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let store = self.scene.store();
            let settling = async {
                while !late::settle_what_is_lost(&store, &self.scene.client, &mut held).await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(TAKEN_OVER, settling).await.expect("other workers take over");
        }
    }

    /// Notes that a worker was lost. It may have gone on for this time.
    async fn lost(&mut self, at: Instant, went_on: Duration) {
        let over = Instant::now() + went_on + ARRIVES_WITHIN;
        let sql = "SELECT d.webhook_id, (m.payload ->> 'n')::bigint FROM deliveries d JOIN messages m ON m.id = d.message_id";
        let owed = self.numbers(sql).await;
        self.losses.push(Loss { at, over, owed });
    }

    /// Webhooks and numbers of messages.
    async fn numbers(&self, sql: &str) -> BTreeSet<(i64, u32)> {
        let rows = self.scene.client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), u32::try_from(row.get::<_, i64>(1)).unwrap())).collect()
    }

    fn slot(&mut self, slot: u8) -> &mut Option<Broker> {
        &mut self.workers[usize::from(slot % SLOTS)]
    }

    fn start_worker(&mut self, slot: u8) {
        let store = self.scene.store();
        if self.slot(slot).is_none() {
            *self.slot(slot) = Some(Broker::start(store));
            self.started += 1;
        }
    }

    fn webhook(&self, which: u8) -> Option<usize> {
        let there = self.model.there();
        (!there.is_empty()).then(|| there[usize::from(which) % there.len()])
    }

    async fn create_webhook(&mut self, patience: Patience) {
        let (name, attempts) = match patience {
            Patience::Endless => ("endless", "1000"),
            Patience::OneAttempt => ("once", "1"),
        };
        let path = format!("/{name}-{}", self.model.webhooks.len());
        // There is a second between two attempts.
        let settings = [("max_retries", attempts), ("backoff_factor", "1")];
        let id = self.scene.webhook(&path, &settings).await;
        self.model.webhook_created(id, path, patience);
    }

    async fn set_paused(&self, which: u8, paused: bool) {
        if let Some(index) = self.webhook(which) {
            let id = self.model.webhooks[index].id;
            self.scene.sql(&format!("UPDATE webhooks SET paused = {paused} WHERE id = {id}")).await;
        }
    }

    async fn begin(&self, level: &str) {
        // The snapshot is older than everything that workers do next.
        self.scene.sql(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1")).await;
    }

    async fn publish(&mut self, keys: &[u8], poison: bool) {
        let messages = self.insert(keys, poison).await;
        self.model.committed(&messages);
    }

    /// Publishes to these partitions in one statement.
    async fn insert(&mut self, keys: &[u8], poison: bool) -> Vec<(String, u32)> {
        let messages: Vec<_> = keys.iter().map(|one| (key(*one), self.model.number(poison))).collect();
        if !messages.is_empty() {
            self.scene.sql(&insert(&messages, poison)).await;
        }
        messages
    }

    async fn publish_open(&mut self, key: String, level: Level) {
        if self.open.is_none() {
            let client = self.scene.another_client().await;
            client.batch_execute(&format!("BEGIN ISOLATION LEVEL {}", level.sql())).await.unwrap();
            self.open = Some((client, level));
        }
        let Some((client, level)) = &self.open else { return };
        let number = self.model.number(false);
        client.batch_execute(&insert(&[(key.clone(), number)], false)).await.unwrap();
        self.model.opened(key, number, *level != Level::ReadCommitted);
    }

    async fn close(&mut self, commit: bool) {
        if let Some((client, _)) = self.open.take() {
            client.batch_execute(if commit { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
            self.model.closed(commit);
        }
    }

    /// Brings receivers, webhooks and a worker back. Waits until nothing is owed, and compares.
    pub(super) async fn finish(mut self) -> Result<(), String> {
        self.close(false).await;
        self.failures.lock().unwrap().clear();
        self.scene.sql("UPDATE webhooks SET paused = false").await;
        if self.workers.iter().all(Option::is_none) {
            self.start_worker(0);
        }
        self.nothing_owed().await?;
        let sql = "SELECT d.webhook_id, (m.payload ->> 'n')::bigint FROM dead_letters d JOIN messages m ON m.id = d.message_id";
        let dead = self.numbers(sql).await;
        let incarnations = self.scene.number("SELECT -last_value FROM worker_lock_keys").await;
        let outcome = Outcome {
            received: self.scene.receiver.received(),
            dead,
            losses: self.losses,
            lost_by_itself: incarnations > self.started,
            stall: self.stall.longest(),
        };
        let checked = self.model.check(&outcome);
        for worker in self.workers.into_iter().flatten() {
            worker.stop().await;
        }
        checked
    }

    /// Waits until nothing is owed to a webhook that exists, and none of its lanes is left. Gives
    /// up when nothing happens.
    async fn nothing_owed(&self) -> Result<(), String> {
        let owed = "SELECT (SELECT count(*) FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id),
                           (SELECT count(*) FROM lanes l JOIN webhooks w ON w.id = l.webhook_id),
                           (SELECT count(*) FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
                             WHERE NOT EXISTS (SELECT FROM lanes l WHERE l.webhook_id = d.webhook_id AND l.lane = d.lane))";
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let row = self.scene.client.query_one(owed, &[]).await.unwrap();
            let now: (i64, i64) = (row.get(0), row.get(1));
            if now == (0, 0) {
                return Ok(());
            }
            let lost: i64 = row.get(2);
            if lost > 0 {
                // These would stay for ever. So the test does not wait for them.
                return Err(format!("{lost} messages are owed by lanes that have no row"));
            }
            if last != Some(now) {
                (last, since) = (Some(now), Instant::now());
            }
            if since.elapsed() > STANDSTILL {
                return Err(format!("nothing happens, with {} messages owed by {} lanes", now.0, now.1));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One statement that publishes all of these, in this order.
fn insert(messages: &[(String, u32)], poison: bool) -> String {
    let mut sql = String::from("INSERT INTO messages (topic_id, partition_key, payload) VALUES ");
    for (place, (key, number)) in messages.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        write!(sql, r#"{comma}(1, '{key}', '{{"n":{number},"poison":{poison}}}')"#).unwrap();
    }
    sql
}
