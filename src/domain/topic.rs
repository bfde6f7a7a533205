//! A topic: a named stream of messages. This file also holds the rules that a new topic must keep.

use std::ops::RangeInclusive;

use jiff::Timestamp;

use super::{violation::Violations, words::stored_words};

/// The longest name, in bytes.
pub const NAME_MAX: usize = 255;
/// The rule of a name.
pub(super) const NAME_RULE: &str = "must be 1 to 255 of [A-Za-z0-9._-], not all digits, and neither . nor ..";
/// The topic that changes of state are published to.
pub const EVENTS_TOPIC: &str = "pgtopic.events";
/// The rule of names that are pgtopic's own.
const RESERVED_RULE: &str = "must not begin with pgtopic.: these names are reserved";
/// How long a topic keeps its messages, in seconds; up to a hundred years. 0 is for ever.
pub const RETENTION_SECONDS: RangeInclusive<i64> = 0..=100 * 366 * 86_400;

stored_words! {
    /// Whether a topic keeps its partitions in order.
    #[derive(Default)]
    pub enum Ordering {
        /// Messages with the same partition key are delivered in commit order.
        #[default]
        Partition = "partition",
        /// Messages have no order. Each one is a lane of its own.
        None = "none",
    }
}

stored_words! {
    /// How a topic is paused.
    #[derive(Default)]
    pub enum TopicPause {
        /// It refuses messages.
        #[default]
        Refuse = "refuse",
        /// It accepts messages, and they are owed. Nothing of the topic is sent.
        Hold = "hold",
    }
}

/// A topic as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether partitions are kept in order.
    pub ordering: Ordering,
    /// How long messages are kept, in seconds since they were published; 0 for ever. A message that
    /// is owed or a dead letter is kept longer. `None`: as `retention.messages_days` says.
    pub retention_seconds: Option<i64>,
    /// How it is paused; `None` if it is not.
    pub paused: Option<TopicPause>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A topic and its backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// The topic.
    pub topic: Topic,
    /// How many deliveries are still owed, over all its webhooks. Exact up to 10,000.
    pub backlog: i64,
    /// Whether there are more than `backlog` says.
    pub backlog_capped: bool,
}

/// The result of deleting a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicDeletion {
    /// There is no such topic.
    Unknown,
    /// It still has this many webhooks. Nothing was deleted.
    InUse(i64),
    /// It was deleted.
    Deleted(DeletedTopic),
}

/// What was deleted with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedTopic {
    /// How many webhooks were deleted with it.
    pub webhooks: i64,
    /// How many deliveries were still owed and are dropped.
    pub dropped_deliveries: i64,
}

/// A topic, given by its id or its name. The two never look alike: a name is not all digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    /// By id.
    Id(i64),
    /// By name.
    Name(String),
}

impl TopicRef {
    /// Reads an id or a name. `None` if no topic can have that id or name.
    pub fn parse(text: &str) -> Option<Self> {
        if is_name(text) {
            return Some(Self::Name(text.to_owned()));
        }
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Self::Id)).flatten()
    }

    /// The id, if the topic is given by its id.
    pub fn id(&self) -> Option<i64> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(_) => None,
        }
    }

    /// The name, if the topic is given by its name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Id(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

/// Whether a topic or a webhook may have this name. `.` and `..` are none: clients and proxies resolve them in
/// paths.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && is_start_of_name(text)
        && !text.bytes().all(|byte| byte.is_ascii_digit())
        && ![".", ".."].contains(&text)
}

/// Whether the name of a topic may begin so.
pub(super) fn is_start_of_name(text: &str) -> bool {
    text.len() <= NAME_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// 1 to 255 characters of `[A-Za-z0-9._-]`, not all digits, and neither `.` nor `..`.
    pub name: String,
    /// Whether partitions are kept in order. Never changes.
    pub ordering: Ordering,
    /// How long messages are kept, in seconds since they were published; 0 to 3162240000, and 0
    /// keeps them for ever. A message that is owed or a dead letter is kept longer. `None`: as
    /// `retention.messages_days` says.
    pub retention_seconds: Option<i64>,
}

