//! Outcomes that could not be written.

use super::*;

/// The settles that begin: whether they try something again, and what was accepted.
fn settles(commands: &[Command]) -> Vec<(bool, Vec<i64>)> {
    let settle = |command: &Command| match command {
        Command::Settle { settlement, again, .. } => {
            Some((*again, settlement.values().flat_map(|lane| lane.done.clone()).collect()))
        }
        _ => None,
    };
    commands.iter().filter_map(settle).collect()
}

fn settled(again: bool, outcomes: Vec<((LaneKey, i64), SettleOutcome)>) -> Event {
    let written = Ok(Written { outcomes, refused: Vec::new() });
    Event::Settled(SettleAnswer { again, written, removed: Ok(HashMap::new()) })
}

/// A lane has settled one message, and its row is locked. Another message is accepted while the first
/// outcome is tried again. Returns the claim, too.
fn tried_again() -> (Rig, (LaneKey, i64)) {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide()).remove(0);
    let lanes = vec![claimed(1, 1, token, &[1, 1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    rig.handle(accepted(key, vec![1]));
    let wait = Duration::from_millis(100);
    assert_eq!(settles(&rig.decide_after(wait)), [(false, vec![1])]);
    rig.handle(settled(false, vec![((key, token), SettleOutcome::Locked)]));
    assert_eq!(settles(&rig.decide_after(wait)), [(true, vec![1])]);
    rig.handle(accepted(key, vec![2]));
    assert_eq!(settles(&rig.decide_after(wait)), [(false, vec![])], "it waits for the first one");
    rig.handle(settled(false, Vec::new()));
    (rig, (key, token))
}

#[test]
fn what_comes_while_an_outcome_is_tried_again_is_written_after_it() {
    let (mut rig, claim) = tried_again();
    rig.handle(settled(true, vec![(claim, SettleOutcome::Written)]));
    assert_eq!(settles(&rig.decide_after(Duration::from_millis(100))), [(false, vec![2])]);
}

#[test]
fn what_comes_while_an_outcome_is_tried_again_waits_with_it() {
    let (mut rig, claim) = tried_again();
    rig.handle(settled(true, vec![(claim, SettleOutcome::Locked)]));
    assert_eq!(settles(&rig.decide_after(Duration::from_secs(1))), [(true, vec![1, 2])]);
}
