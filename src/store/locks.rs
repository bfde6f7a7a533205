//! Who holds an advisory lock of ours. Any role that may connect can take one.

use tokio_postgres::{Client, error::SqlState};

use super::{Store, error::StoreError, statement::sql};
use crate::domain::topic::TopicRef;

/// Advisory locks as `pg_locks` shows them.
pub(super) struct Locks {
    class: i64,
    keys: Vec<i64>,
    numbers: i16,
}

/// A number of 32 bits as an oid.
const LOW: i64 = 0xffff_ffff;

impl Locks {
    /// The lock of two numbers.
    pub(super) fn pair(class: i32, key: i32) -> Self {
        Self { class: i64::from(class) & LOW, keys: vec![i64::from(key) & LOW], numbers: 2 }
    }

    /// The lock of one number.
    pub(super) fn single(key: i64) -> Self {
        Self { class: (key >> 32) & LOW, keys: vec![key & LOW], numbers: 1 }
    }

    /// Who holds them, as text for people.
    pub(super) async fn holders(&self, client: &Client) -> Result<Option<String>, StoreError> {
        let row =
            client.query_one(sql!("locks/find_holders"), &[&self.class, &self.keys, &self.numbers]).await?;
        Ok(row.try_get(0)?)
    }
}

impl Store {
    /// If a publisher waited in vain for its partitions, adds who holds them to the error.
    pub(super) async fn name_holders(
        &self,
        error: StoreError,
        topic: &TopicRef,
        keys: &[&str],
    ) -> StoreError {
        match error {
            StoreError::Database(cause) if cause.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                match self.stripe_holders(topic, keys).await {
                    Ok(Some(holders)) => StoreError::Held { cause, holders },
                    // It was let go meanwhile, or it cannot be asked. The error says enough.
                    Ok(None) | Err(_) => StoreError::Database(cause),
                }
            }
            error => error,
        }
    }

    async fn stripe_holders(&self, topic: &TopicRef, keys: &[&str]) -> Result<Option<String>, StoreError> {
        let row = self.query_one(sql!("locks/list_stripes"), &[&topic.id(), &topic.name(), &keys]).await?;
        let (class, stripes): (i64, Vec<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let parameters: super::Parameters<'_> = &[&(class & LOW), &stripes, &2_i16];
        Ok(self.query_one(sql!("locks/find_holders"), parameters).await?.try_get(0)?)
    }
}
