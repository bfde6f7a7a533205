//! Who holds what others wait for: partitions, our locks, old snapshots.

use jiff::{SignedDuration, Timestamp};

use super::{
    finding::{Check, Finding, ITEMS_MAX, Item, Remedy, Status},
    schema::see_others,
    words::{age, bytes, count, span},
};
use crate::domain::shell::literal;

/// A transaction may hold a partition for so long.
const PARTITION_WARN: SignedDuration = SignedDuration::from_secs(10);
/// One that holds it longer makes publishers fail: the API waits 5 s for a partition.
const PARTITION_FAIL: SignedDuration = SignedDuration::from_mins(1);
/// A snapshot may be so old.
const SNAPSHOT_WARN: SignedDuration = SignedDuration::from_mins(5);
/// One that is older lets tables grow without end.
const SNAPSHOT_FAIL: SignedDuration = SignedDuration::from_hours(1);
/// If more transactions have begun since, a snapshot is old, whatever its time.
const SNAPSHOT_TRANSACTIONS: i64 = 1_000_000;

/// Who holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A session, by its process.
    Session(i32),
    /// A prepared transaction, by its gid.
    Prepared(String),
    /// A replication slot, by its name.
    Slot(String),
}

impl Holder {
    /// What ends it.
    fn end(&self) -> String {
        match self {
            Self::Session(pid) => format!("SELECT pg_terminate_backend({pid})"),
            Self::Prepared(gid) => format!("ROLLBACK PREPARED {}", literal(gid)),
            Self::Slot(name) => format!("SELECT pg_drop_replication_slot({})", literal(name)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Session(pid) => format!("process {pid}"),
            Self::Prepared(gid) => format!("prepared transaction {}", literal(gid)),
            Self::Slot(name) => format!("replication slot {name}"),
        }
    }
}

/// Somebody who holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub holder: Holder,
    /// Role, application and state.
    pub who: String,
    /// Since when; `None` if that may not be seen.
    pub since: Option<Timestamp>,
    /// How much: partitions, locks, or transactions that have begun since.
    pub amount: i64,
}

impl Held {
    fn text(&self, now: Timestamp) -> String {
        let since = self.since.map(|since| format!(", for {}", span(age(now, since)))).unwrap_or_default();
        format!("{} ({}){since}", self.holder.text(), self.who)
    }

    fn lasts(&self, now: Timestamp, limit: SignedDuration) -> bool {
        self.since.is_some_and(|since| age(now, since) > limit)
    }
}

/// The holders of something, and what this role can see of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldersFacts {
    /// The oldest first.
    pub held: Vec<Held>,
    /// Whether this role sees what other roles do.
    pub sees_others: bool,
    /// This role, as SQL writes it.
    pub role: String,
}

/// Judges the transactions that hold partitions.
pub fn judge_publishers(now: Timestamp, facts: &HoldersFacts) -> Finding {
    let long: Vec<_> = facts.held.iter().filter(|held| held.lasts(now, PARTITION_WARN)).collect();
    let Some(first) = long.first() else {
        // A prepared transaction tells everybody its time.
        let hidden = facts.held.iter().filter(|held| held.since.is_none()).count();
        if hidden > 0 && !facts.sees_others {
            let transactions = count(hidden, usize::MAX, "transaction");
            let seen = format!("{transactions} with partitions, and this role cannot see since when");
            return Finding::skipped(Check::Publishers, seen, Some(see_others(&facts.role)));
        }
        return Finding::ok(Check::Publishers, "no transaction holds a partition for long");
    };
    let status = if first.lasts(now, PARTITION_FAIL) { Status::Fail } else { Status::Warn };
    let partitions = |held: &Held| count(usize::try_from(held.amount).unwrap_or(0), usize::MAX, "partition");
    let seen = format!("{} holds {}, so other publishers of them wait", first.text(now), partitions(first));
    let text = "Commit that transaction, or end it: what it published is rolled back. Set \
                idle_in_transaction_session_timeout for the application's role.";
    let remedy = |held: &Held| Remedy::new(text).sql(held.holder.end());
    let items = long
        .iter()
        .map(|held| Item::with(format!("{} holds {}", held.text(now), partitions(held)), remedy(held)));
    Finding::bad(Check::Publishers, status, seen, remedy(first)).listing(items)
}

/// Judges the strangers that hold locks of ours: those of workers, or those of partitions without a
/// transaction.
pub fn judge_foreign_locks(now: Timestamp, facts: &HoldersFacts) -> Finding {
    let Some(first) = facts.held.first() else {
        return Finding::ok(Check::ForeignLocks, "nobody else holds a lock of pgtopic");
    };
    let seen = format!("{} holds {} of pgtopic's advisory locks", first.text(now), first.amount);
    let text = "End that session. docs/operations.md shows how to keep advisory locks from other roles.";
    let remedy = |held: &Held| Remedy::new(text).sql(held.holder.end());
    let items = facts.held.iter().map(|held| Item::with(held.text(now), remedy(held)));
    Finding::bad(Check::ForeignLocks, Status::Fail, seen, remedy(first)).listing(items)
}

