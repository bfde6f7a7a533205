//! Workers: the session that shows that a worker lives, and the statements about other workers and
//! notifications.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    Store, connect, error::StoreError, locks::Locks, purpose::Purpose, sending::Identity, statement::sql,
};
use crate::domain::{
    change::worker_actor,
    doctor::Settings,
    sending::SendingSwitch,
    worker::{WakeMode, Worker, WorkerState},
};

/// The most notifications that wait for a worker. Further ones are lost.
const NOTICES_MAX: usize = 10_000;

/// How many advisory locks a new incarnation tries.
const LOCK_KEYS_TRIED: u32 = 1_000;

/// The most workers in a list.
const WORKERS_LISTED: i64 = 1000;

/// How many lanes one step of a release looks at.
const RELEASE_STEP: i32 = 5_000;

/// What a worker writes about itself.
#[derive(Debug, Clone)]
pub struct WorkerInfo {
    /// The id of the incarnation. It is never used again.
    pub id: Uuid,
    /// For people: host and process.
    pub name: String,
    /// How many lanes it may have in flight.
    pub capacity: usize,
    /// How long it may go without a heartbeat before it is taken for hung.
    pub lease: Duration,
    /// The topics that it sends, as `worker.topics` says; `None`: all.
    pub topics: Option<Vec<String>>,
    /// Those of its settings that should be the same in all processes.
    pub settings: Settings,
}

/// A notification that the worker's session has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A message was published.
    Published(Told),
    /// A transaction published more messages than it named (`more`). Any other unknown payload
    /// counts as this too.
    Wake,
    /// Webhooks or topics changed.
    Webhooks,
    /// A worker tells all others to poll.
    Quiet,
}

/// A message that a notification named. It is only a hint: every role that may connect can send
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub message_id: i64,
    /// The stripe of its partition; `None` on unordered topics.
    pub stripe: Option<i32>,
}

impl Notice {
    /// Reads a notification.
    fn parse(payload: &str) -> Self {
        match payload {
            "webhooks" => Self::Webhooks,
            "quiet" => Self::Quiet,
            _ => Told::parse(payload).map_or(Self::Wake, Self::Published),
        }
    }
}

impl Told {
    fn parse(payload: &str) -> Option<Self> {
        let mut words = payload.split(' ');
        let message_id = words.next()?.parse().ok()?;
        let stripe = words.next().map(str::parse).transpose().ok()?;
        words.next().is_none().then_some(Self { message_id, stripe })
    }
}

/// A worker's own connection. It listens, and holds the advisory lock that shows that the worker
/// lives. If it is dropped, the connection is closed at once, also if the server does not answer.
pub struct WorkerSession {
    client: Arc<tokio_postgres::Client>,
    worker: Uuid,
    /// Which database this is; `None` if nobody wants to know whether it is a copy.
    here: Option<Identity>,
    heartbeat: tokio_postgres::Statement,
    count_waiting_publishers: tokio_postgres::Statement,
    /// The task that polls the connection.
    _driver: AbortOnDropHandle<()>,
}

/// What a worker says of itself with a heartbeat.
#[derive(Debug, Clone, Default)]
pub struct Doing {
    /// How many of its lanes are in flight.
    pub in_flight: usize,
    /// How many lanes it holds.
    pub lanes: usize,
    /// Whether it stops.
    pub stopping: bool,
    /// What goes wrong in it.
    pub trouble: Option<String>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// For how long publishers still do not NOTIFY because workers poll. Zero if they do NOTIFY.
    pub silent_for: Duration,
    /// How many message ids were given out, counted from some start; 0 before the first.
    pub given_ids: i64,
    /// Whether transactions may NOTIFY (`wake.notify`). If not, workers always poll.
    pub notifies: bool,
    /// When a webhook or topic was changed last; `None` if transactions may NOTIFY.
    pub changed_at: Option<Timestamp>,
    /// Whether anything is to be sent.
    pub switch: SendingSwitch,
}

