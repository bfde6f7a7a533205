//! The variables of the process and of the file `.env`: which of them are settings.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io::ErrorKind,
    path::Path,
};

use secrecy::SecretString;

/// The file beside the environment. It is read in the working directory only.
const DOT_ENV: &str = ".env";

/// The prefix of pgtopic's variables.
const PREFIX: &str = "PGTOPIC_";

/// The prefix of libpq's variables. Those of pgtopic begin with it, too.
const LIBPQ_PREFIX: &str = "PG";

/// Stands between the section and the name of a setting.
const SEPARATOR: &str = "__";

/// Variables without the prefix that are read too. The variable with the prefix wins over its
/// alias.
const ALIASES: [(&str, &str); 4] = [
    ("DATABASE_URL", "database.url"),
    ("WORKER_CONCURRENCY", "worker.concurrency"),
    ("MAX_RETRIES", "delivery.max_retries"),
    ("BACKOFF_FACTOR", "delivery.backoff_factor"),
];

/// The variables of the process, and below them those of `.env`. An empty variable counts as not
/// set.
#[derive(Default)]
pub struct Environment {
    process: Vec<(String, String)>,
    file: Vec<(String, String)>,
    problems: Vec<String>,
}

/// A variable that is a setting.
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) key: String,
    /// As errors name it.
    pub(super) origin: String,
}

impl Environment {
    /// The variables of this process, and those of `.env` in its working directory.
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os(), Some(Path::new(DOT_ENV)))
    }

    /// These variables, and those of a file. The file need not exist.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, file: Option<&Path>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            environment.add(&name, value);
        }
        if let Some(file) = file {
            environment.read(file);
        }
        environment
    }

    /// The value of a variable, whether or not it is a setting.
    pub fn get(&self, wanted: &str) -> Option<&str> {
        let mut all = self.process.iter().chain(&self.file);
        all.find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// The variables of libpq in `.env`: `PGHOST`, `PGPASSWORD`, …
    pub(super) fn libpq(&self) -> HashMap<String, SecretString> {
        let of_libpq = |name: &str| name.starts_with(LIBPQ_PREFIX) && !name.starts_with(PREFIX);
        // Within a file, the last line wins. It stands first here.
        let of_file = self.file.iter().rev().filter(|(name, _)| of_libpq(name));
        of_file.map(|(name, value)| (name.clone(), value.clone().into())).collect()
    }

    fn add(&mut self, name: &OsStr, value: OsString) {
        // A name that is not Unicode is none of ours.
        let Some(name) = name.to_str().filter(|_| !value.is_empty()) else { return };
        match value.into_string() {
            Ok(value) => self.process.push((name.to_owned(), value)),
            Err(_) if key_of(name).is_some() || alias(name).is_some() => {
                self.problems.push(format!("the environment variable {name} is not UTF-8"));
            }
            Err(_) => {}
        }
    }

    /// Reads a file of `NAME=value` lines. Errors name the line, and show nothing of it: it may
    /// hold a password.
    fn read(&mut self, file: &Path) {
        // A directory of this name is somebody else's, for example a virtual environment of Python.
        if file.is_dir() {
            return;
        }
        let name = file.display();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.problems.push(format!("cannot read {name}: {error}")),
        };
        for line in dotenvy::from_read_iter(text.as_bytes()) {
            match line {
                Ok((_, value)) if value.is_empty() => {}
                // Within a file, the last line wins.
                Ok(variable) => self.file.insert(0, variable),
                Err(dotenvy::Error::LineParse(line, _)) => {
                    let first = line.lines().next().unwrap_or_default();
                    let number = text.lines().position(|one| one == first).map_or(0, |at| at + 1);
                    self.problems.push(format!("{name}, line {number}: not NAME=value"));
                }
                Err(error) => self.problems.push(format!("cannot read {name}: {error}")),
            }
        }
    }

    /// What cannot be read.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The settings, in groups. A later group wins over an earlier one.
    pub(super) fn settings(&self) -> [Vec<Variable<'_>>; 4] {
        let of_file = |name: &str| format!("the variable {name} of {DOT_ENV}");
        let of_process = |name: &str| format!("the environment variable {name}");
        [
            settings(&self.file, alias, of_file),
            settings(&self.file, key_of, of_file),
            settings(&self.process, alias, of_process),
            settings(&self.process, key_of, of_process),
        ]
    }

    /// Variables that look like settings but are none: `PGTOPIC_WORKER_CONCURRENCY` has one
    /// underscore where two are needed. Each with the name that is meant.
    pub(super) fn near_misses<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a str> + Clone,
    ) -> impl Iterator<Item = (&'a str, String)> {
        self.process.iter().chain(&self.file).filter_map(move |(name, _)| {
            let rest = name.strip_prefix(PREFIX)?.to_lowercase();
            let meant = keys.clone().find(|key| key.replace('.', "_") == rest)?;
            Some((name.as_str(), variable_of(meant)))
        })
    }
}

fn settings(
    variables: &[(String, String)],
    key: impl Fn(&str) -> Option<String>,
    origin: impl Fn(&str) -> String,
) -> Vec<Variable<'_>> {
    let mut found: Vec<Variable<'_>> = Vec::new();
    for (name, value) in variables {
        let Some(key) = key(name) else { continue };
        // The first one counts, as in `Environment::get`.
        if !found.iter().any(|earlier| earlier.name == name) {
            found.push(Variable { name, value, key, origin: origin(name) });
        }
    }
    found
}

fn alias(name: &str) -> Option<String> {
    ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, key)| (*key).to_owned())
}

