//! `pgtopic serve`: the HTTP API and a worker.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{ApiFlags, CommonFlags, DatabaseFlags, NetworkFlags, SchemaFlags, WorkerFlags, start_logging},
    service::{Service, listen},
};

/// Run the HTTP API and a worker in one process
///
/// Brings the schema up to date first. The database must be reachable at the start. If it is away
/// later, the process waits for it.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    schema: SchemaFlags,
    #[command(flatten)]
    listening: ApiFlags,
    #[command(flatten)]
    capacity: WorkerFlags,
    #[command(flatten)]
    network: NetworkFlags,
}

impl Serve {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let config =
            common.load(&[&self.database, &self.schema, &self.listening, &self.capacity, &self.network])?;
        start_logging(&config)?;
        let listener = listen(&config).await?;
        let Some(mut service) = Service::start(config, shutdown).await? else { return Ok(()) };
        service.add_api_and_worker(listener);
        service.run().await
    }
}
