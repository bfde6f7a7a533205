//! What happened in a run, and whether it may have happened. The check is pure. It reads what
//! publishers committed and what receivers saw.
//!
//! A mark in the payload identifies a message. Its id alone does not: after a crash an id may be
//! given again that no commit had. All instants count from one origin.

mod check;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    time::Duration,
};

/// What became of the transaction that published a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The publisher was told that it was committed.
    Committed,
    /// It was rolled back, or no commit was asked for.
    RolledBack,
    /// The connection was lost during COMMIT. Both outcomes are right.
    Unknown,
}

/// One message as its publisher knows it.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The mark that identifies it.
    pub mark: String,
    /// Its topic's id.
    pub topic: i64,
    /// Its partition key.
    pub key: String,
    /// Its id. It is known for everything that was committed.
    pub id: Option<i64>,
    /// The webhooks that were subscribed then.
    pub webhooks: BTreeSet<String>,
    /// What became of it.
    pub fate: Fate,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// This status, with a complete answer.
    Answered(u16),
    /// No complete answer: the receiver broke it off.
    Broken,
    /// No answer: the sender went away.
    Aborted,
    /// No answer before the end of the run.
    Hung,
}

/// One request as a receiver saw it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The webhook that it came to.
    pub webhook: String,
    /// `webhook-partition`.
    pub key: String,
    /// The mark of the message that it holds.
    pub mark: String,
    /// `webhook-position`.
    pub position: i64,
    /// `webhook-attempt`.
    pub attempt: u32,
    /// When it arrived.
    pub started: Duration,
    /// When it was answered, or when the receiver saw that it was broken off.
    pub ended: Option<Duration>,
    /// How it was answered.
    pub reply: Reply,
}

impl Request {
    pub(super) fn accepted(&self) -> bool {
        matches!(self.reply, Reply::Answered(200..=299))
    }
}

/// A fault that was injected, and how many requests it may have cut off.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its name.
    pub kind: String,
    /// When it was injected.
    pub at: Duration,
    /// At most this many: the lanes that it may have hit.
    pub in_flight: usize,
    /// The time in which acceptances may not have been written down, or may have been lost again.
    pub unwritten: Range<Duration>,
}

/// Everything that is known about a run.
#[derive(Debug, Clone)]
pub struct History {
    /// All messages.
    pub publications: Vec<Publication>,
    /// All requests.
    pub requests: Vec<Request>,
    /// Webhook and mark of each dead letter.
    pub dead: BTreeSet<(String, String)>,
    /// All faults.
    pub faults: Vec<Fault>,
    /// The webhooks' timeout. A sender has aborted a request that is not answered by then, whether
    /// or not the receiver could see it.
    pub timeout: Duration,
    /// How much later than the sender's abort a receiver may see it.
    pub abort_seen_within: Duration,
}

/// The result of the check. Each list describes places for people.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Committed messages.
    pub messages: usize,
    /// All requests.
    pub requests: usize,
    /// Deliveries that were accepted, counted once each.
    pub accepted: usize,
    /// Deliveries in the dead letters.
    pub dead: usize,
    /// Requests that their sender aborted. After the abort they overlap with nothing.
    pub aborted: usize,
    /// Acceptances beyond the first of each delivery.
    pub duplicates: usize,
    /// How many duplicates there may be: what was in flight at the faults, or was accepted and not
    /// written down.
    pub duplicates_bound: usize,
    /// Duplicates, by the kind of fault that probably caused them.
    pub duplicates_by: BTreeMap<String, usize>,
    /// Committed, but neither accepted nor a dead letter.
    pub losses: Vec<String>,
    /// Sent before a message with a lower id had left the lane.
    pub order_violations: Vec<String>,
    /// Two requests of one lane at once.
    pub overlaps: Vec<String>,
    /// Sent, although it must not be: it was rolled back, never published, or is not of that
    /// webhook or lane.
    pub phantoms: Vec<String>,
}

impl History {
    /// Checks everything.
    pub fn check(&self) -> Verdict {
        check::check(self)
    }
}

impl Verdict {
    /// Panics if anything is wrong, and says what.
    #[track_caller]
    pub fn assert_clean(&self) {
        let kinds = [
            ("losses", &self.losses),
            ("violations of order", &self.order_violations),
            ("overlaps", &self.overlaps),
            ("phantom sends", &self.phantoms),
        ];
        for (kind, found) in kinds {
            assert!(found.is_empty(), "{} {kind}: {:#?}", found.len(), &found[..found.len().min(10)]);
        }
        assert!(
            self.duplicates <= self.duplicates_bound,
            "{} duplicates, and at most {} requests were in flight at the faults, or accepted and not written down",
            self.duplicates,
            self.duplicates_bound
        );
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "messages {}, requests {}, accepted {}, dead letters {}, aborted requests {}",
            self.messages, self.requests, self.accepted, self.dead, self.aborted
        )?;
        writeln!(
            f,
            "losses {}, violations of order {}, overlaps {}, phantom sends {}",
            self.losses.len(),
            self.order_violations.len(),
            self.overlaps.len(),
            self.phantoms.len()
        )?;
        write!(f, "duplicates {} (bound {})", self.duplicates, self.duplicates_bound)?;
        for (kind, count) in &self.duplicates_by {
            write!(f, "; by {kind}: {count}")?;
        }
        Ok(())
    }
}
