//! `pgtopic openapi`: prints the description of the API.

use clap::Args;

use super::{CliError, server};
use crate::telemetry::print_line;

/// Print the HTTP API's OpenAPI document as JSON
#[derive(Args)]
pub(super) struct Openapi {}

impl Openapi {
    #[expect(clippy::unused_self, reason = "commands are run alike")]
    pub(super) fn run(self) -> Result<(), CliError> {
        print_line(&server::openapi()?);
        Ok(())
    }
}
