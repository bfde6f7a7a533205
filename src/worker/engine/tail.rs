//! Tail reads: which of the many held lanes owe something more.
//!
//! A tail read reads the messages that were published since the last one. That costs much less than
//! to ask each of a thousand idle lanes. Only speed depends on it. If a tail read misses something,
//! a sweep finds it: at least every two seconds a sweep asks all idle lanes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::store::LaneNews;

/// Up to this many idle lanes are asked one by one, without a tail read.
pub(super) const ASK_EACH: usize = 16;

/// After a longer pause than this, tail reads begin again at the newest message. Otherwise the next
/// answer would be long.
const FRESH: Duration = Duration::from_secs(1);

/// How long each tail read asks again for an id that was passed over. The id belongs to a
/// transaction that is still open or was rolled back.
const MISSING_FOR: Duration = Duration::from_secs(1);

/// The most such ids that a tail read asks for: the latest ones. If more are passed over in a
/// second (by rollbacks, or by one large transaction that others overtake), tail reads do not tell
/// of everything for a while.
const MISSING_MAX: usize = 256;

/// How long sweeps ask for such an id.
const LATE_FOR: Duration = Duration::from_mins(1);

/// The most such ids that a sweep asks for: the latest ones.
const LATE_MAX: usize = 1024;

/// The most new messages that one tail read returns.
pub(crate) const LIMIT: usize = 5_000;

/// Tail reads tell of everything only while the last complete answer is not older than this.
const COMPLETE: Duration = Duration::from_millis(100);

/// What a tail read is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is made beside a claim.
    BesideClaim,
    /// It is made instead of a claim. A claim follows only if a message is for a lane that is not
    /// held.
    Alone,
    /// It is made beside a sweep, and also asks for messages that were committed late.
    Sweep,
}

/// How far the tail reads have come.
#[derive(Default)]
pub(super) struct Tail {
    /// The tail read under way: what it is for, whether it is the first one, and when it was sent.
    under_way: Option<(Look, bool, Instant)>,
    /// Another tail read was wanted while one was under way, which may have begun too early.
    again: Option<Look>,
    /// When the last tail read was sent.
    asked: Option<Instant>,
    /// When an answer last came that had read to the end.
    complete: Option<Instant>,
    /// Since when each tail read has begun where the one before had ended.
    since: Option<Instant>,
    /// The highest id that was seen.
    newest: Option<i64>,
    /// Ids below `newest` that were passed over (not seen), and since when.
    missing: BTreeMap<i64, Instant>,
}

/// What a tail read asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TailRead {
    /// All messages above this id; `None`: only the newest one.
    pub(super) after: Option<i64>,
    /// And these.
    pub(super) missing: Vec<i64>,
}

/// A tail read that was answered.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it was for.
    pub(super) look: Look,
    /// Whether it was the first one: it says nothing about earlier messages.
    pub(super) first: bool,
    /// When it was sent.
    pub(super) asked: Instant,
    /// Another one was wanted meanwhile.
    pub(super) again: Option<Look>,
}

impl Tail {
    /// Begins a tail read. `None`: one is under way; another one follows it if needed.
    pub(super) fn begin(&mut self, look: Look, now: Instant) -> Option<TailRead> {
        if self.under_way.is_some() {
            // A poll comes again by itself.
            if look != Look::Alone && self.again != Some(Look::Sweep) {
                self.again = Some(look);
            }
            return None;
        }
        let (after, missing) = self.ask(look, now);
        self.under_way = Some((look, after.is_none(), now));
        Some(TailRead { after, missing })
    }

    /// The tail read under way has ended; `news`: what it has returned, if it did not fail.
    pub(super) fn end(&mut self, news: Option<&[LaneNews]>, now: Instant) -> Option<Ended> {
        let (look, first, asked) = self.under_way.take()?;
        if let Some(news) = news {
            self.answered(news, now);
        }
        Some(Ended { look, first, asked, again: self.again.take() })
    }

    /// What to ask for: all messages above the first value (`None`: the newest message alone), and
    /// each id of the second.
    fn ask(&mut self, look: Look, now: Instant) -> (Option<i64>, Vec<i64>) {
        if self.asked.is_none_or(|asked| now.duration_since(asked) > FRESH) {
            self.newest = None;
            self.since = None;
            self.missing.clear();
        }
        self.asked = Some(now);
        self.missing.retain(|_, since| now.duration_since(*since) < LATE_FOR);
        let latest = self.missing.iter().rev();
        let lately = latest.clone().filter(|(_, since)| now.duration_since(**since) < MISSING_FOR);
        if lately.clone().count() > MISSING_MAX {
            // Too many ids were passed over: tail reads do not tell of everything.
            self.since = self.since.map(|_| now);
        }
        let missing = match look {
            Look::Sweep => latest.map(|(id, _)| *id).collect(),
            Look::Alone | Look::BesideClaim => lately.map(|(id, _)| *id).take(MISSING_MAX).collect(),
        };
        (self.newest, missing)
    }

    fn answered(&mut self, news: &[LaneNews], now: Instant) {
        if news.len() < LIMIT {
            self.complete = Some(now);
        }
        for LaneNews { message_id, step, .. } in news {
            let Some(newest) = self.newest.filter(|newest| message_id > newest) else {
                self.missing.remove(message_id);
                if self.newest.is_none() {
                    self.newest = Some(*message_id);
                    self.since = Some(now);
                }
                continue;
            };
            let ids = std::iter::successors(message_id.checked_sub(*step), |id| id.checked_sub(*step));
            let passed_over = ids.take_while(|id| *id > newest).take(LATE_MAX);
            self.missing.extend(passed_over.map(|id| (id, now)));
            self.newest = Some(*message_id);
        }
        while self.missing.len() > LATE_MAX {
            self.missing.pop_first();
        }
    }

