//! Tables: dead rows, partitions to come, what is past its retention, and the disk.

use jiff::{SignedDuration, Timestamp};

use super::{
    finding::{Check, Finding, Item, Remedy, Status},
    holders::IdleSlot,
    words::{age, bytes, span},
};

/// So many dead rows are normal under load.
const DEAD_ROWS_WARN: i64 = 100_000;
/// If a table with many dead rows was not vacuumed for so long, autovacuum does not keep up.
const VACUUM_WARN: SignedDuration = SignedDuration::from_mins(10);
/// Autovacuum freezes rows long before this age, in transactions. At two billion the server stops.
const FREEZE_FAIL: i64 = 1_000_000_000;
/// A partition for each of so many days must be there: today, tomorrow.
const DAYS_NEEDED: usize = 2;
/// What should be gone may stay for so long: the leader deletes it within minutes.
const RETENTION_WARN: SignedDuration = SignedDuration::from_hours(6);
/// If it stays longer, nothing deletes it.
const RETENTION_FAIL: SignedDuration = SignedDuration::from_hours(48);
/// A slot without a reader may keep so much WAL.
const SLOT_WARN: i64 = 256 << 20;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// Its name, as SQL writes it, with its schema.
    pub name: String,
    /// How many rows it has, as the statistics say.
    pub live: i64,
    /// How many dead rows.
    pub dead: i64,
    /// When it was vacuumed last.
    pub vacuumed_at: Option<Timestamp>,
    /// Whether autovacuum is switched off for it.
    pub autovacuum_off: bool,
    /// How many transactions ago its oldest row was frozen.
    pub freeze_age: i64,
    /// Its size on disk, with indexes.
    pub bytes: i64,
}

/// What is wrong with a table.
fn judge_table(now: Timestamp, table: &TableFacts) -> Option<(Status, Item)> {
    let TableFacts { name, live, dead, vacuumed_at, .. } = table;
    let vacuum = || Remedy::new("Vacuum it.").sql(format!("VACUUM (ANALYZE) {name}"));
    if table.autovacuum_off {
        let remedy = Remedy::new("Let autovacuum clean it up.")
            .sql(format!("ALTER TABLE {name} RESET (autovacuum_enabled)"));
        return Some((Status::Fail, Item::with(format!("autovacuum is switched off for {name}"), remedy)));
    }
    if table.freeze_age > FREEZE_FAIL {
        let text = format!("{name} was not frozen for {} transactions", table.freeze_age);
        let remedy = Remedy::new("Freeze it.").sql(format!("VACUUM (FREEZE) {name}"));
        return Some((Status::Fail, Item::with(text, remedy)));
    }
    let late = vacuumed_at.is_none_or(|at| age(now, at) > VACUUM_WARN);
    (*dead > DEAD_ROWS_WARN && dead > live && late).then(|| {
        let when = vacuumed_at.map_or_else(
            || "never vacuumed".to_owned(),
            |at| format!("vacuumed last {} ago", span(age(now, at))),
        );
        (Status::Warn, Item::with(format!("{name} has {dead} dead rows and {live} others, {when}"), vacuum()))
    })
}

/// Judges the dead rows of the tables.
pub fn judge_dead_tuples(now: Timestamp, tables: &[TableFacts]) -> Finding {
    let mut found: Vec<_> = tables.iter().filter_map(|table| judge_table(now, table)).collect();
    found.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let Some((status, first)) = found.first().cloned() else {
        let dead: i64 = tables.iter().map(|table| table.dead).sum();
        return Finding::ok(Check::DeadTuples, format!("autovacuum keeps up, {dead} dead rows"));
    };
    let mut remedy = first.remedy.unwrap_or_default();
    if status == Status::Warn {
        let text = "Vacuum it. If the dead rows stay, an old snapshot keeps them: see the check snapshots.";
        text.clone_into(&mut remedy.text);
    }
    Finding::bad(Check::DeadTuples, status, first.text, remedy)
        .listing(found.into_iter().map(|(_, item)| item))
}

