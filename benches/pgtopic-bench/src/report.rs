//! Reports: tables for people, JSON for machines.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use super::{meter::Cost, system::Machine};

/// The figures of one scenario.
pub(super) struct Report {
    /// Its subject in one line.
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
    /// How often the order of a lane was broken.
    pub(super) violations: u64,
    /// What the reader must know, one line each.
    pub(super) notes: Vec<&'static str>,
}

/// One row of figures. Each figure has a key for machines and a title for people.
#[derive(Default)]
pub(super) struct Row(Vec<Figure>);

struct Figure {
    key: &'static str,
    title: &'static str,
    text: String,
    value: Value,
}

impl Row {
    pub(super) fn text(mut self, key: &'static str, title: &'static str, text: &str) -> Self {
        self.0.push(Figure { key, title, text: text.to_owned(), value: text.into() });
        self
    }

    pub(super) fn count(mut self, key: &'static str, title: &'static str, count: u64) -> Self {
        self.0.push(Figure { key, title, text: grouped(&count.to_string()), value: count.into() });
        self
    }

    /// A number with this many decimal places.
    pub(super) fn number(self, key: &'static str, title: &'static str, number: f64, places: usize) -> Self {
        self.number_if_known(key, title, Some(number), places)
    }

    pub(super) fn number_if_known(
        mut self,
        key: &'static str,
        title: &'static str,
        number: Option<f64>,
        places: usize,
    ) -> Self {
        let text = number.map(|number| format!("{number:.places$}"));
        let value = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let text = text.map_or_else(|| "-".to_owned(), |text| grouped(&text));
        self.0.push(Figure { key, title, text, value: value.unwrap_or(Value::Null) });
        self
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|figure| figure.key)
    }

    /// What each message cost.
    pub(super) fn cost(self, cost: &Cost) -> Self {
        self.number("wal_bytes_per_message", "WAL, bytes a message", cost.wal_bytes, 0)
            .number_if_known(
                "statements_per_message",
                "statements (and round trips) a message",
                cost.statements,
                3,
            )
            .number_if_known(
                "postgresql_cpu_us_per_message",
                "PostgreSQL, CPU µs a message",
                cost.server_microseconds,
                1,
            )
            .number_if_known(
                "worker_cpu_us_per_message",
                "worker, CPU µs a message",
                cost.worker_microseconds,
                1,
            )
            .number_if_known(
                "bench_cpu_us_per_message",
                "bench, CPU µs a message",
                cost.bench_microseconds,
                1,
            )
            .number_if_known("worker_peak_mib", "worker, peak MiB", cost.worker_peak_mib, 1)
    }

    /// The same, if anything was measured.
    pub(super) fn cost_if_known(self, cost: Option<&Cost>) -> Self {
        match cost {
            Some(cost) => self.cost(cost),
            None => self,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let line = |place: usize| {
        let title = rows.first().map_or("", |row| row.0[place].title);
        std::iter::once(title).chain(rows.iter().map(move |row| row.0[place].text.as_str()))
    };
    let figures = rows.first().map_or(0, |row| row.0.len());
    if figures > 0 {
        table.set_header(line(0));
    }
    for place in 1..figures {
        table.add_row(line(place));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

impl Report {
    /// Tables with title and notes. A measurement is a column, because there are more figures than
    /// measurements.
    pub(super) fn table(&self) -> String {
        let alike = self.rows.chunk_by(|one, next| one.keys().eq(next.keys()));
        let tables = alike.map(|rows| table(rows).to_string());
        let violations = format!("violations of order: {}", self.violations);
        let notes = self.notes.iter().map(|note| (*note).to_owned());
        let lines =
            [String::new(), self.title.to_owned()].into_iter().chain(tables).chain([violations]).chain(notes);
        lines.collect::<Vec<_>>().join("\n\n").replacen("\n\n", "\n", 1)
    }

    /// The same for machines.
    pub(super) fn json(&self, name: &str) -> Value {
        let row = |row: &Row| -> Map<String, Value> {
            row.0.iter().map(|figure| (figure.key.to_owned(), figure.value.clone())).collect()
        };
        json!({
            "scenario": name,
            "title": self.title,
            "order_violations": self.violations,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// What all scenarios ran on.
pub(super) struct Setting {
    pub(super) machine: Machine,
    pub(super) server: Vec<(String, String)>,
    pub(super) embedded: bool,
    pub(super) concurrency: usize,
}

impl Setting {
    /// Some lines for people.
    pub(super) fn text(&self) -> String {
        let settings: Vec<String> =
            self.server.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let server = if self.embedded { "temporary, of this run" } else { "as given" };
        format!(
            "pgtopic {} ({} build), worker concurrency {}\nmachine: {}\nPostgreSQL ({server}): {}\nlayout: {}",
            env!("CARGO_PKG_VERSION"),
            build(),
            self.concurrency,
            self.machine.describe(),
            settings.join(" "),
            layout(),
        )
    }

    /// Everything for machines.
    pub(super) fn json(&self, scenarios: &[Value]) -> Value {
        let server: Map<String, Value> =
            self.server.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "build": build(),
            "machine": self.machine,
            "postgresql": server,
            "postgresql_is_embedded": self.embedded,
            "worker_concurrency": self.concurrency,
            "layout": layout(),
            "scenarios": scenarios,
        })
    }
}

/// What runs in which process.
fn layout() -> String {
    format!(
        "PostgreSQL, each worker and the client without a database: processes of their own; publishers and the receiver \
         ({} threads): in this process",
        super::receiver::thread_count()
    )
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "development" } else { "release" }
}

/// A number with its thousands apart.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.find('.').map_or((number, ""), |point| number.split_at(point));
    let digits = whole.len();
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (digits - place) % 3 == 0 && digit.is_ascii_digit() && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [("1", "1"), ("1234", "1,234"), ("-123456.789", "-123,456.789"), ("100", "100")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn machines_get_keys_and_numbers() {
        let row = Row::default().count("lanes", "lanes", 20).number("rate", "rate/s", 1234.56, 1);
        let report = Report { title: "t", rows: vec![row], violations: 0, notes: Vec::new() };
        assert_eq!(report.json("drain")["rows"], json!([{ "lanes": 20, "rate": 1234.6 }]));
        assert!(report.table().contains("1,234.6"));
    }
}
