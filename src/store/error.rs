//! The error type of the store.

use tokio_postgres::error::SqlState;

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `database.url` or `database.listen_url` is missing, or is no connection string that can be
    /// used. The text names the setting.
    #[error("{0}")]
    InvalidUrl(String),
    /// `database.schema` is not a name that PostgreSQL accepts.
    #[error("database.schema: {0}")]
    InvalidSchema(String),
    /// TLS could not be set up.
    #[error("TLS for the database: {0}")]
    Tls(String),
    /// No connection could be made, or none of the pool was free in time.
    #[error("cannot connect to the database: {0}")]
    Connect(String),
    /// This binary cannot run on the schema: there is none, it is too old or too new, or it was not
    /// made by pgtopic.
    #[error("{0}")]
    SchemaMismatch(String),
    /// The database cannot hold pgtopic's schema, or the role may not use it.
    #[error("{0}")]
    Unsuitable(String),
    /// The database takes no writes now.
    #[error("the database is read-only: {0}")]
    ReadOnly(&'static str),
    /// A migration failed.
    #[error("migration failed: {0}")]
    Migration(String),
    /// PostgreSQL refused a statement, the connection broke, or a value could not be read.
    #[error("{}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    /// A publisher waited in vain for a lock that somebody holds.
    #[error("{}; the partition is held by {holders}", describe(.cause))]
    Held {
        /// What PostgreSQL said.
        cause: tokio_postgres::Error,
        /// Who holds it: processes with their roles, prepared transactions with their gids.
        holders: String,
    },
    /// No answer came in time. It is not known whether the statement was executed.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Unanswered(std::time::Duration),
    /// An answer held a value that this binary does not know.
    #[error("unexpected value in the database: {0}")]
    Unexpected(String),
}

/// Why PostgreSQL refused what a caller asked for. Nothing is broken; the caller gets the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another topic has this name.
    TopicExists,
    /// Another webhook of the topic has this name.
    WebhookExists,
    /// The webhook would have a retry schedule beside a back-off.
    RetryScheduleNotAlone,
    /// The topic of a message was deleted.
    TopicGone,
    /// The topic of a message is paused.
    TopicPaused,
    /// A webhook of the topic is owed as much as it may be, and has messages refused.
    TopicOverflows,
    /// The webhook would keep the latest message, and have batches.
    LatestOfBatches,
    /// The webhook would have messages refused, and has no limit.
    RefusesWithoutLimit,
    /// The payload is larger than the topic accepts.
    PayloadTooLarge,
    /// PostgreSQL does not accept the payload as JSON.
    PayloadUnreadable,
}

impl StoreError {
    /// Why PostgreSQL refused what the caller asked for; `None` if the error has another cause.
    pub fn refusal(&self) -> Option<Refusal> {
        // PostgreSQL raises these for reasons of its own, too. The trigger names the column.
        let column = self.column();
        match self.sql_state()?.code() {
            "23505" if self.constraint() == Some("topics_name_key") => Some(Refusal::TopicExists),
            "23505" if self.constraint() == Some("webhooks_name_key") => Some(Refusal::WebhookExists),
            "23514" if self.constraint() == Some("webhooks_retry_schedule_alone_check") => {
                Some(Refusal::RetryScheduleNotAlone)
            }
            "23514" if self.constraint() == Some("webhooks_keep_latest_singly_check") => {
                Some(Refusal::LatestOfBatches)
            }
            "23514" if self.constraint() == Some("webhooks_refuse_limit_check") => {
                Some(Refusal::RefusesWithoutLimit)
            }
            "23503" if column == Some("topic_id") => Some(Refusal::TopicGone),
            "53400" if column == Some("max_owed") => Some(Refusal::TopicOverflows),
            "55000" if column == Some("topic_id") => Some(Refusal::TopicPaused),
            "54000" if column == Some("payload") => Some(Refusal::PayloadTooLarge),
            "22P02" | "22P05" | "22021" | "54001" => Some(Refusal::PayloadUnreadable),
            _ => None,
        }
    }

