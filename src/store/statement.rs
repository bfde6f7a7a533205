//! SQL texts, and the schema they name.
//!
//! The files in `sql/` are written for the default schema, `pgtopic.`, so that they can be pasted into psql. With
//! another schema that prefix is replaced when a statement is used.

use std::borrow::Cow;

use super::error::StoreError;

/// The text of `sql/<name>.sql`.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/", $name, ".sql"))
    };
}
pub(super) use sql;

/// The schema that the files in `sql/` are written for.
const DEFAULT: &str = "pgtopic";

/// The longest name PostgreSQL keeps whole, in bytes.
const NAME_MAX: usize = 63;

/// The schema where everything lives.
pub(super) struct Schema {
    name: String,
    quoted: String,
}

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
            return Err(StoreError::InvalidSchema(format!("a name of 1 to {NAME_MAX} bytes is needed")));
        }
        if name.starts_with("pg_") {
            return Err(StoreError::InvalidSchema(
                "names that begin with pg_ belong to PostgreSQL".to_owned(),
            ));
        }
        Ok(Self { name: name.to_owned(), quoted: format!("\"{}\"", name.replace('"', "\"\"")) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name as an SQL identifier.
    pub(super) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// A statement's text for this schema.
    pub(super) fn text(&self, statement: &'static str) -> Cow<'static, str> {
        if self.name == DEFAULT {
            Cow::Borrowed(statement)
        } else {
            Cow::Owned(statement.replace("pgtopic.", &format!("{}.", self.quoted)))
        }
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
    fn bad_schema_names_are_refused() {
        for name in ["", "pg_catalog", &"x".repeat(64)] {
            assert!(Schema::new(name).is_err(), "{name:?}");
        }
    }
}
