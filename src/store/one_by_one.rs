//! Runs SQL texts of several statements one statement at a time. Some proxies between a client and
//! PostgreSQL pass on one statement in each message, and no more.

use refinery::Migration;
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use tokio_postgres::{Client, Error, Transaction};

/// A connection on which refinery runs migrations. Each migration is one transaction.
pub(super) struct OneByOne<'a>(pub(super) &'a mut Client);

impl AsyncTransaction for OneByOne<'_> {
    type Error = Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        texts: T,
    ) -> Result<usize, Error> {
        let transaction = self.0.transaction().await?;
        let mut count = 0;
        for text in texts {
            execute(&transaction, text).await?;
            count += 1;
        }
        transaction.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for OneByOne<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Error> {
        AsyncQuery::query(self.0, query).await
    }
}

impl AsyncMigrate for OneByOne<'_> {}

/// Runs the statements of a text, one after another.
pub(super) async fn execute(transaction: &Transaction<'_>, text: &str) -> Result<(), Error> {
    for statement in statements(text) {
        transaction.batch_execute(statement).await?;
    }
    Ok(())
}

/// The statements of a text, with the comments before each. A `;` counts where it is in no string,
/// no name, no comment and no body in dollar quotes.
fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        at += match rest.as_bytes()[0] {
            b';' => {
                found.push(&text[begin..=at]);
                begin = at + 1;
                1
            }
            quote @ (b'\'' | b'"') => 1 + until(&rest[1..], char::from(quote).encode_utf8(&mut [0; 4])),
            b'-' if rest.starts_with("--") => until(rest, "\n"),
            b'/' if rest.starts_with("/*") => until(rest, "*/"),
            b'$' => match dollar_quote(rest) {
                Some(quote) => quote.len() + until(&rest[quote.len()..], quote),
                None => 1,
            },
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    found.push(&text[begin..]);
    found.retain(|statement| holds_sql(statement));
    found
}

/// The length up to the end of what ends with `end`.
fn until(text: &str, end: &str) -> usize {
    text.find(end).map_or(text.len(), |at| at + end.len())
}

/// The `$tag$` that a body begins with. Parameters such as `$1` are none.
fn dollar_quote(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let tag = &text[1..end];
    let is_tag = tag.chars().all(|character| character.is_alphanumeric() || character == '_')
        && !tag.starts_with(|character: char| character.is_ascii_digit());
    is_tag.then(|| &text[..=end])
}

/// Whether there is more than comments and spaces.
fn holds_sql(statement: &str) -> bool {
    statement.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with("--") && line != ";")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_end_where_postgresql_ends_them() {
        let text = "-- a; comment\nSELECT ';', \";\", $1 /* ; */;\n\nDO $x$ BEGIN; END $x$;\nSELECT 'it''s;'; -- end;\n";
        let found: Vec<&str> = statements(text).iter().map(|statement| statement.trim()).collect();
        let expected =
            ["-- a; comment\nSELECT ';', \";\", $1 /* ; */;", "DO $x$ BEGIN; END $x$;", "SELECT 'it''s;';"];
        assert_eq!(found, expected);
        assert!(statements(" -- nothing\n\n").is_empty());
    }

    #[test]
    fn each_migration_is_split_and_each_function_stays_whole() {
        let migration = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/V1__schema.sql"));
        let found = statements(migration);
        assert!(found.len() > 40, "{}", found.len());
        for statement in found {
            let code: Vec<&str> =
                statement.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
            let first = code.join(" ");
            let first = first.split_whitespace().next().unwrap_or_default();
            assert!(["CREATE", "COMMENT", "INSERT", "SELECT"].contains(&first), "{statement}");
        }
        let function = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/sql/functions/publishing/messages_publish.sql"
        ));
        assert_eq!(statements(function).len(), 1);
    }

    proptest! {
        /// Nothing of a text is lost, and no text makes it fail.
        #[test]
        fn all_of_a_text_is_there(text in "[a-z;'\"$\\-/*\n 1é]{0,60}") {
            let found = statements(&text).concat();
            let kept = |text: &str| text.chars().filter(char::is_ascii_lowercase).count();
            prop_assert!(kept(&found) <= kept(&text));
            prop_assert!(text.contains("--") || kept(&found) == kept(&text));
        }
    }
}
