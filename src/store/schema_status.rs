//! A schema compared with this binary: may the binary run on it, and is anything missing?

use tokio_postgres::{Client, Row, error::SqlState};

use super::{
    Store,
    error::StoreError,
    functions, inspect,
    migrations::{known_number, migrations},
    statement::{Schema, sql},
};

/// The number of the oldest schema that this binary runs on.
const RUNS_FROM: i32 = 1;

/// A schema, compared with this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The number of the newest migration that the schema has; `None` if nothing is installed.
    pub number: Option<i32>,
    /// The oldest binary that may still run on the schema, by the number of its newest migration.
    pub works_from: i32,
    /// The number of the newest migration that this binary knows.
    pub known: i32,
    /// Whether the schema has drifted: the numbers are equal, and functions, triggers or grants are
    /// not those of this binary.
    pub drifted: bool,
    /// The cell of the installation, if it has one.
    pub cell: Option<i32>,
}

/// The row of `installed`.
pub(super) struct Installed {
    pub(super) number: i32,
    works_from: i32,
    functions_hash: String,
    cell: Option<i32>,
}

impl Installed {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            number: row.try_get("number")?,
            works_from: row.try_get("works_from")?,
            functions_hash: row.try_get("functions_hash")?,
            cell: row.try_get("cell")?,
        })
    }
}

impl SchemaStatus {
    pub(super) fn new(installed: Option<&Installed>) -> Self {
        let known = known_number();
        Self {
            number: installed.map(|installed| installed.number),
            works_from: installed.map_or(1, |installed| installed.works_from),
            known,
            drifted: installed.is_some_and(|installed| {
                installed.number == known && installed.functions_hash != functions::hash()
            }),
            cell: installed.and_then(|installed| installed.cell),
        }
    }
}

impl Store {
    /// Compares the schema with this binary. Changes nothing.
    pub async fn schema_status(&self) -> Result<SchemaStatus, StoreError> {
        self.with_direct(async |client| {
            Ok(SchemaStatus::new(installed(client, &self.schema).await?.as_ref()))
        })
        .await
    }

    /// Compares the schema with this binary, and checks that the binary may run on it.
    ///
    /// # Errors
    /// [`StoreError::SchemaMismatch`] if it may not, [`StoreError::Unsuitable`] if the database is
    /// not encoded in UTF-8, the role lacks rights, or ids would be given again.
    pub async fn check_schema(&self) -> Result<SchemaStatus, StoreError> {
        self.with_direct(async |client| {
            check_encoding(client).await?;
            let found = installed(client, &self.schema).await?;
            if found.is_none() {
                inspect::check_empty(client, &self.schema).await?;
            }
            let status = SchemaStatus::new(found.as_ref());
            self.schema.accepts(&status)?;
            if let Some(found) = &found {
                check_installation(client, &self.schema, found).await?;
            }
            Ok(status)
        })
        .await
    }

    /// Checks that the database answers on the pool and takes writes, and that this binary may run
    /// on its schema.
    ///
    /// # Errors
    /// [`StoreError::SchemaMismatch`] if the binary may not, [`StoreError::ReadOnly`] if the
    /// database takes no writes.
    pub async fn check_ready(&self) -> Result<(), StoreError> {
        let status = match self.query_one(sql!("schema/get_installed"), &[]).await {
            Ok(row) => {
                if row.try_get("read_only")? {
                    // The next try must not find the same connections.
                    self.close_idle();
                    let standby: bool = row.try_get("standby")?;
                    return Err(StoreError::ReadOnly(if standby {
                        "it is a standby"
                    } else {
                        "its sessions are read-only"
                    }));
                }
                SchemaStatus::new(Some(&Installed::read(&row)?))
            }
            Err(error) if error.sql_state() == Some(&SqlState::UNDEFINED_TABLE) => SchemaStatus::new(None),
            Err(error) => return Err(error),
        };
        self.schema.accepts(&status)
    }

    /// The names of the BEFORE INSERT triggers on `messages` that run after ours. They may change a
    /// message that was fanned out already.
    pub async fn list_later_triggers(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.query(sql!("schema/list_later_triggers"), &[]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

impl Schema {
    /// Checks that this binary may run on the schema.
    pub(super) fn accepts(&self, status: &SchemaStatus) -> Result<(), StoreError> {
        let schema = self.name();
        let SchemaStatus { works_from, known, .. } = *status;
        let problem = match status.number {
            Some(number) if works_from > known => format!(
                "schema \"{schema}\" is at version {number} and needs a pgtopic that knows version {works_from}; this one \
                 knows {known}: upgrade pgtopic"
            ),
            Some(number) if number < RUNS_FROM => format!(
                "schema \"{schema}\" is at version {number}, this binary needs {RUNS_FROM}: run `pgtopic migrate`"
            ),
            None => format!("schema \"{schema}\" holds no pgtopic: run `pgtopic migrate`"),
            Some(_) => return Ok(()),
        };
        Err(StoreError::SchemaMismatch(problem))
    }
}

/// Checks a schema that this binary may run on, before it does.
pub(super) async fn check_installation(
    client: &Client,
    schema: &Schema,
    found: &Installed,
) -> Result<(), StoreError> {
    inspect::check_name(client, schema).await?;
    inspect::check_grants(client, schema).await?;
    if found.number == known_number() {
        inspect::check_history(client, schema, &migrations(schema)?, found.number).await?;
    }
    inspect::check_sequences(client, schema).await
}

/// The row of `installed`, or `None` if nothing is installed.
pub(super) async fn installed(client: &Client, schema: &Schema) -> Result<Option<Installed>, StoreError> {
    // A table of this name may be somebody else's.
    let is_ours = "SELECT EXISTS (SELECT FROM pg_class c
                                     JOIN pg_namespace n ON n.oid = c.relnamespace
                                     JOIN pg_attribute a ON a.attrelid = c.oid
                                    WHERE n.nspname = $1 AND c.relname = 'installed' AND a.attname = 'functions_hash')";
    if !client.query_one(is_ours, &[&schema.name()]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_opt(&*schema.text(sql!("schema/get_installed")), &[]).await;
    let row = match row {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            inspect::check_grants(client, schema).await?;
            return Err(error.into());
        }
        row => row?,
    };
    row.map(|row| Installed::read(&row)).transpose()
}

/// Checks that the database is encoded in UTF-8. Text of any language must fit into every column,
/// and every worker must be able to read it.
pub(super) async fn check_encoding(client: &Client) -> Result<(), StoreError> {
    let row =
        client.query_one("SELECT current_setting('server_encoding'), current_database()::text", &[]).await?;
    let (encoding, database): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Unsuitable(format!(
        "database \"{database}\" is encoded in {encoding}, pgtopic needs UTF8: make one with \
         CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )))
}
