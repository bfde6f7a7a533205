//! The processes: whether messages are sent, the workers, their leader, and their settings.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    finding::{Check, Finding, Item, Remedy, Status},
    words::{age, count, span},
};
use crate::domain::{scope::TopicScope, sending::NotSending};

/// After how long without a run a piece of background work is late. Most run once a minute.
const LATE: SignedDuration = SignedDuration::from_mins(10);

/// Judges whether messages are sent from here.
pub fn judge_sending(why_not: Option<NotSending>, changed_by: Option<&str>, reason: Option<&str>) -> Finding {
    let Some(why_not) = why_not else { return Finding::ok(Check::Sending, "messages are sent from here") };
    let by = changed_by.map(|by| format!("; switched by {by}")).unwrap_or_default();
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let (what, text) = match why_not {
        NotSending::Copy => (
            "nothing is sent: this database is a copy, restored on another server or under another name",
            "If it takes the place of the first one, and that one sends no more, switch sending on. A copy for tests stays as it is.",
        ),
        NotSending::SwitchedOff => ("nothing is sent: sending was switched off", "Switch sending on."),
        NotSending::StartPaused => (
            "nothing is sent: worker.start_paused is set, and nobody has switched sending on",
            "Switch sending on.",
        ),
    };
    let remedy = Remedy::new(text).command("pgtopic sending on");
    Finding::bad(Check::Sending, Status::Fail, format!("{what}{by}{reason}"), remedy)
}

/// The settings of a process that should be the same in all: names and values.
pub type Settings = BTreeMap<String, String>;

/// A registered worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSeen {
    /// For people: host and process.
    pub name: String,
    /// The version of its pgtopic.
    pub version: String,
    /// Its settings.
    pub settings: Settings,
    /// The topics that it sends.
    pub topics: TopicScope,
    /// Whether it was taken for dead or hung already.
    pub gone: bool,
    /// Whether its heartbeat stands still for longer than its lease.
    pub late: bool,
    /// Whether its session lives.
    pub has_session: bool,
    /// What goes wrong in it.
    pub trouble: Option<String>,
}

impl WorkerSeen {
    /// Whether it lives, as far as the tables show.
    pub fn lives(&self) -> bool {
        !self.gone && !self.late && self.has_session
    }
}

/// The workers, and what they have to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkersSeen {
    /// All that are registered.
    pub workers: Vec<WorkerSeen>,
    /// The topics that owe something.
    pub owing: Vec<String>,
}

/// Judges the workers.
pub fn judge_workers(facts: &WorkersSeen) -> Finding {
    let WorkersSeen { workers, owing } = facts;
    let (live, dead): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.lives());
    let check = Check::Workers;
    let start = || Remedy::new("Start a worker.").command("pgtopic worker");
    if live.is_empty() {
        let (status, what) = if owing.is_empty() {
            (Status::Warn, "no worker lives; nothing is owed now")
        } else {
            (Status::Fail, "no worker lives, and messages are owed")
        };
        return Finding::bad(check, status, what, start());
    }
    let unsent: Vec<_> =
        owing.iter().filter(|topic| !live.iter().any(|worker| worker.topics.contains(topic))).collect();
    if let Some(first) = unsent.first() {
        let seen = format!("no live worker sends the topic {first} (worker.topics), and it owes messages");
        let text = "Let worker.topics of a worker name the topic, or start one that sends it.";
        let remedy = Remedy::new(text).command(format!("PGTOPIC_WORKER__TOPICS={first} pgtopic worker"));
        let items = unsent.iter().map(|topic| Item::new(topic.as_str()));
        return Finding::bad(check, Status::Fail, seen, remedy).listing(items);
    }
    let troubled: Vec<_> = live.iter().filter_map(|one| Some((one, one.trouble.as_ref()?))).collect();
    if let Some((worker, trouble)) = troubled.first() {
        let seen = format!("{}; {}: {trouble}", living(live.len()), worker.name);
        let remedy = Remedy::new("Read the log of that worker.").command("pgtopic workers");
        let items = troubled.iter().map(|(worker, trouble)| Item::new(format!("{}: {trouble}", worker.name)));
        return Finding::bad(check, Status::Warn, seen, remedy).listing(items);
    }
    if let Some(worker) = dead.iter().find(|worker| !worker.gone) {
        let what = if worker.has_session { "hangs" } else { "has lost its session" };
        let seen = format!("{}; {} {what}: others take its lanes", living(live.len()), worker.name);
        let remedy = Remedy::new("End that process, and start it again.").command("pgtopic workers");
        return Finding::bad(check, Status::Warn, seen, remedy);
    }
    Finding::ok(check, living(live.len()))
}

