//! The server: its settings and what all databases share.

use jiff::Timestamp;

use super::{
    finding::{Check, Finding, Item, Remedy, Status},
    words::{age, span},
};

/// How many stripes each ordered topic has.
const STRIPES: i64 = 256;
/// If more of the lock table is in use, in percent, transactions may fail soon.
const LOCKS_FAIL: i64 = 80;
/// If more of the notification queue is in use, a listener is behind.
const QUEUE_WARN: f64 = 0.01;
/// From here on publishers do not notify.
const QUEUE_FAIL: f64 = 0.5;

/// A setting that may lose data or switch something off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingFacts {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it was set: `ROLE app`, `DATABASE app`, `ROLE app IN DATABASE app`; `None`: for the
    /// whole server.
    pub of: Option<String>,
}

/// What follows from a setting that is not as it should be.
fn harm(name: &str, value: &str) -> Option<(Status, &'static str)> {
    Some(match (name, value) {
        ("fsync" | "full_page_writes", "off") => {
            (Status::Fail, "a crash of the machine may destroy the database")
        }
        ("autovacuum", "off") => {
            (Status::Fail, "dead rows are never cleaned up, and everything becomes slow")
        }
        ("track_counts", "off") => (Status::Fail, "autovacuum does nothing without it"),
        ("track_activities", "off") => (Status::Warn, "why and doctor cannot say who holds what"),
        ("synchronous_commit", "off") => {
            (Status::Warn, "a crash may lose messages whose publishers were told that they are committed")
        }
        ("session_replication_role", "replica") => {
            (Status::Fail, "triggers do not run: what is published is copied, and owed to nobody")
        }
        ("default_transaction_read_only", "on") => (Status::Warn, "publishers cannot write"),
        _ => return None,
    })
}

/// The value that a setting should have.
fn good(name: &str) -> &'static str {
    match name {
        "session_replication_role" => "origin",
        "default_transaction_read_only" => "off",
        _ => "on",
    }
}

/// Judges the settings of the server, and of databases and roles.
pub fn judge_settings(settings: &[SettingFacts]) -> Finding {
    let mut worst = Status::Ok;
    let mut items = Vec::new();
    for SettingFacts { name, value, of } in settings {
        let Some((status, harm)) = harm(name, value) else { continue };
        worst = worst.max(status);
        let place = of.as_deref().unwrap_or("the server");
        let sql = match of {
            None => format!("ALTER SYSTEM SET {name} = '{}'; SELECT pg_reload_conf()", good(name)),
            Some(of) => format!("ALTER {of} RESET {name}"),
        };
        let remedy = Remedy::new(format!("Set {name} to {}.", good(name))).sql(sql);
        items.push(Item::with(format!("{name} is {value} for {place}: {harm}"), remedy));
    }
    let Some(first) = items.first().cloned() else {
        return Finding::ok(Check::Settings, "no setting loses data or switches something off");
    };
    let remedy = first.remedy.unwrap_or_default();
    Finding::bad(Check::Settings, worst, first.text, remedy).listing(items)
}

/// The lock table of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockTableFacts {
    /// Topics with an order.
    pub topics: i64,
    /// `max_locks_per_transaction`.
    pub per_transaction: i64,
    /// How many transactions there may be: `max_connections + max_prepared_transactions`.
    pub transactions: i64,
    /// How many locks are held now.
    pub held: i64,
}

/// Judges whether the lock table has room for the partitions' locks.
pub fn judge_lock_table(facts: LockTableFacts) -> Finding {
    let LockTableFacts { topics, per_transaction, transactions, held } = facts;
    let (room, needed) = (per_transaction * transactions, topics * STRIPES);
    let seen = format!(
        "{topics} ordered topics can take {needed} locks, if one transaction publishes to all partitions; there is room for \
         {room}, and {held} are held now"
    );
    let status = match () {
        () if held * 100 > room * LOCKS_FAIL => Status::Fail,
        () if needed > room => Status::Warn,
        () => return Finding::ok(Check::LockTable, seen),
    };
    let wanted = (needed / transactions.max(1) + 1).max(per_transaction * 2);
    let text = "Raise max_locks_per_transaction, and restart the server. Otherwise a bulk load over many keys of many topics \
                may fail with 53200, out of shared memory.";
    let remedy = Remedy::new(text).sql(format!("ALTER SYSTEM SET max_locks_per_transaction = {wanted}"));
    Finding::bad(Check::LockTable, status, seen, remedy)
}

