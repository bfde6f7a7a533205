//! `pgtopic serve`: the HTTP API and a worker.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{ApiFlags, CommonFlags, DatabaseFlags, NetworkFlags, SchemaFlags, WorkerFlags},
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
        let settings =
            common.read(&[&self.database, &self.schema, &self.listening, &self.capacity, &self.network]);
        let (accepted, address) = settings.with_database().accept_listening().await?;
        let config = accepted.start_logging()?;
        let listener = listen(address).await?;
        let Some(mut service) = Service::start(config, shutdown).await? else { return Ok(()) };
        let worker = service.add_worker().await?;
        service.add_api(listener, Some(worker));
        service.run().await
    }
}
