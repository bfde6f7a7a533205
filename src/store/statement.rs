//! The texts of SQL statements, and the schema that they name.
//!
//! The files in `sql/` and `migrations/` are written for the default schema, so that they can be
//! pasted into psql. For another schema the name is replaced. The files may write it in six ways:
//!
//! | written | stands for |
//! |---|---|
//! | `pgtopic.` | the schema of a name |
//! | `'pgtopic.` | the same in a string, as for `regclass` |
//! | `'"pgtopic"'` | the schema as an identifier in a string, as for `regnamespace` |
//! | `'pgtopic'` | the bare name in a string, as for a channel |
//! | ` pgtopic, pg_temp` | the schema in a search path |
//! | `SCHEMA pgtopic` | the schema in a grant |

use std::borrow::Cow;

use super::error::StoreError;

/// The text of `sql/<name>.sql`, or of several of these files, one after another.
macro_rules! sql {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/", $name, ".sql"))),+)
    };
}
pub(super) use sql;

/// The schema that the files in `sql/` are written for.
const DEFAULT: &str = "pgtopic";

/// The longest name that PostgreSQL does not cut off, in bytes.
const NAME_MAX: usize = 63;

/// The schema that holds everything.
pub(super) struct Schema {
    name: String,
    quoted: String,
}

/// A name as SQL writes it, in double quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
            return Err(StoreError::InvalidSchema(format!("a name of 1 to {NAME_MAX} bytes is needed")));
        }
        // A `$` could end the body of a function, which is quoted with dollars. A line break could
        // end a comment.
        if name.contains(|character: char| character == '$' || character.is_control()) {
            return Err(StoreError::InvalidSchema(
                "a name without $ and control characters is needed".to_owned(),
            ));
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return Err(StoreError::InvalidSchema(
                "names that begin with pg_, and information_schema, belong to PostgreSQL".to_owned(),
            ));
        }
        Ok(Self { name: name.to_owned(), quoted: quote(name) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name as an SQL identifier.
    pub(super) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// The same as people write it: the default needs no quotes.
    pub(super) fn written(&self) -> &str {
        if self.name == DEFAULT { &self.name } else { &self.quoted }
    }

    /// A statement's text for this schema.
    pub(super) fn text<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        if self.name == DEFAULT {
            return Cow::Borrowed(statement);
        }
        let in_string = |text: &str| text.replace('\'', "''");
        let quoted = &self.quoted;
        let mut text = String::with_capacity(statement.len() * 2);
        // One pass only: what was put in is not searched again.
        let mut rest = statement;
        while let Some(at) = rest.find(DEFAULT) {
            let (before, after) = (&rest[..at], &rest[at + DEFAULT.len()..]);
            let before_quote = before.strip_suffix('\'');
            let written = if let (Some(before), Some(after)) =
                (before.strip_suffix("'\""), after.strip_prefix("\"'"))
            {
                Some((before, format!("'{}'", in_string(quoted)), after))
            } else if let (Some(before), Some(after)) = (before_quote, after.strip_prefix('.')) {
                Some((before, format!("'{}.", in_string(quoted)), after))
            } else if let (Some(before), Some(after)) = (before_quote, after.strip_prefix('\'')) {
                Some((before, format!("'{}'", in_string(&self.name)), after))
            } else if let Some(after) = after.strip_prefix('.') {
                Some((before, format!("{quoted}."), after))
            } else {
                // Otherwise it is part of a word such as `pgtopic_notifications`.
                let in_path = after.starts_with(", pg_temp") && before.ends_with(' ');
                let in_grant = after.starts_with(' ') && before.ends_with("SCHEMA ");
                (in_path || in_grant).then(|| (before, quoted.clone(), after))
            };
            let (before, name, after) = written.unwrap_or((before, DEFAULT.to_owned(), after));
            text.push_str(before);
            text.push_str(&name);
            rest = after;
        }
        text.push_str(rest);
        Cow::Owned(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_follow_the_schema() {
        let other = Schema::new("Order \"events\"").unwrap();
        assert_eq!(
            other.text("SELECT 1 FROM pgtopic.topics"),
            r#"SELECT 1 FROM "Order ""events"""."#.to_owned() + "topics"
        );
        assert_eq!(Schema::new("pgtopic").unwrap().text("FROM pgtopic.topics"), "FROM pgtopic.topics");
    }

    #[test]
    fn every_way_of_writing_the_schema_is_replaced_and_nothing_else() {
        let other = Schema::new("it's \"x\" pgtopic.y").unwrap();
        let written = "SET search_path = pg_catalog, pgtopic, pg_temp AS nextval('pgtopic.ids'), pg_notify('pgtopic', 'x'), \
                       '\"pgtopic\"'::regnamespace, 'pgtopic_notifications.x', 'pgtopic attempts', pgtopic.lanes IN SCHEMA pgtopic FROM";
        let expected = r#"SET search_path = pg_catalog, "it's ""x"" pgtopic.y", pg_temp AS nextval('"it''s ""x"" pgtopic.y".ids'), "#
            .to_owned()
            + r#"pg_notify('it''s "x" pgtopic.y', 'x'), '"it''s ""x"" pgtopic.y"'::regnamespace, "#
            + r#"'pgtopic_notifications.x', 'pgtopic attempts', "it's ""x"" pgtopic.y".lanes "#
            + r#"IN SCHEMA "it's ""x"" pgtopic.y" FROM"#;
        assert_eq!(other.text(written), expected);
    }

    #[test]
    fn people_write_no_quotes_around_the_default() {
        for (name, written) in [("pgtopic", "pgtopic"), ("order", "\"order\""), ("a\"b", "\"a\"\"b\"")] {
            assert_eq!(Schema::new(name).unwrap().written(), written);
        }
    }

    #[test]
    fn bad_schema_names_are_refused() {
        for name in ["", "pg_catalog", "information_schema", "a$$b", "a\nb", &"x".repeat(64)] {
            assert!(Schema::new(name).is_err(), "{name:?}");
        }
    }
}
