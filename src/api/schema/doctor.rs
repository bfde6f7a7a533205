//! The answer to "doctor".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::doctor;

words! {
    /// A check.
    #[serde(rename_all = "snake_case")]
    DoctorCheck of doctor::Check {
        /// The database answers, quickly enough, and takes writes.
        Connection,
        /// Nobody between here and the server reads or changes what is said.
        Tls,
        /// No transaction pooler stands where none is configured.
        Pooler,
        /// A NOTIFY arrives where LISTEN was said.
        Listen,
        /// The clocks of this machine and of the database agree.
        Clock,
        /// This role may do what the API and workers do.
        Privileges,
        /// The schema fits this version of pgtopic.
        Schema,
        /// The functions in the database are those of this version.
        Functions,
        /// The triggers are there, switched on, and in order.
        Triggers,
        /// The indexes are there and valid.
        Indexes,
        /// No sequence gives an id that is in use.
        Sequences,
        /// The settings of the server and of roles lose no data, and switch nothing off.
        Settings,
        /// The server's lock table has room for the partitions' locks.
        LockTable,
        /// The queue of notifications is nearly empty.
        NotificationQueue,
        /// Messages are sent from here: this is no copy, and nobody has switched sending off.
        Sending,
        /// Workers live, answer, and send every topic.
        Workers,
        /// One worker does the background work, and it succeeds.
        Leader,
        /// All processes have the same version and the same settings.
        Processes,
        /// No lane is halted.
        HaltedLanes,
        /// No lane waits for long.
        WaitingLanes,
        /// Every delivery has its lane, and every lane its delivery.
        LaneRows,
        /// No webhook fails, is disabled, or cannot be sent to.
        Webhooks,
        /// No transaction holds a partition for long.
        Publishers,
        /// Nobody else holds an advisory lock of pgtopic.
        ForeignLocks,
        /// No old snapshot keeps dead rows.
        Snapshots,
        /// Hot tables are vacuumed.
        DeadTuples,
        /// The attempt log has partitions for the days to come.
        AttemptPartitions,
        /// What is past its retention is deleted.
        Retention,
        /// Nothing fills the disk that nobody needs.
        Disk,
    }
}

words! {
    /// What a check says.
    #[serde(rename_all = "snake_case")]
    DoctorStatus of doctor::Status {
        /// All is well.
        Ok,
        /// It could not be looked at: a right is missing, or no answer came.
        Skipped,
        /// Something should be done.
        Warn,
        /// Something must be done.
        Fail,
    }
}

/// The worst that a check says.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum DoctorResult {
    /// All is well.
    Ok,
    /// Something should be done.
    Warn,
    /// Something must be done.
    Fail,
    /// Nothing could be looked at.
    Unknown,
}

/// Which checks to make.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DoctorQuery {
    /// Only this check.
    #[serde(default)]
    pub(crate) check: Option<DoctorCheck>,
}

/// What helps.
#[derive(Serialize, utoipa::ToSchema)]
struct DoctorRemedy {
    /// For people.
    text: String,
    /// SQL to run; null if none helps.
    sql: Option<String>,
    /// A command to run; null if none helps.
    command: Option<String>,
}

impl From<doctor::Remedy> for DoctorRemedy {
    fn from(doctor::Remedy { text, sql, command }: doctor::Remedy) -> Self {
        Self { text, sql, command }
    }
}

/// One of the things that a check has found.
#[derive(Serialize, utoipa::ToSchema)]
struct DoctorItem {
    /// What it is.
    text: String,
    /// What helps; null if the remedy of the check does.
    remedy: Option<DoctorRemedy>,
}

impl From<doctor::Item> for DoctorItem {
    fn from(doctor::Item { text, remedy }: doctor::Item) -> Self {
        Self { text, remedy: remedy.map(Into::into) }
    }
}

/// What a check says.
#[derive(Serialize, utoipa::ToSchema)]
struct DoctorFinding {
    /// The check.
    check: DoctorCheck,
    /// Its verdict.
    status: DoctorStatus,
    /// What was seen.
    seen: String,
    /// What helps; null if nothing needs to be done.
    remedy: Option<DoctorRemedy>,
    /// The things that were found, at most 20.
    items: Vec<DoctorItem>,
}

impl From<doctor::Finding> for DoctorFinding {
    fn from(doctor::Finding { check, status, seen, remedy, items }: doctor::Finding) -> Self {
        Self {
            check: check.into(),
            status: status.into(),
            seen,
            remedy: remedy.map(Into::into),
            items: items.into_iter().map(Into::into).collect(),
        }
    }
}

/// What all checks say.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DoctorReport {
    /// The worst of them. Checks that were skipped do not count.
    result: DoctorResult,
    /// When they were made.
    checked_at: Timestamp,
    /// The database's name; null if it was not reached.
    database: Option<String>,
    /// What each check says.
    checks: Vec<DoctorFinding>,
}

impl From<doctor::Report> for DoctorReport {
    fn from(report: doctor::Report) -> Self {
        let result = match report.result() {
            Some(doctor::Status::Fail) => DoctorResult::Fail,
            Some(doctor::Status::Warn) => DoctorResult::Warn,
            Some(doctor::Status::Ok) => DoctorResult::Ok,
            Some(doctor::Status::Skipped) | None => DoctorResult::Unknown,
        };
        let doctor::Report { checked_at, database, checks } = report;
        Self { result, checked_at, database, checks: checks.into_iter().map(Into::into).collect() }
    }
}
