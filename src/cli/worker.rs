//! `pgtopic worker`: a worker without the HTTP API.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{CommonFlags, DatabaseFlags, NetworkFlags, SchemaFlags, WorkerFlags},
    service::Service,
};

/// Run a worker alone
///
/// Brings the schema up to date first. Any number of workers may run. They share the lanes, and
/// take over from a worker that dies.
#[derive(Args)]
pub(super) struct Worker {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    schema: SchemaFlags,
    #[command(flatten)]
    capacity: WorkerFlags,
    #[command(flatten)]
    network: NetworkFlags,
}

impl Worker {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let settings = common.read(&[&self.database, &self.schema, &self.capacity, &self.network]);
        let config = settings.with_database().accept()?.start_logging()?;
        let Some(mut service) = Service::start(config, shutdown).await? else { return Ok(()) };
        let _ = service.add_worker().await?;
        service.run().await
    }
}
