//! Whether the database can be worked with.

use tokio_postgres::error::SqlState;

use super::{Store, error::StoreError, migrate::known_version, statement::sql};

impl Store {
    /// Fails unless the database answers on the pool, and its schema is exactly at the version this binary knows.
    pub async fn check_ready(&self) -> Result<(), StoreError> {
        let found = match self.query_one(sql!("health/schema_version"), &[]).await {
            Ok(row) => row.try_get("version")?,
            Err(error) if error.sql_state() == Some(&SqlState::UNDEFINED_TABLE) => None,
            Err(error) => return Err(error),
        };
        self.require_version(found, known_version())
    }
}
