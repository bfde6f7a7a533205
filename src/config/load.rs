//! Combines the sources of settings. A later source wins over an earlier one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ::config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::Config;

/// The compiled-in file: all keys, with their defaults.
const DEFAULTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/pgtopic.toml"));

/// The prefix of pgtopic's environment variables.
const PREFIX: &str = "PGTOPIC_";

/// Environment variables without the prefix that are read too. The variable with the prefix wins
/// over its alias.
const ALIASES: [(&str, &str); 4] = [
    ("DATABASE_URL", "database.url"),
    ("WORKER_CONCURRENCY", "worker.concurrency"),
    ("MAX_RETRIES", "delivery.max_retries"),
    ("BACKOFF_FACTOR", "delivery.backoff_factor"),
];

/// Why the settings cannot be used: one line that names the key and the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

/// The sources of settings, beside the compiled-in defaults.
#[derive(Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Vec<(String, String)>,
    /// The flags that were given.
    pub flags: Vec<Flag>,
}

/// A flag of the command line that stands for a setting.
pub struct Flag {
    /// As it is typed: `--bind`.
    pub name: &'static str,
    /// The setting it stands for: `api.bind`.
    pub key: &'static str,
    /// The values that were given. Several values make a list.
    pub values: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self::load(&Sources::default()).expect("a test loads the compiled-in defaults")
    }
}

impl Config {
    /// Reads all sources and checks every value.
    ///
    /// # Errors
    /// [`ConfigError`] for the first problem: a file that cannot be read, an unknown key, a value
    /// of the wrong kind or out of its range.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let defaults = Layer::from_toml("the compiled-in defaults", DEFAULTS)?;
        let known = Known::from(&defaults);
        let file = match &sources.file {
            None => Layer::default(),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError(format!("cannot read {name}: {error}")))?;
                Layer::from_toml(&name, &text)?
            }
        };

        let mut builder = ::config::Config::builder();
        let mut origins = Origins::new();
        for mut layer in [
            defaults,
            file,
            Layer::from_aliases(&sources.environment),
            Layer::from_environment(&sources.environment),
            Layer::from_flags(&sources.flags),
        ] {
            known.check(&layer)?;
            known.split_lists(&mut layer);
            origins.extend(
                layer
                    .0
                    .iter()
                    .map(|(key, value)| (key.clone(), value.origin().unwrap_or_default().to_owned())),
            );
            builder = builder.add_source(layer);
        }
        let config: Self = builder
            .build()
            .and_then(::config::Config::try_deserialize)
            .map_err(|error| wrong_kind(&error, &origins))?;
        config.check(&origins)?;
        Ok(config)
    }
}

/// The settings of one source by their full keys, such as `api.bind`. Every value holds its origin.
#[derive(Debug, Clone, Default)]
struct Layer(Vec<(String, Value)>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}

impl Layer {
    fn from_toml(name: &str, text: &str) -> Result<Self, ConfigError> {
        let tree = File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
            // The parser quotes the line, which may hold a password. So only the place and the
            // reason are kept.
            let text = match &error {
                ::config::ConfigError::FileParse { cause, .. } => cause.to_string(),
                other => other.to_string(),
            };
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let place = lines.next().unwrap_or_default().to_owned();
            let reason = lines.next_back().map(|line| format!(": {line}")).unwrap_or_default();
            ConfigError(format!("{name}: {place}{reason}"))
        })?;
        let mut layer = Self::default();
        layer.flatten("", tree, &name.to_owned());
        Ok(layer)
    }

    fn flatten(&mut self, above: &str, table: Map<String, Value>, origin: &String) {
        for (name, value) in table {
            let key = if above.is_empty() { name } else { format!("{above}.{name}") };
            match value.kind {
                ValueKind::Table(inner) if !inner.is_empty() => self.flatten(&key, inner, origin),
                kind => self.0.push((key, Value::new(Some(origin), kind))),
            }
        }
    }

    fn push(&mut self, key: impl Into<String>, origin: &str, kind: impl Into<ValueKind>) {
        self.0.push((key.into(), Value::new(Some(&origin.to_owned()), kind)));
    }

    fn from_aliases(environment: &[(String, String)]) -> Self {
        let mut layer = Self::default();
        for (alias, key) in ALIASES {
            let given = environment.iter().find(|(name, value)| name == alias && !value.is_empty());
            if let Some((name, value)) = given {
                layer.push(key, &format!("the environment variable {name}"), value.clone());
            }
        }
        layer
    }

    fn from_environment(environment: &[(String, String)]) -> Self {
        let mut layer = Self::default();
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if !is_service_link(rest) {
                let key = rest.to_lowercase().replace("__", ".");
                layer.push(key, &format!("the environment variable {name}"), value.clone());
            }
        }
        layer
    }

    fn from_flags(flags: &[Flag]) -> Self {
        let mut layer = Self::default();
        for Flag { name, key, values } in flags {
            layer.push(*key, &format!("the flag {name}"), values.join(","));
        }
        layer
    }
}

