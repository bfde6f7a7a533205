//! What a topic is made of, and the rules it must keep.

use serde::{Deserialize, Serialize};

use super::{topic::Ordering, violation::Violations};

/// The longest name, in bytes.
const NAME_MAX: usize = 255;
/// The longest retention: a hundred years.
const RETENTION_MAX: i64 = 100 * 366 * 86_400;

/// A topic, named by its id or by its name. The two never look alike: a name is not all digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    /// By id.
    Id(i64),
    /// By name.
    Name(String),
}

impl TopicRef {
    /// What the text names. `None` if no topic can have that id or name.
    pub fn parse(text: &str) -> Option<Self> {
        if is_name(text) {
            return Some(Self::Name(text.to_owned()));
        }
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Self::Id)).flatten()
    }

    /// The id, where it is named by its id.
    pub fn id(&self) -> Option<i64> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(_) => None,
        }
    }

    /// The name, where it is named by its name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Id(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    /// 1 to 255 of `[A-Za-z0-9._-]`, not all digits.
    #[schema(examples("orders"))]
    pub name: String,
    /// Whether partitions are kept in order. Never changes.
    #[serde(default)]
    pub ordering: Ordering,
    /// How long messages that nobody is owed any more are kept; null keeps them.
    #[serde(default)]
    pub retention_seconds: Option<i64>,
}

impl NewTopic {
    /// Whether every rule holds.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        violations.require(
            is_name(&self.name),
            "name",
            "must be 1 to 255 of [A-Za-z0-9._-] and not all digits",
        );
        check_retention(self.retention_seconds, &mut violations);
        violations.finish()
    }
}

/// What may change about a topic. What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicChanges {
    /// How long messages that nobody is owed any more are kept; null keeps them.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub retention_seconds: Option<Option<i64>>,
    /// A paused topic refuses messages.
    #[serde(default)]
    pub paused: Option<bool>,
}

impl TopicChanges {
    /// Whether every rule holds.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_retention(self.retention_seconds.flatten(), &mut violations);
        violations.finish()
    }
}

fn check_retention(seconds: Option<i64>, violations: &mut Violations) {
    violations.require(
        seconds.is_none_or(|seconds| (1..=RETENTION_MAX).contains(&seconds)),
        "retention_seconds",
        &format!("must be between 1 and {RETENTION_MAX}"),
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
        for name in ["", "42", "a b", "ä", "a/b", "a\0", &"x".repeat(256)] {
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
        fn a_good_name_refers_to_itself(name in "[A-Za-z0-9._-]{0,254}[A-Za-z._-]") {
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
        fn retention_is_positive(seconds: i64) {
            let topic = NewTopic { retention_seconds: Some(seconds), ..named("orders") };
            prop_assert_eq!(topic.check().is_ok(), (1..=RETENTION_MAX).contains(&seconds));
        }
    }
}
