//! Tables and lists of fields for people.

use std::fmt;

use comfy_table::{Table as Grid, presets::NOTHING};

/// A table with a heading, without lines.
pub(super) struct Table(Grid);

impl Table {
    /// A table without rows.
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(NOTHING).set_header(headings.map(str::to_uppercase));
        Self(grid)
    }

    /// Adds a row. Control characters are shown as escapes: keys and errors are foreign text.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells.map(|cell| escape(&cell)));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.to_string().lines() {
            writeln!(f, "{}", line.trim())?;
        }
        Ok(())
    }
}

/// The fields of one thing, one in each line.
#[derive(Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    /// Adds a field. One without a value is shown as a dash.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Option<String>>) -> Self {
        self.0.push((name, or_dash(value.into().filter(|value| !value.is_empty()))));
        self
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "{name:width$}  {}", escape(value)))
    }
}

/// The text with control characters as escapes.
pub(super) fn escape(text: &str) -> String {
    let escaped = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    };
    text.chars().fold(String::new(), |mut shown, character| {
        if escaped(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// A count that is exact only up to a limit.
pub(super) fn capped(count: i64, capped: bool) -> String {
    if capped { format!("more than {count}") } else { count.to_string() }
}

/// What stands in a cell without a value.
pub(super) fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_moves_no_cursor() {
        let mut table = Table::new(["key", "owed"]);
        table.row(["a\u{1b}[2J\n\u{202e}b".to_owned(), or_dash(None::<i64>)]);
        assert_eq!(table.to_string(), "KEY                    OWED\na\\u{1b}[2J\\n\\u{202e}b  -\n");
    }

    #[test]
    fn fields_stand_below_one_another() {
        let fields =
            Fields::default().with("id", "7".to_owned()).with("filter", None).with("url", String::new());
        assert_eq!(fields.to_string(), "id      7\nfilter  -\nurl     -\n");
        assert_eq!([capped(10_000, true), capped(3, false)], ["more than 10000", "3"]);
    }
}
