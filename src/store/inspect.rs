//! Looks at a schema before it is used: what would not work is said at the start, in one line with
//! the way out.

use std::fmt::Write as _;

use refinery::Migration;
use tokio_postgres::{Client, Row, error::SqlState};

use super::{
    error::StoreError,
    statement::{Schema, quote, sql},
};
use crate::domain::shell::literal;

/// A time as refinery writes it.
const RFC_3339: &str = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$";

/// Checks a schema that has no `installed` of ours: nothing of somebody else may stand there, and
/// it must not have had this name before.
///
/// # Errors
/// [`StoreError::SchemaMismatch`].
pub(super) async fn check_empty(client: &Client, schema: &Schema) -> Result<(), StoreError> {
    let rows = client.query(sql!("schema/find_strangers"), &[&schema.name()]).await?;
    let strangers = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    if !strangers.is_empty() {
        return Err(StoreError::SchemaMismatch(format!(
            "schema {} holds something of another program ({}), and nothing was changed: give pgtopic a schema of its own \
             with --schema (database.schema)",
            schema.quoted(),
            strangers.join(", ")
        )));
    }
    check_name(client, schema).await
}

/// Checks that the functions of the schema name it, and that no other schema had its name.
///
/// # Errors
/// [`StoreError::SchemaMismatch`].
pub(super) async fn check_name(client: &Client, schema: &Schema) -> Result<(), StoreError> {
    for row in client.query(sql!("schema/find_renamed"), &[&schema.name()]).await? {
        let (found, setting): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let named =
            setting.strip_prefix("search_path=pg_catalog, ").and_then(|rest| rest.strip_suffix(", pg_temp"));
        let named = named.unwrap_or(setting);
        let problem = if found == schema.name() {
            format!(
                "schema {found} was called {named}, and its functions still use that name: rename it back with ALTER SCHEMA \
                 {found} RENAME TO {named}",
                found = schema.quoted()
            )
        } else if client
            .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[&schema.name()])
            .await?
            .is_some()
        {
            // Both are there: what is in the other one does not concern this one.
            continue;
        } else {
            format!(
                "schema {named} was renamed to {found}, and its functions still use the old name: rename it back with ALTER \
                 SCHEMA {found} RENAME TO {named}",
                found = quote(found)
            )
        };
        return Err(StoreError::SchemaMismatch(problem));
    }
    Ok(())
}

/// Checks that the table of applied migrations says what was applied. `installed` is the number of
/// the newest one.
///
/// # Errors
/// [`StoreError::SchemaMismatch`].
pub(super) async fn check_history(
    client: &Client,
    schema: &Schema,
    migrations: &[Migration],
    installed: i32,
) -> Result<(), StoreError> {
    let table = format!("{}.schema_history", schema.quoted());
    let readable = client
        .query_one("SELECT to_regclass($1) IS NOT NULL, coalesce(has_table_privilege(to_regclass($1), 'SELECT'), true)", &[&table])
        .await?;
    let (exists, may_read): (bool, bool) = (readable.try_get(0)?, readable.try_get(1)?);
    if !may_read {
        return Ok(());
    }
    let mut recorded = std::collections::BTreeMap::new();
    if exists {
        // A row that refinery could not read counts as edited.
        let query = format!(
            "SELECT version, CASE WHEN name IS NOT NULL AND applied_on ~ '{RFC_3339}' AND checksum ~ '^[0-9]{{1,20}}$' \
                                  THEN checksum ELSE '' END FROM {table}"
        );
        for row in client.query(&query, &[]).await? {
            recorded.insert(row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?);
        }
    }
    let mut wrong = String::new();
    for migration in migrations {
        let (version, checksum) = (migration.version(), migration.checksum().to_string());
        let problem = match recorded.remove(&version) {
            Some(found) if found == checksum => continue,
            Some(_) if version > installed && installed > 0 => continue,
            Some(_) => "is recorded with another checksum than this pgtopic's",
            None if version <= installed => "is not recorded",
            None => continue,
        };
        let _ = write!(
            wrong,
            "migration {version} {problem} in {table}: use the pgtopic that made the schema; if only that table was edited, \
             repair it with DELETE FROM {table} WHERE version = {version}; INSERT INTO {table} (version, name, applied_on, \
             checksum) VALUES ({version}, '{}', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{checksum}'); ",
            migration.name()
        );
    }
    if let Some(version) = recorded.keys().find(|version| **version > installed) {
        let _ = write!(
            wrong,
            "{table} records a migration {version} that was not applied: remove it with DELETE FROM {table} WHERE version = {version}; "
        );
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StoreError::SchemaMismatch(wrong.trim_end_matches([' ', ';']).to_owned()))
}

