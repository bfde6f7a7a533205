//! What a connection is for, and the settings that its sessions have.

use std::time::Duration;

use super::statement::{Schema, sql};

/// What a connection is for. It decides how long a statement may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The worker's engine and its session. Their calls are short, and all lanes wait for them.
    Engine,
    /// The API and background work.
    General,
    /// Migrations and looks at the schema. They may take as long as they need.
    Migration,
}

impl Purpose {
    /// How long the server lets a statement wait for a lock; zero: without end.
    fn lock_timeout(self) -> Duration {
        match self {
            Self::Engine => Duration::from_secs(1),
            Self::General => Duration::from_secs(5),
            Self::Migration => Duration::ZERO,
        }
    }

    /// How long the server lets a statement run; zero: without end.
    fn statement_timeout(self) -> Duration {
        match self {
            Self::Engine => Duration::from_secs(5),
            // Less than the 30 s that the API gives a request.
            Self::General => Duration::from_secs(25),
            Self::Migration => Duration::ZERO,
        }
    }

    /// How long the server keeps a transaction whose client does nothing; zero: without end.
    fn idle_in_transaction_timeout(self) -> Duration {
        match self {
            Self::Engine | Self::General => Duration::from_secs(10),
            Self::Migration => Duration::ZERO,
        }
    }

    /// How long the server keeps a connection whose client takes no byte of an answer; zero: as the
    /// server is set. None of PostgreSQL's other limits ends such a transaction. It holds its locks
    /// as long as a hung client lives, and publishers wait for the row of a lane that it has
    /// changed. On a Unix socket this has no effect.
    fn client_timeout(self) -> Duration {
        self.idle_in_transaction_timeout()
    }

    /// How long this process waits for the answer: 2 s longer than the server lets a statement run.
    /// So the server's error comes first. It says for certain that nothing was done.
    pub(super) fn answer_timeout(self) -> Duration {
        self.statement_timeout() + Duration::from_secs(2)
    }

    /// The settings of every session of our own, and of every transaction through a pooler. They
    /// make sure that nothing holds a lock for long, whatever happens to its client, and that what
    /// the role or the database has set for others does not count here.
    ///
    /// The search path is set first. Before that, a name could mean an object that a stranger has
    /// put into a schema of the default path.
    fn settings(self, schema: &Schema, set: &str) -> String {
        let milliseconds = |time: Duration| time.as_millis();
        [
            search_path(schema),
            format!("lock_timeout = {}", milliseconds(self.lock_timeout())),
            format!("statement_timeout = {}", milliseconds(self.statement_timeout())),
            format!(
                "idle_in_transaction_session_timeout = {}",
                milliseconds(self.idle_in_transaction_timeout())
            ),
            format!("tcp_user_timeout = {}", milliseconds(self.client_timeout())),
            "jit = off".to_owned(),
            // Otherwise a backslash in a text of ours would mean something else.
            "standard_conforming_strings = on".to_owned(),
            // Definitions of triggers are compared as texts.
            "quote_all_identifiers = off".to_owned(),
        ]
        .map(|setting| format!("{set} {setting}"))
        .join("; ")
    }

    /// The SQL that sets up a session of our own. It also sets the isolation level, because every
    /// statement relies on a new snapshot.
    pub(super) fn session_settings(self, schema: &Schema) -> String {
        format!(
            "{}; SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off; \
             SET idle_session_timeout = 0; {}",
            self.settings(schema, "SET"),
            sql!("schema/pin_session"),
        )
    }

    /// The SQL that begins a transaction through a pooler. It sets the same for this transaction
    /// only.
    pub(super) fn begin(self, schema: &Schema) -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE; {}; {}",
            self.settings(schema, "SET LOCAL"),
            sql!("schema/pin_transaction"),
        )
    }
}

/// The search path of every session. Only the owner may create objects in these schemas. The
/// session's temporary objects come last.
fn search_path(schema: &Schema) -> String {
    format!("search_path = pg_catalog, {}, pg_temp", schema.quoted())
}
