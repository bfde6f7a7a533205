//! How the database is reached.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::{
    domain::doctor::{Link, PoolerFacts, SessionFacts},
    store::{
        Store,
        connect::{Connection, drive},
        error::StoreError,
        statement::{quote, sql},
    },
};

/// How often the session is asked: the quickest round trip counts.
const ROUND_TRIPS: usize = 3;
/// How often each of two connections is asked for its session.
const BACKENDS_ASKED: usize = 3;
/// How long a notification may take.
const NOTIFY_LIMIT: Duration = Duration::from_secs(1);

impl Store {
    /// The session that is used for checks.
    pub async fn diagnose_session(&self) -> Result<SessionFacts, StoreError> {
        let mut quickest: Option<SessionFacts> = None;
        for _ in 0..ROUND_TRIPS {
            let (asked, before) = (Instant::now(), Timestamp::now());
            let row = self.ask_one(sql!("doctor/get_session"), &[]).await?;
            let (round_trip, after) = (asked.elapsed(), Timestamp::now());
            let now: Timestamp = row.try_get("now")?;
            let facts = SessionFacts {
                database: row.try_get("database")?,
                role: row.try_get("role")?,
                version: row.try_get("version")?,
                standby: row.try_get("standby")?,
                read_only: row.try_get("read_only")?,
                connections: (row.try_get("connections")?, row.try_get("connections_max")?),
                round_trip,
                // Between the two looks at this machine's clock the database looked at its own.
                clock_ahead: now.duration_since(before + after.duration_since(before) / 2),
            };
            if quickest.as_ref().is_none_or(|quickest| round_trip < quickest.round_trip) {
                quickest = Some(facts);
            }
        }
        quickest.ok_or_else(|| StoreError::Unexpected("no round trip".to_owned()))
    }

    /// How safe the connections are.
    pub async fn diagnose_tls(&self) -> Result<Vec<Link>, StoreError> {
        let mut links = self.connector.links();
        let sql = sql!("doctor/is_encrypted");
        let encrypted: bool =
            self.with_direct(async |client| Ok(client.query_one(sql, &[]).await?.try_get(0)?)).await?;
        // The last one is that of direct connections.
        if let Some(direct) = links.last_mut() {
            direct.encrypted = Some(encrypted);
        }
        Ok(links)
    }

    /// What stands between this process and the server. `configured`: whether a transaction pooler
    /// is.
    pub async fn diagnose_pooler(&self) -> Result<PoolerFacts, StoreError> {
        let two = (self.connector.connect_pooled().await?, self.connector.connect_pooled().await?);
        let (url_shares, url_database) = share(two.0, two.1).await?;
        let has_own = self.connector.links().len() > 1;
        let (direct_shares, same_database) = if has_own {
            let two = (self.connector.connect().await?, self.connector.connect().await?);
            let (shares, database) = share(two.0, two.1).await?;
            (Some(shares), database == url_database)
        } else {
            (None, true)
        };
        let configured = self.general.is_pooled();
        Ok(PoolerFacts { configured, url_shares, direct_shares, same_database })
    }

    /// After how long a notification arrives where LISTEN was said; `None`: it does not.
    pub async fn diagnose_listen(&self) -> Result<Option<Duration>, StoreError> {
        let channel = format!("pgtopic_doctor_{}", Uuid::now_v7().simple());
        let (client, mut connection) = self.connector.connect().await?;
        let (heard, arrives) = oneshot::channel();
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            let mut heard = Some(heard);
            while let Some(Ok(message)) = messages.next().await {
                if let (AsyncMessage::Notification(_), Some(heard)) = (message, heard.take()) {
                    // Nobody waits any more: the limit has passed.
                    let _ = heard.send(());
                }
            }
        }));
        client.batch_execute(&format!("LISTEN {}", quote(&channel))).await?;
        let sent = Instant::now();
        self.ask(sql!("doctor/notify"), &[&channel]).await?;
        let in_time = tokio::time::timeout(NOTIFY_LIMIT, arrives).await;
        Ok(matches!(in_time, Ok(Ok(()))).then(|| sent.elapsed()))
    }
}

/// Whether two connections share a session, or change theirs; and which database they lead to.
async fn share(one: (Client, Connection), other: (Client, Connection)) -> Result<(bool, String), StoreError> {
    let _drivers = (AbortOnDropHandle::new(drive(one.1)), AbortOnDropHandle::new(drive(other.1)));
    let (first, database) = backend(&one.0).await?;
    let (mut shares, second) = (false, backend(&other.0).await?.0);
    for _ in 1..BACKENDS_ASKED {
        shares |= backend(&one.0).await?.0 != first || backend(&other.0).await?.0 != second;
    }
    Ok((shares || first == second, database))
}

/// The session that a connection has now, and its database.
async fn backend(client: &Client) -> Result<(String, String), StoreError> {
    let answer = client.simple_query(sql!("doctor/get_backend")).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let value = |column| row.and_then(|row| row.get(column)).unwrap_or_default().to_owned();
    Ok((value(0), value(1)))
}
