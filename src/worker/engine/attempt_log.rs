//! The attempt log: attempts that are not written to the table `attempts` yet.
//!
//! Promised: the attempt log holds up nothing. It is written beside the settles. If writing fails
//! or falls behind, attempts are left out. Once writing succeeds again, the worker says how many.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{event::LogAnswer, failure::Failure};
use crate::store::AttemptRow;

/// If this many rows wait, they get a statement of their own, and do not wait for the next settle.
const MANY: usize = 256;

/// How many rows one statement adds. It needs several times their memory.
const BATCH: usize = 512;

/// If many rows wait, one statement adds this part of them (one in eight). So the log catches up
/// with a slow database.
const BATCH_PART: usize = 8;

/// The most rows that may wait. Later ones are left out.
const WAITING_MAX: usize = 50_000;

/// How many statements of one batch may fail because of a row, beside one for each written row. If
/// more fail, the reason is not single rows.
const REFUSALS_MAX: usize = 64;

/// The same after a batch of which nothing was written. Halving comes down to a single row of
/// 32,768, more than a batch may hold.
const REFUSALS_MAX_FAILING: usize = 16;
const _: () = assert!((WAITING_MAX / BATCH_PART).ilog2() as usize + 2 <= REFUSALS_MAX_FAILING);

/// How often it is logged that rows are refused.
const SAY_REFUSED_EVERY: Duration = Duration::from_mins(1);

/// Rows for the attempt log.
#[derive(Default)]
pub(super) struct AttemptLog {
    waiting: VecDeque<AttemptRow>,
    under_way: bool,
    /// Whether nothing of the last batch was written.
    fails: bool,
    /// How many rows were left out and not reported yet.
    left_out: usize,
    /// How many rows were refused and not reported yet, and when the last report was.
    refused: usize,
    refused_said: Option<Instant>,
}

