//! The cell of an installation.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::{
    Store,
    error::{StoreError, chain},
    statement::sql,
};

/// How many cells there are.
pub const CELLS: i32 = 1024;

/// How often `set_cell` tries, at most.
const CELL_TRIES: usize = 30;

/// The time between two tries.
const CELL_PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Gives this installation its cell: from then on every message id modulo [`CELLS`] is this
    /// number. Returns the first such id, or `None` if the installation had this cell before.
    ///
    /// It needs an instant without an open transaction that has published. It waits a second for
    /// that instant, up to `CELL_TRIES` times. Publishers go on between two tries.
    ///
    /// # Errors
    /// [`StoreError::Migration`] if the installation has another cell, or if there was no
    /// such instant.
    pub async fn set_cell(&self, cell: i32) -> Result<Option<i64>, StoreError> {
        self.with_direct(async |client| {
            client.execute("SET lock_timeout = '1s'", &[]).await?;
            let statement = self.schema.text(sql!("installation/set_cell"));
            for tried in 1.. {
                match client.query_one(&*statement, &[&cell]).await {
                    Ok(row) => return Ok(row.try_get(0)?),
                    Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                        if tried == CELL_TRIES {
                            break;
                        }
                        tokio::time::sleep(CELL_PAUSE).await;
                    }
                    Err(error) => return Err(StoreError::Migration(chain(&error))),
                }
            }
            let text = "transactions that publish never left a gap: try again, or end the longest one";
            Err(StoreError::Migration(text.to_owned()))
        })
        .await
    }
}
