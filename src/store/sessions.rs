//! Sessions: run statements on a pool of connections for one purpose.
//!
//! What is promised:
//!
//! - Every statement ends in time. The server's limit comes first, and its error says for certain
//!   that nothing was done. If no answer comes at all, this process gives up two seconds later.
//! - If a call is given up halfway, for example because the API's client has left, its statement is
//!   canceled (not through a pooler) and its connection is closed. So nobody gets a connection on
//!   which something may still run.
//! - If a server says that it takes no writes, all connections to it are closed. So a pool finds
//!   the server that does, and nothing must be restarted.

use std::{sync::Arc, time::Instant};

use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    call::{Answer, Borrowed, Parameters, Text},
    connect::Connector,
    error::StoreError,
    pool::{self, Pool},
    pooled::{Pooled, in_transaction},
    purpose::Purpose,
    statement::Schema,
};
use crate::domain::metrics::PoolConnections;

/// A pool of connections for one purpose.
#[derive(Clone)]
pub(super) struct Sessions {
    pool: Pool,
    purpose: Purpose,
    schema: Arc<Schema>,
    /// How a request to cancel a statement connects.
    tls: MakeRustlsConnect,
    /// Runs the statements instead, if the connections lead through a transaction pooler.
    pooled: Option<Arc<Pooled>>,
}

impl Sessions {
    pub(super) fn new(
        connector: &Connector,
        schema: &Arc<Schema>,
        size: usize,
        purpose: Purpose,
        pooled: bool,
    ) -> Result<Self, StoreError> {
        // A session behind a pooler is not set up: the pooler may give it to others next.
        let setup = (!pooled).then(|| purpose.session_settings(schema).into());
        let pool = pool::new(connector.clone(), size, setup)?;
        let pooled =
            pooled.then(|| Arc::new(Pooled::new(pool.clone(), connector.clone(), purpose.begin(schema))));
        Ok(Self { pool, purpose, schema: Arc::clone(schema), tls: connector.tls(), pooled })
    }

    /// Runs one statement as one transaction: an implicit one, or an explicit one through a
    /// transaction pooler.
    pub(super) async fn run(
        &self,
        file: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        let text = self.schema.text(file);
        let text = Text { file, text: &text };
        self.in_time(async {
            match &self.pooled {
                Some(pooled) => pooled.run(text, parameters).await,
                None => self.direct(text, parameters, false).await,
            }
        })
        .await
    }

    /// The same for the engine's functions. A session keeps their plans, and discards them now and
    /// then (`plan_discards`).
    pub(super) async fn call(
        &self,
        file: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        let text = self.schema.text(file);
        let text = Text { file, text: &text };
        self.in_time(async {
            match &self.pooled {
                Some(pooled) => pooled.call(text, parameters).await,
                None => self.direct(text, parameters, true).await,
            }
        })
        .await
    }

    /// Runs one statement in an explicit transaction that runs `first` before it. The three texts
    /// go out in one piece, without waiting for answers in between.
    pub(super) async fn run_after(
        &self,
        first: &str,
        file: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        let text = self.schema.text(file);
        let text = Text { file, text: &text };
        self.in_time(async {
            match &self.pooled {
                Some(pooled) => pooled.run_after(first, text, parameters).await,
                None => self.direct_after(first, text, parameters).await,
            }
        })
        .await
    }

    /// The open connections of the pool.
    pub(super) fn connections(&self) -> PoolConnections {
        let status = self.pool.status();
        PoolConnections { in_use: status.size.saturating_sub(status.available), idle: status.available }
    }

    /// Whether the connections lead through a transaction pooler.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled.is_some()
    }

    /// Closes all unused connections.
    pub(super) fn close_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    async fn in_time(
        &self,
        statement: impl Future<Output = Result<Answer, StoreError>>,
    ) -> Result<Answer, StoreError> {
        let limit = self.purpose.answer_timeout();
        // Boxed, because this future is large: otherwise it would make the futures of all callers
        // large.
        let answer = tokio::time::timeout(limit, Box::pin(statement))
            .await
            .unwrap_or(Err(StoreError::Unanswered(limit)));
        // The server takes no writes now. All connections of the pool lead there. A new one may
        // lead to the server that took its place, or begin with other settings.
        if answer.as_ref().is_err_and(StoreError::is_read_only) {
            self.close_idle();
        }
        answer
    }

    async fn direct(
        &self,
        text: Text<'_>,
        parameters: Parameters<'_>,
        keeps_plans: bool,
    ) -> Result<Answer, StoreError> {
        let mut connection = Borrowed::new(self.pool.get().await?, Some(self.tls.clone()));
        let statement = connection.client().prepare_cached(text.text).await;
        let begun = Instant::now();
        let answer = match statement {
            Ok(statement) if keeps_plans && connection.plans().begin(begun) => {
                with_new_plans(connection.client(), execute(connection.client(), &statement, parameters))
                    .await
            }
            Ok(statement) => execute(connection.client(), &statement, parameters).await,
            Err(error) => Err(error),
        };
        if keeps_plans && answer.is_ok() {
            connection.plans().ended(begun.elapsed(), Instant::now());
        }
        let answer = answer.map_err(StoreError::from);
        if answer.as_ref().is_err_and(StoreError::is_read_only) {
            return answer;
        }
        connection.give_back();
        answer
    }

    async fn direct_after(
        &self,
        first: &str,
        text: Text<'_>,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        let connection = Borrowed::new(self.pool.get().await?, Some(self.tls.clone()));
        let statement = connection.client().prepare_cached(text.text).await?;
        let client = connection.client();
        let opening = format!("BEGIN; {first}");
        let answer = in_transaction(client, &opening, execute(client, &statement, parameters)).await;
        if !answer.as_ref().is_err_and(StoreError::is_read_only) {
            connection.give_back();
        }
        answer
    }
}

/// Runs a statement for which the session makes all plans anew. Both texts go out in one piece.
async fn with_new_plans(
    client: &Client,
    statement: impl Future<Output = Result<Answer, tokio_postgres::Error>>,
) -> Result<Answer, tokio_postgres::Error> {
    // If the first one fails, only speed suffers. If the connection is lost, the second one says so.
    join(client.batch_execute("DISCARD PLANS"), statement).await.1
}

async fn execute(
    client: &Client,
    statement: &tokio_postgres::Statement,
    parameters: Parameters<'_>,
) -> Result<Answer, tokio_postgres::Error> {
    Answer::read(client.query_raw(statement, parameters.iter().copied()).await?).await
}
