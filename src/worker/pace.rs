//! When to look for work: interrupts while it is quiet, polling while it is busy.
//!
//! PostgreSQL commits transactions that have sent a NOTIFY one after another, so many notifications slow publishers down.
//! Above [`BUSY_NOTICES`] in a second the workers ask for silence and poll instead; below [`BUSY_FINDS`] finds they let
//! the silence end, poll a little longer, and go back to waiting.

use std::time::{Duration, Instant};

use super::takes::Takes;

/// Notices within a second that make a worker ask for silence.
const BUSY_NOTICES: u32 = 100;

/// Lanes found within half a silence that make a worker extend it.
const BUSY_FINDS: usize = 25;

/// How long publishers are asked to be silent at a time.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// How much longer to poll: a publisher may have decided not to NOTIFY just before the silence ended.
const GRACE: Duration = Duration::from_millis(200);

/// Between two looks while polling: at least, at most.
const POLL_BUSY: [Duration; 2] = [Duration::from_millis(3), Duration::from_millis(12)];

/// How many times as long as a look takes to pause before the next one.
const PAUSE: u32 = 4;

/// Between two looks while waiting: a lost notification costs no more than this.
pub(super) const POLL_IDLE: Duration = Duration::from_millis(500);

/// What to do about the silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing.
    Keep,
    /// Ask publishers for it, and tell the other workers.
    Begin,
    /// Ask publishers for more of it.
    Extend,
}

/// Decides when to look for work, and when to ask publishers for silence.
#[derive(Debug)]
pub(super) struct Pace {
    window_start: Instant,
    notices: u32,
    /// Until when to poll.
    polling_until: Option<Instant>,
    /// When the current silence was asked for.
    asked_at: Option<Instant>,
    found: usize,
    last_look: Instant,
    look_takes: Takes,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window_start: now,
            notices: 0,
            polling_until: None,
            asked_at: None,
            found: 0,
            last_look: now,
            look_takes: Takes::default(),
        }
    }

    /// Publishers have sent `count` notices.
    pub(super) fn noticed(&mut self, count: u32, now: Instant) -> Silence {
        if now.duration_since(self.window_start) > Duration::from_secs(1) {
            self.window_start = now;
            self.notices = 0;
        }
        self.notices = self.notices.saturating_add(count);
        if self.notices <= BUSY_NOTICES || self.polling(now) {
            return Silence::Keep;
        }
        self.notices = 0;
        self.ask(now);
        Silence::Begin
    }

    /// Publishers are known to be silent for `remaining` from `now` on: another worker has asked for it.
    pub(super) fn silent_for(&mut self, remaining: Duration, now: Instant) {
        if !remaining.is_zero() {
            let until = now + remaining.min(SILENCE * 2) + GRACE;
            self.polling_until = Some(self.polling_until.map_or(until, |known| known.max(until)));
            self.asked_at.get_or_insert(now);
        }
    }

    /// A look begins because it is time.
    pub(super) fn look(&mut self, now: Instant) {
        self.last_look = now;
    }

    /// Held lanes that had run dry owe something again: work that no claim finds.
    pub(super) fn found(&mut self, lanes: usize) {
        self.found += lanes;
    }

    /// A claim that was asked for at `asked` found `lanes`.
    pub(super) fn looked(&mut self, lanes: usize, asked: Instant, now: Instant) -> Silence {
        self.last_look = now;
        self.look_takes.note(now.duration_since(asked));
        self.found += lanes;
        let Some(asked_at) = self.asked_at else { return Silence::Keep };
        if !self.polling(now) {
            self.asked_at = None;
            return Silence::Keep;
        }
        if now.duration_since(asked_at) < SILENCE / 2 {
            return Silence::Keep;
        }
        let busy = self.found >= BUSY_FINDS;
        self.found = 0;
        if !busy {
            // Let it end; ask again only after another half.
            self.asked_at = Some(now);
            return Silence::Keep;
        }
        self.ask(now);
        Silence::Extend
    }

    /// When to look next, if nothing happens before.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        self.last_look + if self.polling(now) { self.look_takes.pause(PAUSE, POLL_BUSY) } else { POLL_IDLE }
    }

    /// Whether publishers are silent, so that only looking tells.
    pub(super) fn polling(&self, now: Instant) -> bool {
        self.polling_until.is_some_and(|until| now < until)
    }

    fn ask(&mut self, now: Instant) {
        self.asked_at = Some(now);
        self.found = 0;
        self.polling_until = Some(now + SILENCE + GRACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn few_notices_keep_it_waiting() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for second in 0..10 {
            for _ in 0..90 {
                assert_eq!(pace.noticed(1, start + milliseconds(second * 1100)), Silence::Keep);
            }
        }
        assert!(!pace.polling(start));
        assert_eq!(pace.next_look(start), start + POLL_IDLE);
    }

    #[test]
    fn many_notices_begin_a_silence_that_lasts_while_work_is_found_and_then_ends() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.noticed(101, start), Silence::Begin);
        assert_eq!(pace.noticed(500, start + milliseconds(1)), Silence::Keep, "it polls already");
        assert_eq!(pace.next_look(start), start + POLL_BUSY[0]);

        let mut extended = 0;
        let mut now = start;
        for _ in 0..1000 {
            now += milliseconds(3);
            extended += u32::from(pace.looked(5, now, now) == Silence::Extend);
            assert!(pace.polling(now));
        }
        assert!((5..=6).contains(&extended), "once each half second: {extended}");

        // What was found just before may extend it once more.
        let more = (0..1000).filter(|_| {
            now += milliseconds(3);
            pace.looked(0, now, now) == Silence::Extend
        });
        assert!(more.count() <= 1);
        assert!(!pace.polling(now), "it waits again");
    }

    #[test]
    fn the_slower_looks_are_the_rarer_they_become() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.silent_for(SILENCE, start);
        let mut pause_after = |took| {
            for _ in 0..20 {
                pace.looked(0, start, start + took);
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
        let mut pace = Pace::new(start);
        pace.silent_for(milliseconds(100), start);
        assert!(pace.polling(start + milliseconds(150)));
        assert!(!pace.polling(start + milliseconds(100) + GRACE));
    }

    #[test]
    fn a_wild_silence_counts_for_little() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.silent_for(Duration::from_hours(1), start);
        assert!(!pace.polling(start + SILENCE * 2 + GRACE));
    }
}
