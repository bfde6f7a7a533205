//! What happened in a run, and whether it may have happened: a pure check over what publishers
//! committed and receivers saw.
//!
//! Messages are known by a mark of their own in the payload, not by their ids alone: the id of a
//! transaction that a crash undid may be given again. All instants count from one origin.

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
    /// The publisher was told that it is committed.
    Committed,
    /// It was rolled back, or never asked to commit.
    RolledBack,
    /// The connection was lost during COMMIT: either is fine.
    Unknown,
}

/// One message as its publisher knows it.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What it is known by.
    pub mark: String,
    /// Its topic's id.
    pub topic: i64,
    /// Its partition key.
    pub key: String,
    /// Known of everything that is committed.
    pub id: Option<i64>,
    /// The webhooks that were subscribed at that time.
    pub webhooks: BTreeSet<String>,
    /// What became of it.
    pub fate: Fate,
}

/// What a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// This status, to the answer's end.
    Answered(u16),
    /// No whole answer: the receiver broke it off.
    Broken,
    /// No answer: the sender left.
    Aborted,
    /// No answer up to the end of the run.
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
    /// When it was answered, or seen to be broken off.
    pub ended: Option<Duration>,
    /// What it was answered.
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
    /// At most so many: the lanes that it may have hit.
    pub in_flight: usize,
    /// When what was accepted may not have been written down, or may have been forgotten again.
    pub unwritten: Range<Duration>,
}

/// Everything that is known of a run.
#[derive(Debug, Clone)]
pub struct History {
    /// All messages.
    pub publications: Vec<Publication>,
    /// All requests.
    pub requests: Vec<Request>,
    /// Webhook and mark of each delivery in the dead letters.
    pub dead: BTreeSet<(String, String)>,
    /// All faults.
    pub faults: Vec<Fault>,
    /// The webhooks' timeout: a sender has aborted what is not answered by then, whether or not the
    /// receiver could see it.
    pub timeout: Duration,
    /// How much later than the sender's abort a receiver may see it.
    pub abort_seen_within: Duration,
}

/// What the check found. Each list says, for people, where.
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
    /// Requests that their sender aborted; their overlap with later ones is not counted from the
    /// abort on.
    pub aborted: usize,
    /// Acceptances beyond the first of each delivery.
    pub duplicates: usize,
    /// How many there may be: what was in flight at the faults, or accepted and not written down.
    pub duplicates_bound: usize,
    /// Duplicates by the kind of the fault that most likely caused them.
    pub duplicates_by: BTreeMap<String, usize>,
    /// Committed, and neither accepted nor a dead letter.
    pub losses: Vec<String>,
    /// Sent before one with a lower id had left the lane.
    pub order_violations: Vec<String>,
    /// Two requests of one lane at once.
    pub overlaps: Vec<String>,
    /// Sent, and not to be sent: rolled back, never published, or to a webhook or lane that it is
    /// not of.
    pub phantoms: Vec<String>,
}

impl History {
    /// Decides.
    pub fn check(&self) -> Verdict {
        check::check(self)
    }
}

impl Verdict {
    /// Panics, with what is wrong, unless nothing is.
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