/// Checks that this role may do in the schema what the API and workers do.
///
/// # Errors
/// [`StoreError::Unsuitable`] with the statements that give the rights.
pub(super) async fn check_grants(client: &Client, schema: &Schema) -> Result<(), StoreError> {
    let rows = client.query(sql!("schema/find_missing_grants"), &[&schema.name()]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let role: String = client.query_one("SELECT quote_ident(current_user)", &[]).await?.try_get(0)?;
    let (grants, lacks): (Vec<_>, Vec<_>) = missing_grants(&rows, schema, &role)?.into_iter().unzip();
    Err(StoreError::Unsuitable(format!(
        "role {role} lacks rights in schema {} (for example {}); its owner must run: {}",
        schema.quoted(),
        lacks.join(", "),
        grants.join("; ")
    )))
}

/// The statements that give a role what it lacks, each with an example. `rows`: the answer of
/// `schema/find_missing_grants`.
pub(super) fn missing_grants(
    rows: &[Row],
    schema: &Schema,
    role: &str,
) -> Result<Vec<(String, String)>, StoreError> {
    let grant = |row: &Row| {
        let (kind, needed, example): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let within = if kind == "SCHEMA" { "SCHEMA".to_owned() } else { format!("ALL {kind} IN SCHEMA") };
        let grant = format!("GRANT {needed} ON {within} {} TO {role}", schema.quoted());
        Ok((grant, format!("{needed} on {example}")))
    };
    rows.iter().map(grant).collect()
}

/// Checks that no sequence gives an id that is in use.
///
/// # Errors
/// [`StoreError::Unsuitable`] with the statements that raise them.
pub(super) async fn check_sequences(client: &Client, schema: &Schema) -> Result<(), StoreError> {
    let raise = raises(&client.query(&*schema.text(sql!("schema/find_low_sequences")), &[]).await?)?;
    if raise.is_empty() {
        return Ok(());
    }
    Err(StoreError::Unsuitable(format!(
        "ids that are in use would be given again in schema {}, since rows were copied without their sequences; run: {}",
        schema.quoted(),
        raise.join("; ")
    )))
}

/// The statements that raise sequences. `rows`: the answer of `schema/find_low_sequences`.
pub(super) fn raises(rows: &[Row]) -> Result<Vec<String>, StoreError> {
    let raise = |row: &Row| {
        let (sequence, greatest): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("SELECT setval({}, {greatest})", literal(sequence)))
    };
    rows.iter().map(raise).collect()
}

/// The error of a migration. If the role may not do it, the error says what gives it the right.
pub(super) async fn explain_refusal(client: &Client, schema: &Schema, error: StoreError) -> StoreError {
    let refused = error.sql_state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
        || matches!(&error, StoreError::Migration(text) if text.contains("42501"));
    if !refused {
        return error;
    }
    let asked = client
        .query_one(
            "SELECT quote_ident(current_user), quote_ident(current_database()),
                    (SELECT quote_ident(pg_get_userbyid(n.nspowner)) FROM pg_namespace n WHERE n.nspname = $1)",
            &[&schema.name()],
        )
        .await;
    let Ok(row) = asked else { return error };
    let (Ok(role), Ok(database), Ok(owner)) =
        (row.try_get::<_, String>(0), row.try_get::<_, String>(1), row.try_get::<_, Option<String>>(2))
    else {
        return error;
    };
    let quoted = schema.quoted();
    StoreError::Unsuitable(match owner {
        None => format!(
            "role {role} may not create schema {quoted}: GRANT CREATE ON DATABASE {database} TO {role}, or let somebody who may \
             run CREATE SCHEMA {quoted} AUTHORIZATION {role}"
        ),
        Some(owner) => format!(
            "role {role} may not change schema {quoted} ({error}): run `pgtopic migrate` as its owner {owner}, then start with \
             --no-migrate (database.migrate = false), or GRANT {owner} TO {role}"
        ),
    })
}
