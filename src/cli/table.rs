//! Tables for people.

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
}
