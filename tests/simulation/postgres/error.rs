//! What statements fail with.

/// An error of the model. Each has the SQLSTATE that PostgreSQL reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Error {
    /// Somebody else has changed the row since the snapshot.
    Serialization,
    Deadlock,
    Unique,
    ForeignKey,
    LockNotAvailable,
    /// The statement took too long, or was canceled.
    Canceled,
    /// The transaction has failed; only a rollback is possible.
    Failed,
    /// A condition that a function of ours asks for: 55000.
    NotInState,
    /// A function of ours refuses the isolation level: 25000.
    InvalidTransaction,
    /// PREPARE TRANSACTION after NOTIFY.
    NotSupported,
    NoSuchSavepoint,
    NoSuchObject,
    /// The server has crashed.
    ConnectionLost,
}

impl Error {
    pub(crate) fn sqlstate(self) -> &'static str {
        match self {
            Self::Serialization => "40001",
            Self::Deadlock => "40P01",
            Self::Unique => "23505",
            Self::ForeignKey => "23503",
            Self::LockNotAvailable => "55P03",
            Self::Canceled => "57014",
            Self::Failed => "25P02",
            Self::NotInState => "55000",
            Self::InvalidTransaction => "25000",
            Self::NotSupported => "0A000",
            Self::NoSuchSavepoint => "3B001",
            Self::NoSuchObject => "42704",
            Self::ConnectionLost => "57P01",
        }
    }
}

/// What a statement returns.
pub(crate) type Result<T> = std::result::Result<T, Error>;
