//! Every combination of facts gives one answer, and the answer names what is in the way.

use std::time::Duration;

use proptest::{option, prelude::*};
use uuid::Uuid;

use super::*;
use crate::domain::{
    scope::TopicScope,
    sending::{NotSending, SendingStatus, SendingSwitch},
    webhook::WebhookState,
};

const WORKERS: [Uuid; 3] = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn instants() -> impl Strategy<Value = Timestamp> {
    (900i64..1100).prop_map(at)
}

fn changes() -> impl Strategy<Value = Option<Change>> {
    option::of(instants().prop_map(|at| Change { at, by: "api (operate)".to_owned() }))
}

prop_compose! {
    fn workers()(
        flags in prop::collection::vec((any::<bool>(), any::<bool>(), 900i64..1000, 0i32..12, prop::bool::weighted(0.1)), 0..3)
    ) -> Vec<WorkerFacts> {
        flags.into_iter().zip(WORKERS).map(|((gone, has_session, heartbeat, in_flight, other_topic), id)| WorkerFacts {
            id,
            name: format!("host/{id}"),
            in_flight,
            capacity: 10,
            gone: gone && !has_session,
            has_session,
            heartbeat_at: at(heartbeat),
            lease: Duration::from_secs(50),
            topics: if other_topic { TopicScope::Only(Vec::new()) } else { TopicScope::All },
        }).collect()
    }
}

prop_compose! {
    fn situations()(
        not_sending in option::weighted(0.1, prop::sample::select(NotSending::ALL.to_vec())), held in prop::bool::weighted(0.1), held_by in changes(),
        ordered: bool, workers in workers(),
    ) -> Situation {
        Situation {
            topic: TopicFacts { name: "orders".to_owned(), ordered, held, held_by },
            senders: Senders {
                now: at(1000),
                not_sending,
                switched: SendingStatus {
                    switch: SendingSwitch { sending: None, is_copy: false },
                    reason: Some("a test".to_owned()),
                    changed_by: Some("api (admin)".to_owned()),
                },
                workers,
            },
        }
    }
}

prop_compose! {
    fn webhooks()(
        starting in prop::bool::weighted(0.1), paused in prop::bool::weighted(0.1),
        disabled in prop::bool::weighted(0.1), changed in changes(), created_at in instants(),
        hold_until in option::weighted(0.3, instants()),
        backfill: bool, max_in_flight in option::of(1i32..5),
        rate in option::of(prop::sample::select(vec![2.5, 600_000.0, 1_000_000.0])), types_match: bool,
        filter_matches: bool, in_flight in 0i64..50, open in prop::option::weighted(0.1, (instants(), option::of(instants()))),
    ) -> WebhookFacts {
        WebhookFacts {
            id: 7,
            name: "billing".to_owned(),
            state: if starting { WebhookState::Starting } else { WebhookState::Active },
            paused,
            disabled_reason: disabled.then(|| "410 Gone".to_owned()),
            hold_until,
            changed,
            created_at,
            open,
            backfill: backfill.then(|| (31, Some("process 17".to_owned()))),
            max_in_flight,
            rate_limit_per_second: rate,
            types_match,
            filter_matches,
            in_flight,
        }
    }
}

prop_compose! {
    fn lanes()(
        due_at in option::weighted(0.9, instants()), halted in prop::bool::weighted(0.1), failures in 0i32..3,
        halted_at in option::of(instants()), of_head: bool, batch in option::of(0i64..5), claimed in 0usize..6,
        head in 10i64..14,
    ) -> LaneFacts {
        LaneFacts {
            due_at: due_at.filter(|_| !halted),
            halted,
            halted_at,
            failures,
            head_message_id: Some(if of_head { head } else { 9 }),
            batch_last: batch.map(|more| head + more),
            last_error: Some("status 503".to_owned()),
            last_status_code: Some(503),
            claimed_by: WORKERS.get(claimed).copied(),
            claimed_at: WORKERS.get(claimed).map(|_| at(990)),
            head: Some(head),
        }
    }
}

prop_compose! {
    fn dead_letters()(reason in prop::sample::select(dead_letter::Reason::ALL.to_vec()), at in instants()) -> DeadLetterFacts {
        let (last_error, status_code) = (Some("status 500".to_owned()), Some(500));
        DeadLetterFacts { id: 99, reason, attempts: 5, at, last_error, status_code }
    }
}

