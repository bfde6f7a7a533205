//! The engine as a whole, without a database: limits that no single part keeps.

mod breakers;
mod holds;
mod locked;
mod memory;
mod superseded;

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    super::tuning::{ASK_ALL_WEBHOOKS, BYTES_MAX, HELD_PER_SLOT, OUTCOMES_MAX, UNWRITTEN_MAX},
    command::Burst,
    event::{
        AttemptEnded, BurstEnd, BurstEnded, ClaimAnswer, Endpoint, LoadedWebhooks, ReadAnswer, SettleAnswer,
        Written,
    },
    *,
};
use crate::{
    domain::{
        attempt::{AttemptResult, ErrorClass, Outcome},
        breaker::{BreakerPolicy, Opening},
        lane::LaneKey,
        message::Message,
        policy::{OnExhausted, Policy},
    },
    store::{
        ClaimedLane, DueWebhook, DueWebhooks, Follower, HeldLane, LaneState, Looked, Owed, OwedMessage,
        ReadLane, SettleOutcome, Want,
    },
};

const CONCURRENCY: usize = 10;

/// A webhook without limits.
pub(super) fn endpoint() -> Endpoint {
    Endpoint {
        topic: "orders".to_owned(),
        deliverable: true,
        batch_size: 1,
        policy: Policy {
            max_retries: 5,
            backoff_factor: 2.0,
            max_backoff: Duration::from_hours(1),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(10),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        },
        rate_limit_per_second: None,
        breaker: BreakerPolicy::Auto,
    }
}

struct Rig {
    engine: Engine,
    now: Instant,
}

impl Rig {
    /// An engine that knows these webhooks. What it does about that is dropped.
    fn new(webhooks: i64) -> Self {
        let now = Instant::now();
        let settings = EngineSettings {
            worker: Uuid::nil(),
            concurrency: CONCURRENCY,
            default_timeout: Duration::from_secs(10),
            disable_after: Some(Duration::from_hours(120)),
            seed: 1,
        };
        let mut rig = Self { engine: Engine::new(settings, now), now };
        let endpoint = Arc::new(endpoint());
        let changed = (1..=webhooks).map(|id| (id, Arc::clone(&endpoint))).collect();
        rig.handle(Event::Webhooks(Ok(LoadedWebhooks { changed, ..LoadedWebhooks::default() })));
        rig
    }

    fn handle(&mut self, event: Event) {
        self.engine.handle(event, self.now).unwrap();
    }

    /// What the engine wants done after this long.
    fn decide_after(&mut self, wait: Duration) -> Vec<Command> {
        self.now += wait;
        self.engine.decide(self.now)
    }

    fn decide(&mut self) -> Vec<Command> {
        self.decide_after(Duration::ZERO)
    }
}

fn claimed(webhook_id: i64, lane: i64, token: i64, messages: &[usize]) -> ClaimedLane {
    ClaimedLane {
        key: LaneKey { webhook_id, lane },
        due_at: Timestamp::UNIX_EPOCH,
        token,
        position: 0,
        generation: 0,
        failed: None,
        failures: 0,
        split_until: None,
        owed: Owed {
            items: messages.iter().zip(1..).map(|(size, id)| message(id, *size)).collect(),
            more: false,
        },
    }
}

fn message(id: i64, size: usize) -> OwedMessage {
    OwedMessage::Present(Message {
        id,
        partition_key: Arc::from("a"),
        r#type: None,
        payload: vec![b'1'; size].into(),
        headers: None,
        created_at: Timestamp::UNIX_EPOCH,
        replay: false,
        born: Instant::now(),
    })
}

fn claims(commands: &[Command]) -> Vec<(i64, Vec<Want>)> {
    let claim = |command: &Command| match command {
        Command::Claim { token, wants, .. } => Some((*token, wants.clone())),
        _ => None,
    };
    commands.iter().filter_map(claim).collect()
}

fn bursts(commands: Vec<Command>) -> Vec<Burst> {
    let burst = |command| match command {
        Command::StartBurst(burst) => Some(burst),
        _ => None,
    };
    commands.into_iter().filter_map(burst).collect()
}

fn accepted(key: LaneKey, message_ids: Vec<i64>) -> Event {
    let result = AttemptResult {
        outcome: Outcome::Accepted,
        status_code: Some(204),
        error_class: None,
        error: None,
        duration: Duration::from_millis(1),
        response_excerpt: None,
        retry_after: None,
    };
    Event::Attempt(AttemptEnded {
        key,
        created_at: vec![Timestamp::UNIX_EPOCH; message_ids.len()],
        message_ids,
        replay: false,
        probe: false,
        attempt: 1,
        result,
        attempted_at: Timestamp::UNIX_EPOCH,
    })
}

