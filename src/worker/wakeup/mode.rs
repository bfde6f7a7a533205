//! When to look for work. While little is published, workers wait for notifications. While much is
//! published, they poll.
//!
//! PostgreSQL commits transactions that have sent a NOTIFY one after another, so many notifications
//! slow publishers down. If more than [`PLENTY`] messages a second are published, or if commits are
//! seen to wait for one another, workers suppress notifications and poll instead. Below half of that rate they let the suppression end, poll a little longer, and go back
//! to waiting.
//!
//! A message that is notified of leaves some 20 times sooner than one that is found by a poll, at
//! about the same cost (docs/decisions/0018).

use std::time::{Duration, Instant};

use super::{
    super::{
        scheduling::moving_average::MovingAverage,
        tuning::{POLL_NOTIFIED, SUPPRESS_FOR},
    },
    publish_rate::Publishing,
};

/// Notifications are suppressed only if more than this many came within a second, or if publishers
/// wait for one another. Few transactions with many messages slow nobody down. (One transaction
/// sends at most eleven notifications: one for each of its first ten messages, and `more`.)
const NOTICES: u32 = 100;

/// Above this many messages a second, notifications are suppressed.
const PLENTY: u32 = 500;

/// The same, if publishers have waited for one another within [`CONTENDED_FOR`].
const CONTENDED: u32 = 100;

/// How long publishers that have waited for one another are expected to do so again.
const CONTENDED_FOR: Duration = Duration::from_mins(1);

/// After this long, notifications come back for a moment. That shows whether they must be
/// suppressed: if nobody is owed the messages, publishers do not notify.
const SUPPRESSED_AT_MOST: Duration = Duration::from_mins(1);

/// How much longer workers poll. A publisher may have decided not to NOTIFY just before the end.
const GRACE: Duration = Duration::from_millis(200);

/// The shortest and the longest pause between two polls while notifications are suppressed.
const POLL_BUSY: [Duration; 2] = [Duration::from_millis(3), Duration::from_millis(12)];

/// The pause between two polls, as a multiple of what a look takes lately.
const PAUSE: u32 = 4;

/// If nobody may NOTIFY: the pause between two polls while work was found in the last second, and
/// the longest pause. Without work, the pause doubles up to the longest.
const POLL_ALWAYS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// For how long after work was found more work is expected.
const WORK_EXPECTED_FOR: Duration = Duration::from_secs(1);

/// What to do about suppressing notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suppress {
    /// Nothing.
    Keep,
    /// Begin to suppress them, and tell the other workers.
    Begin,
    /// Suppress them for longer.
    Extend,
}

/// Decides when to look for work, and when to suppress notifications.
#[derive(Debug)]
pub(crate) struct WakeupMode {
    /// When the second began in which `notices` are counted.
    window_start: Instant,
    notices: u32,
    /// Until when to poll.
    polling_until: Option<Instant>,
    /// When suppressing was asked for last, or last decided against; `None` while publishers
    /// notify.
    asked_at: Option<Instant>,
    /// Since when notifications are suppressed.
    suppressed_since: Option<Instant>,
    /// When publishers were last seen to wait for one another.
    contended_at: Option<Instant>,
    last_look: Instant,
    look_takes: MovingAverage,
    /// Whether anybody may NOTIFY.
    notifies: bool,
    /// When work was found last.
    worked_at: Instant,
    /// How many polls there were since no more work was expected.
    idle_looks: u32,
}

