//! A message that a publisher has handed over to a worker, in a notification.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ClaimedLane, Owed, OwedMessage};
use crate::domain::{lane::LaneKey, message::Message};

/// A message, and the lanes of it that are the worker's which is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Webhooks whose lanes it has begun.
    begun: Vec<i64>,
    /// Webhooks whose lanes the worker held before.
    held: Vec<HeldBefore>,
    lane: i64,
    message: Message,
}

/// A webhook, how often its lane was rewound, and the last message before this one that the lane owes.
type HeldBefore = (i64, i32, Option<i64>);

/// The next message of a lane that a worker holds.
#[derive(Debug)]
pub struct Follower {
    /// The lane.
    pub key: LaneKey,
    /// How often the lane was rewound.
    pub rewinds: i32,
    /// The last message before this one that the lane owes.
    pub after: Option<i64>,
    /// The message.
    pub message: Message,
}

impl Handed {
    /// Reads a notification on a worker's own channel; see `hand_over` in the migrations. `None` where it is none of ours: the
    /// channel is secret, but nothing keeps its owner from writing to it.
    ///
    /// Three lines, of which the first two are JSON: the webhooks whose lanes are begun, and those whose lanes were held; the
    /// message's id, its lane, when it was created in microseconds since 1970, and its partition key; the payload, which may
    /// have further lines.
    pub(super) fn parse(notification: &str) -> Option<Self> {
        let mut lines = notification.splitn(3, '\n');
        let (begun, held) = serde_json::from_str(lines.next()?).ok()?;
        let (id, lane, created_at, partition_key): (i64, i64, i64, String) =
            serde_json::from_str(lines.next()?).ok()?;
        let message = Message {
            id,
            partition_key: Arc::from(partition_key),
            payload: lines.next()?.to_owned().into(),
            headers: None,
            created_at: Timestamp::from_microsecond(created_at).ok()?,
        };
        Some(Self { begun, held, lane, message })
    }

    /// The lanes that are begun, as if they had been claimed.
    pub fn begun(&self) -> impl Iterator<Item = ClaimedLane> {
        let Self { begun, lane, message, .. } = self;
        begun.iter().map(|webhook_id| ClaimedLane {
            key: LaneKey { webhook_id: *webhook_id, lane: *lane },
            due_at: message.created_at,
            token: -message.id,
            position: message.id - 1,
            rewinds: 0,
            failures: 0,
            owed: Owed { items: vec![OwedMessage::Present(message.clone())], more: false },
        })
    }

    /// What is new of lanes that were held before.
    pub fn followers(&self) -> impl Iterator<Item = Follower> {
        self.held.iter().map(|(webhook_id, rewinds, after)| Follower {
            key: LaneKey { webhook_id: *webhook_id, lane: self.lane },
            rewinds: *rewinds,
            after: *after,
            message: self.message.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_keeps_every_byte() {
        let payload = "{\"x\":\n \"é\"}\n";
        let notification =
            format!("[[3,5], [[4, 0, null], [6, 2, 5]]]\n[7, -9, 1500000, \"a\\nb\"]\n{payload}");
        let handed = Handed::parse(&notification).expect("valid");
        assert_eq!((handed.lane, handed.message.id), (-9, 7));
        assert_eq!((handed.begun, handed.held), (vec![3, 5], vec![(4, 0, None), (6, 2, Some(5))]));
        assert_eq!(&*handed.message.partition_key, "a\nb");
        assert_eq!(handed.message.payload, payload);
        assert_eq!(handed.message.created_at, Timestamp::from_millisecond(1500).expect("in range"));
    }

    #[test]
    fn what_is_no_handing_over_is_none() {
        let texts = [
            "",
            "wake",
            "[[1],[]]",
            "[[1],[]]\n[1,2,3,\"a\"]",
            "[[1],[]]\n[1,2,3]\n{}",
            "[1]\n[1,2,3,\"a\"]\n{}",
            "[[1],[]]\n[1,2,9000000000000000000,\"a\"]\n{}",
        ];
        for text in texts {
            assert_eq!(Handed::parse(text), None, "{text:?}");
        }
    }
}