/// Another worker, as the database shows it.
#[derive(Debug, Clone)]
pub struct OtherWorker {
    /// The id of its incarnation.
    pub id: Uuid,
    /// For people: host and process.
    pub name: String,
    /// When it last wrote its row.
    pub heartbeat_at: Timestamp,
    /// How long `heartbeat_at` may stand still before it is taken for hung.
    pub lease: Duration,
    /// Whether its advisory lock is free: its session has ended.
    pub lock_free: bool,
    /// Whether it is gone: it was taken for dead or hung already, or has stopped.
    pub gone: bool,
}

/// The result of releasing a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Whether this call has marked the worker gone. Otherwise it was marked before.
    pub marked: bool,
    /// How many lanes this call has made ready.
    pub lanes: i64,
    /// Whether nothing is left to do: no lane was locked, and the worker's row is deleted.
    pub complete: bool,
}

impl Store {
    /// Opens a worker's session. It listens, takes the advisory lock and registers the worker, in
    /// this order.
    ///
    /// Notifications arrive on the channel. It closes when the connection is lost.
    pub async fn open_worker_session(
        &self,
        info: &WorkerInfo,
    ) -> Result<(WorkerSession, mpsc::Receiver<Notice>), StoreError> {
        let (client, mut connection) = self.connector.connect().await?;
        let (sender, receiver) = mpsc::channel(NOTICES_MAX);
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            // An error here is final: the channel closes, and the worker starts over.
            while let Some(Ok(message)) = messages.next().await {
                let AsyncMessage::Notification(notification) = message else { continue };
                // If too many wait, this one is lost. It is only a hint: polls find the message.
                if let Err(TrySendError::Closed(_)) = sender.try_send(Notice::parse(notification.payload())) {
                    break;
                }
            }
        }));
        connect::set_up(&client, &Purpose::Engine.session_settings(&self.schema)).await?;
        client.batch_execute("SET synchronous_commit = off").await?;
        client.batch_execute(&format!("LISTEN {}", self.schema.quoted())).await?;
        let key = self.lock_some_key(&client).await?;
        let settings = serde_json::json!(self.with_own_settings(info.settings.clone()));
        client
            .execute(
                &*self.schema.text(sql!("workers/register")),
                &[
                    &info.id,
                    &key,
                    &info.name,
                    &env!("CARGO_PKG_VERSION"),
                    &i32::try_from(info.capacity).unwrap_or(i32::MAX),
                    &info.lease.as_secs_f64(),
                    &info.topics,
                    &settings,
                ],
            )
            .await?;
        let here = client.query_one(&*self.schema.text(sql!("installation/set_identity")), &[]).await?;
        if let (Some(now), Some(known)) =
            (here.try_get::<_, Option<i64>>(2)?, here.try_get::<_, Option<i64>>(3)?)
            && now != known
        {
            tracing::warn!(
                known,
                now,
                "the server was promoted since a worker started last (its timeline is another one): after a failover this is \
                 right; if it is a copy beside the first server, everything is sent twice: run `pgtopic sending off` here"
            );
        }
        let here = Identity(here.try_get(0)?, here.try_get(1)?);
        let here = Some(here).filter(|_| !self.sends_on_copy);
        let heartbeat = client.prepare(&self.schema.text(sql!("workers/heartbeat"))).await?;
        let count_waiting_publishers = client.prepare(sql!("wake/count_waiting_publishers")).await?;
        let client = Arc::new(client);
        let session = WorkerSession {
            client,
            worker: info.id,
            here,
            heartbeat,
            count_waiting_publishers,
            _driver: driver,
        };
        Ok((session, receiver))
    }

    /// Takes the lock of a new incarnation. Any role that may connect can hold the next key. Then
    /// the one after it is as good.
    async fn lock_some_key(&self, client: &Client) -> Result<i32, StoreError> {
        let mut taken = None;
        for _ in 0..LOCK_KEYS_TRIED {
            let row = client.query_one(&*self.schema.text(sql!("workers/next_lock_key")), &[]).await?;
            let (class, key): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
            if client.query_one(sql!("workers/lock"), &[&class, &key]).await?.try_get(0)? {
                return Ok(key);
            }
            if taken.is_none() {
                let holders =
                    Locks::pair(class, key).holders(client).await?.unwrap_or_else(|| "nobody now".to_owned());
                tracing::warn!(
                    class,
                    key,
                    holders,
                    "a stranger holds an advisory lock of pgtopic: the next one is tried"
                );
                taken = Some(holders);
            }
        }
        Err(StoreError::Unsuitable(format!(
            "{LOCK_KEYS_TRIED} advisory locks of workers, one after another, are held by others: {}",
            taken.unwrap_or_default()
        )))
    }

    /// Lists all other workers.
    pub async fn watch_workers(&self, worker: Uuid) -> Result<Vec<OtherWorker>, StoreError> {
        let rows = self.query(sql!("workers/watch"), &[&worker]).await?;
        rows.iter()
            .map(|row| {
                Ok(OtherWorker {
                    id: row.try_get(0)?,
                    name: row.try_get(1)?,
                    heartbeat_at: row.try_get(2)?,
                    lease: Duration::try_from_secs_f64(row.try_get(3)?)
                        .map_err(|error| StoreError::Unexpected(format!("workers.lease: {error}")))?,
                    lock_free: row.try_get(4)?,
                    gone: row.try_get(5)?,
                })
            })
            .collect()
    }

    /// Lists the workers, oldest first, at most 1,000.
    pub async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        let rows = self.query(sql!("workers/list"), &[&WORKERS_LISTED]).await?;
        rows.iter()
            .map(|row| {
                let notified: bool = row.try_get("notified")?;
                Ok(Worker {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    version: row.try_get("version")?,
                    state: WorkerState::of(
                        row.try_get("stopping")?,
                        row.try_get("gone")?,
                        row.try_get("late")?,
                    ),
                    leader: row.try_get("leader")?,
                    started_at: row.try_get("started_at")?,
                    heartbeat_at: row.try_get("heartbeat_at")?,
                    slots: row.try_get("capacity")?,
                    in_flight: row.try_get("in_flight")?,
                    lanes: row.try_get("lanes")?,
                    wake_mode: if notified { WakeMode::Notify } else { WakeMode::Poll },
                    topics: row.try_get("topics")?,
                    trouble: row.try_get("trouble")?,
                })
            })
            .collect()
    }

    /// Marks a worker gone that `by` has taken for dead or hung. From now on anybody may take its lanes.
    /// The audit log says why. Returns whether this call has marked it.
    ///
    /// The caller must have made sure that the worker sends nothing any more.
    pub async fn mark_lost_worker(&self, worker: Uuid, reason: &str, by: Uuid) -> Result<bool, StoreError> {
        self.mark_gone(worker, Some(reason), Some(worker_actor(by))).await
    }

    async fn mark_gone(
        &self,
        worker: Uuid,
        reason: Option<&str>,
        by: Option<String>,
    ) -> Result<bool, StoreError> {
        Ok(self.query_one(sql!("workers/mark_gone"), &[&worker, &reason, &by]).await?.try_get(0)?)
    }

    /// Marks a worker gone that has stopped, and releases its lanes.
    ///
    /// The caller must have made sure that the worker sends nothing any more.
    pub async fn release_worker(&self, worker: Uuid) -> Result<Release, StoreError> {
        let marked = self.mark_gone(worker, None, None).await?;
        let (lanes, complete) = self.release_lanes(worker).await?;
        Ok(Release { marked, lanes, complete })
    }

    /// Makes the lanes of a worker ready that is gone, step by step. It waits for no lock: a locked
    /// lane is left, and a sweep of any worker may claim it later. Returns the same as
    /// [`Release::lanes`] and [`Release::complete`].
    pub async fn release_lanes(&self, worker: Uuid) -> Result<(i64, bool), StoreError> {
        let (mut lanes, mut locked) = (0, 0);
        let mut after = (i64::MIN, i64::MIN);
        loop {
            let parameters: super::Parameters<'_> = &[&worker, &after.0, &after.1, &RELEASE_STEP];
            let row = self.query_one(sql!("workers/release_lanes"), parameters).await?;
            lanes += row.try_get::<_, i64>(0)?;
            locked += row.try_get::<_, i64>(1)?;
            match (row.try_get(2)?, row.try_get(3)?) {
                (Some(webhook_id), Some(lane)) => after = (webhook_id, lane),
                _ => break,
            }
        }
        let complete =
            locked == 0 && self.query_one(sql!("workers/remove"), &[&worker]).await?.try_get::<_, bool>(0)?;
        Ok((lanes, complete))
    }

    /// Tells publishers that workers poll for this long, so that they need not NOTIFY.
    pub async fn quiet(&self, duration: Duration) -> Result<(), StoreError> {
        let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self.execute(sql!("wake/quiet"), &[&microseconds]).await?;
        Ok(())
    }

    /// Stores whether transactions that publish NOTIFY: `auto`, `on` or `off`. Returns whether that
    /// changed the setting.
    pub async fn set_notify(&self, notify: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sql!("installation/set_notify"), &[&notify]).await? > 0)
    }

    /// Tells the other workers to poll.
    pub async fn announce_quiet(&self) -> Result<(), StoreError> {
        self.execute(sql!("wake/announce"), &[&self.schema.name(), &"quiet"]).await?;
        Ok(())
    }
}

