//! The facts that `doctor` judges. Each method reads those of one check, or of a few.
//!
//! Nothing here writes: each statement is a read-only transaction of its own, with a short time
//! limit.
//!
//! | file | what it reads |
//! |---|---|
//! | `reach` | the session, TLS, poolers, LISTEN |
//! | `schema` | rights, version, functions, triggers, indexes, sequences |
//! | `server` | settings, the lock table, the notification queue |
//! | `processes` | workers, and their leader |
//! | `lanes` | lanes that do not move, rows that lack another one, webhooks |
//! | `holders` | who holds partitions, locks, snapshots |
//! | `tables` | tables, partitions, what is past its retention |

mod holders;
mod lanes;
mod processes;
mod reach;
mod schema;
mod server;
mod tables;

use tokio_postgres::Row;

use super::{Store, call::Parameters, error::StoreError};

/// What each transaction begins with. The limit comes before that of a check, which is 2 s.
const READ_ONLY: &str = "SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = 1800";

impl Store {
    /// Runs a statement that only reads.
    async fn ask(&self, statement: &'static str, parameters: Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.general.run_after(READ_ONLY, statement, parameters).await?.rows)
    }

    /// The same for a statement that answers with one row.
    async fn ask_one(&self, statement: &'static str, parameters: Parameters<'_>) -> Result<Row, StoreError> {
        let row = self.ask(statement, parameters).await?.pop();
        row.ok_or_else(|| StoreError::Unexpected("no row where there must be one".to_owned()))
    }
}
