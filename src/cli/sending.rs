//! `pgtopic sending`: whether anything is sent.

use clap::{Args, ValueEnum};

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags},
    table::escape,
};
use crate::{
    api::schema,
    domain::sending::{NotSending, SendingChange, SendingStatus},
};

/// Show whether anything is sent, or switch it on or off for all workers
///
/// Without on or off it shows. A database that was restored elsewhere sends nothing until `pgtopic
/// sending on`.
#[derive(Args)]
pub(super) struct Sending {
    /// Switch it on or off, or show it
    #[arg(value_enum, default_value = "status")]
    what: What,
    /// Why it is switched, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    operator: OperatorFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Send
    On,
    /// Send nothing; messages are accepted and kept
    Off,
    /// Show whether anything is sent
    Status,
}

impl Sending {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { what, reason, operator } = self;
        if what == What::Status && reason.is_some() {
            return Err(CliError::Usage("--reason needs on or off".to_owned()));
        }
        operator.run(common, async |operator| set_or_show(operator, what, reason).await).await
    }
}

async fn set_or_show(operator: &Operator, what: What, reason: Option<String>) -> Result<(), CliError> {
    let (status, why_not) = match what {
        What::Status => operator.broker.get_sending().await?,
        What::On | What::Off => {
            let change = SendingChange { sending: what == What::On, reason };
            operator.broker.set_sending(&change).await?
        }
    };
    let text = text(&status, why_not);
    operator.print(&schema::SendingStatus::from((status, why_not)), text)
}

fn text(status: &SendingStatus, why_not: Option<NotSending>) -> String {
    let mut text = why_not.map_or("messages are sent", NotSending::text).to_owned();
    if let Some(by) = &status.changed_by {
        text.push_str("\nswitched by ");
        text.push_str(&escape(by));
        if let Some(reason) = &status.reason {
            text.push_str(": ");
            text.push_str(&escape(reason));
        }
    }
    text
}