/// How many workers live, in words.
fn living(number: usize) -> String {
    format!("{} {}", count(number, usize::MAX, "worker"), if number == 1 { "lives" } else { "live" })
}

/// A piece of background work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceFacts {
    /// Its name.
    pub piece: String,
    /// When it ran last.
    pub finished_at: Timestamp,
    /// Why the last run failed.
    pub error: Option<String>,
}

/// The leader and its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderFacts {
    /// The name of the worker that leads and lives.
    pub leader: Option<String>,
    /// Since when it leads.
    pub since: Option<Timestamp>,
    /// What was done last.
    pub pieces: Vec<PieceFacts>,
}

/// Judges the background work.
pub fn judge_leader(now: Timestamp, facts: &LeaderFacts) -> Finding {
    let Some(leader) = &facts.leader else {
        let seen = "no worker leads: jobs, retention and samples stand still";
        let remedy = Remedy::new("Start a worker. One of them leads.").command("pgtopic worker");
        return Finding::bad(Check::Leader, Status::Fail, seen, remedy);
    };
    let item = |piece: &PieceFacts| {
        let when = span(age(now, piece.finished_at));
        // A new leader has its time to begin.
        let began = facts.since.unwrap_or(Timestamp::MIN).max(piece.finished_at);
        match &piece.error {
            Some(error) => Some(Item::new(format!("{} failed {when} ago: {error}", piece.piece))),
            None if age(now, began) > LATE => Some(Item::new(format!("{} ran last {when} ago", piece.piece))),
            None => None,
        }
    };
    let items: Vec<Item> = facts.pieces.iter().filter_map(item).collect();
    let Some(first) = items.first().cloned() else {
        return Finding::ok(Check::Leader, format!("{leader} leads, and its work succeeds"));
    };
    let text = "Read the error, here and in the log of the leader. What failed is tried again by itself.";
    let remedy = Remedy::new(text).command("pgtopic workers");
    Finding::bad(Check::Leader, Status::Warn, format!("{leader} leads; {}", first.text), remedy)
        .listing(items)
}

