//! One statement on one connection: its parameters, its answer, and when its connection returns to
//! the pool.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Row, RowStream, types::ToSql};

use super::pool::Object;

/// The parameters of a statement.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A call of one of the engine's functions that takes longer may have a bad plan. It may also have
/// waited for something.
pub(super) const SLOW_CALL: std::time::Duration = std::time::Duration::from_millis(50);

/// A statement: its text as its file has it, and its text for the schema in use.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) file: &'static str,
    pub(super) text: &'a str,
}

/// The answer of a statement.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) affected: u64,
}

impl Answer {
    /// Reads an answer to its end: the rows, and how many rows were written.
    pub(super) async fn read(stream: RowStream) -> Result<Self, tokio_postgres::Error> {
        let mut stream = pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        Ok(Self { rows, affected: stream.rows_affected().unwrap_or_default() })
    }
}

/// A connection of the pool. [`give_back`](Self::give_back) returns it to the pool once its
/// statement has ended. Without that it is closed when it is dropped.
pub(super) struct Borrowed(pub(super) Option<Object>);

impl Borrowed {
    pub(super) fn object(&self) -> &Object {
        // It is empty only after `give_back`, which consumes it.
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
