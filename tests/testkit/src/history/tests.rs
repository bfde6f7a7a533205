//! Tests of the history checker: it catches each violation, and takes nothing for one that may
//! happen.

use std::time::Duration;

use rstest::rstest;

use super::{Fate, Fault, History, Publication, Reply, Request, Verdict};

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn message(id: i64, fate: Fate) -> Publication {
    Publication {
        mark: format!("m{id}"),
        topic: 1,
        key: "k".to_owned(),
        id: (fate == Fate::Committed).then_some(id),
        webhooks: ["/a".to_owned()].into(),
        fate,
    }
}

fn request(id: i64, started: u64, ended: u64, reply: Reply) -> Request {
    Request {
        webhook: "/a".to_owned(),
        key: "k".to_owned(),
        mark: format!("m{id}"),
        position: id,
        attempt: 1,
        started: at(started),
        ended: (reply != Reply::Hung).then(|| at(ended)),
        reply,
    }
}

fn accepted(id: i64, started: u64, ended: u64) -> Request {
    request(id, started, ended, Reply::Answered(204))
}

/// Three committed messages of one lane, and these requests.
fn history(requests: Vec<Request>) -> History {
    History {
        publications: (1..=3).map(|id| message(id, Fate::Committed)).collect(),
        requests,
        dead: [].into(),
        faults: Vec::new(),
        timeout: at(1000),
        abort_seen_within: at(100),
    }
}

fn good() -> Vec<Request> {
    vec![accepted(1, 0, 10), accepted(2, 10, 20), accepted(3, 25, 30)]
}

/// Losses, violations of order, overlaps, phantom sends, duplicates.
fn counts(verdict: &Verdict) -> [usize; 5] {
    let Verdict { losses, order_violations, overlaps, phantoms, duplicates, .. } = verdict;
    [losses.len(), order_violations.len(), overlaps.len(), phantoms.len(), *duplicates]
}

#[test]
fn a_good_history_is_clean() {
    let verdict = history(good()).check();
    assert_eq!(counts(&verdict), [0; 5]);
    assert_eq!((verdict.messages, verdict.requests, verdict.accepted, verdict.aborted), (3, 3, 3, 0));
    verdict.assert_clean();
}

#[test]
fn failures_before_the_acceptance_are_no_violation() {
    let refused = |started, reply| request(2, started, started + 5, reply);
    let requests = vec![
        accepted(1, 0, 10),
        refused(10, Reply::Answered(500)),
        refused(20, Reply::Broken),
        request(2, 30, 0, Reply::Hung),
        // The receiver saw the abort of the next one a little late. The lane went on at 2,045.
        request(2, 2_030, 2_100, Reply::Aborted),
        accepted(2, 2_045, 2_050),
        accepted(3, 2_060, 2_070),
    ];
    let verdict = history(requests).check();
    assert_eq!((counts(&verdict), verdict.aborted), ([0; 5], 2));
}

#[test]
fn a_message_that_was_never_accepted_is_lost() {
    let verdict = history(good().drain(..2).collect()).check();
    assert_eq!(counts(&verdict), [1, 0, 0, 0, 0]);
}

#[test]
fn a_message_that_was_only_refused_is_lost() {
    let mut requests = good();
    requests[2].reply = Reply::Answered(500);
    assert_eq!(counts(&history(requests).check()), [1, 0, 0, 0, 0]);
}

#[test]
fn a_webhook_that_got_nothing_lost_everything() {
    let mut history = history(good());
    for publication in &mut history.publications {
        publication.webhooks.insert("/b".to_owned());
    }
    assert_eq!(counts(&history.check()), [3, 0, 0, 0, 0]);
}

#[test]
fn a_dead_letter_is_no_loss_and_lets_the_lane_go_on() {
    let mut requests = good();
    requests[1].reply = Reply::Answered(500);
    let mut history = history(requests);
    history.dead.insert(("/a".to_owned(), "m2".to_owned()));
    assert_eq!(counts(&history.check()), [0; 5]);
}

