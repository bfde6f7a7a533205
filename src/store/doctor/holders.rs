//! Who holds partitions, locks, snapshots.

use tokio_postgres::Row;

use crate::{
    domain::doctor::{Held, Holder, HoldersFacts},
    store::{Store, error::StoreError, statement::sql},
};

/// How many holders are looked for.
const MOST: i64 = 20;

impl Store {
    /// The transactions that hold partitions.
    pub async fn diagnose_publishers(&self) -> Result<HoldersFacts, StoreError> {
        self.holders(sql!("doctor/list_publishers"), "partitions").await
    }

    /// The strangers that hold locks of ours.
    pub async fn diagnose_foreign_locks(&self) -> Result<HoldersFacts, StoreError> {
        self.holders(sql!("doctor/list_foreign_locks"), "locks").await
    }

    /// Who keeps dead rows.
    pub async fn diagnose_snapshots(&self) -> Result<HoldersFacts, StoreError> {
        self.holders(sql!("doctor/list_snapshots"), "transactions").await
    }

    async fn holders(&self, statement: &'static str, amount: &str) -> Result<HoldersFacts, StoreError> {
        let rows = self.ask(statement, &[&MOST]).await?;
        let role = self.ask_one(sql!("doctor/get_role"), &[]).await?;
        Ok(HoldersFacts {
            held: rows.iter().map(|row| held(row, amount)).collect::<Result<_, _>>()?,
            sees_others: role.try_get("sees_others")?,
            role: role.try_get("role")?,
        })
    }
}

fn held(row: &Row, amount: &str) -> Result<Held, StoreError> {
    let has = |column: &str| row.columns().iter().any(|one| one.name() == column);
    let text = |column: &str| -> Result<Option<String>, StoreError> {
        if has(column) { Ok(row.try_get(column)?) } else { Ok(None) }
    };
    let holder = match (text("gid")?, text("slot")?) {
        (Some(gid), _) => Holder::Prepared(gid),
        (None, Some(slot)) => Holder::Slot(slot),
        (None, None) => Holder::Session(row.try_get::<_, Option<i32>>("pid")?.unwrap_or_default()),
    };
    Ok(Held { holder, who: row.try_get("who")?, since: row.try_get("since")?, amount: row.try_get(amount)? })
}
