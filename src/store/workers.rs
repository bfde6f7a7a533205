//! Workers: the session that says one lives, and the look at the others.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use super::{Handed, Store, connect::session_settings, error::StoreError, statement::sql};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something was published.
    Wake,
    /// A message was published, and handed over to this worker.
    Handed(Handed),
    /// Webhooks or topics changed.
    Webhooks,
    /// Another worker asks all of them to poll.
    Quiet,
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
}

impl Store {
    /// Opens a worker's session: listens, takes the lock, registers, in this order; then listens on the channel of its own.
    ///
    /// Notices arrive on the channel; it closes when the connection is lost.
    pub async fn open_worker_session(
        &self,
        info: &WorkerInfo,
    ) -> Result<(WorkerSession, mpsc::UnboundedReceiver<Notice>), StoreError> {
        let (client, mut connection) = self.connector.direct().await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = self.schema.name().to_owned();
        tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            // An error here is final: the channel closes, and the worker starts over.
            while let Some(Ok(message)) = messages.next().await {
                let AsyncMessage::Notification(notification) = message else { continue };
                let notice = if notification.channel() == shared {
                    match notification.payload() {
                        "webhooks" => Notice::Webhooks,
                        "quiet" => Notice::Quiet,
                        _ => Notice::Wake,
                    }
                } else {
                    Handed::parse(notification.payload()).map_or(Notice::Wake, Notice::Handed)
                };
                if sender.send(notice).is_err() {
                    break;
                }
            }
        });
        client.batch_execute(&session_settings()).await?;
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
        client.execute(&*self.schema.text(sql!("workers/listen")), &[&info.id]).await?;
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
                })
            })
            .collect()
    }

    /// Strikes a worker off and makes its lanes ready. `None` where somebody else was faster.
    ///
    /// The caller has made sure that this worker sends nothing any more.
    pub async fn release_worker(&self, worker: Uuid) -> Result<Option<i64>, StoreError> {
        Ok(self.query_one(sql!("workers/release"), &[&worker]).await?.try_get(0)?)
    }

    /// Tells publishers that workers poll for this long, so that they need not NOTIFY.
    pub async fn quiet(&self, duration: Duration) -> Result<(), StoreError> {
        let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self.execute(sql!("wake/quiet"), &[&microseconds]).await?;
        Ok(())
    }

    /// Tells the other workers to poll.
    pub async fn announce_quiet(&self) -> Result<(), StoreError> {
        self.execute(sql!("wake/announce"), &[&self.schema.name(), &"quiet"]).await?;
        Ok(())
    }
}

impl WorkerSession {
    /// A round trip that says the worker lives. With a lease, its row says so as well, and whether lanes may be handed over
    /// to it.
    ///
    /// Fails with SQLSTATE 55000 where the worker was struck off.
    pub async fn heartbeat(
        &self,
        in_flight: usize,
        lease: Option<Duration>,
        accepts: bool,
    ) -> Result<Heartbeat, StoreError> {
        let in_flight = i32::try_from(in_flight).unwrap_or(i32::MAX);
        let lease = lease.map(|lease| lease.as_secs_f64());
        let row =
            self.client.query_one(&self.heartbeat, &[&self.worker, &in_flight, &lease, &accepts]).await?;
        Ok(Heartbeat {
            silent_for: Duration::from_micros(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default()),
            last_message_id: row.try_get::<_, Option<i64>>(1)?.unwrap_or_default(),
        })
    }

    /// Counts the publishers, of any database of the server, whose commits wait for another's because both NOTIFY.
    pub async fn count_waiting_publishers(&self) -> Result<i64, StoreError> {
        Ok(self.client.query_one(&self.count_waiting_publishers, &[]).await?.try_get(0)?)
    }
}