impl WorkerSession {
    /// Makes a round trip that shows that the worker lives. With a lease it also writes the
    /// worker's row, and what it does.
    ///
    /// # Errors
    /// SQLSTATE 55000 if the worker is not registered any more ([`StoreError::is_not_registered`]).
    pub async fn heartbeat(&self, doing: &Doing, lease: Option<Duration>) -> Result<Heartbeat, StoreError> {
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let (in_flight, lanes) = (number(doing.in_flight), number(doing.lanes));
        let lease = lease.map(|lease| lease.as_secs_f64());
        let parameters: super::Parameters<'_> =
            &[&self.worker, &in_flight, &lanes, &doing.stopping, &doing.trouble, &lease];
        let row = self.client.query_one(&self.heartbeat, parameters).await?;
        let sends_from = Identity(row.try_get(5)?, row.try_get(6)?);
        let is_copy = self.here.is_some_and(|here| here.differs(sends_from));
        Ok(Heartbeat {
            silent_for: Duration::from_micros(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default()),
            notifies: row.try_get(1)?,
            given_ids: row.try_get::<_, Option<i64>>(2)?.unwrap_or_default(),
            changed_at: row.try_get(3)?,
            switch: SendingSwitch { sending: row.try_get(4)?, is_copy },
        })
    }

    /// Counts the transactions, in all databases of the server, whose commit waits for another
    /// transaction that sends a NOTIFY.
    pub async fn count_waiting_publishers(&self) -> Result<i64, StoreError> {
        Ok(self.client.query_one(&self.count_waiting_publishers, &[]).await?.try_get(0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_tells_an_id_and_perhaps_a_stripe() {
        let published = |message_id, stripe| Notice::Published(Told { message_id, stripe });
        for (payload, notice) in [
            ("42", published(42, None)),
            ("42 768", published(42, Some(768))),
            ("webhooks", Notice::Webhooks),
            ("quiet", Notice::Quiet),
            ("more", Notice::Wake),
            ("", Notice::Wake),
            ("42 768 1", Notice::Wake),
            ("42 x", Notice::Wake),
            ("99999999999999999999", Notice::Wake),
            ("-1 99999999999", Notice::Wake),
        ] {
            assert_eq!(Notice::parse(payload), notice, "{payload:?}");
        }
    }
}