/// The setting that a variable stands for: `worker.concurrency` for `PGTOPIC_WORKER__CONCURRENCY`.
/// `None` for a variable that is no setting.
fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    (rest.contains(SEPARATOR) && !is_service_link(name)).then(|| rest.to_lowercase().replace(SEPARATOR, "."))
}

/// The variable of a setting.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_uppercase())
}

/// Whether Kubernetes has made a variable. It gives every container variables about every service:
/// `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT_8000_TCP_ADDR`, … The name of a service, and that of a
/// port, may hold two hyphens in a row, which become two underscores. Then the variable looks like
/// a setting, if the service's name begins with "pgtopic-". No name ends with a hyphen: so
/// `PGTOPIC_API__PORT` is of nobody but the user.
fn is_service_link(name: &str) -> bool {
    let splits = |word: &str, is_rest: fn(&str) -> bool| {
        name.match_indices(word).any(|(at, found)| {
            let (service, rest) = (&name[..at], &name[at + found.len()..]);
            !service.ends_with('_') && is_rest(rest)
        })
    };
    splits("_SERVICE_HOST", str::is_empty)
        || splits("_SERVICE_PORT", |rest| rest.is_empty() || rest.starts_with('_'))
        || splits("_PORT", str::is_empty)
        || splits("_PORT_", is_port)
}

/// Whether this is `8000_TCP` or `8000_TCP_ADDR`.
fn is_port(text: &str) -> bool {
    let mut parts = text.split('_');
    let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"));
    let what = parts.next().is_none_or(|part| matches!(part, "PROTO" | "PORT" | "ADDR"));
    number && protocol && what && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("PGTOPIC_WORKER__CONCURRENCY", Some("worker.concurrency"))]
    #[case("PGTOPIC_WORKER__CONCURENCY", Some("worker.concurency"))]
    #[case("PGTOPIC__WORKER__CONCURRENCY", Some("_worker.concurrency"))]
    #[case("PGTOPIC_WORKER_CONCURRENCY", None)]
    #[case("PGTOPIC_VERSION", None)]
    #[case("PGTOPICS_A__B", None)]
    // Services called pgtopic, pgtopic-api, pgtopic--api, pgtopic-a--b; ports called http, a--b.
    #[case("PGTOPIC_SERVICE_HOST", None)]
    #[case("PGTOPIC_PORT", None)]
    #[case("PGTOPIC_SERVICE_PORT_A__B", None)]
    #[case("PGTOPIC_API_SERVICE_PORT", None)]
    #[case("PGTOPIC_API_SERVICE_PORT_HTTP", None)]
    #[case("PGTOPIC_API_PORT_8000_TCP_ADDR", None)]
    #[case("PGTOPIC__API_SERVICE_HOST", None)]
    #[case("PGTOPIC_A__B_SERVICE_HOST", None)]
    #[case("PGTOPIC_A__B_SERVICE_PORT", None)]
    #[case("PGTOPIC_A__B_SERVICE_PORT_HTTP", None)]
    #[case("PGTOPIC_A__B_PORT", None)]
    #[case("PGTOPIC_A__B_PORT_8000_TCP", None)]
    #[case("PGTOPIC_A__B_PORT_53_UDP_PROTO", None)]
    #[case("PGTOPIC_A__B_PORT_8000_TCP_ADDRESS", Some("a.b_port_8000_tcp_address"))]
    #[case("PGTOPIC_API__PORT", Some("api.port"))]
    #[case("PGTOPIC_API__SERVICE_HOST", Some("api.service_host"))]
    fn what_kubernetes_injects_is_no_setting(#[case] name: &str, #[case] key: Option<&str>) {
        assert_eq!(key_of(name).as_deref(), key);
    }

    /// Otherwise it could not be set.
    #[test]
    fn no_setting_looks_like_a_service() {
        let defaults = ::config::File::from_str(crate::config::DEFAULTS, ::config::FileFormat::Toml);
        let sections = ::config::Source::collect(&defaults).unwrap();
        for (section, settings) in sections {
            for (name, _) in settings.into_table().unwrap() {
                let key = format!("{section}.{name}");
                assert_eq!(key_of(&variable_of(&key)), Some(key));
            }
        }
    }

    #[test]
    fn the_process_wins_over_the_file_and_an_empty_variable_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A=1\nA=2\nB=file\nexport C='$x # y'\nD=\nE=file\n").unwrap();
        let process = [("B", "process"), ("C", ""), ("D", ""), ("", "x")];
        let process = process.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::new(process, Some(file.path()));
        let get = |name: &str| environment.get(name).unwrap_or("none");
        assert_eq!(
            ["A", "B", "C", "D", "E"].map(get),
            ["2", "process", "$x # y", "none", "file"],
            "within the file, the last line wins"
        );
        assert!(environment.problems().is_empty());
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# first\nA=1\nhunter2\nB='hunter2\n").unwrap();
        let environment = Environment::new([], Some(file.path()));
        let problems = environment.problems().join("\n");
        assert!(problems.contains("line 3") && !problems.contains("hunter2"), "{problems}");
        assert_eq!(environment.get("A"), Some("1"));
    }

    #[test]
    fn a_file_that_is_not_there_or_is_a_directory_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path(), &directory.path().join("none")] {
            assert!(Environment::new([], Some(path)).problems().is_empty());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_setting_that_is_not_utf_8_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let not = || OsString::from_vec(vec![b'a', 0xff]);
        let problems = |name: &str| Environment::new([(name.into(), not())], None).problems;
        assert!(problems("DATABASE_URL")[0].contains("DATABASE_URL"));
        assert!(problems("PGTOPIC_WORKER__CONCURRENCY")[0].contains("PGTOPIC_WORKER__CONCURRENCY"));
        assert!(problems("LESSOPEN").is_empty());
    }
}
