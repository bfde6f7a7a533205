//! The server: its settings and what all databases share.

use tokio_postgres::Row;

use crate::{
    domain::doctor::{ITEMS_MAX, LockTableFacts, OpenTransaction, QueueFacts, SettingFacts},
    store::{Store, error::StoreError, statement::sql},
};

/// The settings that may lose data or switch something off.
const SETTINGS: [&str; 8] = [
    "fsync",
    "full_page_writes",
    "autovacuum",
    "track_counts",
    "track_activities",
    "synchronous_commit",
    "session_replication_role",
    "default_transaction_read_only",
];

impl Store {
    /// Settings of the server, and of databases and roles.
    pub async fn diagnose_settings(&self) -> Result<Vec<SettingFacts>, StoreError> {
        let rows = self.ask(sql!("doctor/list_settings"), &[&&SETTINGS[..]]).await?;
        let setting = |row: &Row| {
            Ok(SettingFacts {
                name: row.try_get("name")?,
                value: row.try_get("value")?,
                of: row.try_get("of")?,
            })
        };
        rows.iter().map(setting).collect()
    }

    /// The lock table of the server.
    pub async fn diagnose_lock_table(&self) -> Result<LockTableFacts, StoreError> {
        let row = self.ask_one(sql!("doctor/get_lock_table"), &[]).await?;
        Ok(LockTableFacts {
            topics: row.try_get("topics")?,
            per_transaction: row.try_get("per_transaction")?,
            transactions: row.try_get("transactions")?,
            held: row.try_get("held")?,
        })
    }

    /// The queue of notifications.
    pub async fn diagnose_notification_queue(&self) -> Result<QueueFacts, StoreError> {
        let usage = self.ask_one(sql!("doctor/get_queue"), &[]).await?.try_get("usage")?;
        let most = i64::try_from(ITEMS_MAX).unwrap_or(i64::MAX);
        let rows = self.ask(sql!("doctor/list_open_transactions"), &[&most]).await?;
        let open = |row: &Row| {
            Ok(OpenTransaction {
                pid: row.try_get("pid")?,
                who: row.try_get("who")?,
                since: row.try_get("since")?,
            })
        };
        let open = rows.iter().map(open).collect::<Result<_, StoreError>>()?;
        Ok(QueueFacts { usage, open })
    }
}
