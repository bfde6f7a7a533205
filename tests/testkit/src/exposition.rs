//! The text format of Prometheus: reads it, and checks the rules of names that `promtool check
//! metrics` checks.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

/// What an exposition says.
#[derive(Debug, Default)]
pub struct Exposition {
    /// The type of each family.
    pub types: BTreeMap<String, String>,
    /// The values: name, labels, value.
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Exposition {
    /// Reads it. Panics if a rule is broken: a line that is none, a family without HELP or TYPE or
    /// with two of them, a series that stands twice, a name without its unit.
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        let mut help = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').expect(line);
                assert!(help.insert(name.to_owned(), words.len()).is_none(), "a second HELP: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                let second = read.types.insert(name.to_owned(), kind.to_owned());
                assert!(second.is_none(), "a second TYPE: {line}");
            } else {
                let sample = sample(line);
                let same = |other: &&(String, _, f64)| (&other.0, &other.1) == (&sample.0, &sample.1);
                assert_eq!(read.samples.iter().find(same), None, "a second value: {line}");
                read.samples.push(sample);
            }
        }
        for (name, _, _) in &read.samples {
            let family = read.family(name);
            assert!(help.get(family).is_some_and(|length| *length > 0), "{family} has no HELP");
        }
        for (family, kind) in &read.types {
            check_name(family, kind);
        }
        read
    }

    /// The family that a value belongs to.
    fn family<'a>(&self, name: &'a str) -> &'a str {
        let parts = ["_bucket", "_sum", "_count"];
        let of_histogram = parts.iter().filter_map(|part| name.strip_suffix(part));
        let found = of_histogram
            .chain([name])
            .find(|family| self.types.contains_key(*family))
            .unwrap_or_else(|| panic!("{name} has no TYPE"));
        assert_eq!(found != name, self.types[found] == "histogram", "{name}: {}", self.types[found]);
        found
    }

    /// The value of a series; `None` if there is none. `series` is written as in the text, its labels
    /// in any order: `name{label="value"}`.
    pub fn get(&self, series: &str) -> Option<f64> {
        let (name, labels, _) = sample(&format!("{series} 0"));
        self.samples.iter().find(|other| (&other.0, &other.1) == (&name, &labels)).map(|(_, _, value)| *value)
    }

    /// The value of a series that must be there.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("no {series} in {}", self.list()))
    }

    /// The sum of all series of a name that have this label.
    pub fn sum(&self, name: &str, label: &str, value: &str) -> f64 {
        let has = |labels: &BTreeMap<String, String>| labels.get(label).is_some_and(|other| other == value);
        self.samples
            .iter()
            .filter(|(of, labels, _)| of == name && has(labels))
            .map(|(_, _, value)| value)
            .sum()
    }

    fn list(&self) -> String {
        self.samples.iter().fold(String::new(), |mut list, (name, labels, value)| {
            let _ = writeln!(list, "{name} {labels:?} {value}");
            list
        })
    }
}

/// Reads a line with a value.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    let Some((name, rest)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let mut rest = rest.strip_suffix('}').expect(line);
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").expect(line);
        let mut text = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect(line) {
                (end, '"') => break end,
                (_, '\\') => match characters.next().expect(line).1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (_, character) => text.push(character),
            }
        };
        assert!(labels.insert(label.to_owned(), text).is_none(), "a label stands twice: {line}");
        rest = after[end + 1..].trim_start_matches(',');
    }
    (name.to_owned(), labels, value)
}

/// The rules of names: <https://prometheus.io/docs/practices/naming/>.
fn check_name(family: &str, kind: &str) {
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{family}: {kind}");
    assert!(family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{family}");
    assert_eq!(family.ends_with("_total"), kind == "counter", "{family} is a {kind}");
    for part in family.split('_') {
        let units = ["milliseconds", "ms", "minutes", "hours", "kilobytes", "percent", "percents"];
        assert!(!units.contains(&part), "{family}: only base units");
        assert!(!["counter", "gauge", "histogram"].contains(&part), "{family} names its type");
    }
}

/// Gives a text to `promtool`, such as `check metrics`. Returns what it says, and whether all is well.
/// `None` if it is not installed. `PGTOPIC_TEST_PROMTOOL` says where it is; then it must be there.
pub fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let program = std::env::var_os("PGTOPIC_TEST_PROMTOOL");
    let mut command = Command::new(program.clone().unwrap_or_else(|| "promtool".into()));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            assert!(program.is_none(), "promtool: {error}");
            eprintln!("SKIPPED: promtool is not installed");
            return None;
        }
    };
    // It reads nothing if it is given a file.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    Some((ended.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# HELP a_total Text.\n# TYPE a_total counter\na_total{b=\"x,y=\\\"z\\\\\",c=\"\"} 1\n";

    #[test]
    fn values_are_found_by_name_and_labels() {
        let read = Exposition::read(GOOD);
        let (name, labels, value) = &read.samples[0];
        assert_eq!((name.as_str(), labels["b"].as_str(), *value), ("a_total", "x,y=\"z\\", 1.0));
        assert_eq!(read.get("a_total{c=\"\",b=\"x,y=\\\"z\\\\\"}"), Some(1.0));
        assert_eq!(read.get("a_total"), None);
    }

    #[test]
    fn every_rule_is_checked() {
        for bad in [
            "a_total 1\n",
            "# TYPE a_total counter\na_total 1\n",
            "# HELP a_total Text.\n# HELP a_total Text.\n# TYPE a_total counter\na_total 1\n",
            "# HELP a_total Text.\n# TYPE a_total counter\n# TYPE a_total counter\na_total 1\n",
            "# HELP a Text.\n# TYPE a counter\na 1\n",
            "# HELP a_total Text.\n# TYPE a_total gauge\na_total 1\n",
            "# HELP a_ms Text.\n# TYPE a_ms gauge\na_ms 1\n",
            "# HELP a Text.\n# TYPE a gauge\na 1\na 2\n",
            "# HELP a Text.\n# TYPE a gauge\na one\n",
            "# HELP a Text.\n# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n",
        ] {
            assert!(std::panic::catch_unwind(|| Exposition::read(bad)).is_err(), "{bad}");
        }
    }
}
