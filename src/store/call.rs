//! One statement on one connection: what it is given, what it gives, and what becomes of the
//! connection.

use std::pin::pin;

use deadpool_postgres::Object;
use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Row, RowStream, types::ToSql};

/// What a statement is given.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A call of the engine's functions that takes longer has a bad plan, or none of its time is its
/// own.
pub(super) const SLOW_CALL: std::time::Duration = std::time::Duration::from_millis(50);

/// A statement: its text in its file, and for the schema in use.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) file: &'static str,
    pub(super) text: &'a str,
}

/// What a statement gave.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) affected: u64,
}

impl Answer {
    /// The rows of a statement's answer, and how many it has written.
    pub(super) async fn read(stream: RowStream) -> Result<Self, tokio_postgres::Error> {
        let mut stream = pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        Ok(Self { rows, affected: stream.rows_affected().unwrap_or_default() })
    }
}

/// A connection of the pool that returns there only if its statement was seen to end.
pub(super) struct Borrowed(pub(super) Option<Object>);

impl Borrowed {
    pub(super) fn object(&self) -> &Object {
        // Empty only once it was given back, which consumes it.
        self.0.as_ref().expect("held until it is given back")
    }

    pub(super) fn client(&self) -> &Client {
        self.object()
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
