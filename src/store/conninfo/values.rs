//! All values that were given: in the text, and in the environment.

use std::{collections::HashMap, path::PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    error::ConninfoError,
    keywords::{Handling, KEYWORDS},
    text,
};

/// What a process has around it.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Environment variables.
    pub(crate) variables: HashMap<String, String>,
    /// The user's home directory.
    pub(crate) home: Option<PathBuf>,
    /// The name of the user who runs it.
    pub(crate) user: Option<String>,
}

impl Surroundings {
    /// Those of this process. `more` are variables that count where the process has none, or an
    /// empty one.
    pub(crate) fn of_process(more: &HashMap<String, SecretString>) -> Self {
        let more = more.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.is_empty());
        let variables: HashMap<String, String> = more.chain(process).collect();
        let account = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
        let home = variables.get("HOME").map(PathBuf::from);
        Self {
            home: home.or_else(|| account.as_ref().map(|account| account.dir.clone())),
            user: account.map(|account| account.name),
            variables,
        }
    }

    /// Whether the environment alone says where a database is.
    pub(crate) fn names_a_database(&self) -> bool {
        ["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE"]
            .iter()
            .any(|name| self.variables.get(*name).is_some_and(|value| !value.is_empty()))
    }
}

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) variable: Option<&'static str>,
}

/// All values that were given, by their keywords.
pub(super) struct Settings<'a> {
    values: HashMap<&'static str, Value>,
    surroundings: &'a Surroundings,
}

impl<'a> Settings<'a> {
    pub(super) fn read(text: &str, surroundings: &'a Surroundings) -> Result<Self, ConninfoError> {
        let mut values = HashMap::new();
        let pairs = if text.trim().is_empty() { Vec::new() } else { text::parse(text)? };
        for (keyword, text) in pairs {
            values.insert(keyword, Value { text, variable: None });
        }
        let text_names_a_host = values.contains_key("host") || values.contains_key("hostaddr");
        for keyword in KEYWORDS {
            let Some(variable) = keyword.variable else { continue };
            if let Some(text) = surroundings.variables.get(variable).filter(|text| !text.is_empty()) {
                values
                    .entry(keyword.name)
                    .or_insert_with(|| Value { text: text.clone(), variable: Some(variable) });
            }
        }
        for keyword in KEYWORDS {
            let Some(value) = values.get(keyword.name) else { continue };
            // A text that names a host needs no service.
            if keyword.name == "service" && value.variable.is_some() && text_names_a_host {
                continue;
            }
            let refused = |remedy| {
                Err(ConninfoError::Unsupported { keyword: keyword.name, variable: value.variable, remedy })
            };
            match &keyword.handling {
                Handling::Used | Handling::Ignored => {}
                Handling::Only(words, _) if words.contains(&value.text.to_lowercase().as_str()) => {}
                Handling::Only(_, remedy) | Handling::Refused(remedy) => return refused(remedy),
            }
        }
        Ok(Self { values, surroundings })
    }

    pub(super) fn get(&self, keyword: &'static str) -> Option<&Value> {
        self.values.get(keyword).filter(|value| !value.text.is_empty())
    }

    pub(super) fn text(&self, keyword: &'static str) -> Option<String> {
        self.get(keyword).map(|value| value.text.clone())
    }

    /// A value that must be one of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        keyword: &'static str,
        words: &[(&str, T)],
        rule: &'static str,
    ) -> Result<Option<T>, ConninfoError> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == value.text).map(|(_, meaning)| *meaning);
        found.map(Some).ok_or(ConninfoError::Value { keyword, variable: value.variable, rule })
    }

    pub(super) fn number(&self, keyword: &'static str) -> Result<Option<u32>, ConninfoError> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        let rule = "must be a whole number, 0 or more";
        value.text.trim().parse().map(Some).map_err(|_| ConninfoError::Value {
            keyword,
            variable: value.variable,
            rule,
        })
    }

    /// A file in `~/.postgresql`, if it is there.
    pub(super) fn home_file(&self, name: &str) -> Option<PathBuf> {
        let path = self.surroundings.home.as_ref()?.join(".postgresql").join(name);
        path.is_file().then_some(path)
    }

    /// The parts of a list. One that is not given has none.
    pub(super) fn parts(&self, keyword: &'static str) -> Vec<&str> {
        self.get(keyword).map(|value| value.text.split(',').map(str::trim).collect()).unwrap_or_default()
    }

    pub(super) fn wrong(&self, keyword: &'static str, rule: &'static str) -> ConninfoError {
        ConninfoError::Value { keyword, variable: self.get(keyword).and_then(|value| value.variable), rule }
    }
}