/// Judges the snapshots that keep dead rows.
pub fn judge_snapshots(now: Timestamp, facts: &HoldersFacts) -> Finding {
    let old = |held: &&Held| held.lasts(now, SNAPSHOT_WARN) || held.amount > SNAPSHOT_TRANSACTIONS;
    let very_old = |held: &Held| held.lasts(now, SNAPSHOT_FAIL);
    let found: Vec<_> = facts.held.iter().filter(old).collect();
    let Some(first) = found.first() else {
        if !facts.sees_others {
            let seen = "this role cannot see the snapshots of others";
            return Finding::skipped(Check::Snapshots, seen, Some(see_others(&facts.role)));
        }
        return Finding::ok(Check::Snapshots, "no old snapshot keeps dead rows");
    };
    let status = if found.iter().any(|held| very_old(held)) { Status::Fail } else { Status::Warn };
    let text =
        |held: &Held| format!("{} keeps dead rows of the last {} transactions", held.text(now), held.amount);
    let what = match first.holder {
        Holder::Slot(_) => {
            "If nobody reads from the slot any more, drop it; otherwise let its reader catch up."
        }
        _ => "End it, or wait for its end. Long reports belong on a standby without hot_standby_feedback.",
    };
    let remedy = |held: &Held| Remedy::new(what).sql(held.holder.end());
    let items = found.iter().map(|held| Item::with(text(held), remedy(held)));
    let seen = format!("{}: {}", count(found.len(), ITEMS_MAX, "old snapshot"), text(first));
    Finding::bad(Check::Snapshots, status, seen, remedy(first)).listing(items)
}

/// A replication slot that nobody reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleSlot {
    /// Its name.
    pub name: String,
    /// How many bytes of WAL it keeps.
    pub kept_bytes: i64,
}

impl IdleSlot {
    /// What it is, and what helps.
    pub(super) fn item(&self) -> Item {
        let text = format!(
            "replication slot {} has no reader, and keeps {} of WAL",
            self.name,
            bytes(self.kept_bytes)
        );
        let remedy = Remedy::new("Let its reader come back, or drop the slot.");
        Item::with(text, remedy.sql(Holder::Slot(self.name.clone()).end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn facts(holder: Holder, seconds: Option<i64>, amount: i64) -> HoldersFacts {
        let since = seconds.map(|seconds| NOW - SignedDuration::from_secs(seconds));
        let held = vec![Held { holder, who: "app".to_owned(), since, amount }];
        HoldersFacts { held, sees_others: seconds.is_some(), role: "w".to_owned() }
    }

    fn sql(finding: &Finding) -> &str {
        finding.remedy.as_ref().unwrap().sql.as_deref().unwrap()
    }

    #[test]
    fn a_partition_may_be_held_for_ten_seconds() {
        let judge = |seconds| judge_publishers(NOW, &facts(Holder::Session(7), seconds, 2));
        for (seconds, status) in
            [(10, Status::Ok), (11, Status::Warn), (60, Status::Warn), (61, Status::Fail)]
        {
            assert_eq!(judge(Some(seconds)).status, status, "{seconds}");
        }
        assert_eq!(sql(&judge(Some(11))), "SELECT pg_terminate_backend(7)");
        let prepared = judge_publishers(NOW, &facts(Holder::Prepared("it's".to_owned()), Some(61), 1));
        assert_eq!(sql(&prepared), "ROLLBACK PREPARED 'it''s'");
        let blind = judge(None);
        assert_eq!((blind.status, sql(&blind)), (Status::Skipped, "GRANT pg_read_all_stats TO w"));
        assert_eq!(judge_publishers(NOW, &HoldersFacts::default()).status, Status::Ok);
    }

    #[test]
    fn a_strangers_lock_is_a_failure_at_once() {
        assert_eq!(judge_foreign_locks(NOW, &HoldersFacts::default()).status, Status::Ok);
        assert_eq!(judge_foreign_locks(NOW, &facts(Holder::Session(7), None, 1)).status, Status::Fail);
    }

    #[test]
    fn a_snapshot_is_old_by_time_or_by_transactions() {
        let judge = |seconds, amount| judge_snapshots(NOW, &facts(Holder::Session(7), seconds, amount));
        for (seconds, amount, status) in [
            (Some(300), 1_000_000, Status::Ok),
            (Some(301), 0, Status::Warn),
            (Some(0), 1_000_001, Status::Warn),
            (None, 1_000_001, Status::Warn),
            (None, 1_000_000, Status::Skipped),
            (Some(3601), 0, Status::Fail),
        ] {
            assert_eq!(judge(seconds, amount).status, status, "{seconds:?} {amount}");
        }
        let slot = judge_snapshots(NOW, &facts(Holder::Slot("s".to_owned()), None, 1_000_001));
        assert_eq!(sql(&slot), "SELECT pg_drop_replication_slot('s')");
    }
}
