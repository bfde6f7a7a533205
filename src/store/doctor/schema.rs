//! The schema, and what this role may do in it.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::doctor::{PrivilegeFacts, SchemaFacts, TriggerFacts, WrongIndex},
    store::{
        SchemaStatus, Store,
        error::StoreError,
        functions, inspect,
        migrations::{known_number, migrations},
        schema_status::{Installed, check_encoding, installed},
        statement::sql,
    },
};

impl Store {
    /// What this role may not do, and must.
    pub async fn diagnose_privileges(&self) -> Result<PrivilegeFacts, StoreError> {
        let row = self.ask_one(sql!("doctor/get_role"), &[]).await?;
        let role: String = row.try_get("role")?;
        let rows = self.ask(sql!("schema/find_missing_grants"), &[&self.schema.name()]).await?;
        let missing = inspect::missing_grants(&rows, &self.schema, &role)?;
        Ok(PrivilegeFacts { role, missing, sees_others: row.try_get("sees_others")? })
    }

    /// The schema, compared with this binary.
    pub async fn diagnose_schema(&self) -> Result<SchemaFacts, StoreError> {
        self.with_direct(async |client| {
            let found = installed(client, &self.schema).await?;
            let status = SchemaStatus::new(found.as_ref());
            let checked = async {
                check_encoding(client).await?;
                if let Some(found) = &found {
                    return self.check_found(client, &status, found).await;
                }
                inspect::check_empty(client, &self.schema).await?;
                self.schema.accepts(&status)
            };
            let problem = match checked.await {
                Ok(()) => None,
                Err(error @ (StoreError::SchemaMismatch(_) | StoreError::Unsuitable(_))) => {
                    Some(error.to_string())
                }
                Err(error) => return Err(error),
            };
            let SchemaStatus { number, known, drifted, .. } = status;
            Ok(SchemaFacts { number, known, name: self.schema.name().to_owned(), problem, drifted })
        })
        .await
    }

    async fn check_found(
        &self,
        client: &tokio_postgres::Client,
        status: &SchemaStatus,
        found: &Installed,
    ) -> Result<(), StoreError> {
        self.schema.accepts(status)?;
        inspect::check_name(client, &self.schema).await?;
        if found.number == known_number() {
            inspect::check_history(client, &self.schema, &migrations(&self.schema)?, found.number).await?;
        }
        Ok(())
    }

    /// The functions that are missing, or are not those of this binary.
    pub async fn diagnose_functions(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.ask(sql!("doctor/list_functions"), &[&self.schema.name()]).await?;
        let mut found = HashSet::new();
        for row in &rows {
            found.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
        Ok(functions::wrong_functions(&found, &self.schema))
    }

    /// The triggers that are not as they should be, and those of others that run after ours.
    pub async fn diagnose_triggers(&self) -> Result<TriggerFacts, StoreError> {
        let written = self.schema.text("pgtopic.");
        let parameters: super::Parameters<'_> = &[&self.schema.name(), &written.trim_end_matches('.')];
        let rows = self.ask(sql!("schema/list_triggers"), parameters).await?;
        let wrong = functions::wrong_triggers(&rows, &self.schema)?;
        let later = self.ask(sql!("schema/list_later_triggers"), &[]).await?;
        Ok(TriggerFacts {
            wrong,
            later: later.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
            messages: format!("{}.messages", self.schema.quoted()),
        })
    }

    /// The indexes that are missing or invalid, each with the SQL that makes it.
    pub async fn diagnose_indexes(&self) -> Result<Vec<WrongIndex>, StoreError> {
        let rows = self.ask(sql!("doctor/list_indexes"), &[&self.schema.name()]).await?;
        let mut found = HashMap::new();
        for row in &rows {
            found.insert(row.try_get::<_, String>(0)?, (row.try_get(1)?, row.try_get(2)?));
        }
        let mut wrong = Vec::new();
        for migration in migrations(&self.schema)? {
            let indexes = migration.sql().unwrap_or_default().lines().filter_map(index);
            let missing = indexes.filter(|(name, _)| !found.contains_key(*name));
            wrong.extend(missing.map(|(name, sql)| (name.to_owned(), sql.to_owned())));
        }
        let invalid = found.into_iter().filter(|(_, (_, valid))| !valid);
        wrong.extend(invalid.map(|(name, (full, _)): (String, (String, bool))| {
            (name, format!("REINDEX INDEX CONCURRENTLY {full}"))
        }));
        wrong.sort();
        Ok(wrong)
    }

    /// The statements that raise sequences which would give ids again.
    pub async fn diagnose_sequences(&self) -> Result<Vec<String>, StoreError> {
        inspect::raises(&self.ask(sql!("schema/find_low_sequences"), &[]).await?)
    }
}

/// The name and the SQL of an index that a line of a migration makes.
fn index(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("CREATE INDEX ").or_else(|| line.strip_prefix("CREATE UNIQUE INDEX "))?;
    Some((rest.split(' ').next()?, line.trim_end_matches(';')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::statement::Schema;

    #[test]
    fn the_indexes_of_a_migration_are_read() {
        let migrations = migrations(&Schema::new("pgtopic").unwrap()).unwrap();
        let texts: String = migrations.iter().map(|migration| migration.sql().unwrap()).collect();
        let found: Vec<_> = texts.lines().filter_map(index).collect();
        assert!(found.len() > 10, "{found:?}");
        assert_eq!(found.len(), texts.matches("INDEX ").count() - texts.matches("COMMENT ON INDEX").count());
        let (name, sql) = found.iter().find(|(name, _)| *name == "lanes_due").unwrap();
        assert_eq!(*name, "lanes_due");
        assert!(sql.ends_with("due_at)"), "{sql}");
    }
}
