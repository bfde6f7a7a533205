//! Ranges of messages: by id, or by the time at which they were created.

use jiff::Timestamp;

use super::{
    key::{PARTITION_KEY_MAX, TYPE_MAX, check_key},
    violation::Violations,
};

/// A place in the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// At this id.
    Id(i64),
    /// At this time of `created_at`.
    Time(Timestamp),
}

/// Where a new webhook begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At messages that are published after it was created.
    #[default]
    Now,
    /// At the oldest message that is kept.
    Beginning,
    /// At an earlier place.
    At(Point),
}

/// Which messages of a topic are meant. A field that is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageRange {
    /// Only messages from here on, this one included.
    pub from: Option<Point>,
    /// Only messages up to here: an id is included, a time is not.
    pub to: Option<Point>,
    /// Only messages of this partition.
    pub partition_key: Option<String>,
    /// Only messages of this type.
    pub message_type: Option<String>,
    /// Only messages that are dead letters of the webhook.
    pub only_failed: bool,
}

impl MessageRange {
    /// The messages from which a webhook begins; `None` for none.
    pub fn starting(start: StartFrom) -> Option<Self> {
        let from = match start {
            StartFrom::Now => return None,
            StartFrom::Beginning => None,
            StartFrom::At(point) => Some(point),
        };
        Some(Self { from, ..Self::default() })
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first id.
    pub fn first_id(&self) -> Option<i64> {
        self.from.and_then(Point::id)
    }

    /// The last id.
    pub fn last_id(&self) -> Option<i64> {
        self.to.and_then(Point::id)
    }

    /// The earliest time.
    pub fn since(&self) -> Option<Timestamp> {
        self.from.and_then(Point::time)
    }

    /// The time before which all are.
    pub fn before(&self) -> Option<Timestamp> {
        self.to.and_then(Point::time)
    }

    /// Adds a violation for each broken rule.
    pub fn check(&self, violations: &mut Violations) {
        for (field, point) in [("from", self.from), ("to", self.to)] {
            let holds = point.and_then(Point::id).is_none_or(|id| id > 0);
            violations.require(holds, field, "must be an id of a message, or a time");
        }
        let in_order = match (self.from, self.to) {
            (Some(Point::Id(from)), Some(Point::Id(to))) => from <= to,
            (Some(Point::Time(from)), Some(Point::Time(to))) => from < to,
            _ => true,
        };
        violations.require(in_order, "to", "must not be before from");
        check_key(self.partition_key.as_deref(), "partition_key", PARTITION_KEY_MAX, violations);
        check_key(self.message_type.as_deref(), "type", TYPE_MAX, violations);
    }
}

impl Point {
    fn id(self) -> Option<i64> {
        match self {
            Self::Id(id) => Some(id),
            Self::Time(_) => None,
        }
    }

    fn time(self) -> Option<Timestamp> {
        match self {
            Self::Id(_) => None,
            Self::Time(time) => Some(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(range: &MessageRange) -> Vec<String> {
        let mut violations = Violations::default();
        range.check(&mut violations);
        violations.into_vec().into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn a_range_begins_before_it_ends() {
        let time = |second| Some(Point::Time(Timestamp::from_second(second).unwrap()));
        let id = |id| Some(Point::Id(id));
        for (from, to, fields) in [
            (id(1), id(1), &[][..]),
            (id(2), id(1), &["to"]),
            (id(0), None, &["from"]),
            (time(1), time(2), &[]),
            (time(2), time(2), &["to"]),
            (id(9), time(1), &[]),
            (None, None, &[]),
        ] {
            assert_eq!(
                broken(&MessageRange { from, to, ..MessageRange::default() }),
                fields,
                "{from:?} {to:?}"
            );
        }
        let range = MessageRange {
            partition_key: Some(String::new()),
            message_type: Some("x".repeat(256)),
            ..MessageRange::default()
        };
        assert_eq!(broken(&range), ["partition_key", "type"]);
    }
}