prop_compose! {
    fn subscriptions()(
        webhook in webhooks(), owed: bool, replayed_at in option::of(instants()),
        lane in option::weighted(0.9, lanes()), dead_letter in option::of(dead_letters()),
        accepted in option::of(instants()), created_at in option::weighted(0.9, instants()), id in 10i64..14,
    ) -> Subscription {
        let accepted = accepted.map(|began| (began, began + Duration::from_secs(1)));
        let log = LogFacts {
            attempts: i64::from(accepted.is_some()),
            accepted,
            last_at: accepted.map(|(began, _)| began),
            ..LogFacts::default()
        };
        // A lane has nothing before its head.
        let lane = lane.map(|lane: LaneFacts| LaneFacts { head: lane.head.map(|head| head.min(id)), ..lane });
        let message = MessageFacts { id, partition_key: "it's".to_owned(), created_at };
        Subscription { message, webhook, owed, replayed_at, lane, dead_letter, log }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn one_answer_that_says_what_is_in_the_way(situation in situations(), it in subscriptions()) {
        let entry = judge(&situation, &it);
        let (state, reason) = (entry.verdict.state(), entry.verdict.reason());
        let owes = matches!(state, State::Waiting | State::InFlight);
        let fills = reason == Some(Reason::Starting) && it.webhook.backfill.is_some();
        prop_assert_eq!(owes, it.owed || fills, "{:?}", entry);
        prop_assert_eq!(reason.is_none(), matches!(state, State::Canceled | State::Superseded));
        // It begins with its subject, ends as a sentence, and leaves no hole.
        prop_assert!(entry.text.contains(&format!("essage {}", it.message.id)), "{}", entry.text);
        prop_assert!(entry.text.ends_with('.') && !entry.text.contains("  "), "{}", entry.text);

        let head = it.lane.as_ref().and_then(|lane| lane.head);
        prop_assert_eq!(entry.blocked_by.is_some(), reason == Some(Reason::Behind));
        if let Some(blocker) = entry.blocked_by {
            prop_assert_eq!(Some(blocker), head);
            prop_assert!(blocker < it.message.id);
            prop_assert!(entry.text.contains(&format!("message {blocker}")), "{}", entry.text);
        }
        if let Some(date) = entry.next_attempt_at {
            prop_assert!(matches!(reason, Some(Reason::Backoff | Reason::HeldByReceiver | Reason::RateLimit)));
            prop_assert!(date > situation.senders.now && entry.text.contains(&date.to_string()), "{}", entry.text);
        }
        if let Some(seconds) = entry.estimate_seconds {
            prop_assert!((1..=100).contains(&seconds), "{}", seconds);
        }
    }

    #[test]
    fn what_stops_a_webhook_is_named_and_has_a_remedy(situation in situations(), it in subscriptions()) {
        let entry = judge(&situation, &it);
        let remedy = match entry.verdict.reason() {
            Some(Reason::NotSending) => {
                let needle = match situation.senders.not_sending.unwrap() {
                    NotSending::SwitchedOff => "switched off by api (admin): a test",
                    NotSending::Copy => "is a copy",
                    NotSending::StartPaused => "start_paused",
                };
                prop_assert!(entry.text.contains(needle), "{}", entry.text);
                Some(Remedy::SwitchSendingOn)
            }
            Some(Reason::BreakerOpen) => Some(Remedy::EnableWebhook(7)),
            Some(Reason::Disabled) => {
                prop_assert!(entry.text.contains("410 Gone") && entry.text.contains("orders:billing"));
                Some(Remedy::EnableWebhook(7))
            }
            Some(Reason::Paused) => {
                prop_assert!(it.webhook.paused && entry.text.contains("orders:billing is paused"));
                Some(Remedy::ResumeWebhook(7))
            }
            Some(Reason::TopicHeld) => Some(Remedy::ResumeTopic("orders".to_owned())),
            Some(Reason::NoWorker | Reason::SlotsBusy) => Some(Remedy::StartWorker),
            Some(Reason::Halted | Reason::Backoff) => {
                let key = LaneName { partition_key: Some("it's".to_owned()), message_id: None };
                let id = LaneName { partition_key: None, message_id: Some(it.message.id) };
                let lane = if situation.topic.ordered { key } else { id };
                Some(Remedy::RetryLane { webhook_id: 7, lane })
            }
            Some(Reason::AttemptsExhausted | Reason::Permanent | Reason::Expired | Reason::Overflow | Reason::Skipped)
            | None => Some(Remedy::ReplayDeadLetter(99)),
            Some(Reason::RateLimit) => match it.webhook.rate_limit_per_second.unwrap() {
                // A limit is not raised above what is permitted.
                limit if limit >= 1_000_000.0 => None,
                limit => Some(Remedy::RaiseRateLimit { webhook_id: 7, per_second: (limit * 2.0).min(1_000_000.0) }),
            },
            Some(Reason::MaxInFlight) => {
                Some(Remedy::RaiseMaxInFlight { webhook_id: 7, lanes: it.webhook.max_in_flight.unwrap() * 2 })
            }
            Some(Reason::NoLane) => Some(Remedy::CancelDelivery { webhook_id: 7, message_id: it.message.id }),
            // These have one for some facts alone, or take that of the head.
            Some(Reason::YoungerWebhook | Reason::Behind) => entry.remedy.clone(),
            Some(_) => None,
        };
        prop_assert_eq!(entry.remedy, remedy);
    }

    #[test]
    fn a_worker_is_named_where_it_matters(situation in situations(), it in subscriptions()) {
        let entry = judge(&situation, &it);
        let holder = it.lane.as_ref().and_then(|lane| lane.claimed_by);
        let live = holder.is_some_and(|id| situation.live_workers().any(|worker| worker.id == id));
        match entry.verdict.reason() {
            Some(Reason::Request) => {
                prop_assert!(live && entry.worker == holder);
                prop_assert!(entry.text.contains(&holder.unwrap().to_string()), "{}", entry.text);
            }
            Some(Reason::OutcomeUnclear) => prop_assert!(live && it.log.accepted.is_some()),
            Some(Reason::Takeover) => {
                prop_assert!(!live && situation.live_workers().next().is_some());
                prop_assert!(entry.text.contains(&holder.unwrap().to_string()), "{}", entry.text);
            }
            Some(Reason::NoWorker) => prop_assert!(situation.live_workers().next().is_none()),
            Some(Reason::Ready) => prop_assert!(holder.is_none() && situation.live_workers().next().is_some()),
            Some(Reason::MaxInFlight) => prop_assert!(it.webhook.in_flight >= it.webhook.max_in_flight.unwrap().into()),
            _ => {}
        }
    }
}

/// The words of the contract, without those whose causes are not built yet.
#[test]
fn the_words_are_those_of_the_contract() {
    let of = |state: State| {
        let words = Reason::ALL.into_iter().filter(|reason| reason.state() == state).map(Reason::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    for (state, reasons) in [
        (State::NotOwed, "filter types younger_webhook"),
        (
            State::Waiting,
            "behind backoff halted held_by_receiver rate_limit max_in_flight slots_busy paused topic_held breaker_open disabled starting not_sending \
             no_worker takeover no_lane ready",
        ),
        (State::InFlight, "request outcome_unclear"),
        (State::Delivered, "accepted accepted_late"),
        (State::Dead, "attempts_exhausted permanent expired overflow skipped message_missing"),
        (State::Canceled, ""),
        (State::Superseded, ""),
        (State::Unknown, "log_expired"),
    ] {
        assert_eq!(of(state), reasons, "{state:?}");
    }
}

/// One of each remedy, for those who show them.
pub(crate) fn remedies() -> Vec<Remedy> {
    let key = LaneName { partition_key: Some("-it's a $key\n".to_owned()), message_id: None };
    let id = LaneName { partition_key: None, message_id: Some(12) };
    let all = vec![
        Remedy::ResumeWebhook(7),
        Remedy::EnableWebhook(7),
        Remedy::ResumeTopic("orders.eu".to_owned()),
        Remedy::SwitchSendingOn,
        Remedy::StartWorker,
        Remedy::RetryLane { webhook_id: 7, lane: key },
        Remedy::RetryLane { webhook_id: 7, lane: id },
        Remedy::RaiseRateLimit { webhook_id: 7, per_second: 0.002 },
        Remedy::RaiseMaxInFlight { webhook_id: 7, lanes: 10 },
        Remedy::CancelDelivery { webhook_id: 7, message_id: 12 },
        Remedy::ReplayDeadLetter(99),
        Remedy::ReplayMessage { webhook_id: 7, message_id: 12 },
    ];
    for remedy in &all {
        // Whoever adds a remedy adds it above, too.
        match remedy {
            Remedy::ResumeWebhook(_)
            | Remedy::EnableWebhook(_)
            | Remedy::ResumeTopic(_)
            | Remedy::SwitchSendingOn
            | Remedy::StartWorker
            | Remedy::RetryLane { .. }
            | Remedy::RaiseRateLimit { .. }
            | Remedy::RaiseMaxInFlight { .. }
            | Remedy::CancelDelivery { .. }
            | Remedy::ReplayDeadLetter(_)
            | Remedy::ReplayMessage { .. } => {}
        }
    }
    all
}
