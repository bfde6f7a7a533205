//! Text of others as a part of a command to copy.

/// A text as one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as a literal of SQL.
pub fn literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    // With a backslash in it, what a plain literal means depends on a setting.
    if text.contains('\\') { format!("E{}", quoted.replace('\\', r"\\")) } else { quoted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_word_and_one_literal() {
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\b'c"), r"E'a\\b''c'");
    }
}
