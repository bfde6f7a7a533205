//! Whether anything is sent from here.

use super::{Store, error::StoreError, statement::sql};
use crate::domain::sending::{SendingChange, SendingStatus, SendingSwitch};

/// Which server and which database something is: its system identifier, and the oid of the
/// database. Where one is not known, it is taken for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(pub(super) Option<i64>, pub(super) Option<i64>);

impl Identity {
    /// Whether these are two databases.
    pub(super) fn differs(self, other: Self) -> bool {
        let differ =
            |one: Option<i64>, other: Option<i64>| one.zip(other).is_some_and(|(one, other)| one != other);
        differ(self.0, other.0) || differ(self.1, other.1)
    }
}

impl Store {
    /// Whether anything is sent from here, who said so and why.
    pub async fn get_sending(&self) -> Result<SendingStatus, StoreError> {
        let row = self.query_one(sql!("installation/get_sending"), &[]).await?;
        let is_copy: bool = row.try_get("is_copy")?;
        Ok(SendingStatus {
            switch: SendingSwitch {
                sending: row.try_get("sending")?,
                is_copy: is_copy && !self.sends_on_copy,
            },
            reason: row.try_get("reason")?,
            changed_by: row.try_get("changed_by")?,
        })
    }

    /// Switches sending on or off. `changed_by` says so. Returns whether that changed anything.
    pub async fn set_sending(&self, change: &SendingChange, changed_by: &str) -> Result<bool, StoreError> {
        let parameters: super::Parameters<'_> = &[&change.sending, &change.reason, &changed_by];
        Ok(self.execute(sql!("installation/set_sending"), parameters).await? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_tells_no_copy() {
        let here = Identity(Some(1), Some(5));
        assert!(!here.differs(here));
        assert!(here.differs(Identity(Some(2), Some(5))) && here.differs(Identity(Some(1), Some(6))));
        assert!(!here.differs(Identity(None, Some(5))) && here.differs(Identity(None, Some(6))));
        assert!(!here.differs(Identity(None, None)));
    }
}
