//! `pgtopic migrate`: makes the schema, or brings it up to date.

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{CommonFlags, DatabaseFlags},
};
use crate::{
    store::{CELLS, MigrateOutcome, SchemaStatus, Store},
    telemetry::print_line,
};

/// Create the schema or bring it up to date
///
/// It may run beside publishers, workers and other migrations. Running it again changes nothing.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Migrate {
    #[command(flatten)]
    database: DatabaseFlags,
    /// Print the SQL that would be run, and run nothing
    #[arg(long, conflicts_with = "repair")]
    print: bool,
    /// Apply functions, triggers and grants even if nothing is missing; this repairs a drift
    #[arg(long)]
    repair: bool,
    /// Give this installation a cell, 0 to 1023, that no other one has: message ids are then unique
    /// over all of them. A cell never changes
    #[arg(long, value_name = "NUMBER", conflicts_with = "print",
          value_parser = clap::value_parser!(i32).range(0..i64::from(CELLS)))]
    cell: Option<i32>,
    #[command(subcommand)]
    command: Option<MigrateCommand>,
}

#[derive(Subcommand)]
enum MigrateCommand {
    Status(Status),
}

/// Show the version of the schema; exit code 4 if this pgtopic cannot run on it
#[derive(Args)]
struct Status {
    #[command(flatten)]
    database: DatabaseFlags,
}

impl Migrate {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let database = match &self.command {
            Some(MigrateCommand::Status(status)) => &status.database,
            None => &self.database,
        };
        let config = common.read(&[database]).with_database().accept()?.start_logging()?;
        let store = Store::new(&config.database)?;
        let interrupted = "interrupted; a migration that had not ended was rolled back";
        shutdown
            .run_until_cancelled(self.run_on(&store))
            .await
            .unwrap_or_else(|| Err(CliError::Failed(interrupted.to_owned())))
    }

    async fn run_on(&self, store: &Store) -> Result<(), CliError> {
        let schema = store.schema_name();
        if self.command.is_some() {
            print_line(&describe_status(schema, &store.schema_status().await?));
            store.check_schema().await?;
            return Ok(());
        }
        if self.print {
            match store.print_migration().await? {
                sql if sql.is_empty() => print_line("-- Nothing is missing."),
                sql => print_line(sql.trim_end()),
            }
            return Ok(());
        }
        let outcome = if self.repair { store.migrate_and_repair().await? } else { store.migrate().await? };
        print_line(&describe_outcome(schema, &outcome));
        if let Some(cell) = self.cell {
            print_line(&describe_cell(cell, store.set_cell(cell).await?));
        }
        Ok(())
    }
}

fn describe_cell(cell: i32, first_id: Option<i64>) -> String {
    match first_id {
        Some(id) => {
            format!("This is cell {cell} now: message ids begin at {id}, and are {cell} modulo {CELLS}.")
        }
        None => format!("This is cell {cell} already."),
    }
}

fn describe_outcome(schema: &str, outcome: &MigrateOutcome) -> String {
    let SchemaStatus { number, known, drifted, .. } = outcome.schema;
    let number = number.unwrap_or_default();
    if number > known {
        return format!(
            "Schema \"{schema}\" is at version {number}, newer than this pgtopic, and accepts it."
        );
    }
    let functions = if outcome.functions_applied { ", functions, triggers and grants applied" } else { "" };
    match outcome.applied {
        0 if drifted => format!(
            "Schema \"{schema}\" is at version {number} already, but its functions, triggers or grants are not those of \
             this pgtopic: run `pgtopic migrate --repair`."
        ),
        0 => format!("Schema \"{schema}\" is at version {number} already{functions}."),
        1 => format!("Schema \"{schema}\" is at version {number} now, 1 migration{functions}."),
        applied => {
            format!("Schema \"{schema}\" is at version {number} now, {applied} migrations{functions}.")
        }
    }
}

fn describe_status(schema: &str, status: &SchemaStatus) -> String {
    let SchemaStatus { number, works_from, known, drifted, cell } = status;
    let Some(number) = number else {
        return format!("Schema \"{schema}\" holds no pgtopic. This pgtopic knows version {known}.");
    };
    let functions = if *drifted {
        " Functions, triggers or grants are not those of this pgtopic: run `pgtopic migrate --repair`."
    } else {
        ""
    };
    let cell = cell.map_or_else(|| "It has no cell.".to_owned(), |cell| format!("It is cell {cell}."));
    format!(
        "Schema \"{schema}\" is at version {number}. It works with a pgtopic that knows version {works_from} or later. \
         This pgtopic knows version {known}. {cell}{functions}"
    )
}
