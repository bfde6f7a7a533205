//! All keys of settings, and what somebody may have meant by a key that is none.

use std::collections::BTreeSet;

use ::config::{Value, ValueKind};

use super::{environment::variable_of, layer::Layer};
use crate::domain::spelling;

/// All keys, and which of them are lists.
pub(super) struct Known {
    keys: BTreeSet<String>,
    lists: BTreeSet<String>,
}

impl Known {
    pub(super) fn from(defaults: &Layer) -> Self {
        let is_list = |value: &Value| matches!(value.kind, ValueKind::Array(_));
        let lists = defaults.0.iter().filter(|(_, value)| is_list(value));
        Self {
            keys: defaults.0.iter().map(|(key, _)| key.clone()).collect(),
            lists: lists.map(|(key, _)| key.clone()).collect(),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.keys.iter().map(String::as_str)
    }

    /// Removes unknown keys from a layer. Returns a line for each of them. A layer of variables
    /// gets suggestions in their form.
    pub(super) fn remove_unknown(&self, layer: &mut Layer, variables: bool) -> Vec<String> {
        let mut unknown = Vec::new();
        layer.0.retain(|(key, value)| {
            let empty_section = matches!(value.kind, ValueKind::Table(_)) && self.is_section(key);
            let known = self.keys.contains(key);
            if !known && !empty_section {
                let origin = value.origin().unwrap_or_default();
                let advice = self.advise(key, variables).unwrap_or_default();
                unknown.push(format!("unknown setting {key} in {origin}{advice}"));
            }
            known
        });
        unknown
    }

    fn is_section(&self, name: &str) -> bool {
        self.keys().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    fn advise(&self, key: &str, variables: bool) -> Option<String> {
        if self.is_section(key) {
            return Some(format!(": it is a section, write [{key}]"));
        }
        let meant = self.suggest(key)?;
        let meant = if variables { variable_of(meant) } else { meant.to_owned() };
        Some(format!(": did you mean {meant}?"))
    }

    /// The key that is most alike. If none is, the key that has the same name in another section.
    fn suggest(&self, given: &str) -> Option<&str> {
        let given = given.replace('-', "_");
        spelling::nearest(&given, self.keys()).or_else(|| {
            let errors = |key: &str| spelling::errors(name(&given), name(key));
            let near = self.keys().filter_map(|key| Some((errors(key)?, key)));
            near.min().map(|(_, key)| key)
        })
    }

    /// Splits lists that are given as one comma-separated text. A file may write a list like this
    /// too: to refuse it would quote it in the error, and `api.tokens` is secret.
    pub(super) fn split_lists(&self, layer: &mut Layer) {
        for (key, value) in &mut layer.0 {
            if !self.lists.contains(key) {
                continue;
            }
            if let ValueKind::String(text) = &value.kind {
                let origin = value.origin().map(str::to_owned);
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let items: Vec<Value> =
                    items.map(|item| Value::new(origin.as_ref(), item.to_owned())).collect();
                value.kind = ValueKind::Array(items);
            }
        }
    }
}

/// The name of a setting in its section.
fn name(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::DEFAULTS;

    #[rstest]
    #[case("worker.concurency", Some("worker.concurrency"))]
    #[case("_worker.concurrency", Some("worker.concurrency"))]
    #[case("workers.concurrency", Some("worker.concurrency"))]
    #[case("delivery.max-retries", Some("delivery.max_retries"))]
    #[case("worker.max_retries", Some("delivery.max_retries"))]
    #[case("concurrency", Some("worker.concurrency"))]
    #[case("api.url", Some("database.url"))]
    #[case("colour.of_the_sky", None)]
    fn what_was_meant(#[case] given: &str, #[case] meant: Option<&str>) {
        let known = Known::from(&Layer::from_toml("defaults", DEFAULTS).unwrap());
        assert_eq!(known.suggest(given), meant);
    }
}
