//! Tables, partitions, and what is past its retention.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use crate::{
    domain::doctor::{DiskFacts, IdleSlot, RetentionFacts, TableFacts},
    store::{Store, error::StoreError, statement::sql},
};

/// For how many days ahead there should be partitions.
const DAYS_AHEAD: i32 = 7;
/// At how many messages the look for what is past its retention stops.
const MESSAGES_SEEN: i64 = 1000;
/// How many slots are looked for.
const SLOTS_SEEN: i64 = 20;

impl Store {
    /// The tables.
    pub async fn diagnose_tables(&self) -> Result<Vec<TableFacts>, StoreError> {
        let rows = self.ask(sql!("doctor/list_tables"), &[&self.schema.name()]).await?;
        rows.iter().map(table).collect()
    }

    /// The days of the attempt log without a partition, counted from today; and the schema as SQL
    /// writes it.
    pub async fn diagnose_attempt_partitions(&self) -> Result<(Vec<usize>, &str), StoreError> {
        let rows = self.ask(sql!("doctor/list_missing_partitions"), &[&DAYS_AHEAD]).await?;
        let mut missing = Vec::new();
        for row in &rows {
            missing
                .extend(row.try_get::<_, Option<i32>>("missing")?.and_then(|day| usize::try_from(day).ok()));
        }
        Ok((missing, self.schema.quoted()))
    }

    /// What is past its retention. Messages are kept for so many days where their topic does not say,
    /// attempts for so many; 0: for ever.
    pub async fn diagnose_retention(
        &self,
        now: Timestamp,
        messages_days: u32,
        attempts_days: u32,
    ) -> Result<RetentionFacts, StoreError> {
        let days = i32::try_from(messages_days).unwrap_or(i32::MAX);
        let messages = self.ask_one(sql!("doctor/get_overdue_messages"), &[&MESSAGES_SEEN, &days]).await?;
        let partitions = self.ask(sql!("doctor/list_missing_partitions"), &[&DAYS_AHEAD]).await?;
        let oldest: Option<Timestamp> =
            partitions.first().map(|row| row.try_get("oldest_ended_at")).transpose()?.flatten();
        let kept = SignedDuration::from_hours(i64::from(attempts_days) * 24);
        let due = oldest.and_then(|oldest| oldest.checked_add(kept).ok()).filter(|due| *due < now);
        Ok(RetentionFacts {
            messages: messages.try_get("messages")?,
            messages_due: messages.try_get("due")?,
            attempts_due: due.filter(|_| attempts_days > 0),
        })
    }

    /// What is on the disk.
    pub async fn diagnose_disk(&self) -> Result<DiskFacts, StoreError> {
        let tables = self.diagnose_tables().await?;
        let slots = self.ask(sql!("doctor/list_idle_slots"), &[&SLOTS_SEEN]).await?;
        let slot =
            |row: &Row| Ok(IdleSlot { name: row.try_get("name")?, kept_bytes: row.try_get("kept_bytes")? });
        let traffic = self.ask_one(sql!("doctor/get_traffic"), &[]).await?;
        Ok(DiskFacts {
            tables,
            idle_slots: slots.iter().map(slot).collect::<Result<_, StoreError>>()?,
            published_per_second: traffic.try_get("published_per_second")?,
        })
    }
}

fn table(row: &Row) -> Result<TableFacts, StoreError> {
    Ok(TableFacts {
        name: row.try_get("name")?,
        live: row.try_get("live")?,
        dead: row.try_get("dead")?,
        vacuumed_at: row.try_get("vacuumed_at")?,
        autovacuum_off: row.try_get("autovacuum_off")?,
        freeze_age: row.try_get("freeze_age")?,
        bytes: row.try_get("bytes")?,
    })
}
