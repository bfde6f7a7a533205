//! What `pgtopic migrate` applies after the migrations: the functions, one file each, then
//! `sql/triggers.sql` and `sql/grants.sql`.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use sha2::{Digest as _, Sha256};
use tokio_postgres::{Row, Transaction};

use super::{
    error::StoreError,
    one_by_one,
    statement::{Schema, sql},
};

/// The name and the text of every file below `sql/functions`. The build script lists them.
const FUNCTIONS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/functions.rs"));

/// All triggers, one in each line.
const TRIGGERS: &str = sql!("triggers");

/// Who may call what.
const GRANTS: &str = sql!("grants");

/// For how many days ahead `migrate` makes partitions of the attempt log.
const LOG_DAYS_AHEAD: i32 = 7;

/// The SHA-256 of everything that is applied, in hex.
pub(super) fn hash() -> String {
    let mut hash = Sha256::new();
    let files = FUNCTIONS.iter().flat_map(|(name, text)| [*name, *text]);
    for text in files.chain([TRIGGERS, GRANTS]) {
        // The length goes in as well, so that one text and two parts of it have different hashes.
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A trigger as the file writes it.
struct Trigger<'a> {
    name: &'a str,
    table: &'a str,
    definition: String,
    /// Whether it runs where all others are switched off, and only there.
    replica: bool,
}

/// The triggers of the file.
fn triggers(schema: &Schema) -> impl Iterator<Item = Trigger<'static>> + '_ {
    TRIGGERS.lines().filter(|line| line.starts_with("CREATE TRIGGER ")).filter_map(|line| {
        let name = line.split(' ').nth(2)?;
        let table = line.split(" ON pgtopic.").nth(1)?.split(' ').next()?;
        let definition = schema.text(line.strip_suffix(';')?).into_owned();
        let replica = TRIGGERS.contains(&format!(" ENABLE REPLICA TRIGGER {name};\n"));
        Some(Trigger { name, table, definition, replica })
    })
}

/// The SQL that makes or replaces a trigger and enables it.
fn make(trigger: &Trigger<'_>, schema: &Schema) -> String {
    let Trigger { name, table, definition, replica } = trigger;
    let enable = if *replica { "ENABLE REPLICA" } else { "ENABLE" };
    let made = definition.replacen("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1);
    format!("{made};\nALTER TABLE {}.{table} {enable} TRIGGER {name};\n", schema.quoted())
}

/// Everything as one SQL text, for people who apply it themselves.
pub(super) fn print(schema: &Schema) -> String {
    let mut text = "SET check_function_bodies = off;\n".to_owned();
    for (_, function) in FUNCTIONS {
        text.push_str(&schema.text(function));
    }
    text.extend(triggers(schema).map(|trigger| make(&trigger, schema)));
    text.push_str(&schema.text(GRANTS));
    let _ = writeln!(text, "SELECT {}.make_attempt_partitions({LOG_DAYS_AHEAD});", schema.quoted());
    text
}

/// Applies everything. A trigger that is already right is left alone, because making one locks its
/// table.
pub(super) async fn apply(transaction: &Transaction<'_>, schema: &Schema) -> Result<(), StoreError> {
    // Functions call one another, so their bodies cannot be checked one by one.
    transaction.batch_execute("SET LOCAL check_function_bodies = off").await?;
    for (_, function) in FUNCTIONS {
        transaction.batch_execute(&schema.text(function)).await?;
    }
    let rows = transaction
        .query(
            &*schema.text(sql!("schema/list_triggers")),
            &[&schema.name(), &schema.text("pgtopic.").trim_end_matches('.')],
        )
        .await?;
    for trigger in wrong(&rows, schema)? {
        one_by_one::execute(transaction, &make(&trigger, schema)).await?;
    }
    one_by_one::execute(transaction, &schema.text(GRANTS)).await?;
    let partitions = format!("SELECT {}.make_attempt_partitions({LOG_DAYS_AHEAD})", schema.quoted());
    transaction.batch_execute(&partitions).await?;
    Ok(())
}

/// The triggers that are not as `sql/triggers.sql` writes them. `rows`: the answer of
/// `schema/list_triggers`.
fn wrong(rows: &[Row], schema: &Schema) -> Result<Vec<Trigger<'static>>, StoreError> {
    let mut found: HashMap<&str, (&str, &str)> = HashMap::new();
    for row in rows {
        found.insert(row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
    }
    let is_wrong = |trigger: &Trigger<'_>| {
        // An operator may have one run always (A), also for rows that arrive by replication.
        let enabled = if trigger.replica { "R" } else { "OA" };
        found
            .get(trigger.name)
            .is_none_or(|(definition, when)| *definition != trigger.definition || !enabled.contains(when))
    };
    Ok(triggers(schema).filter(is_wrong).collect())
}

/// The names of these triggers.
pub(super) fn wrong_triggers(rows: &[Row], schema: &Schema) -> Result<Vec<String>, StoreError> {
    Ok(wrong(rows, schema)?.iter().map(|trigger| trigger.name.to_owned()).collect())
}

/// The functions whose bodies or rights are not those of the files. `found`: names, bodies, and
/// whether each has the rights of its owner.
pub(super) fn wrong_functions(found: &HashSet<(&str, &str, bool)>, schema: &Schema) -> Vec<String> {
    let is_wrong = |(name, text): &&(&str, &str)| {
        let text = schema.text(text);
        let (head, body) = text.split_once("AS $$").unwrap_or_default();
        let body = body.rsplit_once("$$;").map_or(body, |(body, _)| body);
        let head = head.split_once("CREATE OR REPLACE").map_or(head, |(_, head)| head);
        !found.contains(&(function_of(name), body, head.contains("SECURITY DEFINER")))
    };
    FUNCTIONS.iter().filter(is_wrong).map(|(name, _)| (*name).to_owned()).collect()
}

/// The name of the function in a file. What follows a dot tells the forms of one function apart.
fn function_of(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_holds_the_one_function_that_it_is_named_after() {
        assert!(FUNCTIONS.len() > 20);
        for (name, text) in FUNCTIONS {
            let function = function_of(name);
            let defined: Vec<&str> = text.lines().filter(|line| line.starts_with("CREATE")).collect();
            let [definition] = defined.as_slice() else { panic!("{name}: {defined:?}") };
            let expected = format!("CREATE OR REPLACE FUNCTION pgtopic.{function}(");
            assert!(definition.starts_with(&expected), "{name}: {definition}");
            assert!(
                text.starts_with(&format!("-- {}\n-- {function}: ", "-".repeat(70))),
                "{name}: its header"
            );
        }
    }

    #[test]
    fn the_file_of_triggers_is_read_whole() {
        let schema = Schema::new("pgtopic").unwrap();
        let statements = TRIGGERS.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).count();
        let replicas = triggers(&schema).filter(|trigger| trigger.replica).count();
        assert_eq!(triggers(&schema).count() + replicas, statements);
        assert_eq!(replicas, 5);
        let publish = triggers(&schema).find(|trigger| trigger.name == "zz_messages_publish").unwrap();
        assert_eq!(publish.table, "messages");
    }

    #[test]
    fn migrations_define_no_functions() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap().to_uppercase();
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for kind in ["FUNCTION", "TRIGGER", "PROCEDURE"] {
                let made = [format!("CREATE {kind}"), format!("CREATE OR REPLACE {kind}")];
                assert!(!made.iter().any(|made| words.contains(made.as_str())), "{}: {kind}", path.display());
            }
        }
    }
}