#[test]
fn a_dead_letter_that_is_sent_after_its_successor_breaks_the_order() {
    let mut history =
        history(vec![accepted(1, 0, 10), accepted(3, 20, 25), request(2, 30, 40, Reply::Answered(500))]);
    history.dead.insert(("/a".to_owned(), "m2".to_owned()));
    assert_eq!(counts(&history.check()), [0, 1, 0, 0, 0]);
}

#[rstest]
#[case::swapped(vec![accepted(1, 0, 10), accepted(3, 10, 20), accepted(2, 25, 30)])]
#[case::sent_while_the_first_is_refused(
    vec![request(1, 0, 5, Reply::Answered(500)), accepted(2, 6, 8), accepted(1, 10, 12), accepted(3, 13, 14)]
)]
fn a_message_that_is_sent_before_its_turn_breaks_the_order(#[case] requests: Vec<Request>) {
    assert_eq!(counts(&history(requests).check()), [0, 1, 0, 0, 0]);
}

#[test]
fn a_gap_breaks_the_order_even_if_the_later_one_is_refused() {
    let requests = vec![
        accepted(1, 0, 10),
        request(3, 10, 20, Reply::Answered(500)),
        accepted(2, 25, 30),
        accepted(3, 31, 32),
    ];
    assert_eq!(counts(&history(requests).check()), [0, 1, 0, 0, 0]);
}

#[test]
fn an_id_that_is_given_twice_breaks_the_order() {
    let mut history = history(good());
    history.publications.push(Publication { mark: "again".to_owned(), ..message(3, Fate::Committed) });
    history.requests.push(Request { mark: "again".to_owned(), ..accepted(3, 40, 50) });
    assert_eq!(counts(&history.check()), [0, 1, 0, 0, 0]);
}

#[rstest]
#[case::of_the_same_message(accepted(3, 29, 40), 1)]
#[case::inside_of_another(accepted(3, 26, 29), 1)]
fn two_requests_of_a_lane_at_once_overlap(#[case] second: Request, #[case] duplicates: usize) {
    let mut requests = good();
    requests.push(second);
    assert_eq!(counts(&history(requests).check()), [0, 0, 1, 0, duplicates]);
}

#[test]
fn an_overlap_with_one_long_before_is_seen() {
    // The third one overlaps the first, which is still running. It does not overlap the second.
    let requests = vec![
        request(1, 0, 500, Reply::Broken),
        request(1, 100, 110, Reply::Broken),
        accepted(1, 200, 210),
        accepted(2, 600, 610),
        accepted(3, 620, 630),
    ];
    assert_eq!(counts(&history(requests).check()), [0, 0, 2, 0, 0]);
}

#[rstest]
#[case::seen_much_later(request(1, 0, 500, Reply::Aborted), 300, 3)]
#[case::seen_a_little_later(request(1, 0, 350, Reply::Aborted), 300, 0)]
#[case::never_answered(request(1, 0, 0, Reply::Hung), 300, 3)]
#[case::never_answered_and_long_over(request(1, 0, 0, Reply::Hung), 1000, 0)]
#[case::seen_long_after_its_timeout(request(1, 0, 5000, Reply::Aborted), 1000, 0)]
fn an_aborted_request_is_exempt_from_the_abort_on(
    #[case] aborted: Request,
    #[case] next: u64,
    #[case] overlaps: usize,
) {
    let then =
        [accepted(1, next, next + 1), accepted(2, next + 2, next + 3), accepted(3, next + 4, next + 5)];
    let verdict = history([aborted].into_iter().chain(then).collect()).check();
    // Everything that was sent while it was still under way.
    assert_eq!((counts(&verdict), verdict.aborted), ([0, 0, overlaps, 0, 0], 1));
}

#[test]
fn other_lanes_may_send_at_the_same_time() {
    let mut history = history(good());
    let other = |message: &Publication| Publication {
        mark: format!("o{}", message.mark),
        key: "other".to_owned(),
        id: message.id.map(|id| id + 10),
        ..message.clone()
    };
    let others: Vec<_> = history.publications.iter().map(other).collect();
    let sent = |one: &Request| Request {
        mark: format!("o{}", one.mark),
        key: "other".to_owned(),
        position: one.position + 10,
        ..one.clone()
    };
    let requests: Vec<_> = history.requests.iter().map(sent).collect();
    history.publications.extend(others);
    history.requests.extend(requests);
    assert_eq!(counts(&history.check()), [0; 5]);
}

