//! Receivers that ask for nothing to be sent for a while.

use super::*;

/// An answer 429 that asks for a pause.
fn asks_for(pause: Duration, key: LaneKey, message_id: i64) -> Event {
    let Event::Attempt(attempt) = accepted(key, vec![message_id]) else { unreachable!() };
    let result = AttemptResult {
        outcome: Outcome::Failed,
        status_code: Some(429),
        error_class: Some(ErrorClass::Status),
        error: Some("429 Too Many Requests".to_owned()),
        retry_after: Some(pause),
        ..attempt.result
    };
    Event::Attempt(AttemptEnded { result, ..attempt })
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it_at_once_and_its_lane_has_not_failed() {
    let mut rig = Rig::new(2);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = [1, 2, 3, 4].map(|lane| claimed(if lane == 4 { 2 } else { 1 }, lane, token, &[1, 1])).into();
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let mut running: Vec<LaneKey> = bursts(rig.decide()).iter().map(|burst| burst.key).collect();
    running.retain(|key| key.webhook_id == 1);
    assert!(running.len() > 1, "several of its lanes are in flight");
    let pause = Duration::from_secs(7);
    rig.handle(asks_for(pause, running[0], 1));
    let commands = rig.decide_after(Duration::from_secs(1));
    let holds =
        |command: &Command| matches!(command, Command::Hold { webhook_id: 1, hold } if *hold == pause);
    assert!(commands.iter().any(holds), "the others are told");
    for key in &running {
        let stops = |command: &Command| matches!(command, Command::StopBurst(stopped) if stopped == key);
        assert!(commands.iter().any(stops), "{key:?} starts no further request");
    }
    let settled = commands.iter().find_map(|command| match command {
        Command::Settle { settlement, .. } => settlement.get(&(running[0], token)).cloned(),
        _ => None,
    });
    let change = settled.unwrap().change.unwrap();
    assert_eq!((change.state, change.failures), (LaneState::Waiting(pause), 0));
    assert_eq!(change.failed.map(|head| (head.first, head.count)), Some((1, 1)));

    // Another answer that asks for less tells nobody anything.
    rig.handle(asks_for(Duration::from_secs(5), running[1], 1));
    assert!(!rig.decide().iter().any(|command| matches!(command, Command::Hold { .. })));
    assert!(!rig.engine.is_deliverable(1) && rig.engine.is_deliverable(2));
    assert!(rig.engine.next_wakeup(rig.now) <= rig.now + pause);
    rig.decide_after(pause);
    assert!(rig.engine.is_deliverable(1));
}

#[test]
fn a_hold_that_another_worker_was_asked_for_binds_this_one() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = vec![claimed(1, 1, token, &[1, 1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    let held = vec![(1, Duration::from_secs(9))];
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks { held, ..LoadedWebhooks::default() })));
    let commands = rig.decide();
    assert!(commands.iter().any(|command| matches!(command, Command::StopBurst(stopped) if *stopped == key)));
    assert!(!commands.iter().any(|command| matches!(command, Command::Hold { .. })), "all know it");
    assert!(!rig.engine.is_deliverable(1));
}

/// Message 3 comes while 1 and 2 are being sent. The pause that the receiver asks for at message 1 is
/// message 1's.
#[test]
fn the_wait_belongs_to_the_message_that_was_sent_also_if_another_one_has_come_meanwhile() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    let lanes = vec![claimed(1, 1, token, &[1, 1])];
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let key = bursts(rig.decide()).remove(0).key;
    let OwedMessage::Present(message) = message(3, 1) else { unreachable!() };
    let follower = Follower { key, token, generation: 0, after: 2, message_id: 3, message: Some(message) };
    rig.handle(Event::MessagesClaimed(Ok(Looked { claimed: Vec::new(), followers: vec![follower] })));
    assert_eq!(rig.engine.lanes[&key].backlog.head(), Some(3));
    rig.handle(asks_for(Duration::from_secs(7), key, 1));
    let commands = rig.decide_after(Duration::from_secs(1));
    let settled = commands.iter().find_map(|command| match command {
        Command::Settle { settlement, .. } => settlement[&(key, token)].change.clone(),
        _ => None,
    });
    assert_eq!(settled.unwrap().failed.map(|head| (head.first, head.count)), Some((1, 1)));
}