/// An open transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTransaction {
    /// Its process.
    pub pid: i32,
    /// Role, application and state.
    pub who: String,
    /// When it began, if that may be seen.
    pub since: Option<Timestamp>,
}

/// The queue of notifications.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueFacts {
    /// How much of it is in use, 0 to 1.
    pub usage: f64,
    /// The oldest open transactions of the server. One of them may hold the queue back.
    pub open: Vec<OpenTransaction>,
}

/// Judges the queue of notifications.
pub fn judge_notification_queue(now: Timestamp, facts: &QueueFacts) -> Finding {
    let seen = format!("{:.2} % of the queue is in use", facts.usage * 100.0);
    let status = match facts.usage {
        usage if usage >= QUEUE_FAIL => Status::Fail,
        usage if usage >= QUEUE_WARN => Status::Warn,
        _ => return Finding::ok(Check::NotificationQueue, seen),
    };
    let end = |pid: i32| format!("SELECT pg_terminate_backend({pid})");
    let items = facts.open.iter().map(|open| {
        let since = open.since.map(|since| format!(", for {}", span(age(now, since)))).unwrap_or_default();
        let remedy = Remedy::new("End it.").sql(end(open.pid));
        Item::with(format!("process {} ({}) has an open transaction{since}", open.pid, open.who), remedy)
    });
    let text = "A session that listens does not read: it is in a transaction, or hangs. End it; the server's log names it when \
                the queue is half full. Publishers notify no more from half full on, and workers poll.";
    let remedy =
        Remedy { text: text.to_owned(), sql: facts.open.first().map(|open| end(open.pid)), command: None };
    Finding::bad(Check::NotificationQueue, status, seen, remedy).listing(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_judged_wherever_it_was_set() {
        let setting = |name: &str, value: &str, of: Option<&str>| SettingFacts {
            name: name.to_owned(),
            value: value.to_owned(),
            of: of.map(str::to_owned),
        };
        assert_eq!(judge_settings(&[setting("fsync", "on", None)]).status, Status::Ok);
        assert_eq!(judge_settings(&[setting("synchronous_commit", "local", None)]).status, Status::Ok);
        for (name, value, status) in [
            ("fsync", "off", Status::Fail),
            ("full_page_writes", "off", Status::Fail),
            ("autovacuum", "off", Status::Fail),
            ("track_counts", "off", Status::Fail),
            ("track_activities", "off", Status::Warn),
            ("synchronous_commit", "off", Status::Warn),
            ("session_replication_role", "replica", Status::Fail),
            ("default_transaction_read_only", "on", Status::Warn),
        ] {
            assert_eq!(judge_settings(&[setting(name, value, None)]).status, status, "{name}");
        }
        let two = judge_settings(&[
            setting("synchronous_commit", "off", Some("ROLE app")),
            setting("fsync", "off", None),
        ]);
        assert_eq!((two.status, two.items.len()), (Status::Fail, 2));
        assert_eq!(two.remedy.unwrap().sql.unwrap(), "ALTER ROLE app RESET synchronous_commit");
    }

    #[test]
    fn the_lock_table_has_room_for_all_partitions_and_is_not_nearly_full() {
        let facts = LockTableFacts { topics: 25, per_transaction: 64, transactions: 100, held: 5120 };
        assert_eq!(judge_lock_table(facts).status, Status::Ok);
        let finding = judge_lock_table(LockTableFacts { topics: 26, ..facts });
        assert_eq!(finding.status, Status::Warn);
        assert_eq!(finding.remedy.unwrap().sql.unwrap(), "ALTER SYSTEM SET max_locks_per_transaction = 128");
        assert_eq!(judge_lock_table(LockTableFacts { held: 5121, ..facts }).status, Status::Fail);
    }

    #[test]
    fn a_queue_that_is_not_empty_names_open_transactions() {
        let now = Timestamp::UNIX_EPOCH;
        let open = vec![OpenTransaction { pid: 7, who: "app".to_owned(), since: Some(now) }];
        let judge = |usage| judge_notification_queue(now, &QueueFacts { usage, open: open.clone() });
        assert_eq!(judge(0.009).status, Status::Ok);
        assert_eq!(judge(0.01).status, Status::Warn);
        let finding = judge(0.5);
        assert_eq!((finding.status, finding.items.len()), (Status::Fail, 1));
        assert_eq!(finding.remedy.unwrap().sql.unwrap(), "SELECT pg_terminate_backend(7)");
    }
}