impl WakeupMode {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            window_start: now,
            notices: 0,
            polling_until: None,
            asked_at: None,
            suppressed_since: None,
            contended_at: None,
            last_look: now,
            look_takes: MovingAverage::default(),
            notifies: true,
            worked_at: now,
            idle_looks: 0,
        }
    }

    /// Sets whether anybody may NOTIFY. If nobody may, this worker always polls.
    pub(crate) fn set_notifies(&mut self, notifies: bool) {
        self.notifies = notifies;
    }

    /// Work was found.
    pub(crate) fn worked(&mut self, now: Instant) {
        self.worked_at = now;
        self.idle_looks = 0;
    }

    /// `count` notifications have arrived. Says whether to suppress notifications.
    pub(crate) fn noticed(&mut self, count: u32, publishing: Publishing, now: Instant) -> Suppress {
        if now.duration_since(self.window_start) > Duration::from_secs(1) {
            self.window_start = now;
            self.notices = 0;
        }
        self.notices = self.notices.saturating_add(count);
        if publishing.waits {
            self.contended_at = Some(now);
        }
        let too_much = self.notices > NOTICES && publishing.per_second > self.bearable(now);
        if self.polling(now) || !(publishing.waits || too_much) {
            return Suppress::Keep;
        }
        self.notices = 0;
        self.ask(now);
        Suppress::Begin
    }

    /// How many messages a second may be published with notifications.
    fn bearable(&self, now: Instant) -> u32 {
        let contended = self.contended_at.is_some_and(|at| now.duration_since(at) < CONTENDED_FOR);
        if contended { CONTENDED } else { PLENTY }
    }

    /// Another worker has suppressed notifications for `remaining`, from `now` on.
    pub(crate) fn suppressed_for(&mut self, remaining: Duration, now: Instant) {
        if !remaining.is_zero() {
            let until = now + remaining.min(SUPPRESS_FOR * 2) + GRACE;
            self.polling_until = Some(self.polling_until.map_or(until, |known| known.max(until)));
            self.asked_at.get_or_insert(now);
            self.suppressed_since.get_or_insert(now);
        }
    }

    /// A poll begins.
    pub(crate) fn look(&mut self, now: Instant) {
        self.last_look = now;
        if now.duration_since(self.worked_at) > WORK_EXPECTED_FOR {
            self.idle_looks = self.idle_looks.saturating_add(1);
        }
    }

    /// A look that was sent at `asked` was answered. Says whether to suppress notifications for
    /// longer.
    pub(crate) fn looked(&mut self, asked: Instant, publishing: Publishing, now: Instant) -> Suppress {
        self.last_look = now;
        self.look_takes.add(now.duration_since(asked));
        let Some(asked_at) = self.asked_at else { return Suppress::Keep };
        if !self.polling(now) {
            (self.asked_at, self.suppressed_since) = (None, None);
            return Suppress::Keep;
        }
        if now.duration_since(asked_at) < SUPPRESS_FOR / 2 {
            return Suppress::Keep;
        }
        let long = self.suppressed_since.is_some_and(|since| now.duration_since(since) >= SUPPRESSED_AT_MOST);
        if long || publishing.per_second < self.bearable(now) / 2 {
            // Let it end. Decide again after another half of [`SUPPRESS_FOR`].
            self.asked_at = Some(now);
            return Suppress::Keep;
        }
        self.ask(now);
        Suppress::Extend
    }

    /// When to poll next, if nothing happens before.
    pub(crate) fn next_look(&self, now: Instant) -> Instant {
        let pause = if !self.notifies {
            let [first, longest] = POLL_ALWAYS;
            (first * (1 << self.idle_looks.min(8))).min(longest)
        } else if self.polling(now) {
            self.look_takes.times(PAUSE, POLL_BUSY)
        } else {
            POLL_NOTIFIED
        };
        self.last_look + pause
    }

    /// Whether this worker polls, since publishers do not notify.
    pub(crate) fn polling(&self, now: Instant) -> bool {
        !self.notifies || self.polling_until.is_some_and(|until| now < until)
    }

    fn ask(&mut self, now: Instant) {
        self.asked_at = Some(now);
        if !self.polling(now) {
            self.suppressed_since = Some(now);
        }
        self.polling_until = Some(now + SUPPRESS_FOR + GRACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn publishing(per_second: u32) -> Publishing {
        Publishing { per_second, waits: false }
    }

    #[test]
    fn what_publishers_bear_keeps_it_waiting() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        for second in 0..10 {
            let now = start + milliseconds(second * 1100);
            for _ in 0..90 {
                assert_eq!(pace.noticed(1, publishing(10_000), now), Suppress::Keep, "in a few transactions");
            }
            for _ in 0..400 {
                assert_eq!(pace.noticed(1, publishing(PLENTY), now), Suppress::Keep);
            }
        }
        assert!(!pace.polling(start));
        assert_eq!(pace.next_look(start), start + POLL_NOTIFIED);
    }

    #[test]
    fn plenty_begins_a_silence_that_lasts_until_it_is_half_as_much_and_then_ends() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        assert_eq!(pace.noticed(101, publishing(PLENTY + 1), start), Suppress::Begin);
        assert_eq!(
            pace.noticed(500, publishing(PLENTY + 1), start + milliseconds(1)),
            Suppress::Keep,
            "it polls already"
        );
        assert_eq!(pace.next_look(start), start + POLL_BUSY[0]);

        let mut extended = 0;
        let mut now = start;
        for _ in 0..1000 {
            now += milliseconds(3);
            extended += u32::from(pace.looked(now, publishing(PLENTY / 2), now) == Suppress::Extend);
            assert!(pace.polling(now));
        }
        assert!((5..=6).contains(&extended), "once each half second: {extended}");

        let fewer = publishing(PLENTY / 2 - 1);
        assert!((0..1000).all(|_| {
            now += milliseconds(3);
            pace.looked(now, fewer, now) == Suppress::Keep
        }));
        assert!(!pace.polling(now), "it waits again");
    }

    #[test]
    fn a_silence_ends_now_and_then_to_see_whether_it_is_needed() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        let plenty = publishing(PLENTY * 10);
        assert_eq!(pace.noticed(101, plenty, start), Suppress::Begin);
        let mut now = start;
        while pace.polling(now) {
            now += milliseconds(10);
            pace.looked(now, plenty, now);
        }
        let lasted = now - start;
        assert!((SUPPRESSED_AT_MOST..SUPPRESSED_AT_MOST + SUPPRESS_FOR * 2).contains(&lasted), "{lasted:?}");
        assert_eq!(pace.noticed(10, plenty, now), Suppress::Keep, "of what is published, little is told");
        assert_eq!(pace.noticed(91, plenty, now), Suppress::Begin);
    }

    #[test]
    fn publishers_that_wait_for_one_another_are_asked_for_silence_sooner() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        let waiting = Publishing { waits: true, ..publishing(CONTENDED + 1) };
        assert_eq!(pace.noticed(101, publishing(CONTENDED + 1), start), Suppress::Keep);
        assert_eq!(pace.noticed(1, waiting, start), Suppress::Begin);
        let slow = Publishing { waits: true, ..publishing(30) };
        assert_eq!(WakeupMode::new(start).noticed(1, slow, start), Suppress::Begin, "however few can be");
        let later = start + SUPPRESS_FOR / 2;
        assert_eq!(
            pace.looked(later, publishing(CONTENDED / 2), later),
            Suppress::Extend,
            "silent ones do not wait"
        );
        let later = start + CONTENDED_FOR / 2;
        assert_eq!(pace.noticed(101, publishing(CONTENDED + 1), later), Suppress::Begin, "they would again");
        let later = start + CONTENDED_FOR + SUPPRESS_FOR * 2;
        assert_eq!(pace.noticed(101, publishing(PLENTY), later), Suppress::Keep, "perhaps not any more");
    }

    #[test]
    fn the_slower_looks_are_the_rarer_they_become() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        pace.suppressed_for(SUPPRESS_FOR, start);
        let mut pause_after = |took| {
            for _ in 0..20 {
                pace.looked(start, publishing(0), start + took);
            }
            pace.next_look(start + took) - (start + took)
        };
        assert_eq!(pause_after(Duration::from_micros(300)), POLL_BUSY[0]);
        let two = pause_after(milliseconds(2));
        assert!((milliseconds(7)..milliseconds(8)).contains(&two), "{two:?}");
        assert_eq!(pause_after(milliseconds(100)), POLL_BUSY[1]);
    }

    #[test]
    fn anothers_silence_makes_it_poll_past_its_end() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        pace.suppressed_for(milliseconds(100), start);
        assert!(pace.polling(start + milliseconds(150)));
        assert!(!pace.polling(start + milliseconds(100) + GRACE));
    }

    #[test]
    fn where_nobody_may_notify_looks_are_frequent_while_there_is_work() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        pace.set_notifies(false);
        assert!(pace.polling(start));
        let mut pauses = Vec::new();
        let mut now = start;
        while now < start + WORK_EXPECTED_FOR * 3 {
            let next = pace.next_look(now);
            pauses.push(next - now);
            now = next;
            pace.look(now);
            assert_eq!(pace.looked(now, publishing(0), now), Suppress::Keep);
        }
        let [first, longest] = POLL_ALWAYS;
        assert!(pauses.iter().filter(|pause| **pause == first).count() >= 200, "{pauses:?}");
        assert!(pauses.is_sorted() && pauses.last() == Some(&longest), "{pauses:?}");
        pace.worked(now);
        assert_eq!(pace.next_look(now), now + first);
    }

    #[test]
    fn a_wild_silence_counts_for_little() {
        let start = Instant::now();
        let mut pace = WakeupMode::new(start);
        pace.suppressed_for(Duration::from_hours(1), start);
        assert!(!pace.polling(start + SUPPRESS_FOR * 2 + GRACE));
    }
}
