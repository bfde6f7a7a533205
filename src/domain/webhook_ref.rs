//! Which webhook is meant: by its id, or by its topic and name.

use std::fmt;

use super::topic::{TopicRef, is_name};

/// A webhook, given by its id, or by its topic and its name (`orders:billing`). The two never look
/// alike: an id has no colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookRef {
    /// By id.
    Id(i64),
    /// By topic and name.
    Name {
        /// Its topic, by id or name.
        topic: TopicRef,
        /// Its name, which is unique in the topic.
        name: String,
    },
}

impl WebhookRef {
    /// Reads an id, or `topic:name`. `None` if no webhook can have that id or name.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((topic, name)) = text.split_once(':') else {
            return text
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse().ok().map(Self::Id))?;
        };
        is_name(name).then_some(Self::Name { topic: TopicRef::parse(topic)?, name: name.to_owned() })
    }
}

impl fmt::Display for WebhookRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name { topic: TopicRef::Id(id), name } => write!(f, "{id}:{name}"),
            Self::Name { topic: TopicRef::Name(topic), name } => write!(f, "{topic}:{name}"),
        }
    }
}

impl From<i64> for WebhookRef {
    fn from(id: i64) -> Self {
        Self::Id(id)
    }
}

/// A webhook that was found: what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookNames {
    /// Its id.
    pub id: i64,
    /// Its name, which is unique in its topic.
    pub name: String,
    /// Its topic's id.
    pub topic_id: i64,
    /// Its topic's name.
    pub topic: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_or_a_topic_and_a_name_name_a_webhook() {
        assert_eq!(WebhookRef::parse("7"), Some(WebhookRef::Id(7)));
        let named = |topic| Some(WebhookRef::Name { topic, name: "billing".to_owned() });
        assert_eq!(WebhookRef::parse("orders:billing"), named(TopicRef::Name("orders".to_owned())));
        assert_eq!(WebhookRef::parse("12:billing"), named(TopicRef::Id(12)));
        for text in
            ["", ":", "orders:", ":billing", "orders:1", "a:b:c", "-1", "99999999999999999999", "orders"]
        {
            assert_eq!(WebhookRef::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_shown_as_it_was(text in "([0-9]{1,3}|[a-z]{1,3})(:[a-z.]{0,3})?") {
            if let Some(webhook) = WebhookRef::parse(&text) {
                prop_assert_eq!(WebhookRef::parse(&webhook.to_string()), Some(webhook));
            }
        }
    }
}