/// Judges the partitions of the attempt log. `missing`: the days without one, counted from today;
/// `schema` as SQL writes it.
pub fn judge_attempt_partitions(missing: &[usize], schema: &str) -> Finding {
    let Some(first) = missing.iter().min() else {
        return Finding::ok(Check::AttemptPartitions, "the attempt log has partitions for a week ahead");
    };
    let (status, when) = match first {
        0 => (Status::Fail, "today, so attempts are not logged".to_owned()),
        days if *days < DAYS_NEEDED => (Status::Fail, "tomorrow".to_owned()),
        days => (Status::Warn, format!("the day in {days} days")),
    };
    let text = "Make them. The leader does so once a minute: if it did not, see the check leader.";
    let remedy = Remedy::new(text).sql(format!("SELECT {schema}.make_attempt_partitions(7)"));
    let seen = format!("the attempt log has no partition for {when}");
    Finding::bad(Check::AttemptPartitions, status, seen, remedy)
}

/// What is past its retention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionFacts {
    /// How many messages should be gone, among those that were looked at: the oldest ones.
    pub messages: i64,
    /// When the first of them should have gone.
    pub messages_due: Option<Timestamp>,
    /// When the oldest partition of the attempt log should have gone.
    pub attempts_due: Option<Timestamp>,
}

/// Judges whether what is past its retention is deleted.
pub fn judge_retention(now: Timestamp, facts: &RetentionFacts) -> Finding {
    let RetentionFacts { messages, messages_due, attempts_due } = facts;
    let found = [(*messages_due, format!("{messages} messages")), (*attempts_due, "attempts".to_owned())];
    let found = found.into_iter().filter_map(|(due, what)| Some((age(now, due?), what)));
    let Some((late, what)) = found.filter(|(late, _)| *late > RETENTION_WARN).max_by_key(|(late, _)| *late)
    else {
        return Finding::ok(Check::Retention, "what is past its retention is gone");
    };
    let status = if late > RETENTION_FAIL { Status::Fail } else { Status::Warn };
    let text = "The leader deletes it: see the check leader, and the log of the leader for its error. Delete it now with a job.";
    let seen = format!("{what} should have gone {} ago", span(late));
    Finding::bad(Check::Retention, status, seen, Remedy::new(text).command("pgtopic purge --yes"))
}

/// What is on the disk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DiskFacts {
    /// The tables.
    pub tables: Vec<TableFacts>,
    /// The slots without a reader.
    pub idle_slots: Vec<IdleSlot>,
    /// How many messages are published a second.
    pub published_per_second: f64,
}

