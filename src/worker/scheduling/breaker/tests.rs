use proptest::prelude::*;

use super::*;

/// One instant, the same in each call.
fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

const SECOND: Duration = Duration::from_secs(1);

/// A breaker that asks to be opened.
fn asking() -> Breaker {
    let mut breaker = Breaker::default();
    while !breaker.failed(1, true, start()) {}
    breaker
}

#[test]
fn it_opens_after_five_deliveries_in_a_row_that_used_up_their_attempts() {
    let mut breaker = Breaker::default();
    for _ in 0..4 {
        assert!(!breaker.failed(1, true, start()));
    }
    assert!(breaker.may_send() && breaker.failed(1, true, start()) && !breaker.may_send());
    assert!(breaker.is_to_ask(start()));
    breaker.asked(start());
    assert!(!breaker.is_to_ask(start()), "one question at a time");
    assert!(breaker.is_to_ask(start() + BREAKER_OBJECTION), "no answer came");
    assert_eq!(breaker.answered(Opening::Opened(1), start()), Switch::Stop);
    assert!(breaker.is_open());
    assert!(!breaker.counts(0) && !breaker.counts(1), "while it is open, nothing counts");
}

#[test]
fn it_opens_after_fifty_failures_only_if_they_are_of_ten_lanes() {
    let opens = |lanes: i64| {
        let mut breaker = Breaker::default();
        (0..1000).position(|n| breaker.failed(n % lanes, false, start()))
    };
    assert_eq!((opens(9), opens(10), opens(500)), (None, Some(49), Some(49)));
}

#[test]
fn while_requests_fail_no_more_are_in_flight_than_would_open_it() {
    let mut breaker = Breaker::default();
    assert_eq!(breaker.most_in_flight(), None);
    breaker.failed(1, false, start());
    assert_eq!(breaker.most_in_flight(), Some(49));
    (0..100).for_each(|_| _ = breaker.failed(1, false, start()));
    assert_eq!(breaker.most_in_flight(), Some(BREAKER_IN_FLIGHT));
    assert_eq!(breaker.accepted(0, start()), Switch::None);
    assert_eq!(breaker.most_in_flight(), None);
}

#[test]
fn a_worker_alone_with_its_failures_stands_back_and_tries_again_with_care() {
    let mut breaker = asking();
    breaker.asked(start());
    assert_eq!(breaker.answered(Opening::Asked, start()), Switch::None);
    assert!(breaker.is_to_ask(start() + BREAKER_OBJECTION));
    breaker.asked(start());
    assert_eq!(breaker.answered(Opening::Refused, start()), Switch::None);
    assert_eq!(breaker.due(), Some(start() + STAND_BACK));
    assert_eq!(breaker.stood_back(start() + STAND_BACK.saturating_sub(SECOND)), Switch::None);
    assert_eq!(breaker.stood_back(start() + STAND_BACK), Switch::Go);
    assert!(breaker.may_send() && breaker.failed(1, true, start()), "one failure is enough now");
}

#[test]
fn it_stands_back_no_longer_when_another_worker_has_left() {
    let mut breaker = asking();
    assert_eq!(breaker.other_left(), Switch::None, "it asks");
    breaker.asked(start());
    assert_eq!(breaker.answered(Opening::Refused, start()), Switch::None);
    assert_eq!(breaker.other_left(), Switch::Go);
    assert!(breaker.may_send() && breaker.failed(1, true, start()), "one failure is enough now");
    breaker.asked(start());
    assert_eq!(breaker.answered(Opening::Opened(1), start()), Switch::Stop);
    assert_eq!(breaker.other_left(), Switch::None, "an open breaker is no worker's");
}

#[test]
fn a_success_while_it_asks_ends_that() {
    let mut breaker = asking();
    breaker.asked(start());
    assert_eq!(breaker.accepted(0, start()), Switch::Go);
    assert!(breaker.may_send());
    assert_eq!(breaker.answered(Opening::Refused, start()), Switch::None, "the answer comes late");
    assert!(breaker.may_send());
    assert_eq!(breaker.answered(Opening::Opened(1), start()), Switch::Stop, "but the row counts");
}

#[test]
fn one_that_never_opens_sends_on() {
    let mut breaker = asking();
    breaker.asked(start());
    assert_eq!(breaker.answered(Opening::Off, start()), Switch::Go);
    assert!(breaker.may_send() && breaker.counts(0));
}

#[test]
fn others_hear_of_a_success_only_if_they_ask_and_no_failure_followed() {
    let mut breaker = Breaker::default();
    breaker.accepted(0, start());
    assert!(!breaker.is_to_note(start()), "nobody asks");
    breaker.suspected(start());
    assert!(breaker.is_to_note(start()) && !breaker.is_to_note(start()), "once a second");
    assert!(breaker.is_to_note(start() + NOTE_SUCCESS_EVERY));
    breaker.failed(1, false, start());
    assert!(!breaker.is_to_note(start() + NOTE_SUCCESS_EVERY * 2));
    breaker.accepted(0, start());
    assert!(!breaker.is_to_note(start() + SUCCESS_COUNTS), "it was too long ago");
    breaker.accepted(0, start() + SUSPECTED);
    assert!(!breaker.is_to_note(start() + SUSPECTED), "the suspicion is over");
}