#[rstest]
#[case::rolled_back(|history: &mut History| history.publications.push(message(4, Fate::RolledBack)))]
#[case::never_published(|_: &mut History| {})]
#[case::to_another_webhook(|history: &mut History| history.publications.push(
    Publication { webhooks: [].into(), ..message(4, Fate::Committed) }
))]
#[case::under_another_key(|history: &mut History| history.publications.push(
    Publication { key: "other".to_owned(), ..message(4, Fate::Unknown) }
))]
fn what_must_not_be_sent_is_a_phantom(#[case] publish: fn(&mut History)) {
    let mut requests = good();
    requests.push(accepted(4, 40, 50));
    let mut history = history(requests);
    publish(&mut history);
    assert_eq!(counts(&history.check())[3], 1);
}

#[test]
fn another_id_than_the_committed_one_is_a_phantom() {
    let mut requests = good();
    requests[2].position = 9;
    assert_eq!(counts(&history(requests).check())[3], 1);
}

#[rstest]
#[case::sent(Some(accepted(4, 40, 50)), 0)]
#[case::not_sent(None, 0)]
#[case::begun_and_never_accepted(Some(request(4, 40, 50, Reply::Broken)), 1)]
fn either_is_fine_for_a_commit_whose_end_is_unknown(#[case] sent: Option<Request>, #[case] losses: usize) {
    let mut history = history(good().into_iter().chain(sent).collect());
    history.publications.push(message(4, Fate::Unknown));
    history.publications.push(message(5, Fate::RolledBack));
    assert_eq!(counts(&history.check()), [losses, 0, 0, 0, 0]);
}

#[test]
fn duplicates_are_counted_by_fault_and_bounded_by_what_was_in_flight() {
    let mut requests = good();
    requests.extend([accepted(3, 40, 41), accepted(3, 60, 61)]);
    let mut history = history(requests);
    let fault = |kind: &str, milliseconds| Fault {
        kind: kind.to_owned(),
        at: at(milliseconds),
        in_flight: 1,
        unwritten: at(0)..at(0),
    };
    history.faults = vec![fault("stop", 50), fault("kill", 35)];
    let verdict = history.check();
    assert_eq!((verdict.duplicates, verdict.duplicates_bound), (2, 2));
    assert_eq!(verdict.duplicates_by, [("kill".to_owned(), 2)].into(), "kill -9 was the nearest");
    verdict.assert_clean();

    history.faults.pop();
    let verdict = history.check();
    assert_eq!(verdict.duplicates_by["no fault"], 1);
    assert!(std::panic::catch_unwind(|| verdict.assert_clean()).is_err(), "more than were in flight");
}

#[test]
fn what_is_accepted_and_not_written_down_may_be_repeated() {
    let mut requests = good();
    requests.extend([accepted(2, 40, 41), accepted(3, 60, 61)]);
    let mut history = history(requests);
    for (from, to, bound) in [(11, 20, 0), (11, 21, 1), (10, 30, 2), (10, 31, 3), (20, 31, 2)] {
        let unwritten = at(from)..at(to);
        history.faults = vec![Fault { kind: "crash".to_owned(), at: at(20), in_flight: 0, unwritten }];
        assert_eq!(history.check().duplicates_bound, bound, "between {from} and {to} ms");
    }
    history.check().assert_clean();
}

#[test]
fn whatever_is_wrong_fails_the_test() {
    for wrong in 0..4 {
        let mut verdict = Verdict::default();
        let Verdict { losses, order_violations, overlaps, phantoms, .. } = &mut verdict;
        [losses, order_violations, overlaps, phantoms][wrong].push("wrong".to_owned());
        assert!(std::panic::catch_unwind(move || verdict.assert_clean()).is_err(), "{wrong}");
    }
}