    /// The SQLSTATE, if the error came from PostgreSQL.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) | Self::Held { cause: error, .. } => error.code(),
            _ => None,
        }
    }

    /// The five characters of the SQLSTATE, if the error came from PostgreSQL.
    pub fn sql_code(&self) -> Option<&str> {
        self.sql_state().map(SqlState::code)
    }

    /// Whether it is certain that the statement did nothing: PostgreSQL refused it, or it was never
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

    /// Whether one of the statement's rows may be the cause: it is damaged, it breaks a rule, or
    /// somebody's trigger refuses it (P0001). The statement may succeed without that row.
    pub fn may_be_of_a_row(&self) -> bool {
        let Some(state) = self.sql_state() else {
            // A value that was read does not fit its type.
            return matches!(self, Self::Unexpected(_) | Self::Database(_)) && !self.is_unavailable();
        };
        self.is_refusal() && ["22", "23", "40", "54", "P0", "XX"].contains(&&state.code()[..2])
    }

    /// Whether PostgreSQL answered, and refused the statement for a reason of its own.
    pub fn is_refused(&self) -> bool {
        self.sql_state().is_some() && !self.is_unavailable()
    }

    /// Whether this role lacks a right.
    pub fn is_missing_right(&self) -> bool {
        self.sql_state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    }

    /// Whether PostgreSQL ended the statement because it ran too long, or waited too long for a
    /// lock of a row or a table.
    pub fn took_too_long(&self) -> bool {
        self.sql_state()
            .is_some_and(|state| [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(state))
    }

    /// Whether the server takes no writes now: it is a standby, or its sessions are read-only.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::ReadOnly(_) => true,
            Self::Database(error) => error.as_db_error().is_some_and(|error| {
                // Besides 25006, a standby refuses some locks (55000) and BEGIN READ WRITE (0A000).
                // These codes have other meanings too; only a standby speaks of recovery.
                *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION
                    || (["55000", "0A000"].contains(&error.code().code())
                        && error.routine().is_some_and(of_standby))
            }),
            _ => false,
        }
    }

    /// Whether trying again later may help: the connection broke, the server stops, is full or is
    /// read-only, a lock was not granted in time, or other transactions got in the way (deadlock,
    /// serialization failure).
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Unanswered(_) | Self::ReadOnly(_) | Self::Held { .. } => true,
            Self::Database(_) if self.is_read_only() => true,
            Self::Database(_) if self.refusal() == Some(Refusal::TopicOverflows) => false,
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
                // The error is not from PostgreSQL: the connection broke, or a value could not be
                // read.
                None => {
                    error.is_closed()
                        || std::error::Error::source(error)
                            .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
                }
            },
            _ => false,
        }
    }

    /// Whether the worker is not registered any more, and must start over.
    pub fn is_not_registered(&self) -> bool {
        self.sql_state() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
    }

    /// Whether a step of background work was refused because its worker does not lead.
    pub fn is_not_leading(&self) -> bool {
        self.is_not_registered()
    }

    /// The name of the violated constraint, if one was violated.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.as_db_error().and_then(tokio_postgres::error::DbError::constraint),
            _ => None,
        }
    }

    /// The name of the column that the error is about, if it names one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.as_db_error().and_then(tokio_postgres::error::DbError::column),
            _ => None,
        }
    }

    /// PostgreSQL's detail, if the error came from PostgreSQL and has one.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.as_db_error().and_then(tokio_postgres::error::DbError::detail),
            _ => None,
        }
    }

    /// PostgreSQL's message without severity and context, if the error came from PostgreSQL.
    pub fn database_message(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.as_db_error().map(tokio_postgres::error::DbError::message),
            _ => None,
        }
    }
}

/// Whether a function of PostgreSQL that raised an error raises it on standbys alone. (Messages are
/// in the server's language, names of functions are not.)
fn of_standby(routine: &str) -> bool {
    [
        "PreventCommandDuringRecovery",
        "LockAcquireExtended",
        "check_XactReadOnly",
        "check_transaction_read_only",
    ]
    .contains(&routine)
}

/// Whether an error with this SQLSTATE may come after the statement's commit. An administrator's
/// command and a crash may (57P…), and so may the loss of a connection (08…): a pooler that loses
/// its own connection to the server reports 08P01.
fn may_follow_a_commit(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08")
}

/// The text of an error: what the server said, or the error's causes. `Display` of a
/// `tokio_postgres::Error` is only "db error".
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
    format!("{}{}", chain(error), super::certificate::remedy(error))
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

impl From<deadpool::managed::PoolError<StoreError>> for StoreError {
    fn from(error: deadpool::managed::PoolError<StoreError>) -> Self {
        match error {
            deadpool::managed::PoolError::Backend(error) => error,
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
