//! `pgtopic api`: the HTTP API without a worker.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{ApiFlags, CommonFlags, DatabaseFlags, NetworkFlags, SchemaFlags},
    service::{Service, listen},
};

/// Run the HTTP API alone
///
/// Brings the schema up to date first. Any number of APIs and workers may run side by side.
#[derive(Args)]
pub(super) struct Api {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    schema: SchemaFlags,
    #[command(flatten)]
    listening: ApiFlags,
    #[command(flatten)]
    network: NetworkFlags,
}

impl Api {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let settings = common.read(&[&self.database, &self.schema, &self.listening, &self.network]);
        let (accepted, address) = settings.with_database().accept_listening().await?;
        let config = accepted.start_logging()?;
        let listener = listen(address).await?;
        let Some(mut service) = Service::start(config, shutdown).await? else { return Ok(()) };
        service.add_api(listener, None);
        service.run().await
    }
}
