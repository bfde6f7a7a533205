//! The leader: the one worker that does the background work, and the transactions of that work.

use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Store,
    call::{Answer, Parameters},
    error::StoreError,
    statement::sql,
};

/// The right to do background work: a worker, and the term in which it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// The incarnation of the worker.
    pub worker: Uuid,
    /// It rises with each leader.
    pub term: i64,
}

/// Runs the statements of background work. Each one is a transaction that first locks the leader's
/// row and checks the term. If another worker leads meanwhile, the statement does nothing and fails
/// ([`StoreError::is_not_leading`]).
#[derive(Clone)]
pub struct LeaderStore {
    store: Store,
    lead: Lead,
    /// What each transaction begins with.
    check: String,
}

impl Store {
    /// Takes the lead, if nobody leads. Returns the right to lead, if this worker leads now.
    ///
    /// # Errors
    /// SQLSTATE 55000 if the worker is not registered ([`StoreError::is_not_registered`]).
    pub async fn take_lead(&self, worker: Uuid) -> Result<Option<Lead>, StoreError> {
        let term: Option<i64> = self.query_one(sql!("background/take_lead"), &[&worker]).await?.try_get(0)?;
        Ok(term.map(|term| Lead { worker, term }))
    }

    /// Whether a worker that lives leads. Without one no background work is done.
    pub async fn has_leader(&self) -> Result<bool, StoreError> {
        Ok(self.query_one(sql!("background/has_leader"), &[]).await?.try_get(0)?)
    }

    /// The statements of background work, under this lead.
    pub fn lead(&self, lead: Lead) -> LeaderStore {
        let Lead { worker, term } = lead;
        let check = format!("SELECT {}.require_lead('{worker}', {term})", self.schema.quoted());
        LeaderStore { store: self.clone(), lead, check }
    }
}

impl LeaderStore {
    /// The lead.
    pub fn lead(&self) -> Lead {
        self.lead
    }

    /// The plain statements.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Notes that a piece of background work was done (`Ok`: how many rows it dealt with) or has
    /// failed.
    pub async fn note_run(
        &self,
        piece: &str,
        took: Duration,
        outcome: Result<u64, &StoreError>,
    ) -> Result<(), StoreError> {
        let did = i64::try_from(*outcome.as_ref().unwrap_or(&0)).unwrap_or(i64::MAX);
        let error = outcome.err().map(ToString::to_string);
        let parameters: Parameters<'_> = &[&piece, &self.lead.worker, &took.as_secs_f64(), &did, &error];
        self.execute(sql!("background/note_run"), parameters).await?;
        Ok(())
    }

    /// Runs a step that changes rows. Returns how many.
    pub(super) async fn execute(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<u64, StoreError> {
        Ok(self.step(statement, parameters).await?.affected)
    }

    /// Runs a step that answers with one row.
    pub(super) async fn query_one(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Row, StoreError> {
        let mut rows = self.step(statement, parameters).await?.rows;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(StoreError::Unexpected("one row was to come".to_owned())),
        }
    }

    /// Runs a step that answers with rows.
    pub(super) async fn query(
        &self,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.step(statement, parameters).await?.rows)
    }

    async fn step(&self, statement: &'static str, parameters: Parameters<'_>) -> Result<Answer, StoreError> {
        self.store.general.run_after(&self.check, statement, parameters).await
    }
}
