//! The settings of a process as people see them. No secret is among them.

use std::collections::BTreeMap;

use ::config::{Value, ValueKind};

use super::{DEFAULTS, layer::Layer};

/// These values are secrets, or hold some.
const SECRETS: [&str; 3] = ["database.url", "database.listen_url", "api.tokens"];

/// A setting as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its full key, such as `api.bind`.
    pub key: String,
    /// Its value. Of a secret, whether it is set.
    pub value: String,
    /// The default.
    pub default: String,
    /// Where the value comes from.
    pub origin: String,
    /// What it means, and its unit. Its lines are paragraphs, and words that it may be.
    pub meaning: String,
}

impl Shown {
    /// Whether the value is not the default.
    pub fn is_changed(&self) -> bool {
        self.value != self.default
    }
}

/// All settings, in the order of the compiled-in file. The first layer holds the defaults; a later
/// one wins.
pub(super) fn shown(layers: &[Layer]) -> Vec<Shown> {
    let values = |layer: &Layer| layer.0.iter().cloned().collect::<BTreeMap<String, Value>>();
    let defaults = layers.first().map(values).unwrap_or_default();
    let last: BTreeMap<String, Value> = layers.iter().flat_map(values).collect();
    let show = |(key, meaning): (String, String)| Shown {
        value: last.get(&key).map(|value| text(&key, value)).unwrap_or_default(),
        default: defaults.get(&key).map(|value| text(&key, value)).unwrap_or_default(),
        origin: last.get(&key).and_then(|value| value.origin()).unwrap_or_default().to_owned(),
        meaning,
        key,
    };
    meanings(DEFAULTS).into_iter().map(show).collect()
}

fn text(key: &str, value: &Value) -> String {
    let text = match &value.kind {
        ValueKind::Array(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        _ => value.to_string(),
    };
    match (&value.kind, SECRETS.contains(&key)) {
        (ValueKind::Array(items), true) if !items.is_empty() => format!("{} set", items.len()),
        (_, true) if !text.is_empty() => "set".to_owned(),
        _ => text,
    }
}

/// The keys of a file, and the comment above each.
fn meanings(file: &str) -> Vec<(String, String)> {
    let (mut section, mut comment, mut found) = ("", String::new(), Vec::new());
    let mut was_word = false;
    for line in file.lines() {
        if let Some(said) = line.strip_prefix('#') {
            // Words that a setting may be are indented.
            let is_word = said.starts_with("   ");
            comment.push(if is_word || was_word { '\n' } else { ' ' });
            comment.push_str(said.trim());
            was_word = is_word;
        } else if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.push((format!("{section}.{key}"), comment.trim().to_owned()));
            comment.clear();
        } else if line.is_empty() {
            comment.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flag, Sources};

    #[test]
    fn each_setting_is_shown_with_its_meaning_and_no_secret_is() {
        let flag = |key, value: &str| Flag { name: "--x", key, values: vec![value.to_owned()] };
        let flags = vec![
            flag("database.url", "postgres://app:geheim@db/app"),
            flag("database.listen_url", "postgres://app:geheim@db/app"),
            flag("api.tokens", "admin:geheim"),
            flag("worker.concurrency", "7"),
        ];
        let config = Config::read(&Sources { flags, ..Sources::default() }).config;
        let all = &config.shown;
        let known = Layer::from_toml("defaults", DEFAULTS).unwrap();
        assert_eq!(all.len(), known.0.len());
        assert!(all.iter().all(|setting| !setting.meaning.is_empty()), "{all:?}");
        assert!(!format!("{all:?}").contains("geheim"), "{all:?}");
        let of = |key| all.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!((of("database.url").value.as_str(), of("api.tokens").value.as_str()), ("set", "1 set"));
        let changed = of("worker.concurrency");
        assert_eq!((changed.value.as_str(), changed.default.as_str()), ("7", "100"));
        assert_eq!(changed.origin, "the flag --x");
        assert_eq!(all.iter().filter(|setting| setting.is_changed()).count(), 4);
    }
}
