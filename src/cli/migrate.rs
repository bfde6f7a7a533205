//! `pgtopic migrate`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{CommonFlags, DatabaseFlags, start_logging},
    print::print_line,
};
use crate::store::Store;

/// Create the schema or bring it up to date
///
/// Safe to run beside live publishers, workers and other migrations; running it again changes nothing.
#[derive(Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    database: DatabaseFlags,
}

impl Migrate {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let config = common.load(&[&self.database])?;
        start_logging(&config)?;
        let store = Store::new(&config.database)?;
        let Some(outcome) = shutdown.run_until_cancelled(store.migrate()).await else {
            return Err(CliError::Failed(
                "interrupted; a migration that had not ended was rolled back".to_owned(),
            ));
        };
        let outcome = outcome?;
        let (schema, version) = (store.schema_name(), outcome.version);
        print_line(&match outcome.applied {
            0 => format!("Schema \"{schema}\" is at version {version} already."),
            1 => format!("Schema \"{schema}\" is at version {version} now, 1 migration applied."),
            applied => {
                format!("Schema \"{schema}\" is at version {version} now, {applied} migrations applied.")
            }
        });
        Ok(())
    }
}
