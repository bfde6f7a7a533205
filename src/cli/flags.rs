//! The flags that several commands share, and the settings that they stand for.

#![expect(clippy::doc_markdown, reason = "the words of a flag are shown as they stand")]

use std::path::PathBuf;

use clap::Args;

use super::settings::Settings;
use crate::config::Flag;

/// The heading in `--help` of the flags that many commands have.
pub(super) const COMMON: &str = "Common options";

/// Flags of every command.
#[derive(Args)]
pub(super) struct CommonFlags {
    /// Read settings from this file
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    config: Option<PathBuf>,
    /// The schema that holds everything of pgtopic [setting: database.schema]
    #[arg(long, global = true, value_name = "NAME", help_heading = COMMON)]
    schema: Option<String>,
    /// Format of the log: text or json [setting: log.format]
    #[arg(long, global = true, value_name = "FORMAT", help_heading = COMMON)]
    log_format: Option<String>,
}

/// Where the database is.
#[derive(Args)]
pub(super) struct DatabaseFlags {
    /// libpq URL of the database [setting: database.url]
    #[arg(long, global = true, value_name = "URL", help_heading = COMMON)]
    database_url: Option<String>,
}

/// Whether the schema is brought up to date at the start.
#[derive(Args)]
pub(super) struct SchemaFlags {
    /// Leave the schema as it is, for roles that may not change it [setting: database.migrate]
    #[arg(long)]
    no_migrate: bool,
}

/// Where the API listens.
#[derive(Args)]
pub(super) struct ApiFlags {
    /// Address or name, and port, to listen on [setting: api.bind]
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
}

/// How many lanes a worker may have in flight at once.
#[derive(Args)]
pub(super) struct WorkerFlags {
    /// How many lanes may be in flight at once [setting: worker.concurrency]
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<String>,
}

/// Where webhooks may point.
#[derive(Args, Clone)]
pub(super) struct NetworkFlags {
    /// Allow requests to this private network; may be repeated [setting: delivery.allow_networks]
    #[arg(long, value_name = "CIDR")]
    allow_network: Vec<String>,
}

/// The settings that a group of flags stands for.
pub(super) trait Flags {
    fn flags(&self) -> Vec<Flag>;
}

fn flag(name: &'static str, key: &'static str, value: Option<&String>) -> Option<Flag> {
    value.map(|value| Flag { name, key, values: vec![value.clone()] })
}

impl Flags for CommonFlags {
    fn flags(&self) -> Vec<Flag> {
        let schema = flag("--schema", "database.schema", self.schema.as_ref());
        schema.into_iter().chain(flag("--log-format", "log.format", self.log_format.as_ref())).collect()
    }
}

impl Flags for DatabaseFlags {
    fn flags(&self) -> Vec<Flag> {
        flag("--database-url", "database.url", self.database_url.as_ref()).into_iter().collect()
    }
}

impl Flags for SchemaFlags {
    fn flags(&self) -> Vec<Flag> {
        let no = Flag { name: "--no-migrate", key: "database.migrate", values: vec!["false".to_owned()] };
        self.no_migrate.then_some(no).into_iter().collect()
    }
}

impl Flags for ApiFlags {
    fn flags(&self) -> Vec<Flag> {
        flag("--bind", "api.bind", self.bind.as_ref()).into_iter().collect()
    }
}

impl Flags for WorkerFlags {
    fn flags(&self) -> Vec<Flag> {
        flag("--concurrency", "worker.concurrency", self.concurrency.as_ref()).into_iter().collect()
    }
}

impl Flags for NetworkFlags {
    fn flags(&self) -> Vec<Flag> {
        if self.allow_network.is_empty() {
            return Vec::new();
        }
        let values = self.allow_network.clone();
        vec![Flag { name: "--allow-network", key: "delivery.allow_networks", values }]
    }
}

impl CommonFlags {
    /// Reads all settings. Flags win over the environment, the environment over the file, the file
    /// over the defaults.
    pub(super) fn read(&self, groups: &[&dyn Flags]) -> Settings {
        let mut flags = self.flags();
        flags.extend(groups.iter().flat_map(|group| group.flags()));
        Settings::read(self.config.clone(), flags)
    }
}