impl AttemptLog {
    pub(super) fn add(&mut self, row: AttemptRow) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(row);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether nothing waits, and nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.under_way
    }

    /// Takes the rows of the next statement, and how many statements may fail because of a row.
    /// There is one statement at a time.
    pub(super) fn begin(&mut self) -> Option<(Vec<AttemptRow>, usize)> {
        if self.under_way || self.waiting.is_empty() {
            return None;
        }
        self.under_way = true;
        let count = BATCH.max(self.waiting.len() / BATCH_PART).min(self.waiting.len());
        let refusals_max = if self.fails { REFUSALS_MAX_FAILING } else { REFUSALS_MAX };
        Some((self.waiting.drain(..count).collect(), refusals_max))
    }

    /// Whether so many rows wait that they get a statement of their own.
    pub(super) fn is_long(&self) -> bool {
        self.waiting.len() >= MANY
    }

    /// A batch has ended. If two batches in a row fail as a whole, the rows that wait are left out
    /// too. A locked table or a full disk may last long, and must neither fill the memory nor keep a
    /// worker from stopping. A row that is refused by itself says nothing about the others.
    pub(super) fn ended(&mut self, answer: &LogAnswer, now: Instant) {
        let LogAnswer { rows, written, refused, failure } = answer;
        self.under_way = false;
        let failure = match failure {
            Some(error) if written + refused > 0 => {
                self.say_refused(rows - written, error, now);
                None
            }
            failure => failure.as_ref(),
        };
        match failure {
            None if *written == 0 => return,
            Some(error) => {
                self.left_out += rows;
                if self.fails {
                    self.left_out += self.waiting.len();
                    self.waiting = VecDeque::new();
                } else {
                    warn!(%error, "the log of attempts cannot be written; requests go on");
                }
            }
            None if self.fails => info!(left_out = self.left_out, "the log of attempts is written again"),
            None if self.left_out > 0 && self.waiting.is_empty() => {
                warn!(left_out = self.left_out, "the log of attempts fell behind");
            }
            None => {}
        }
        let recovered = self.fails && failure.is_none();
        self.fails = failure.is_some();
        if recovered || (!self.fails && self.waiting.is_empty()) {
            self.left_out = 0;
        }
    }

    /// Some rows of a batch were refused: logs it, but not too often.
    fn say_refused(&mut self, rows: usize, error: &Failure, now: Instant) {
        self.refused += rows;
        if self.refused_said.is_none_or(|said| now.duration_since(said) >= SAY_REFUSED_EVERY) {
            warn!(left_out = self.refused, %error, "the log of attempts does not take some rows");
            self.refused = 0;
            self.refused_said = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{super::failure::Effect, *};
    use crate::domain::attempt::{AttemptResult, Outcome};

    fn add(log: &mut AttemptLog, rows: usize) {
        for _ in 0..rows {
            log.add(AttemptRow {
                webhook_id: 1,
                message_id: 1,
                attempt: 1,
                batch: None,
                result: AttemptResult {
                    outcome: Outcome::Accepted,
                    status_code: Some(204),
                    error_class: None,
                    error: None,
                    duration: Duration::ZERO,
                    response_excerpt: None,
                    retry_after: None,
                },
                attempted_at: Timestamp::UNIX_EPOCH,
                replay: false,
                probe: false,
            });
        }
    }

    fn begin(log: &mut AttemptLog) -> Option<usize> {
        log.begin().map(|(rows, _)| rows.len())
    }

    /// `written` of the batch's `rows` were written, and `refused` were refused by themselves.
    fn ended(log: &mut AttemptLog, rows: usize, written: usize, refused: usize) {
        let failure =
            (written < rows).then(|| Failure { effect: Effect::Nothing, text: "disk full".to_owned() });
        log.ended(&LogAnswer { rows, written, refused, failure }, Instant::now());
    }

    /// `written` of the batch's `rows` were written.
    fn logged(log: &mut AttemptLog, written: usize, rows: usize) {
        ended(log, rows, written, 0);
    }

    #[test]
    fn one_statement_at_a_time_writes_a_part_that_grows_with_what_waits() {
        let mut log = AttemptLog::default();
        assert_eq!(begin(&mut log), None);
        add(&mut log, 700);
        assert_eq!(begin(&mut log), Some(BATCH));
        assert_eq!(begin(&mut log), None, "one is under way");
        logged(&mut log, BATCH, BATCH);
        assert_eq!(begin(&mut log), Some(700 - BATCH));
        assert!(!log.is_idle());
        logged(&mut log, 700 - BATCH, 700 - BATCH);
        assert!(log.is_idle());
        add(&mut log, 40_000);
        assert_eq!(begin(&mut log), Some(5_000));
    }

    #[test]
    fn what_cannot_be_written_does_not_wait_for_ever() {
        let mut log = AttemptLog::default();
        add(&mut log, WAITING_MAX + 3);
        assert_eq!((log.waiting.len(), log.left_out), (WAITING_MAX, 3));
        let rows = begin(&mut log).unwrap();
        logged(&mut log, 0, rows);
        assert_eq!(
            (log.waiting.len(), log.left_out),
            (WAITING_MAX - rows, rows + 3),
            "it may have been bad luck"
        );
        let rows = begin(&mut log).unwrap();
        logged(&mut log, 0, rows);
        assert!(log.is_idle());
        assert_eq!(log.left_out, WAITING_MAX + 3);
        add(&mut log, 1);
        begin(&mut log);
        logged(&mut log, 1, 1);
        assert_eq!((log.fails, log.left_out), (false, 0));
    }

    #[test]
    fn rows_that_are_refused_are_counted_and_nothing_else_is_left_out() {
        let mut log = AttemptLog::default();
        add(&mut log, 3 * BATCH);
        for refused in [2, 1] {
            let rows = begin(&mut log).unwrap();
            ended(&mut log, rows, rows - refused, refused);
        }
        assert_eq!((log.waiting.len(), log.left_out, log.fails), (BATCH, 0, false));
        assert_eq!(log.refused, 1, "the first ones were said");
    }

    #[test]
    fn small_batches_of_refused_rows_cost_no_row_that_waits() {
        let mut log = AttemptLog::default();
        add(&mut log, 1);
        for _ in 0..3 {
            let rows = begin(&mut log).unwrap();
            add(&mut log, 1);
            ended(&mut log, rows, 0, rows);
            assert_eq!((log.waiting.len(), log.left_out, log.fails), (1, 0, false));
        }
    }

    #[test]
    fn a_refused_row_does_not_end_the_failure_of_the_log() {
        let mut log = AttemptLog::default();
        add(&mut log, 2);
        logged(&mut log, 0, 2);
        ended(&mut log, 1, 0, 1);
        assert!(log.fails);
        logged(&mut log, 1, 1);
        assert!(!log.fails);
    }
}
