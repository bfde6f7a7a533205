//! Tail reads: which of the many held lanes owe something more ("news" in the code).
//!
//! A tail read reads the messages that were published since the last one. That costs much less than
//! to ask each of a thousand idle lanes. Only speed depends on it. If a tail read misses something,
//! a sweep finds it: at least every two seconds a sweep asks all idle lanes.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{
    engine::Engine,
    lane::{Owes, Phase},
    operation::Done,
};
use crate::store::{LaneNews, StoreError};

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
const LIMIT: usize = 5_000;

/// Tail reads tell of everything only while the last complete answer is not older than this.
const COMPLETE: Duration = Duration::from_millis(100);

/// What a tail read is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// It is made beside a claim.
    #[default]
    BesideClaim,
    /// It is made instead of a claim. A claim follows only if a message is for a lane that is not
    /// held.
    Alone,
    /// It is made beside a sweep, and also asks for messages that were committed late.
    Sweep,
}

/// How far the tail reads have come.
#[derive(Default)]
pub(super) struct News {
    under_way: bool,
    /// Another tail read was wanted while one was under way, which may have begun too early.
    again: Option<Look>,
    /// What the tail read under way is for.
    look: Look,
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

impl News {
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

/// What was published to one partition. Its lanes have the same number (`LaneKey::lane`) for all
/// webhooks.
#[derive(Default)]
struct Published {
    /// The last message's id.
    latest: i64,
    /// For how many webhooks this worker holds the lane.
    held: usize,
    /// How many deliverable webhooks the topic has; 0 if no lane is held.
    webhooks: usize,
}

impl Engine {
    /// Starts a tail read. If one is under way, another one follows it.
    pub(super) fn look_for_news(&mut self, now: Instant, look: Look) {
        if self.news.under_way {
            // A poll comes again by itself.
            if look != Look::Alone && self.news.again != Some(Look::Sweep) {
                self.news.again = Some(look);
            }
            return;
        }
        self.news.under_way = true;
        self.news.look = look;
        let (after, missing) = self.news.ask(look, now);
        let store = self.store.clone();
        self.operations.spawn(async move {
            let news = store.list_news(after, &missing, i64::try_from(LIMIT).unwrap_or(i64::MAX)).await;
            Done::News { first: after.is_none(), news }
        });
    }

    /// A tail read was answered. The `first` one says nothing about earlier messages: then all idle
    /// lanes are asked.
    pub(super) fn on_news(&mut self, first: bool, news: Result<Vec<LaneNews>, StoreError>) {
        self.news.under_way = false;
        let now = Instant::now();
        match news {
            Ok(news) => {
                self.news.answered(&news, now);
                if first {
                    self.read_dry();
                } else {
                    self.on_published(news);
                }
            }
            Err(error) => {
                self.trouble(&error, "reading what is new");
            }
        }
        if self.news.look == Look::Alone
            && let Some(asked) = self.news.asked
        {
            self.looked(asked, now);
        }
        if let Some(look) = self.news.again.take() {
            self.look_for_news(now, look);
        }
    }

    /// Whether a poll may make a tail read instead of a claim. It may if this worker is the only
    /// one, tail reads tell of everything, and lately there was no lane to claim. Sweeps find what
    /// becomes due in other ways.
    pub(super) fn news_suffice(&self, now: Instant) -> bool {
        self.pace.polling(now)
            && self.dry.len() > ASK_EACH
            && self.news.tells_since(now, now)
            && self.claims.find_nothing(now)
            && self.signals.newcomer().is_none()
    }

    /// These messages were published. Some may be for lanes that this worker does not hold.
    fn on_published(&mut self, news: Vec<LaneNews>) {
        if news.is_empty() {
            return;
        }
        let mut latest: HashMap<i64, Published> = HashMap::new();
        for LaneNews { message_id, lane, .. } in news {
            let published = latest.entry(lane).or_default();
            published.latest = message_id.max(published.latest);
        }
        let mut webhooks: HashMap<&str, usize> = HashMap::new();
        for target in self.targets.values().filter(|target| target.deliverable()) {
            *webhooks.entry(&target.settings.topic).or_default() += 1;
        }
        let mut now = Vec::new();
        for lane in self.lanes.values_mut() {
            let Some(published) = latest.get_mut(&lane.key.lane) else { continue };
            match lane.owes(published.latest) {
                Owes::ReadNow => now.push(lane.key),
                Owes::Retire => self.gathered.hasten(),
                Owes::ReadLater | Owes::Known | Owes::TakenIn => {}
            }
            // In these phases the lane's row may be gone or given back already: the lane does not
            // count as held.
            if let Some(target) = self.targets.get(&lane.key.webhook_id)
                && target.deliverable()
                && !matches!(lane.phase, Phase::Released | Phase::Retiring)
            {
                published.held += 1;
                published.webhooks =
                    webhooks.get(target.settings.topic.as_str()).copied().unwrap_or_default();
            }
        }
        // Some lane is not held, so there may be one to claim. There is none if a filter does not
        // match, or if the lane waits or is halted.
        if latest.values().any(|published| published.held == 0 || published.held < published.webhooks) {
            self.claims.found(Instant::now());
            if self.news.look == Look::Alone {
                self.claims.look();
            }
        }
        for key in now {
            self.read_on(key);
        }
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
        let mut news = News { newest: Some(100), asked: Some(start), ..News::default() };
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
        let mut news = News::default();
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
        let mut news = News { newest: Some(0), asked: Some(start), ..News::default() };
        news.answered(&messages(&[i64::MAX]), start);
        let (newest, missing) = news.ask(Look::Alone, start);
        assert_eq!(newest, Some(i64::MAX));
        assert_eq!((missing.len(), missing.first()), (MISSING_MAX, Some(&(i64::MAX - 1))));
        assert!(news.missing.len() <= LATE_MAX);
    }

    #[test]
    fn it_begins_anew_after_a_pause() {
        let start = Instant::now();
        let mut news = News { newest: Some(5), asked: Some(start), ..News::default() };
        assert_eq!(news.ask(Look::Alone, start + FRESH), (Some(5), Vec::new()));
        assert_eq!(news.ask(Look::Alone, start + FRESH * 3), (None, Vec::new()));
    }

    #[test]
    fn it_tells_of_what_came_since_it_has_looked_without_a_pause_for_a_while() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut news = News::default();
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
