//! The settings of one source.

use ::config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::environment::Variable;

/// A flag of the command line that stands for a setting.
pub struct Flag {
    /// As it is typed: `--bind`.
    pub name: &'static str,
    /// The setting it stands for: `api.bind`.
    pub key: &'static str,
    /// The values that were given. Several values make a list.
    pub values: Vec<String>,
}

/// The settings of one source by their full keys, such as `api.bind`. Every value holds its origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(pub(super) Vec<(String, Value)>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}

impl Layer {
    /// The error is one line.
    pub(super) fn from_toml(name: &str, text: &str) -> Result<Self, String> {
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
            format!("{name}: {place}{reason}")
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

    pub(super) fn from_variables(variables: &[Variable<'_>]) -> Self {
        let mut layer = Self::default();
        for Variable { value, key, origin, .. } in variables {
            layer.push(key, origin, *value);
        }
        layer
    }

    pub(super) fn from_flags(flags: &[Flag]) -> Self {
        let mut layer = Self::default();
        for Flag { name, key, values } in flags {
            layer.push(key, &format!("the flag {name}"), values.join(","));
        }
        layer
    }

    fn push(&mut self, key: &str, origin: &str, kind: impl Into<ValueKind>) {
        self.0.push((key.to_owned(), Value::new(Some(&origin.to_owned()), kind)));
    }

    /// Removes a key. Returns whether it was there.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(one, _)| one != key);
        self.0.len() < before
    }
}
