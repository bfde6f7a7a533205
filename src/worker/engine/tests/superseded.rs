//! Webhooks that keep the latest message of each lane.

use super::*;

/// The ids of the messages of each burst that begins.
fn begun(rig: &mut Rig) -> Vec<(LaneKey, Vec<i64>)> {
    let ids = |burst: Burst| (burst.key, burst.messages.iter().map(|message| message.id).collect());
    bursts(rig.decide()).into_iter().map(ids).collect()
}

#[test]
fn a_lane_that_waits_for_a_slot_sends_the_newest_message_that_has_come_meanwhile() {
    let mut rig = Rig::new(1);
    let mut latest = endpoint();
    latest.policy.latest_only = true;
    let changed = [(1, Arc::new(latest))].into();
    rig.handle(Event::Webhooks(Ok(LoadedWebhooks { changed, ..LoadedWebhooks::default() })));
    let (token, _) = claims(&rig.decide()).remove(0);
    let lanes = (1..=11).map(|lane| claimed(1, lane, token, &[1])).collect();
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let mut running: Vec<LaneKey> = begun(&mut rig).into_iter().map(|(key, _)| key).collect();
    let waits = (1..=11).map(|lane| LaneKey { webhook_id: 1, lane }).find(|key| !running.contains(key));
    let key = waits.expect("some wait for a slot");
    let OwedMessage::Present(message) = message(2, 1) else { unreachable!() };
    let follower = Follower { key, token, generation: 0, after: 1, message_id: 2, message: Some(message) };
    rig.handle(Event::MessagesClaimed(Ok(Looked { claimed: Vec::new(), followers: vec![follower] })));
    let sent = loop {
        for key in std::mem::take(&mut running) {
            rig.handle(accepted(key, vec![1]));
            let (unsent, why) = (Vec::new(), BurstEnd::Over);
            rig.handle(Event::BurstEnded(BurstEnded { key, sent: 1, requests: 1, unsent, why }));
        }
        let begun = begun(&mut rig);
        assert!(!begun.is_empty(), "slots are free");
        match begun.iter().find(|(begun, _)| *begun == key) {
            Some((_, ids)) => break ids.clone(),
            None => running.extend(begun.iter().map(|(key, _)| *key)),
        }
    };
    assert_eq!(sent, [2]);
}

/// One call writes all outcomes of a lane. A lane may owe a million messages that are not sent.
#[test]
fn a_lane_is_not_read_further_while_many_of_its_outcomes_are_not_written() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide()).remove(0);
    let lane = ClaimedLane { owed: Owed { items: Vec::new(), more: true }, ..claimed(1, 1, token, &[]) };
    let key = lane.key;
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes: vec![lane], one_by_one: None })));
    let (mut read, mut given_up, mut settling) = (0_i64, 0, None);
    for turn in 0..1_000 {
        for command in rig.decide_after(Duration::from_millis(10)) {
            match command {
                Command::Read { lanes, .. } => {
                    let items = (1..=50).map(|n| OwedMessage::Superseded(read + n)).collect();
                    read += 50;
                    let owed = Owed { items, more: true };
                    let lane = ReadLane { key, position: lanes[0].position, generation: 0, owed };
                    rig.handle(Event::Read(Ok(ReadAnswer { lanes: vec![lane], unreadable: Vec::new() })));
                }
                Command::Settle { settlement, .. } => settling = Some(settlement),
                _ => {}
            }
        }
        let unwritten = usize::try_from(read).unwrap() - given_up;
        assert!(unwritten <= UNWRITTEN_MAX + 50, "{unwritten}");
        // The database is slow: a settle takes as long as a hundred reads.
        if turn % 100 == 99
            && let Some(settlement) = settling.take()
        {
            let (claim, outcomes) = settlement.iter().next().unwrap();
            given_up += outcomes.dead.len();
            let written = Written { outcomes: vec![(*claim, SettleOutcome::Written)], ..Written::default() };
            rig.handle(Event::Settled(SettleAnswer {
                again: false,
                written: Ok(written),
                removed: Ok(HashMap::new()),
            }));
        }
    }
    assert!(read > 10_000, "it is read on: {read}");
}
