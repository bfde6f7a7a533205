//! What a check says.

use jiff::Timestamp;

use crate::domain::words::stored_words;

/// How many things a finding lists at most.
pub const ITEMS_MAX: usize = 20;

/// The longest text of a finding, in characters. What is longer is cut off.
pub const TEXT_MAX: usize = 500;

stored_words! {
    /// A check, in the order in which they are shown.
    pub enum Check {
        /// The database answers, quickly enough, and takes writes.
        Connection = "connection",
        /// Nobody between here and the server reads or changes what is said.
        Tls = "tls",
        /// No transaction pooler stands where none is configured.
        Pooler = "pooler",
        /// A NOTIFY arrives where LISTEN was said.
        Listen = "listen",
        /// The clocks of this machine and of the database agree.
        Clock = "clock",
        /// This role may do what the API and workers do.
        Privileges = "privileges",
        /// The schema fits this version of pgtopic.
        Schema = "schema",
        /// The functions in the database are those of this version.
        Functions = "functions",
        /// The triggers are there, switched on, and in order.
        Triggers = "triggers",
        /// The indexes are there and valid.
        Indexes = "indexes",
        /// No sequence gives an id that is in use.
        Sequences = "sequences",
        /// The settings of the server and of roles lose no data, and switch nothing off.
        Settings = "settings",
        /// The server's lock table has room for the partitions' locks.
        LockTable = "lock_table",
        /// The queue of notifications is nearly empty.
        NotificationQueue = "notification_queue",
        /// Messages are sent from here: this is no copy, and nobody has switched sending off.
        Sending = "sending",
        /// Workers live, answer, and send every topic.
        Workers = "workers",
        /// One worker does the background work, and it succeeds.
        Leader = "leader",
        /// All processes have the same version and the same settings.
        Processes = "processes",
        /// No lane is halted.
        HaltedLanes = "halted_lanes",
        /// No lane waits for long.
        WaitingLanes = "waiting_lanes",
        /// Every delivery has its lane, and every lane its delivery.
        LaneRows = "lane_rows",
        /// No webhook fails, is disabled, or cannot be sent to.
        Webhooks = "webhooks",
        /// No transaction holds a partition for long.
        Publishers = "publishers",
        /// Nobody else holds an advisory lock of pgtopic.
        ForeignLocks = "foreign_locks",
        /// No old snapshot keeps dead rows.
        Snapshots = "snapshots",
        /// Hot tables are vacuumed.
        DeadTuples = "dead_tuples",
        /// The attempt log has partitions for the days to come.
        AttemptPartitions = "attempt_partitions",
        /// What is past its retention is deleted.
        Retention = "retention",
        /// Nothing fills the disk that nobody needs.
        Disk = "disk",
    }
}

stored_words! {
    /// What a check says, the mildest first.
    pub enum Status {
        /// All is well.
        Ok = "ok",
        /// It could not be looked at: a right is missing, or no answer came.
        Skipped = "skipped",
        /// Something should be done.
        Warn = "warn",
        /// Something must be done.
        Fail = "fail",
    }
}

/// What helps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remedy {
    /// For people.
    pub text: String,
    /// SQL to run.
    pub sql: Option<String>,
    /// A command to run.
    pub command: Option<String>,
}

impl Remedy {
    /// A remedy in words.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same, with SQL to run.
    #[must_use]
    pub fn sql(self, sql: impl Into<String>) -> Self {
        Self { sql: Some(sql.into()), ..self }
    }

    /// The same, with a command to run.
    #[must_use]
    pub fn command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }
}

/// One of the things that a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub text: String,
    /// What helps.
    pub remedy: Option<Remedy>,
}

impl Item {
    /// One without a remedy of its own.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), remedy: None }
    }

    /// One with its own remedy.
    pub fn with(text: impl Into<String>, remedy: Remedy) -> Self {
        Self { text: text.into(), remedy: Some(remedy) }
    }
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// Its verdict.
    pub status: Status,
    /// What was seen.
    pub seen: String,
    /// What helps.
    pub remedy: Option<Remedy>,
    /// The things that were found, at most [`ITEMS_MAX`].
    pub items: Vec<Item>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: Check, seen: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, seen: short(seen.into()), remedy: None, items: Vec::new() }
    }

    /// Something is to be done.
    pub fn bad(check: Check, status: Status, seen: impl Into<String>, remedy: Remedy) -> Self {
        Self { status, remedy: Some(remedy), ..Self::ok(check, seen) }
    }

    /// It could not be looked at.
    pub fn skipped(check: Check, seen: impl Into<String>, remedy: Option<Remedy>) -> Self {
        Self { status: Status::Skipped, remedy, ..Self::ok(check, seen) }
    }

    /// The same, with the things that were found. The first [`ITEMS_MAX`] are kept. `seen` should say
    /// how many there are.
    #[must_use]
    pub fn listing(self, items: impl IntoIterator<Item = Item>) -> Self {
        let items = items.into_iter().take(ITEMS_MAX).map(|item| Item { text: short(item.text), ..item });
        Self { items: items.collect(), ..self }
    }
}

/// The beginning of a text. What is seen repeats texts of others.
fn short(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// What all checks say.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// When.
    pub checked_at: Timestamp,
    /// The database's name, if it was reached.
    pub database: Option<String>,
    /// What each check says.
    pub checks: Vec<Finding>,
}

impl Report {
    /// The worst that a check says; `None` if all were skipped.
    pub fn result(&self) -> Option<Status> {
        self.checks.iter().map(|finding| finding.status).filter(|status| *status != Status::Skipped).max()
    }

    /// What one check says, if it was asked.
    pub fn of(&self, check: Check) -> Option<&Finding> {
        self.checks.iter().find(|finding| finding.check == check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[Status]) -> Report {
        let finding = |status: &Status| Finding { status: *status, ..Finding::ok(Check::Clock, "") };
        Report {
            checked_at: Timestamp::UNIX_EPOCH,
            database: None,
            checks: statuses.iter().map(finding).collect(),
        }
    }

    #[test]
    fn the_result_is_the_worst_and_what_was_skipped_does_not_count() {
        assert_eq!(report(&[Status::Ok, Status::Skipped]).result(), Some(Status::Ok));
        assert_eq!(report(&[Status::Warn, Status::Fail, Status::Ok]).result(), Some(Status::Fail));
        assert_eq!(report(&[Status::Warn, Status::Skipped]).result(), Some(Status::Warn));
        assert_eq!(report(&[Status::Skipped]).result(), None);
    }

    #[test]
    fn a_finding_is_bounded() {
        let items = (0..100).map(|_| Item::new("ä".repeat(1000)));
        let finding = Finding::ok(Check::Clock, "ä".repeat(1000)).listing(items);
        assert_eq!(finding.items.len(), ITEMS_MAX);
        for text in [&finding.seen, &finding.items[0].text] {
            assert_eq!(text.chars().count(), TEXT_MAX + 1);
        }
    }
}
