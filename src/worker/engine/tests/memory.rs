//! How many bytes the engine holds, and how reads share them.

use super::*;

#[test]
fn payloads_fill_no_more_than_the_budget_and_reading_goes_on_when_some_are_sent() {
    const SIZE: usize = 1 << 20;
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide())[0];
    // A lane whose messages the claim did not read.
    let more =
        |lane| ClaimedLane { owed: Owed { items: Vec::new(), more: true }, ..claimed(1, lane, token, &[]) };
    let lanes = (0..200).map(more).collect();
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let mut reached = 0;
    let mut running = Vec::new();
    // Not for so long that lanes are given back.
    for _ in 0..45 {
        for command in rig.decide_after(Duration::from_millis(10)) {
            match command {
                Command::Read { lanes, limits } => {
                    let budget = usize::try_from(limits.payload_bytes).unwrap() / SIZE;
                    let read = |(at, lane): (usize, &HeldLane)| {
                        let items = if at < budget.max(1) { vec![message(1, SIZE)] } else { Vec::new() };
                        let owed = Owed { more: items.is_empty(), items };
                        ReadLane { key: lane.key, position: 0, generation: 0, owed }
                    };
                    let lanes = lanes.iter().enumerate().map(read).collect();
                    rig.handle(Event::Read(Ok(ReadAnswer { lanes, unreadable: Vec::new() })));
                }
                Command::StartBurst(burst) => running.push(burst.key),
                _ => {}
            }
        }
        let held: usize = rig.engine.lanes.values().map(|lane| lane.backlog.bytes()).sum();
        assert!(held <= BYTES_MAX + SIZE, "{held}");
        reached = reached.max(held);
    }
    assert!(reached >= BYTES_MAX / 2, "{reached}");
    assert!(!running.is_empty());
    for key in running {
        rig.handle(accepted(key, vec![1]));
        rig.handle(Event::BurstEnded(BurstEnded {
            key,
            sent: 1,
            requests: 1,
            unsent: Vec::new(),
            why: BurstEnd::Over,
        }));
    }
    let reads = |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::Read { .. }));
    let mut commands = rig.decide();
    commands.extend(rig.decide_after(Duration::from_millis(10)));
    assert!(reads(&commands), "there is room again");
}

/// Reads wait for room. If lanes that wait for a read kept what notifications have brought, no room
/// would ever be free.
#[test]
fn a_lane_that_waits_for_a_read_sends_what_a_notification_has_brought() {
    let mut rig = Rig::new(1);
    let (token, _) = claims(&rig.decide()).remove(0);
    let mut lane = claimed(1, 7, token, &[]);
    lane.owed.more = true;
    let key = lane.key;
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes: vec![lane], one_by_one: None })));
    assert!(bursts(rig.decide()).is_empty(), "nothing is read yet");
    let OwedMessage::Present(message) = message(1, 1) else { unreachable!() };
    let follower = Follower { key, token, generation: 0, after: 0, message_id: 1, message: Some(message) };
    rig.handle(Event::MessagesClaimed(Ok(Looked { claimed: Vec::new(), followers: vec![follower] })));
    let sent: Vec<i64> = bursts(rig.decide()).remove(0).messages.iter().map(|message| message.id).collect();
    assert_eq!(sent, [1]);
}

/// All lanes with large messages get one before any lane gets a second one. Beside them, lanes with
/// small messages get many.
#[test]
fn a_read_gives_each_lane_a_fair_part() {
    const LARGE: usize = 1 << 20;
    let mut rig = Rig::new(2);
    let (token, _) = claims(&rig.decide())[0];
    // The first lane of each webhook shows how large its messages are. Of the others nothing was
    // read yet.
    let unread = |webhook_id, lane| ClaimedLane {
        owed: Owed { items: Vec::new(), more: true },
        ..claimed(webhook_id, lane, token, &[])
    };
    let mut lanes = vec![claimed(1, 1, token, &[LARGE]), claimed(2, 2, token, &[300])];
    lanes.extend((3..23).flat_map(|at| [unread(1, 2 * at), unread(2, 2 * at + 1)]));
    rig.handle(Event::Claimed(Ok(ClaimAnswer { lanes, one_by_one: None })));
    let mut large = HashMap::new();
    let mut small = 0;
    for _ in 0..50 {
        for command in rig.decide_after(Duration::from_millis(10)) {
            let Command::Read { lanes, limits } = command else { continue };
            let read = |held: &HeldLane| {
                let owed = Owed { items: Vec::new(), more: true };
                ReadLane { key: held.key, position: held.position, generation: 0, owed }
            };
            if lanes[0].key.webhook_id == 1 {
                assert!(lanes.iter().all(|lane| lane.key.webhook_id == 1), "{lanes:?}");
                assert_eq!((lanes.len(), limits.messages_per_lane), (2, 1));
                for lane in &lanes {
                    *large.entry(lane.key).or_insert(0) += 1;
                }
            } else {
                assert!(lanes.iter().all(|lane| lane.key.webhook_id == 2), "{lanes:?}");
                assert_eq!(limits.messages_per_lane, 50);
                small += 1;
            }
            let lanes = lanes.iter().map(read).collect();
            rig.handle(Event::Read(Ok(ReadAnswer { lanes, unreadable: Vec::new() })));
        }
    }
    let (least, most) = (large.values().min().unwrap(), large.values().max().unwrap());
    assert!(*least > 0 && most - least <= 1, "{large:?}");
    assert!(small > 0);
}