#[test]
fn probes_come_each_ten_seconds_soon_and_each_minute_after_an_hour() {
    let waits: Vec<u64> = (0..5).map(|failed| probe_wait(failed, SECOND).as_secs()).collect();
    assert_eq!(waits, [2, 4, 8, 10, 10]);
    assert_eq!(probe_wait(u32::MAX - 1, SECOND).as_secs(), 10);
    assert_eq!(probe_wait(400, Duration::from_hours(1)), Duration::from_mins(1));
}

#[test]
fn a_worker_that_reaches_no_webhook_at_all_is_the_one_that_is_broken() {
    let mut reach = Reach::default();
    assert!((0..100).all(|_| !reach.ended(1, false, start())), "one webhook may be down");
    assert!(reach.ended(2, false, start()) && reach.is_broken(start()));
    assert!(!reach.ended(1, false, start()), "it is known");
    assert!(!reach.is_broken(start() + BROKEN_FOR));
    let later = start() + BROKEN_FOR;
    assert_eq!((0..20).filter(|_| reach.ended(1, false, later)).count(), 1, "it is still so");
    reach.ended(3, true, later);
    assert!(!reach.is_broken(later) && !reach.was_broken());
    assert!((0..100).all(|n| !reach.ended(n, n % 9 == 0, later)), "some can be reached");
}

/// What may happen to a breaker.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Failed { lane: i64, used_up: bool, epochs_ago: i64 },
    Accepted { epochs_ago: i64 },
    Answered(Opening),
    Listed { ahead: i64, open: bool },
    Passes(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (0..20_i64, any::<bool>(), 0..2_i64)
            .prop_map(|(lane, used_up, epochs_ago)| Happens::Failed { lane, used_up, epochs_ago }),
        1 => (0..2_i64).prop_map(|epochs_ago| Happens::Accepted { epochs_ago }),
        1 => prop::sample::select(vec![Opening::Asked, Opening::Refused, Opening::Off, Opening::Opened(0)])
            .prop_map(Happens::Answered),
        1 => (-1..3_i64, any::<bool>()).prop_map(|(ahead, open)| Happens::Listed { ahead, open }),
        1 => (0..20_u64).prop_map(Happens::Passes),
    ]
}

proptest! {
    /// Whatever happens: the epoch never falls; while it is open, nothing but the row changes that;
    /// it asks only after enough failures since the last success in its epoch; and what began in
    /// another epoch counts for nothing.
    #[test]
    fn it_opens_only_after_enough_failures_and_the_row_decides(all in prop::collection::vec(happens(), 0..200)) {
        let (mut breaker, mut now) = (Breaker::default(), start());
        let (mut used, mut failed) = (0, 0);
        for one in all {
            let (epoch, open, sent) = (breaker.epoch(), breaker.is_open(), breaker.may_send());
            match one {
                Happens::Failed { lane, used_up, epochs_ago } => {
                    if breaker.counts(epoch - epochs_ago) {
                        prop_assert_eq!(epochs_ago, 0);
                        (used, failed) = (used + u32::from(used_up), failed + 1);
                        let asks = breaker.failed(lane, used_up, now);
                        prop_assert!(!asks || used >= BREAKER_EXHAUSTED || failed >= BREAKER_FAILED);
                        prop_assert!(used < BREAKER_EXHAUSTED || asks);
                        prop_assert_eq!(breaker.is_to_ask(now), asks);
                    } else {
                        prop_assert!(epochs_ago > 0 || !sent);
                    }
                }
                Happens::Accepted { epochs_ago } => {
                    let before = format!("{breaker:?}");
                    breaker.accepted(epoch - epochs_ago, now);
                    if epochs_ago == 0 { (used, failed) = (0, 0); } else { prop_assert_eq!(before, format!("{breaker:?}")); }
                    prop_assert_eq!(breaker.is_open(), open);
                }
                Happens::Answered(opening) => {
                    let opening = if opening == Opening::Opened(0) { Opening::Opened(epoch + 1) } else { opening };
                    breaker.answered(opening, now);
                    prop_assert!(breaker.is_open() == open || opening == Opening::Opened(epoch + 1));
                }
                Happens::Listed { ahead, open: says } => {
                    let turn = breaker.listed(epoch + ahead, says);
                    if ahead > 0 || (ahead == 0 && says != open) {
                        // It begins anew.
                        (used, failed) = (0, 0);
                    }
                    prop_assert_eq!(breaker.is_open(), if ahead >= 0 { says } else { open });
                    prop_assert!(turn != Switch::Stop || !breaker.may_send());
                    prop_assert!(turn != Switch::Go || (breaker.may_send() && !sent));
                }
                Happens::Passes(seconds) => {
                    now += SECOND * u32::try_from(seconds).unwrap();
                    if breaker.stood_back(now) == Switch::Go {
                        (used, failed) = (BREAKER_EXHAUSTED - 1, 0);
                    }
                    prop_assert_eq!(breaker.is_open(), open);
                }
            }
            prop_assert!(breaker.epoch() >= epoch);
            if breaker.epoch() > epoch || (breaker.may_send() && !sent && used < BREAKER_EXHAUSTED - 1) {
                (used, failed) = (0, 0);
            }
            if breaker.may_send() && !sent && used >= BREAKER_EXHAUSTED {
                (used, failed) = (0, 0);
            }
        }
    }
}
