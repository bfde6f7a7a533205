//! Workers: the session that says one lives, and the look at the others.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use super::{Store, connect::Purpose, error::StoreError, statement::sql};

/// How many notices wait for a worker at most.
const NOTICES_MAX: usize = 10_000;

/// How many lanes one step of a release looks at.
const RELEASE_STEP: i32 = 5_000;

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct WorkerInfo {
    /// The incarnation; never used twice.
    pub id: Uuid,
    /// For people: host and process.
    pub name: String,
    /// How many lanes it may have in flight.
    pub capacity: usize,
    /// How long it may go without a heartbeat before it is taken for hung.
    pub lease: Duration,
}

/// What arrives on the LISTEN connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A message was published.
    Published(Told),
    /// More was published than is told one by one, or somebody wrote to the channel what only they
    /// understand.
    Wake,
    /// Webhooks or topics changed.
    Webhooks,
    /// Another worker asks all of them to poll.
    Quiet,
}

/// A message that a notification tells of. It is a hint: whoever may connect can send one.
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

/// A worker's own connection: it listens, and holds the lock that says the worker lives.
pub struct WorkerSession {
    client: Arc<tokio_postgres::Client>,
    worker: Uuid,
    heartbeat: tokio_postgres::Statement,
    count_waiting_publishers: tokio_postgres::Statement,
}

/// What a heartbeat was answered.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// For how long publishers do not NOTIFY.
    pub silent_for: Duration,
    /// The last id that was given to a message; 0 before the first.
    pub last_message_id: i64,
    /// Whether anybody may NOTIFY; where not, workers poll always.
    pub notifies: bool,
    /// Where nobody may NOTIFY: when a webhook or topic was changed last.
    pub changed_at: Option<Timestamp>,
}

/// Another worker, as it looks from here.
#[derive(Debug, Clone)]
pub struct OtherWorker {
    /// The incarnation.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// When it last wrote its row.
    pub heartbeat_at: Timestamp,
    /// How long that may stand still.
    pub lease: Duration,
    /// Whether nobody holds its lock.
    pub lock_free: bool,
    /// Whether it was taken for dead or hung already, or has stopped.
    pub gone: bool,
}

/// What releasing a worker has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Whether this call was the first to say that the worker is gone.
    pub marked: bool,
    /// How many lanes it has made ready.
    pub lanes: i64,
    /// Whether nothing is left to be done: no lane was locked, and the worker's row is deleted.
    pub complete: bool,
}

impl Store {
    /// Opens a worker's session: listens, takes the lock, registers, in this order.
    ///
    /// Notices arrive on the channel; it closes when the connection is lost.
    pub async fn open_worker_session(
        &self,
        info: &WorkerInfo,
    ) -> Result<(WorkerSession, mpsc::Receiver<Notice>), StoreError> {
        let (client, mut connection) = self.connector.connect().await?;
        let (sender, receiver) = mpsc::channel(NOTICES_MAX);
        tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            // An error here is final: the channel closes, and the worker starts over.
            while let Some(Ok(message)) = messages.next().await {
                let AsyncMessage::Notification(notification) = message else { continue };
                // Where too many wait, this one is lost: it is a hint, and polls find what it told.
                if let Err(TrySendError::Closed(_)) = sender.try_send(Notice::parse(notification.payload())) {
                    break;
                }
            }
        });
        client.batch_execute(&Purpose::Engine.session_settings(&self.schema)).await?;
        client.batch_execute("SET synchronous_commit = off").await?;
        client.batch_execute(&format!("LISTEN {}", self.schema.quoted())).await?;
        let row = client.query_one(&*self.schema.text(sql!("workers/next_lock_key")), &[]).await?;
        let (class, key): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
        client.execute(&*self.schema.text(sql!("workers/lock")), &[&class, &key]).await?;
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
                ],
            )
            .await?;
        let heartbeat = client.prepare(&self.schema.text(sql!("workers/heartbeat"))).await?;
        let count_waiting_publishers = client.prepare(sql!("wake/count_waiting_publishers")).await?;
        let client = Arc::new(client);
        Ok((WorkerSession { client, worker: info.id, heartbeat, count_waiting_publishers }, receiver))
    }

    /// Looks at the other workers.
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

    /// Says that a worker is gone, and makes its lanes ready, step by step. Waits for nobody: what
    /// is locked is left, and may be claimed by anybody's sweep.
    ///
    /// The caller has made sure that this worker sends nothing any more.
    pub async fn release_worker(&self, worker: Uuid) -> Result<Release, StoreError> {
        let marked = self.query_one(sql!("workers/mark_gone"), &[&worker]).await?.try_get(0)?;
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
        Ok(Release { marked, lanes, complete })
    }

    /// Tells publishers that workers poll for this long, so that they need not NOTIFY.
    pub async fn quiet(&self, duration: Duration) -> Result<(), StoreError> {
        let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self.execute(sql!("wake/quiet"), &[&microseconds]).await?;
        Ok(())
    }

    /// Says whether transactions that publish NOTIFY: `auto`, `on` or `off`. Returns whether it was
    /// another one before.
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
    /// A round trip that says the worker lives. With a lease, its row says so as well.
    ///
    /// Fails with SQLSTATE 55000 where the worker is not registered, or gone.
    pub async fn heartbeat(
        &self,
        in_flight: usize,
        lease: Option<Duration>,
    ) -> Result<Heartbeat, StoreError> {
        let in_flight = i32::try_from(in_flight).unwrap_or(i32::MAX);
        let lease = lease.map(|lease| lease.as_secs_f64());
        let row = self.client.query_one(&self.heartbeat, &[&self.worker, &in_flight, &lease]).await?;
        Ok(Heartbeat {
            silent_for: Duration::from_micros(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default()),
            notifies: row.try_get(1)?,
            last_message_id: row.try_get::<_, Option<i64>>(2)?.unwrap_or_default(),
            changed_at: row.try_get(3)?,
        })
    }

    /// Counts the publishers, of any database of the server, whose commits wait for another's
    /// because both NOTIFY.
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
