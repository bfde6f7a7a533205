//! Webhooks that are down.

use super::{
    super::{
        super::scheduling::breaker::Switch,
        failure::{Effect, Failure},
        lane::Lane,
    },
    *,
};
use crate::{domain::breaker::BreakerRow, store::TakenProbe};

/// This worker wants the breaker of webhook 1 to open, when the next settle has written.
fn suspect(rig: &mut Rig) {
    let now = rig.now;
    while !rig.engine.breakers.of(1).failed(1, true, now) {}
    let settle = rig.engine.settles.next_number();
    rig.engine.breakers.suspects.insert(1, (settle, "it failed".to_owned()));
}

fn failure() -> Failure {
    Failure { effect: Effect::Nothing, text: "out of memory".to_owned() }
}

/// A webhook was left to another worker that delivers well. That worker is gone before the ten
/// seconds are over: its lanes must not wait for their end.
#[test]
fn a_webhook_that_was_left_to_others_is_sent_again_when_one_of_them_is_gone() {
    let mut rig = Rig::new(1);
    let other = Uuid::from_u128(7);
    let session = |others: &[Uuid], rig: &Rig| {
        Event::Session(event::SessionState { others: others.into(), ..rig.engine.session.clone() })
    };
    let both = session(&[other], &rig);
    rig.handle(both);
    let now = rig.now;
    let breaker = rig.engine.breakers.of(1);
    while !breaker.failed(1, true, now) {}
    breaker.asked(now);
    assert_eq!(breaker.answered(Opening::Refused, now), Switch::None);
    rig.engine.breakers.suspects.insert(1, (0, "it failed".to_owned()));
    let same = session(&[other], &rig);
    rig.handle(same);
    assert!(!rig.engine.breakers.may_send(1), "it is left to the other one");
    let alone = session(&[], &rig);
    rig.handle(alone);
    assert!(rig.engine.breakers.may_send(1) && rig.engine.breakers.suspects.is_empty());
}

#[test]
fn a_breaker_is_asked_for_only_when_a_settle_has_written() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = vec![claimed(1, 1, token, &[1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    rig.handle(accepted(key, vec![1]));
    suspect(&mut rig);
    let asks =
        |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::OpenBreaker { .. }));
    let settles =
        |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::Settle { .. }));
    let settled =
        |written| Event::Settled(SettleAnswer { again: false, written, removed: Ok(HashMap::new()) });
    let commands = rig.decide_after(Duration::from_secs(1));
    assert!(settles(&commands) && !asks(&commands));
    rig.handle(settled(Err(failure())));
    assert!(!asks(&rig.decide()), "nothing was written");
    let commands = rig.decide_after(Duration::from_secs(10));
    assert!(settles(&commands) && !asks(&commands), "it is tried again");
    let outcomes = vec![((key, token), SettleOutcome::Written)];
    rig.handle(settled(Ok(Written { outcomes, refused: Vec::new() })));
    assert!(asks(&rig.decide()));
}

/// The breaker has opened and closed before this worker's question was answered.
#[test]
fn a_webhook_whose_breaker_has_closed_is_suspected_no_more() {
    let mut rig = Rig::new(1);
    suspect(&mut rig);
    assert!(!rig.engine.breakers.may_send(1));
    let row = BreakerRow { webhook_id: 1, open: false, epoch: 2, suspected: false, wakes: false };
    let loaded = LoadedWebhooks { breakers: vec![row], ..LoadedWebhooks::default() };
    rig.handle(Event::Webhooks(Ok(loaded)));
    assert!(rig.engine.breakers.may_send(1) && rig.engine.breakers.suspects.is_empty());
}

/// An engine that gets the turn to probe webhook 1, of whose breaker it has not heard.
fn probing(owed: Owed) -> Rig {
    let mut rig = Rig::new(1);
    rig.engine.breakers.probing.taking = Some(rig.now);
    let lane = ClaimedLane { owed, ..claimed(1, 1, 5, &[]) };
    let turn = Duration::from_secs(30);
    let probe = TakenProbe { lane, epoch: 1, failed: 0, open_for: Duration::ZERO, only_lane: false, turn };
    rig.handle(Event::ProbesTaken(Ok(vec![probe])));
    rig
}

fn gives_its_turn_back(commands: &[Command]) -> bool {
    commands.iter().any(|command| matches!(command, Command::EndProbe { .. }))
}

#[test]
fn a_turn_to_probe_tells_that_the_breaker_is_open() {
    let mut rig = probing(claimed(1, 1, 5, &[1, 1]).owed);
    assert!(rig.engine.breakers.is_open(1));
    let bursts = bursts(rig.decide());
    assert!(bursts.len() == 1 && bursts[0].probe_until.is_some(), "one request, and no more");
}

#[test]
fn a_turn_to_probe_is_given_back_if_its_lane_cannot_be_read() {
    let mut rig = probing(Owed { items: Vec::new(), more: true });
    let commands = rig.decide_after(Duration::from_secs(1));
    let read = commands.into_iter().find_map(|command| match command {
        Command::Read { lanes, .. } => Some(lanes),
        _ => None,
    });
    let unreadable = read.expect("it is read").into_iter().map(|lane| (lane, failure())).collect();
    rig.handle(Event::Read(Ok(ReadAnswer { lanes: Vec::new(), unreadable })));
    assert!(gives_its_turn_back(&rig.decide()));
}

#[test]
fn a_turn_to_probe_is_given_back_if_its_lane_is_claimed_again() {
    let mut rig = probing(Owed { items: Vec::new(), more: true });
    assert!(!gives_its_turn_back(&rig.decide()));
    let now = rig.now;
    rig.engine.take_in(Lane::claimed(claimed(1, 1, 6, &[1]), now), now);
    assert!(gives_its_turn_back(&rig.decide()));
}
