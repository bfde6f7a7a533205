//! The store's one error type.

use tokio_postgres::error::SqlState;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `database.url` is missing or is not a libpq URL.
    #[error("database.url: {0}")]
    InvalidUrl(String),
    /// `database.schema` is not a name PostgreSQL takes.
    #[error("database.schema: {0}")]
    InvalidSchema(String),
    /// TLS could not be set up.
    #[error("TLS for the database: {0}")]
    Tls(String),
    /// No connection could be had.
    #[error("cannot connect to the database: {0}")]
    Connect(String),
    /// The schema is newer than this binary, or was changed by something else.
    #[error("{0}")]
    SchemaMismatch(String),
    /// The database cannot hold a schema of ours.
    #[error("{0}")]
    Unsuitable(String),
    /// A migration failed.
    #[error("migration failed: {0}")]
    Migration(String),
    /// PostgreSQL refused a statement.
    #[error("{}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    /// No answer came: whether the statement was executed is not known.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Unanswered(std::time::Duration),
    /// A row held what this binary does not know.
    #[error("unexpected value in the database: {0}")]
    Unexpected(String),
}

/// What a caller asked for that cannot be. It is no fault of anybody's, and is told to whoever
/// asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is a topic of this name already.
    TopicExists,
    /// The topic of a message is gone.
    TopicGone,
    /// The topic of a message is paused.
    TopicPaused,
    /// The topic takes no payload that large.
    PayloadTooLarge,
    /// PostgreSQL does not take the payload for JSON.
    PayloadUnreadable,
}

impl StoreError {
    /// What of the request PostgreSQL refused, if the request is why.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.sql_state()?.code() {
            "23505" if self.constraint() == Some("topics_name_key") => Some(Refusal::TopicExists),
            "23503" => Some(Refusal::TopicGone),
            "55000" => Some(Refusal::TopicPaused),
            "54000" => Some(Refusal::PayloadTooLarge),
            "22P02" | "22P05" | "22021" | "54001" => Some(Refusal::PayloadUnreadable),
            _ => None,
        }
    }

    /// The SQLSTATE that PostgreSQL gave, if it was PostgreSQL that refused.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            _ => None,
        }
    }

    /// The same as its five characters.
    pub fn sql_code(&self) -> Option<&str> {
        self.sql_state().map(SqlState::code)
    }

    /// Whether the statement had no effect for certain: PostgreSQL refused it, or it was never
    /// sent.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => {
                error.as_db_error().is_some_and(|error| !may_follow_a_commit(error.code().code()))
            }
            Self::Unexpected(_) | Self::Unanswered(_) => false,
            _ => true,
        }
    }

    /// Whether a row of those that a statement was about may be why PostgreSQL refused it: one that
    /// is damaged, breaks a rule, or is refused by somebody's trigger (P0001). The others may go
    /// through without it.
    pub fn may_be_of_a_row(&self) -> bool {
        let Some(state) = self.sql_state() else {
            // A value that was read and is none of its type.
            return matches!(self, Self::Unexpected(_) | Self::Database(_)) && !self.is_unavailable();
        };
        self.is_refusal() && ["22", "23", "40", "54", "P0", "XX"].contains(&&state.code()[..2])
    }

    /// Whether PostgreSQL ended the statement because it took too long, or waited too long for a
    /// lock: of a row, or of a table.
    pub fn took_too_long(&self) -> bool {
        self.sql_state()
            .is_some_and(|state| [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(state))
    }

    /// Whether trying again later may help: the connection broke, the server stops or is full, a
    /// lock was not granted in time, or other transactions were faster again and again.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Unanswered(_) => true,
            Self::Database(error) => match error.code() {
                Some(state) => {
                    ["08", "53", "57"].contains(&&state.code()[..2])
                        || [
                            SqlState::READ_ONLY_SQL_TRANSACTION,
                            SqlState::LOCK_NOT_AVAILABLE,
                            SqlState::T_R_DEADLOCK_DETECTED,
                            SqlState::T_R_SERIALIZATION_FAILURE,
                        ]
                        .contains(state)
                }
                // Not PostgreSQL's word: the connection broke, unless a value could not be read.
                None => {
                    error.is_closed()
                        || std::error::Error::source(error)
                            .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
                }
            },
            _ => false,
        }
    }

    /// Whether the worker was struck off by another one, and must start over.
    pub fn is_not_registered(&self) -> bool {
        self.sql_state() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
    }

    /// The constraint that was violated, if that is what happened.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.as_db_error().and_then(tokio_postgres::error::DbError::constraint),
            _ => None,
        }
    }

    /// The message PostgreSQL gave, without severity and context, if it was PostgreSQL that
    /// refused.
    pub fn database_message(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.as_db_error().map(tokio_postgres::error::DbError::message),
            _ => None,
        }
    }
}

/// Whether this error may cut a statement off after its commit: an administrator's command, a
/// crash, or a pooler's word for the loss of its own connection to the server, which is 08P01.
fn may_follow_a_commit(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08")
}

/// `Display` of a `tokio_postgres::Error` is just "db error": say what the server or the cause said
/// instead.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        let named_statement =
            [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(database.code());
        let hint = if named_statement {
            "; if database.url leads through a transaction pooler, database.listen_url must be set"
        } else {
            ""
        };
        return format!("{} ({}){hint}", database.message(), database.code().code());
    }
    chain(error)
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => Self::Connect(describe(&error)),
            other => Self::Connect(chain(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_follow_a_commit;

    #[test]
    fn a_lost_connection_leaves_the_outcome_open() {
        for code in ["57P01", "57P02", "57P03", "08P01", "08006"] {
            assert!(may_follow_a_commit(code), "{code}");
        }
        for code in ["23505", "40P01", "55000", "57014"] {
            assert!(!may_follow_a_commit(code), "{code}");
        }
    }
}
