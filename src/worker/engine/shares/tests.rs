use super::*;
use crate::domain::policy::Policy;

fn endpoint(max_in_flight: Option<u32>, rate: Option<f64>) -> Endpoint {
    let free = super::super::tests::endpoint();
    Endpoint { policy: Policy { max_in_flight, ..free.policy }, rate_limit_per_second: rate, ..free }
}

fn share(slots: Option<usize>, rate: Option<f64>) -> Vec<Share> {
    vec![Share { webhook_id: 1, slots, rate }]
}

/// Asks, while lanes have something to send or not, and this many requests are in flight.
fn ask(shares: &mut Shares, busy: bool, used: usize, now: Instant) -> (Vec<ShareAsk>, Vec<i64>) {
    shares.begin(&BTreeSet::from_iter(busy.then_some(1)), &HashMap::from([(1, used)]), now)
}

#[test]
fn a_webhook_without_a_limit_needs_no_share() {
    let now = Instant::now();
    let mut shares = Shares::new(now);
    let free = endpoint(None, None);
    shares.changed(1, &free);
    shares.want(1, now);
    assert_eq!((shares.slots(1, &free), shares.due()), (None, None));
}

#[test]
fn nothing_starts_without_a_share_and_no_more_than_it_covers() {
    let now = Instant::now();
    let mut shares = Shares::new(now);
    let limited = endpoint(Some(5), Some(2.5));
    shares.changed(1, &limited);
    assert_eq!((shares.slots(1, &limited), shares.due()), (Some(0), None), "nothing is to be sent");
    shares.want(1, now);
    assert_eq!(shares.due(), Some(now));
    let (asks, done) = ask(&mut shares, true, 0, now);
    assert_eq!(asks, [ShareAsk { webhook_id: 1, wants: true, slots_held: 0, rate_held: 0.0 }]);
    assert!(done.is_empty() && shares.due().is_none());
    let answered = shares.answered(share(Some(4), Some(2.5)), now);
    assert_eq!((answered.granted, answered.rates), (vec![1], vec![(1, 2.5)]));
    assert_eq!(shares.slots(1, &limited), Some(3), "no more lanes than requests a second");
    assert_eq!(shares.due(), Some(now + SHARE_EVERY));

    // A lower limit holds at once, another rate is told again, a new kind of limit has no share yet.
    let lower = endpoint(Some(2), Some(2.5));
    shares.changed(1, &lower);
    assert_eq!(shares.slots(1, &lower), Some(2));
    ask(&mut shares, true, 0, now);
    assert_eq!(shares.answered(share(Some(2), Some(2.5)), now).rates, [(1, 2.5)]);
    ask(&mut shares, true, 0, now);
    assert!(shares.answered(share(Some(2), None), now).rates.is_empty());
    assert_eq!(shares.slots(1, &lower), Some(0));
}

#[test]
fn what_is_in_flight_is_held_until_it_has_ended() {
    let now = Instant::now();
    let mut shares = Shares::new(now);
    shares.changed(1, &endpoint(Some(5), None));
    shares.want(1, now);
    for (granted, used, held) in [(5, 0, 0), (2, 5, 5), (2, 4, 4), (2, 1, 2)] {
        let (asks, _) = ask(&mut shares, true, used, now);
        assert_eq!(asks[0].slots_held, held);
        shares.answered(share(Some(granted), None), now);
    }
}

#[test]
fn who_gets_nothing_asks_again_soon_but_not_for_ever() {
    let now = Instant::now();
    let mut shares = Shares::new(now);
    let limited = endpoint(Some(1), None);
    shares.changed(1, &limited);
    shares.want(1, now);
    ask(&mut shares, true, 0, now);
    let answered = shares.answered(share(Some(0), None), now);
    assert_eq!((answered.refused, shares.refused().collect::<Vec<_>>()), (vec![1], vec![1]));
    assert_eq!((shares.slots(1, &limited), shares.due()), (Some(0), Some(now + SHARE_AGAIN)));
    // Its lanes were given back.
    assert!(ask(&mut shares, false, 0, now + SHARE_AGAIN).0[0].wants);
    shares.answered(share(Some(0), None), now);
    assert!(!ask(&mut shares, false, 0, now + WANT_SHARE_FOR).0[0].wants);
    let answered = shares.answered(share(Some(1), None), now);
    assert_eq!((answered.granted, shares.slots(1, &limited)), (vec![1], Some(1)));
}

#[test]
fn a_share_that_is_not_used_is_given_back() {
    let now = Instant::now();
    let mut shares = Shares::new(now);
    let limited = endpoint(Some(5), None);
    shares.changed(1, &limited);
    shares.want(1, now);
    ask(&mut shares, true, 0, now);
    shares.answered(share(Some(5), None), now);
    assert!(!ask(&mut shares, false, 0, now + SHARE_EVERY).0[0].wants);
    shares.answered(share(Some(5), None), now);
    assert!(ask(&mut shares, false, 1, now + KEEP_SHARE).1.is_empty(), "a request is in flight");
    shares.answered(share(Some(5), None), now);
    let (asks, done) = ask(&mut shares, false, 0, now + KEEP_SHARE);
    assert_eq!((asks, done), (vec![], vec![1]));
    // It is not known whether that was carried out.
    shares.failed(now + KEEP_SHARE * 2);
    assert_eq!(shares.due(), Some(now + KEEP_SHARE * 2));
    assert_eq!(ask(&mut shares, false, 0, now + KEEP_SHARE * 2).1, [1]);
    shares.answered(vec![], now);
    assert_eq!(shares.due(), None);
    assert_eq!(shares.slots(1, &limited), Some(0));
}

#[test]
fn more_webhooks_than_fit_have_their_turns() {
    let now = Instant::now();
    let mut shares = Shares::new(now);
    let webhooks = i64::try_from(SHARES_MAX).unwrap() + 10;
    for webhook_id in 0..webhooks {
        shares.changed(webhook_id, &endpoint(Some(5), None));
        shares.want(webhook_id, now);
    }
    let mut asked = BTreeSet::new();
    for _ in 0..2 {
        let (asks, _) = ask(&mut shares, true, 0, now);
        assert_eq!(asks.len(), SHARES_MAX);
        asked.extend(asks.iter().map(|ask| ask.webhook_id));
        shares.answered(vec![], now);
    }
    assert_eq!(asked.len(), SHARES_MAX + 10);
}
