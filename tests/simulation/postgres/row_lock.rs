//! The modes of row locks.

/// A row lock, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum RowLock {
    KeyShare,
    Share,
    /// Also that of an UPDATE that leaves the keys.
    NoKeyUpdate,
    /// Also that of a DELETE, and of an UPDATE that changes a key.
    Update,
}

impl RowLock {
    /// Whether two transactions cannot hold both.
    pub(crate) fn conflicts(self, other: Self) -> bool {
        use RowLock::{KeyShare, NoKeyUpdate, Share, Update};
        match (self, other) {
            (Update, _) | (_, Update) | (NoKeyUpdate, NoKeyUpdate | Share) | (Share, NoKeyUpdate) => true,
            (KeyShare | Share, KeyShare | Share) | (KeyShare, NoKeyUpdate) | (NoKeyUpdate, KeyShare) => false,
        }
    }
}

/// What is done about a row that somebody else has locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Locked {
    Wait,
    Skip,
    /// NOWAIT: an error.
    Refuse,
}