/// However many webhooks have due lanes, and however often claims come back full.
#[test]
fn many_webhooks_hold_no_more_lanes_than_the_limit() {
    let webhooks = 10 * i64::try_from(ASK_ALL_WEBHOOKS).unwrap();
    let mut rig = Rig::new(webhooks);
    let most = CONCURRENCY * HELD_PER_SLOT / 2;
    let (mut claimed_in_all, mut listed, mut reached) = (0, 0, 0);
    for _ in 0..2_000 {
        let commands = rig.decide_after(Duration::from_millis(20));
        for command in &commands {
            if let Command::ListDueWebhooks { .. } = command {
                listed += 1;
                let due = |webhook_id| DueWebhook { webhook_id, due_at: Timestamp::UNIX_EPOCH };
                let webhooks = (1..=webhooks).map(due).collect();
                rig.handle(Event::DueWebhooks(Ok(DueWebhooks { webhooks, next: None })));
            }
        }
        let mut commands = commands;
        commands.extend(rig.decide());
        for (token, wants) in claims(&commands) {
            let mut lanes = Vec::new();
            for Want { webhook_id, slots, .. } in wants {
                let new = (0..slots).map(|lane| {
                    let lane = i64::try_from(claimed_in_all + lane).unwrap();
                    claimed(webhook_id, lane, token, &[1])
                });
                lanes.extend(new);
                claimed_in_all += slots;
            }
            rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
        }
        // None of them has answered yet, so they hold half of what all may hold.
        let held = rig.engine.status().lanes;
        assert!(held <= most, "{held}");
        reached = reached.max(held);
    }
    assert!(listed > 1, "the database is asked which webhooks are due");
    assert_eq!(reached, most);
}

/// What is being written counts, too: a settle may hang for seconds.
#[test]
fn no_burst_begins_while_too_many_outcomes_are_not_written() {
    let mut rig = Rig::new(2);
    let first = claims(&rig.decide())[0].0;
    let lanes = vec![claimed(1, 1, first, &[1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let burst = bursts(rig.decide()).remove(0);
    let many = i64::try_from(OUTCOMES_MAX).unwrap();
    rig.handle(accepted(burst.key, (1..=many).collect()));
    let commands = rig.decide_after(Duration::from_secs(1));
    let settle = commands.iter().find_map(|command| match command {
        Command::Settle { settlement, .. } => Some(settlement.keys().copied().collect::<Vec<_>>()),
        _ => None,
    });
    let settled = settle.unwrap();
    let (token, _) = claims(&commands)[0];
    let lanes = vec![claimed(2, 2, token, &[1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    assert!(bursts(rig.decide()).is_empty(), "50,000 outcomes are being written");
    let outcomes = settled.into_iter().map(|claim| (claim, SettleOutcome::Written)).collect();
    rig.handle(Event::Settled(SettleAnswer {
        again: false,
        written: Ok(Written { outcomes, refused: Vec::new() }),
        removed: Ok(HashMap::new()),
    }));
    assert_eq!(bursts(rig.decide()).len(), 1);
}

#[test]
fn a_worker_that_stops_is_done_when_all_is_written() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = vec![claimed(1, 1, token, &[1, 1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    rig.handle(Event::Shutdown);
    let stops = |command: &Command| matches!(command, Command::StopBurst(stopped) if *stopped == key);
    assert!(rig.decide().iter().any(stops), "no further request begins");
    rig.handle(accepted(key, vec![1]));
    let Some(OwedMessage::Present(unsent)) = Some(message(2, 1)) else { unreachable!() };
    rig.handle(Event::BurstEnded(BurstEnded {
        key,
        sent: 1,
        requests: 1,
        unsent: vec![unsent],
        why: BurstEnd::Over,
    }));
    let mut settled = false;
    for _ in 0..100 {
        if rig.engine.is_done() {
            break;
        }
        for command in rig.decide_after(Duration::from_millis(10)) {
            match command {
                Command::Settle { settlement, again, .. } => {
                    settled = true;
                    let outcomes = settlement.keys().map(|claim| (*claim, SettleOutcome::Written)).collect();
                    rig.handle(Event::Settled(SettleAnswer {
                        again,
                        written: Ok(Written { outcomes, refused: Vec::new() }),
                        removed: Ok(HashMap::new()),
                    }));
                }
                Command::LogAttempts { rows, .. } => {
                    let rows = rows.len();
                    rig.handle(Event::AttemptsLogged(event::LogAnswer {
                        rows,
                        written: rows,
                        refused: 0,
                        failure: None,
                    }));
                }
                Command::WriteActivity { .. } => rig.handle(Event::ActivityWritten),
                Command::Claim { .. } | Command::StartBurst(_) => panic!("it stops"),
                _ => {}
            }
        }
    }
    assert!(settled && rig.engine.is_done());
}

/// A lane asks for a share when it begins to wait for a slot. One that waits already must not be
/// forgotten.
#[test]
fn a_webhook_that_gets_a_limit_while_its_lanes_wait_is_asked_for() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes: Vec<ClaimedLane> = (1..=20).map(|lane| claimed(1, lane, token, &[1])).collect();
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let asks = |commands: Vec<Command>| -> usize {
        commands.iter().filter(|command| matches!(command, Command::ShareLimits { .. })).count()
    };
    assert_eq!(asks(rig.decide()), 0);
    let mut limited = (*rig.engine.endpoints[&1]).clone();
    limited.policy.max_in_flight = Some(2);
    let changed = HashMap::from([(1, Arc::new(limited))]);
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks { changed, ..LoadedWebhooks::default() })));
    assert_eq!(asks(rig.decide()), 1);
}

/// Where publishers may not notify, only the session hears that webhooks have changed.
#[test]
fn webhooks_are_read_when_the_session_hears_of_a_change() {
    let mut rig = Rig::new(1);
    let reads =
        |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::LoadWebhooks { .. }));
    assert!(reads(&rig.decide_after(Duration::from_secs(1))), "all of them, at first");
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks::default())));
    assert!(!reads(&rig.decide_after(Duration::from_millis(100))));
    let session = rig.engine.session.clone();
    rig.handle(Event::Session(event::SessionState {
        webhook_changes: session.webhook_changes + 1,
        ..session
    }));
    assert!(reads(&rig.decide_after(Duration::from_millis(100))));
}