/// Judges what fills the disk.
pub fn judge_disk(facts: &DiskFacts) -> Finding {
    let DiskFacts { tables, idle_slots, published_per_second } = facts;
    let total: i64 = tables.iter().map(|table| table.bytes).sum();
    let largest = tables.iter().max_by_key(|table| table.bytes);
    let largest =
        largest.map(|table| format!(", {} of them {}", bytes(table.bytes), table.name)).unwrap_or_default();
    let messages = tables.iter().find(|table| table.name.ends_with(".messages") && table.live > 1000);
    let growth = messages.filter(|_| *published_per_second > 0.0).map(|messages| {
        #[expect(clippy::cast_possible_truncation, reason = "an estimate for people")]
        let a_day = (published_per_second * 86_400.0).round() as i64;
        bytes(a_day.saturating_mul(messages.bytes / messages.live))
    });
    let growth = growth.map(|growth| format!("; messages grow by about {growth} a day")).unwrap_or_default();
    let seen = format!("all tables have {}{largest}{growth}", bytes(total));
    let keeping: Vec<_> = idle_slots.iter().filter(|slot| slot.kept_bytes >= SLOT_WARN).collect();
    let Some(first) = keeping.first().map(|slot| slot.item()) else {
        return Finding::ok(Check::Disk, seen);
    };
    let remedy = first.remedy.unwrap_or_default();
    Finding::bad(Check::Disk, Status::Warn, format!("{}; {seen}", first.text), remedy)
        .listing(keeping.into_iter().map(IdleSlot::item))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn table() -> TableFacts {
        TableFacts {
            name: "pgtopic.lanes".to_owned(),
            live: 100_000,
            dead: 100_001,
            vacuumed_at: Some(NOW - SignedDuration::from_mins(10)),
            autovacuum_off: false,
            freeze_age: 1_000_000_000,
            bytes: 1 << 30,
        }
    }

    #[test]
    fn dead_rows_count_where_autovacuum_does_not_keep_up() {
        let judge = |table| judge_dead_tuples(NOW, &[table]).status;
        let late = TableFacts { vacuumed_at: None, ..table() };
        assert_eq!(judge(table()), Status::Ok);
        assert_eq!(judge(late.clone()), Status::Warn);
        let early = Some(NOW - SignedDuration::from_secs(601));
        assert_eq!(judge(TableFacts { vacuumed_at: early, ..table() }), Status::Warn);
        assert_eq!(judge(TableFacts { dead: 100_000, ..late.clone() }), Status::Ok);
        assert_eq!(judge(TableFacts { live: 100_001, ..late }), Status::Ok);
        assert_eq!(judge(TableFacts { autovacuum_off: true, ..table() }), Status::Fail);
        assert_eq!(judge(TableFacts { freeze_age: 1_000_000_001, ..table() }), Status::Fail);
    }

    #[test]
    fn partitions_are_needed_for_today_and_tomorrow() {
        let judge = |missing: &[usize]| judge_attempt_partitions(missing, "pgtopic").status;
        for (missing, status) in
            [(&[][..], Status::Ok), (&[7, 2], Status::Warn), (&[1], Status::Fail), (&[0], Status::Fail)]
        {
            assert_eq!(judge(missing), status, "{missing:?}");
        }
    }

    #[test]
    fn what_should_be_gone_may_stay_for_hours() {
        let judge = |hours: i64, more: i64| {
            let due = NOW - SignedDuration::from_hours(hours) - SignedDuration::from_secs(more);
            let messages = RetentionFacts { messages: 1, messages_due: Some(due), attempts_due: None };
            let attempts = RetentionFacts { messages: 0, messages_due: None, attempts_due: Some(due) };
            [messages, attempts].map(|facts| judge_retention(NOW, &facts).status)
        };
        assert_eq!(judge_retention(NOW, &RetentionFacts::default()).status, Status::Ok);
        assert_eq!(judge(6, 0), [Status::Ok; 2]);
        assert_eq!(judge(6, 1), [Status::Warn; 2]);
        assert_eq!(judge(48, 0), [Status::Warn; 2]);
        assert_eq!(judge(48, 1), [Status::Fail; 2]);
    }

    #[test]
    fn a_slot_without_a_reader_fills_the_disk() {
        let slot = |kept_bytes| IdleSlot { name: "s".to_owned(), kept_bytes };
        let messages = TableFacts { name: "pgtopic.messages".to_owned(), ..table() };
        let judge = |kept| {
            let tables = vec![table(), messages.clone()];
            judge_disk(&DiskFacts { tables, idle_slots: vec![slot(kept)], published_per_second: 10.0 })
        };
        let fine = judge((256 << 20) - 1);
        assert_eq!(fine.status, Status::Ok);
        assert!(fine.seen.contains("2.0 GiB") && fine.seen.contains("8.6 GiB a day"), "{}", fine.seen);
        let bad = judge(256 << 20);
        assert_eq!(bad.remedy.unwrap().sql.unwrap(), "SELECT pg_drop_replication_slot('s')");
    }
}
