//! Sequences: never rolled back. A crash may lose what was not on disk yet.

/// A sequence. PostgreSQL writes to its log only at each 32nd value, and 32 values ahead.
#[derive(Default)]
pub(crate) struct Sequence {
    last: i64,
    /// Values that may be given out without another record.
    logged: i64,
    /// Places in the log, and the values written there.
    records: Vec<(u64, i64)>,
}

/// How many values a record is ahead.
const AHEAD: i64 = 32;

impl Sequence {
    /// The next value. `lsn` is where a record would be.
    pub(crate) fn next(&mut self, lsn: &mut u64) -> i64 {
        self.last += 1;
        if self.last > self.logged {
            self.logged = self.last + AHEAD;
            *lsn += 1;
            self.records.push((*lsn, self.logged));
        }
        self.last
    }

    /// The last value, without a new one.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// A crash: records after a place in the log are lost.
    pub(crate) fn crash(&mut self, lsn: u64) {
        self.records.retain(|(at, _)| *at <= lsn);
        self.last = self.records.last().map_or(0, |(_, value)| *value);
        self.logged = self.last;
    }
}

/// All sequences that statements use.
#[derive(Default)]
pub(crate) struct Sequences {
    pub(crate) message_ids: Sequence,
    pub(crate) topic_ids: Sequence,
    pub(crate) webhook_ids: Sequence,
    pub(crate) dead_letter_ids: Sequence,
    pub(crate) worker_lock_keys: Sequence,
    pub(crate) job_ids: Sequence,
}
