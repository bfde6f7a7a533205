//! Combines the sources of settings. A later source wins over an earlier one.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Config, DEFAULTS,
    environment::Environment,
    known::Known,
    layer::{Flag, Layer},
    shown::shown,
};

/// Why the settings cannot be used. Each problem is one line that names the key and the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    /// All problems, at least one.
    pub problems: Vec<String>,
}

/// The sources of settings, beside the compiled-in defaults.
#[derive(Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Environment,
    /// The flags that were given.
    pub flags: Vec<Flag>,
}

/// What was read.
pub struct Reading {
    /// The settings. The default stands in for a setting that cannot be used.
    pub config: Config,
    /// What cannot be used, a line each. If there is any, the settings must not be used.
    pub problems: Vec<String>,
    /// What was read but means nothing, a line each.
    pub warnings: Vec<String>,
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
    /// [`ConfigError`] with every problem: a file that cannot be read, an unknown key, a value of
    /// the wrong kind or out of its range.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let Reading { config, problems, .. } = Self::read(sources);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// The same. It also gives what can be used, so that other parts can check it too.
    pub fn read(sources: &Sources) -> Reading {
        let defaults = defaults();
        let known = Known::from(&defaults);
        let mut problems = sources.environment.problems().to_vec();
        let file = read_file(sources.file.as_ref()).unwrap_or_else(|problem| {
            problems.push(problem);
            Layer::default()
        });

        let mut layers = vec![defaults, file];
        layers.extend(sources.environment.settings().map(|group| Layer::from_variables(&group)));
        layers.push(Layer::from_flags(&sources.flags));
        let mut origins = Origins::new();
        for (at, layer) in layers.iter_mut().enumerate() {
            problems.extend(known.remove_unknown(layer, at > 1));
            known.split_lists(layer);
            let origin = |value: &::config::Value| value.origin().unwrap_or_default().to_owned();
            origins.extend(layer.0.iter().map(|(key, value)| (key.clone(), origin(value))));
        }
        let shown = shown(&layers);
        let mut config = combine(layers, &origins, &mut problems);
        config.shown = shown;
        config.database.libpq = sources.environment.libpq();
        problems.extend(config.check(&origins));
        let misses = sources.environment.near_misses(known.keys());
        let warnings =
            misses.map(|(name, meant)| format!("the variable {name} is no setting: did you mean {meant}?"));
        Reading { warnings: warnings.collect(), config, problems }
    }
}

fn defaults() -> Layer {
    Layer::from_toml("the compiled-in defaults", DEFAULTS).expect("a test loads the compiled-in defaults")
}

fn read_file(file: Option<&PathBuf>) -> Result<Layer, String> {
    let Some(path) = file else { return Ok(Layer::default()) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    Layer::from_toml(&name, &text)
}

/// The values of all layers; the first layer holds the defaults. A value of the wrong kind is a
/// problem. Its default stands in, so that the other values are judged too.
fn combine(mut layers: Vec<Layer>, origins: &Origins, problems: &mut Vec<String>) -> Config {
    loop {
        let builder = layers
            .iter()
            .fold(::config::Config::builder(), |builder, layer| builder.add_source(layer.clone()));
        let error = match builder.build().and_then(::config::Config::try_deserialize) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let (key, problem) = wrong_kind(&error, origins);
        problems.push(problem);
        let mut removed = false;
        for layer in &mut layers[1..] {
            removed |= key.is_some_and(|key| layer.remove(key));
        }
        if !removed {
            layers.truncate(1);
        }
    }
}

/// The source of each key's value.
pub(super) type Origins = BTreeMap<String, String>;

/// The key of a value of the wrong kind, and a line that names the key, the source and the reason.
fn wrong_kind<'a>(error: &'a ::config::ConfigError, origins: &Origins) -> (Option<&'a str>, String) {
    let (key, reason) = match error {
        ::config::ConfigError::Type { key: Some(key), unexpected, expected, .. } => {
            (key, format!("expected {expected}, not {unexpected}"))
        }
        ::config::ConfigError::At { key: Some(key), error, .. } => (key, error.to_string()),
        other => return (None, other.to_string()),
    };
    // The reason shows the value, which may be a token in the wrong shape.
    let is_secret = key.starts_with("api.tokens");
    let reason = if is_secret { "must be a list of texts, each role:token".to_owned() } else { reason };
    // The first item of a list is called `key[0]`.
    let name = key.split('[').next().unwrap_or(key);
    let origin = origins.get(name).map_or("", String::as_str);
    (Some(name), format!("{key}: {reason} (from {origin})"))
}

#[cfg(test)]
mod tests;