/// Whether a variable comes from Kubernetes. It gives every container variables about every
/// service. A service called "pgtopic" makes some with our prefix: `PGTOPIC_SERVICE_HOST`,
/// `PGTOPIC_PORT`, `PGTOPIC_PORT_8000_TCP_ADDR`, … They are not settings.
fn is_service_link(rest: &str) -> bool {
    !rest.contains("__")
        && (rest == "PORT"
            || rest == "SERVICE_HOST"
            || rest.starts_with("SERVICE_PORT")
            || rest.starts_with("PORT_"))
}

/// All keys, and which of them are lists.
struct Known {
    keys: BTreeSet<String>,
    lists: BTreeSet<String>,
}

impl Known {
    fn from(defaults: &Layer) -> Self {
        let is_list = |value: &Value| matches!(value.kind, ValueKind::Array(_));
        Self {
            keys: defaults.0.iter().map(|(key, _)| key.clone()).collect(),
            lists: defaults
                .0
                .iter()
                .filter(|(_, value)| is_list(value))
                .map(|(key, _)| key.clone())
                .collect(),
        }
    }

    fn check(&self, layer: &Layer) -> Result<(), ConfigError> {
        for (key, value) in &layer.0 {
            let empty_section = matches!(value.kind, ValueKind::Table(_))
                && self.keys.iter().any(|known| known.starts_with(&format!("{key}.")));
            if !self.keys.contains(key) && !empty_section {
                let origin = value.origin().unwrap_or_default();
                return Err(ConfigError(format!("unknown setting {key} in {origin}")));
            }
        }
        Ok(())
    }

    /// Splits lists that are given as one comma-separated text. A file may write a list like this
    /// too: to refuse it would quote it in the error, and `api.tokens` is secret.
    fn split_lists(&self, layer: &mut Layer) {
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

/// The source of each key's value.
pub(super) type Origins = BTreeMap<String, String>;

/// The error for a value of the wrong kind. It names the key, the source and the reason.
fn wrong_kind(error: &::config::ConfigError, origins: &Origins) -> ConfigError {
    let (key, reason) = match error {
        ::config::ConfigError::Type { key: Some(key), unexpected, expected, .. } => {
            (key, format!("expected {expected}, not {unexpected}"))
        }
        ::config::ConfigError::At { key: Some(key), error, .. } => (key, error.to_string()),
        other => return ConfigError(other.to_string()),
    };
    // The reason shows the value, which may be a token in the wrong shape.
    let is_secret = key.starts_with("api.tokens");
    let reason = if is_secret { "must be a list of texts, each role:token".to_owned() } else { reason };
    // The first item of a list is called `key[0]`.
    let origin = origins.get(key.split('[').next().unwrap_or(key)).map_or("", String::as_str);
    ConfigError(format!("{key}: {reason} (from {origin})"))
}

#[cfg(test)]
mod tests;
