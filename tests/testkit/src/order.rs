//! What order means, as a pure check over what a receiver saw.

use std::collections::{BTreeMap, BTreeSet};

use super::Received;

/// The messages that each lane must deliver, in order. A lane is a path and a partition key.
pub type Expected = BTreeMap<(String, String), Vec<i64>>;

/// Checks that every lane delivered exactly its messages, in order, one request at a time: a
/// message is first sent when all messages before it were accepted. Returns how many requests
/// repeated a message that was accepted already. The caller knows whether there may be any.
#[track_caller]
pub fn check_order(received: &[Received], expected: &Expected) -> usize {
    let mut lanes: BTreeMap<(String, String), Vec<&Received>> = BTreeMap::new();
    for request in received {
        lanes.entry((request.path.clone(), request.partition().to_owned())).or_default().push(request);
    }
    let unexpected: BTreeSet<_> = lanes.keys().filter(|lane| !expected.contains_key(*lane)).collect();
    assert!(unexpected.is_empty(), "nothing was to be sent to {unexpected:?}");
    expected.iter().map(|(lane, ids)| check_lane(lane, lanes.get(lane).map_or(&[], Vec::as_slice), ids)).sum()
}

#[track_caller]
fn check_lane(lane: &(String, String), requests: &[&Received], ids: &[i64]) -> usize {
    for pair in requests.windows(2) {
        assert!(
            pair[0].ended.is_some_and(|ended| ended <= pair[1].arrived),
            "two requests of {lane:?} at once, messages {} and {}",
            pair[0].position(),
            pair[1].position(),
        );
    }
    let (mut accepted, mut repeated) = (0, 0);
    for request in requests {
        let id = request.position();
        if ids[..accepted].contains(&id) {
            repeated += 1;
            continue;
        }
        assert!(
            ids.get(accepted) == Some(&id),
            "lane {lane:?}: message {id} was sent when it was the turn of {:?}; all: {ids:?}",
            ids.get(accepted),
        );
        accepted += usize::from(request.accepted());
    }
    assert_eq!(accepted, ids.len(), "lane {lane:?}: {:?} not accepted", &ids[accepted..]);
    repeated
}