/// Judges whether all processes have the same version and settings. `here`: the version of this
/// process, and its settings if they count beside those of the workers.
pub fn judge_processes(here: (&str, Option<&Settings>), workers: &[WorkerSeen]) -> Finding {
    let live: Vec<_> = workers.iter().filter(|worker| worker.lives()).collect();
    // What is compared; its values; who has each.
    let mut values: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    let mut note = |name, value, of| {
        values.entry(name).or_default().entry(value).or_default().push(of);
    };
    note("the version", here.0, "this process");
    for (name, value) in here.1.into_iter().flatten() {
        note(name, value, "this process");
    }
    for worker in &live {
        note("the version", &worker.version, &worker.name);
        // A setting that a process does not tell is not compared: its version may not know it.
        for (name, value) in &worker.settings {
            note(name, value, &worker.name);
        }
    }
    let differing = values.into_iter().filter(|(_, values)| values.len() > 1);
    let describe = |(value, of): (&str, Vec<&str>)| format!("{value} in {}", of.join(", "));
    let items: Vec<Item> = differing
        .map(|(name, values)| {
            let values = values.into_iter().map(describe).collect::<Vec<_>>().join("; ");
            Item::new(format!("{name} is {values}"))
        })
        .collect();
    let Some(first) = items.first().cloned() else {
        let workers = count(live.len(), usize::MAX, "worker");
        let seen = format!("{workers}, and no difference of version or settings");
        return Finding::ok(Check::Processes, seen);
    };
    let text = "Give all processes the same version and settings, and restart those that differ. Of retention, the leader's \
                settings count; of the rest, those of the worker that sends.";
    Finding::bad(Check::Processes, Status::Warn, first.text, Remedy::new(text)).listing(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerSeen {
        WorkerSeen {
            name: "host/1".to_owned(),
            version: "1".to_owned(),
            settings: Settings::from([("retention.messages_days".to_owned(), "30".to_owned())]),
            topics: TopicScope::All,
            gone: false,
            late: false,
            has_session: true,
            trouble: None,
        }
    }

    fn workers(workers: Vec<WorkerSeen>, owing: &[&str]) -> Status {
        let owing = owing.iter().map(|&topic| topic.to_owned()).collect();
        judge_workers(&WorkersSeen { workers, owing }).status
    }

    #[test]
    fn nothing_is_sent_for_a_reason() {
        assert_eq!(judge_sending(None, None, None).status, Status::Ok);
        for why_not in NotSending::ALL {
            let finding = judge_sending(Some(why_not), Some("me"), Some("tests"));
            assert_eq!(finding.remedy.unwrap().command.unwrap(), "pgtopic sending on");
            assert!(finding.status == Status::Fail && finding.seen.ends_with("by me: tests"));
        }
    }

    #[test]
    fn a_worker_must_live_and_send_every_topic_that_owes() {
        assert_eq!(workers(vec![], &[]), Status::Warn);
        assert_eq!(workers(vec![], &["a"]), Status::Fail);
        assert_eq!(workers(vec![worker()], &["a"]), Status::Ok);
        let only = WorkerSeen { topics: TopicScope::of(Some(&["b*".to_owned()])), ..worker() };
        assert_eq!(workers(vec![only.clone()], &["a"]), Status::Fail);
        assert_eq!(workers(vec![only, worker()], &["a", "b"]), Status::Ok);
        for dead in [
            WorkerSeen { late: true, ..worker() },
            WorkerSeen { has_session: false, ..worker() },
            WorkerSeen { gone: true, ..worker() },
        ] {
            let gone = dead.gone;
            assert_eq!(workers(vec![dead.clone()], &["a"]), Status::Fail);
            let expected = if gone { Status::Ok } else { Status::Warn };
            assert_eq!(workers(vec![dead, worker()], &["a"]), expected);
        }
        let troubled = WorkerSeen { trouble: Some("it is a copy".to_owned()), ..worker() };
        assert_eq!(workers(vec![troubled], &[]), Status::Warn);
    }

    #[test]
    fn background_work_needs_a_leader_succeeds_and_is_not_late() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let piece = |seconds, error: Option<&str>| PieceFacts {
            piece: "retention".to_owned(),
            finished_at: now - SignedDuration::from_secs(seconds),
            error: error.map(str::to_owned),
        };
        let judge = |leader: Option<&str>, since: i64, piece| {
            let since = Some(now - SignedDuration::from_secs(since));
            let leader = leader.map(str::to_owned);
            judge_leader(now, &LeaderFacts { leader, since, pieces: vec![piece] }).status
        };
        assert_eq!(judge(None, 0, piece(0, None)), Status::Fail);
        assert_eq!(judge(Some("w"), 9_999, piece(600, None)), Status::Ok);
        assert_eq!(judge(Some("w"), 9_999, piece(601, None)), Status::Warn);
        assert_eq!(judge(Some("w"), 600, piece(9_999, None)), Status::Ok, "it has just begun to lead");
        assert_eq!(judge(Some("w"), 0, piece(0, Some("no"))), Status::Warn);
    }

    #[test]
    fn processes_differ_by_version_and_by_what_they_tell() {
        let settings = |days: &str| Settings::from([("retention.messages_days".to_owned(), days.to_owned())]);
        let judge = |workers: &[WorkerSeen]| judge_processes(("1", None), workers).status;
        let other = WorkerSeen { settings: settings("7"), ..worker() };
        assert_eq!(judge(&[worker(), worker()]), Status::Ok);
        assert_eq!(judge(&[WorkerSeen { version: "2".to_owned(), ..worker() }]), Status::Warn);
        assert_eq!(judge(&[worker(), other.clone()]), Status::Warn);
        assert_eq!(judge(&[worker(), WorkerSeen { gone: true, ..other.clone() }]), Status::Ok);
        assert_eq!(judge(&[worker(), WorkerSeen { settings: Settings::new(), ..worker() }]), Status::Ok);
        let here = settings("7");
        let finding = judge_processes(("1", Some(&here)), &[worker()]);
        assert_eq!(finding.seen, "retention.messages_days is 30 in host/1; 7 in this process");
    }
}
