//! One statement on one connection: its parameters, its answer, and when its connection returns to
//! the pool.

use std::{pin::pin, time::Duration};

use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt as _;
use tokio::runtime::Handle;
use tokio_postgres::{Row, RowStream, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    plan_discards::PlanDiscards,
    pool::{Object, PoolConnection},
};

/// The parameters of a statement.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement: its text as its file has it, and its text for the schema in use.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) file: &'static str,
    pub(super) text: &'a str,
}

/// The answer of a statement.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) affected: u64,
}

impl Answer {
    /// Reads an answer to its end: the rows, and how many rows were written.
    pub(super) async fn read(stream: RowStream) -> Result<Self, tokio_postgres::Error> {
        let mut stream = pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        Ok(Self { rows, affected: stream.rows_affected().unwrap_or_default() })
    }
}

/// How long the request to cancel a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection of the pool. [`give_back`](Self::give_back) returns it to the pool once its
/// statement has ended. If it is dropped without that, nobody waits for the statement any more:
/// PostgreSQL is asked to cancel it, and the connection is closed.
///
/// Nothing is asked through a transaction pooler. PgBouncer 1.18 crashes if the connection of a
/// request to cancel ends before the request was passed on. There the server's time limit ends the
/// statement.
pub(super) struct Borrowed {
    connection: Option<Object>,
    tls: Option<MakeRustlsConnect>,
}

/// Why there is a connection: it is gone only after `give_back`, which consumes its holder.
const HELD: &str = "held until it is given back";

impl Borrowed {
    /// `tls`: how the request to cancel connects; `None` through a transaction pooler.
    pub(super) fn new(connection: Object, tls: Option<MakeRustlsConnect>) -> Self {
        Self { connection: Some(connection), tls }
    }

    pub(super) fn client(&self) -> &ClientWrapper {
        &self.connection.as_ref().expect(HELD).client
    }

    /// When the session of this connection discards its plans.
    pub(super) fn plans(&mut self) -> &mut PlanDiscards {
        &mut self.connection.as_mut().expect(HELD).plans
    }

    pub(super) fn give_back(mut self) {
        drop(self.connection.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let PoolConnection { client, .. } = Object::take(connection);
        // Outside a runtime nothing can be asked. Then closing must do.
        let (Ok(runtime), Some(tls)) = (Handle::try_current(), self.tls.take()) else { return };
        // Nobody can wait for this task: its caller is gone. It ends by itself, after its time limit
        // at the latest. There are no more of them than the pool had connections in that time.
        runtime.spawn(async move {
            // A failure is ignored: the server's own time limit ends the statement, later.
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, client.cancel_token().cancel_query(tls)).await;
        });
    }
}
