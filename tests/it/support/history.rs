//! What happened in a run, and whether it may have happened: a pure check over what publishers committed and receivers saw.
//!
//! Messages are known by a mark of their own in the payload, not by their ids alone: the id of a transaction that a
//! crash undid may be given again. All instants count from one origin.

mod check;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    time::Duration,
};

/// What became of the transaction that published a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The publisher was told that it is committed.
    Committed,
    /// It was rolled back, or never asked to commit.
    RolledBack,
    /// The connection was lost during COMMIT: either is fine.
    Unknown,
}

/// One message as its publisher knows it.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) mark: String,
    pub(crate) topic: i64,
    pub(crate) key: String,
    /// Known of everything that is committed.
    pub(crate) id: Option<i64>,
    /// The webhooks that were subscribed at that time.
    pub(crate) webhooks: BTreeSet<String>,
    pub(crate) fate: Fate,
}

/// What a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
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
pub(crate) struct Request {
    pub(crate) webhook: String,
    pub(crate) key: String,
    pub(crate) mark: String,
    /// `webhook-position`.
    pub(crate) position: i64,
    /// `webhook-attempt`.
    pub(crate) attempt: u32,
    pub(crate) started: Duration,
    /// When it was answered, or seen to be broken off.
    pub(crate) ended: Option<Duration>,
    pub(crate) reply: Reply,
}

impl Request {
    pub(super) fn accepted(&self) -> bool {
        matches!(self.reply, Reply::Answered(200..=299))
    }
}

/// A fault that was injected, and how many requests it may have cut off.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: String,
    pub(crate) at: Duration,
    /// At most so many: the lanes that it may have hit.
    pub(crate) in_flight: usize,
    /// When what was accepted may not have been written down, or may have been forgotten again.
    pub(crate) unwritten: Range<Duration>,
}

/// Everything that is known of a run.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) publications: Vec<Publication>,
    pub(crate) requests: Vec<Request>,
    /// Webhook and mark of each delivery in the dead letters.
    pub(crate) dead: BTreeSet<(String, String)>,
    pub(crate) faults: Vec<Fault>,
    /// The webhooks' timeout: a sender has aborted what is not answered by then, whether or not the receiver could see it.
    pub(crate) timeout: Duration,
    /// How much later than the sender's abort a receiver may see it.
    pub(crate) abort_seen_within: Duration,
}

/// What the check found. Each list says, for people, where.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Committed messages.
    pub(crate) messages: usize,
    pub(crate) requests: usize,
    /// Deliveries that were accepted, counted once each.
    pub(crate) accepted: usize,
    /// Deliveries in the dead letters.
    pub(crate) dead: usize,
    /// Requests that their sender aborted; their overlap with later ones is not counted from the abort on.
    pub(crate) aborted: usize,
    /// Acceptances beyond the first of each delivery.
    pub(crate) duplicates: usize,
    /// How many there may be: what was in flight at the faults, or accepted and not written down.
    pub(crate) duplicates_bound: usize,
    /// Duplicates by the kind of the fault that most likely caused them.
    pub(crate) duplicates_by: BTreeMap<String, usize>,
    /// Committed, and neither accepted nor a dead letter.
    pub(crate) losses: Vec<String>,
    /// Sent before one with a lower id had left the lane.
    pub(crate) order_violations: Vec<String>,
    /// Two requests of one lane at once.
    pub(crate) overlaps: Vec<String>,
    /// Sent, and not to be sent: rolled back, never published, or to a webhook or lane that it is not of.
    pub(crate) phantoms: Vec<String>,
}

impl History {
    /// Decides.
    pub(crate) fn check(&self) -> Verdict {
        check::check(self)
    }
}

impl Verdict {
    /// Panics, with what is wrong, unless nothing is.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
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
