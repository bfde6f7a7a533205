//! Statements through a transaction pooler, such as PgBouncer.
//!
//! Between two transactions such a pooler may give the client another server session. So nothing
//! may be kept in a session: no named statements, no `SET`.
//!
//! What is promised:
//!
//! - Every statement is one explicit transaction that brings its own settings. It goes out in one
//!   piece, without waiting for answers in between. It leaves nothing behind in the session, except
//!   the plans of functions.
//! - If a call is given up halfway, its connection is closed. So nobody gets a connection with an
//!   open transaction.
//!
//! Without named statements, parameters must be sent with their types. For each statement
//! PostgreSQL is asked once for the types, on a direct connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::future::join3;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::{
    call::{Answer, Borrowed, Parameters, Text},
    connect::Connector,
    error::StoreError,
    pool::Pool,
};

/// What is known about the statements, and about the sessions behind the pooler.
pub(super) struct Pooled {
    pool: Pool,
    connector: Connector,
    /// The SQL that begins a transaction.
    begin: String,
    /// The same, and it discards the plans of the session.
    begin_with_new_plans: String,
    /// The types of each statement's parameters, by the text of its file.
    types: Mutex<HashMap<&'static str, Arc<[Type]>>>,
}

impl Pooled {
    pub(super) fn new(pool: Pool, connector: Connector, begin: String) -> Self {
        Self {
            pool,
            connector,
            begin_with_new_plans: format!("{begin}; DISCARD PLANS"),
            begin,
            types: Mutex::default(),
        }
    }

    /// Runs one statement in a transaction of its own.
    pub(super) async fn run(
        &self,
        statement: Text<'_>,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        self.transaction(&self.begin, statement, parameters, false).await
    }

    /// The same, and the transaction runs `first` before the statement.
    pub(super) async fn run_after(
        &self,
        first: &str,
        statement: Text<'_>,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        self.transaction(&format!("{}; {first}", self.begin), statement, parameters, false).await
    }

    /// One statement of the engine's functions. After a slow call, the next call on its connection may
    /// discard the plans of the session that it gets.
    pub(super) async fn call(
        &self,
        statement: Text<'_>,
        parameters: Parameters<'_>,
    ) -> Result<Answer, StoreError> {
        self.transaction(&self.begin, statement, parameters, true).await
    }

    async fn transaction(
        &self,
        opening: &str,
        statement: Text<'_>,
        parameters: Parameters<'_>,
        keeps_plans: bool,
    ) -> Result<Answer, StoreError> {
        let types = self.types(statement).await?;
        let values: Vec<(&(dyn ToSql + Sync), Type)> =
            parameters.iter().copied().zip(types.iter().cloned()).collect();
        let mut connection = Borrowed::new(self.pool.get().await?, None);
        let begun = Instant::now();
        let new_plans = keeps_plans && connection.plans().begin(begun);
        let opening = if new_plans { &self.begin_with_new_plans } else { opening };
        let client = connection.client();
        let outcome = in_transaction(client, opening, execute(client, statement.text, &values)).await;
        if keeps_plans && outcome.is_ok() {
            connection.plans().ended(begun.elapsed(), Instant::now());
        }
        if !outcome.as_ref().is_err_and(StoreError::is_read_only) {
            connection.give_back();
        }
        outcome
    }

    async fn types(&self, statement: Text<'_>) -> Result<Arc<[Type]>, StoreError> {
        let known = self.types.lock().unwrap_or_else(PoisonError::into_inner).get(statement.file).cloned();
        if let Some(types) = known {
            return Ok(types);
        }
        let mut connection = self.connector.direct().await?;
        let types: Arc<[Type]> = connection.client().prepare(statement.text).await?.params().into();
        connection.close().await;
        self.types.lock().unwrap_or_else(PoisonError::into_inner).insert(statement.file, Arc::clone(&types));
        Ok(types)
    }
}

/// Runs a statement between `opening`, which begins a transaction, and COMMIT. Each is sent when it
/// is first polled, in this order. So all three are on their way at once. If one fails, COMMIT
/// rolls back. The answer counts only if the commit succeeded.
pub(super) async fn in_transaction(
    client: &Client,
    opening: &str,
    statement: impl Future<Output = Result<Answer, tokio_postgres::Error>>,
) -> Result<Answer, StoreError> {
    match join3(client.batch_execute(opening), statement, client.batch_execute("COMMIT")).await {
        (Ok(()), Ok(answer), Ok(())) => Ok(answer),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Err(StoreError::from(error)),
    }
}

async fn execute(
    client: &Client,
    text: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Answer, tokio_postgres::Error> {
    let parameters = parameters.iter().map(|(value, kind)| (*value, kind.clone()));
    Answer::read(client.query_typed_raw(text, parameters).await?).await
}
