//! The files in `migrations/`. They are compiled into this binary.

use refinery::Migration;

use super::{
    error::{StoreError, chain, describe},
    statement::Schema,
};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The migrations, written for this schema.
pub(super) fn migrations(schema: &Schema) -> Result<Vec<Migration>, StoreError> {
    let embedded = embedded::migrations::runner();
    let of_schema = embedded.get_migrations().iter().map(|migration| {
        // It is compiled in, so it always has a text.
        let text = schema.text(migration.sql().unwrap_or_default());
        let name = format!("V{}__{}", migration.version(), migration.name());
        Migration::unapplied(&name, &text).map_err(|error| migration_error(&error))
    });
    of_schema.collect()
}

/// The number of the newest migration that this binary knows.
pub(super) fn known_number() -> i32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(Migration::version).max().unwrap_or_default()
}

pub(super) fn migration_error(error: &refinery::Error) -> StoreError {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(..) | Kind::MissingVersion(..) => {
            StoreError::SchemaMismatch(format!("the schema was not made by this pgtopic: {error}"))
        }
        Kind::Connection(what, cause) => {
            let cause = cause.downcast_ref().map_or_else(|| cause.to_string(), describe);
            StoreError::Migration(format!("{what}: {cause}"))
        }
        _ => StoreError::Migration(chain(error)),
    }
}
