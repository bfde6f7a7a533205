//! Which topics somebody may see and use.

use super::topic::{is_name, is_start_of_name};

/// Which topics somebody may see and use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TopicScope {
    /// All of them.
    #[default]
    All,
    /// Those that fit one of these patterns.
    Only(Vec<TopicPattern>),
}

impl TopicScope {
    /// The topics that fit one of these patterns; `None`: all. What is no pattern fits nothing.
    pub fn of(patterns: Option<&[String]>) -> Self {
        let Some(patterns) = patterns else { return Self::All };
        Self::Only(patterns.iter().filter_map(|pattern| TopicPattern::parse(pattern)).collect())
    }

    /// Whether the topic of this name is one of them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.fits(name)),
        }
    }
}

/// A topic's name, or the beginning of names with `*` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicPattern {
    /// This topic.
    Name(String),
    /// Each topic whose name begins so.
    Start(String),
}

impl TopicPattern {
    /// Reads a pattern. `None` if no topic can have such a name, or if `*` stands anywhere but at
    /// the end.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(start) => is_start_of_name(start).then(|| Self::Start(start.to_owned())),
            None => is_name(text).then(|| Self::Name(text.to_owned())),
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(one) => one == name,
            Self::Start(start) => name.starts_with(start.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_at_the_end_alone() {
        for bad in ["", "a*b", "*a", "a**", "a b", "a/*", "42", ".", "ä*"] {
            assert_eq!(TopicPattern::parse(bad), None, "{bad:?}");
        }
        assert_eq!(TopicPattern::parse("*"), Some(TopicPattern::Start(String::new())));
        assert_eq!(TopicPattern::parse("42*"), Some(TopicPattern::Start("42".to_owned())));
    }

    proptest! {
        #[test]
        fn a_name_fits_itself_and_a_start_fits_what_begins_so(start in "[a-z._-]{1,9}", rest in "[a-z0-9._-]{0,9}") {
            let name = format!("{start}{rest}x");
            let scope = |pattern: &str| TopicScope::Only(vec![TopicPattern::parse(pattern).unwrap()]);
            let (starred, longer) = (format!("{start}*"), format!("{name}x"));
            prop_assert!(scope(&starred).contains(&name));
            prop_assert!(scope(&name).contains(&name));
            prop_assert!(!scope(&name).contains(&longer));
            let starred = format!("{name}*");
            prop_assert!(!scope(&starred).contains(&name[..name.len() - 1]));
            prop_assert!(TopicScope::All.contains(&name));
            prop_assert!(!TopicScope::Only(Vec::new()).contains(&name));
        }
    }
}