    /// Whether tail reads have told, and will tell, of all messages that were published after
    /// `instant`. They must have begun [`MISSING_FOR`] before it: an id that was given before the
    /// first tail read does not count as passed over.
    pub(super) fn tells_since(&self, instant: Instant, now: Instant) -> bool {
        self.since.is_some_and(|since| instant >= since + MISSING_FOR)
            && self.complete.is_some_and(|complete| now.duration_since(complete) <= COMPLETE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(ids: &[i64]) -> Vec<LaneNews> {
        ids.iter().map(|id| LaneNews { message_id: *id, lane: 0, step: 1 }).collect()
    }

    /// An installation with a cell gives out every 1,024th id. The ids between are nobody's.
    #[test]
    fn ids_that_are_never_given_out_are_not_passed_over() {
        let start = Instant::now();
        let mut news = Tail { newest: Some(100), asked: Some(start), ..Tail::default() };
        let ids = |ids: &[i64]| -> Vec<_> {
            messages(ids).into_iter().map(|news| LaneNews { step: 1024, ..news }).collect()
        };
        news.answered(&ids(&[1024 + 7, 2 * 1024 + 7]), start);
        assert_eq!(news.ask(Look::Alone, start), (Some(2055), Vec::new()));
        news.answered(&ids(&[5 * 1024 + 7]), start);
        assert_eq!(news.ask(Look::Alone, start), (Some(5127), vec![4 * 1024 + 7, 3 * 1024 + 7]));
    }

    #[test]
    fn ids_that_were_passed_over_are_asked_for_again_for_a_while() {
        let start = Instant::now();
        let mut news = Tail::default();
        assert_eq!(news.ask(Look::Alone, start), (None, Vec::new()));
        news.answered(&messages(&[10]), start);
        assert_eq!(news.ask(Look::Alone, start), (Some(10), Vec::new()));
        news.answered(&messages(&[12, 15]), start);
        assert_eq!(news.ask(Look::Alone, start), (Some(15), vec![14, 13, 11]));

        let later = start + MISSING_FOR / 2;
        news.answered(&messages(&[17, 13]), later);
        assert_eq!(news.ask(Look::Alone, later), (Some(17), vec![16, 14, 11]));
        assert_eq!(news.ask(Look::Alone, start + MISSING_FOR), (Some(17), vec![16]));
        assert_eq!(news.ask(Look::Sweep, start + MISSING_FOR), (Some(17), vec![16, 14, 11]), "late ones too");
    }

    #[test]
    fn a_wide_gap_does_not_fill_the_memory() {
        let start = Instant::now();
        let mut news = Tail { newest: Some(0), asked: Some(start), ..Tail::default() };
        news.answered(&messages(&[i64::MAX]), start);
        let (newest, missing) = news.ask(Look::Alone, start);
        assert_eq!(newest, Some(i64::MAX));
        assert_eq!((missing.len(), missing.first()), (MISSING_MAX, Some(&(i64::MAX - 1))));
        assert!(news.missing.len() <= LATE_MAX);
    }

    #[test]
    fn it_begins_anew_after_a_pause() {
        let start = Instant::now();
        let mut news = Tail { newest: Some(5), asked: Some(start), ..Tail::default() };
        assert_eq!(news.ask(Look::Alone, start + FRESH), (Some(5), Vec::new()));
        assert_eq!(news.ask(Look::Alone, start + FRESH * 3), (None, Vec::new()));
    }

    #[test]
    fn it_tells_of_what_came_since_it_has_looked_without_a_pause_for_a_while() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut news = Tail::default();
        assert!(!news.tells_since(start, start), "nobody has looked");
        news.ask(Look::Alone, start);
        news.answered(&[], start);
        assert!(!news.tells_since(start + second, start + second), "nothing was there to begin with");
        news.answered(&messages(&[10]), start);
        assert!(
            !news.tells_since(start + second / 2, start + second / 2),
            "an older id may not be visible yet"
        );
        news.answered(&[], start + second);
        assert!(news.tells_since(start + second, start + second));
        news.ask(Look::Alone, start + second);
        assert!(
            !news.tells_since(start + second, start + second + COMPLETE * 2),
            "no look was answered since"
        );
        news.answered(&messages(&vec![11; LIMIT]), start + second + COMPLETE * 2);
        assert!(!news.tells_since(start + second, start + second + COMPLETE * 2), "there is more");
        news.answered(&[], start + second + COMPLETE * 2);
        assert!(news.tells_since(start + second, start + second + COMPLETE * 2));
        news.answered(&messages(&[i64::try_from(MISSING_MAX).unwrap() + 20]), start + second * 2);
        news.ask(Look::Alone, start + second * 2);
        assert!(!news.tells_since(start + second * 2, start + second * 2), "too many were passed over");
        news.ask(Look::Alone, start + second * 3);
        news.answered(&[], start + second * 3);
        assert!(news.tells_since(start + second * 3, start + second * 3));
        news.ask(Look::Alone, start + second * 5);
        assert!(!news.tells_since(start + second * 3, start + second * 5), "it begins anew");
    }
}
