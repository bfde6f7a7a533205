//! `pgtopic workers`: the workers.

use clap::Args;

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags},
    table::{Table, or_dash},
};
use crate::{api::schema, domain};

/// List workers
#[derive(Args)]
pub(super) struct Workers {
    #[command(flatten)]
    operator: OperatorFlags,
}

impl Workers {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        self.operator.run(common, async |operator| list_workers(operator).await).await
    }
}

async fn list_workers(operator: &Operator) -> Result<(), CliError> {
    operator.print_page::<_, schema::Worker>(operator.broker.list_workers().await?, table)
}

fn table(workers: &[domain::worker::Worker]) -> Table {
    let mut table = Table::new([
        "id",
        "name",
        "version",
        "state",
        "leader",
        "slots",
        "in flight",
        "lanes",
        "wake",
        "heartbeat",
        "trouble",
    ]);
    for worker in workers {
        table.row([
            worker.id.to_string(),
            worker.name.clone(),
            worker.version.clone(),
            worker.state.as_str().to_owned(),
            if worker.leader { "yes" } else { "no" }.to_owned(),
            worker.slots.to_string(),
            worker.in_flight.to_string(),
            worker.lanes.to_string(),
            worker.wake_mode.as_str().to_owned(),
            worker.heartbeat_at.to_string(),
            or_dash(worker.trouble.as_ref()),
        ]);
    }
    table
}
