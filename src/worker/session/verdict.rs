//! What a worker thinks of another one: whether it is dead or hung, so that its lanes are taken over.
//!
//! A worker is **dead** if its advisory lock is free. PostgreSQL frees the lock when the session
//! ends: the process died, its connection broke, or PostgreSQL restarted. A free lock stays free,
//! since no incarnation takes its lock twice. The worker stops sending within
//! `ALIVE_FOR` of its last answered round trip. Its lanes are
//! released later: when the lock was free for `TAKEOVER_AFTER`.
//!
//! A worker is **hung** if its connection is alive, but its heartbeat stands still for its whole
//! lease.
//!
//! Both times are counted on this process's monotonic clock. No step of the database's clock can
//! shorten them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use uuid::Uuid;

use super::super::tuning::TAKEOVER_AFTER;
use crate::store::OtherWorker;

/// The pause between two looks at the other workers.
const LOOK: Duration = Duration::from_millis(200);

/// What was seen of another worker.
#[derive(Debug)]
pub struct Seen {
    heartbeat_at: Timestamp,
    heartbeat_since: Instant,
    free_since: Option<Instant>,
}

/// What this worker thinks of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lives.
    Alive,
    /// Its session has ended.
    Dead,
    /// Its heartbeat stands still.
    Hung,
}

/// Whether a worker lives and was not seen before. One that is gone is never noted as seen.
pub fn is_newcomer(seen: &BTreeMap<Uuid, Seen>, other: &OtherWorker) -> bool {
    !other.gone && !seen.contains_key(&other.id)
}

/// Judges a worker by what was seen before and by one more answer. The question was sent at `asked`
/// and answered at `answered`.
pub fn judge(
    seen: &mut BTreeMap<Uuid, Seen>,
    other: &OtherWorker,
    asked: Instant,
    answered: Instant,
) -> Verdict {
    // The answer shows the state at some instant between `asked` and `answered`. To be safe, a
    // state counts as begun at `answered`, and as still there at `asked`.
    let seen = seen.entry(other.id).or_insert(Seen {
        heartbeat_at: other.heartbeat_at,
        heartbeat_since: answered,
        free_since: None,
    });
    if seen.heartbeat_at != other.heartbeat_at {
        seen.heartbeat_at = other.heartbeat_at;
        seen.heartbeat_since = answered;
    }
    if !other.lock_free {
        seen.free_since = None;
    } else if asked.saturating_duration_since(*seen.free_since.get_or_insert(answered)) >= TAKEOVER_AFTER {
        return Verdict::Dead;
    }
    if asked.saturating_duration_since(seen.heartbeat_since) >= other.lease {
        return Verdict::Hung;
    }
    Verdict::Alive
}

/// The pause before the next look. If a free lock has been free long enough before `LOOK` is
/// over, the look comes exactly then.
pub fn pause(seen: &BTreeMap<Uuid, Seen>, now: Instant) -> Duration {
    seen.values()
        .filter_map(|seen| seen.free_since)
        .map(|free_since| (free_since + TAKEOVER_AFTER).saturating_duration_since(now))
        .min()
        .map_or(LOOK, |until| until.clamp(Duration::from_millis(10), LOOK))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(20);

    fn other(lock_free: bool, beat: i64) -> OtherWorker {
        OtherWorker {
            id: Uuid::nil(),
            name: "other".to_owned(),
            heartbeat_at: Timestamp::from_second(beat).expect("in range"),
            lease: LEASE,
            lock_free,
            gone: false,
        }
    }

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_worker_is_a_newcomer_once_and_not_when_it_is_gone() {
        let (mut seen, start) = (BTreeMap::new(), Instant::now());
        assert!(is_newcomer(&seen, &other(false, 1)));
        assert!(!is_newcomer(&seen, &OtherWorker { gone: true, ..other(true, 1) }));
        judge(&mut seen, &other(false, 1), at(start, 0), at(start, 0));
        assert!(!is_newcomer(&seen, &other(false, 2)));
    }

    #[test]
    fn a_free_lock_is_enough_only_after_the_whole_time() {
        let (mut seen, start) = (BTreeMap::new(), Instant::now());
        assert_eq!(judge(&mut seen, &other(true, 1), at(start, 0), at(start, 100)), Verdict::Alive);
        assert_eq!(judge(&mut seen, &other(true, 1), at(start, 1299), at(start, 1400)), Verdict::Alive);
        assert_eq!(judge(&mut seen, &other(true, 1), at(start, 1300), at(start, 1400)), Verdict::Dead);
    }

    #[test]
    fn a_break_starts_the_time_anew() {
        let (mut seen, start) = (BTreeMap::new(), Instant::now());
        judge(&mut seen, &other(true, 1), at(start, 0), at(start, 0));
        judge(&mut seen, &other(false, 1), at(start, 1000), at(start, 1000));
        judge(&mut seen, &other(true, 1), at(start, 1100), at(start, 1100));
        assert_eq!(judge(&mut seen, &other(true, 1), at(start, 2200), at(start, 2200)), Verdict::Alive);
        assert_eq!(judge(&mut seen, &other(true, 1), at(start, 2300), at(start, 2300)), Verdict::Dead);
    }

    #[test]
    fn a_hung_worker_is_seized_after_its_lease_whatever_its_clock_says() {
        let (mut seen, start) = (BTreeMap::new(), Instant::now());
        assert_eq!(judge(&mut seen, &other(false, 1), at(start, 0), at(start, 0)), Verdict::Alive);
        // The clock was set back. A changed heartbeat is a sign of life, whatever its value.
        assert_eq!(
            judge(&mut seen, &other(false, -500), at(start, 19_000), at(start, 19_000)),
            Verdict::Alive
        );
        assert_eq!(
            judge(&mut seen, &other(false, -500), at(start, 38_999), at(start, 38_999)),
            Verdict::Alive
        );
        assert_eq!(
            judge(&mut seen, &other(false, -500), at(start, 39_000), at(start, 39_000)),
            Verdict::Hung
        );
    }
}