impl NewTopic {
    /// Checks the name and the retention.
    ///
    /// # Errors
    /// Every broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        violations.require(is_name(&self.name), "name", NAME_RULE);
        violations.require(!is_reserved(&self.name), "name", RESERVED_RULE);
        check_retention(self.retention_seconds, &mut violations);
        violations.finish()
    }
}

/// Whether the name of a topic is one of pgtopic's own.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("pgtopic.")
}

/// Checks that the name of a topic, which is in this field, is none of pgtopic's own.
pub fn check_reserved(name: Option<&str>, field: &str, violations: &mut Violations) {
    violations.require(!name.is_some_and(is_reserved), field, RESERVED_RULE);
}

/// Changes of a topic. A field that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicChanges {
    /// How long messages are kept, in seconds since they were published; 0 to 3162240000, and 0
    /// keeps them for ever. A message that is owed or a dead letter is kept longer. `Some(None)`:
    /// as `retention.messages_days` says.
    pub retention_seconds: Option<Option<i64>>,
    /// How it is paused; `Some(None)` ends a pause.
    pub paused: Option<Option<TopicPause>>,
}

impl TopicChanges {
    /// Pauses a topic, or ends its pause.
    pub fn pause(paused: Option<TopicPause>) -> Self {
        Self { paused: Some(paused), ..Self::default() }
    }

    /// Checks the retention.
    ///
    /// # Errors
    /// The broken rule.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_retention(self.retention_seconds.flatten(), &mut violations);
        violations.finish()
    }
}

/// What became of a topic that was to be created or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicPut {
    /// It was created.
    Created(Topic),
    /// It was there, and is now as asked.
    Updated(Topic),
    /// It is there with this ordering, which never changes. Nothing was written.
    OtherOrdering(Ordering),
    /// It was deleted at the same time. Nothing was written.
    Deleted,
}

fn check_retention(seconds: Option<i64>, violations: &mut Violations) {
    violations.require(
        seconds.is_none_or(|seconds| RETENTION_SECONDS.contains(&seconds)),
        "retention_seconds",
        &format!("must be between {} and {}", RETENTION_SECONDS.start(), RETENTION_SECONDS.end()),
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> NewTopic {
        NewTopic { name: name.to_owned(), ordering: Ordering::Partition, retention_seconds: None }
    }

    #[test]
    fn names_that_are_no_names() {
        for name in ["", ".", "..", "42", "a b", "ä", "a/b", "a\0", &"x".repeat(256)] {
            assert!(named(name).check().is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_id_beyond_what_is_stored_names_nothing() {
        assert_eq!(TopicRef::parse("9223372036854775807"), Some(TopicRef::Id(i64::MAX)));
        assert_eq!(TopicRef::parse("9223372036854775808"), None);
        assert_eq!(TopicRef::parse(""), None);
    }

    proptest! {
        #[test]
        fn a_good_name_refers_to_itself(name in "[A-Za-z0-9._-]{0,254}[A-Za-z_-]") {
            prop_assert!(named(&name).check().is_ok());
            prop_assert_eq!(TopicRef::parse(&name), Some(TopicRef::Name(name)));
        }

        #[test]
        fn what_refers_by_name_is_a_good_name(text in "\\PC{0,300}") {
            match TopicRef::parse(&text) {
                Some(TopicRef::Name(name)) => prop_assert!(named(&name).check().is_ok()),
                Some(TopicRef::Id(_)) => prop_assert!(named(&text).check().is_err()),
                None => {}
            }
        }

        #[test]
        fn retention_is_in_its_bounds(seconds: i64) {
            let topic = NewTopic { retention_seconds: Some(seconds), ..named("orders") };
            prop_assert_eq!(topic.check().is_ok(), RETENTION_SECONDS.contains(&seconds));
        }
    }
}
