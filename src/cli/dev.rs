//! `pgtopic dev`: everything in one process, with a PostgreSQL of its own.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    flags::{ApiFlags, CommonFlags, NetworkFlags, WorkerFlags},
    service::Service,
};
use crate::{
    config::{Config, DatabaseConfig},
    demo::Demo,
    embedded::{EmbeddedPostgres, Settings, ShutdownMode},
    store::{Store, StoreError},
    telemetry::show_line,
};

/// How many ports above the wanted one are tried.
const PORTS_TRIED: u16 = 100;

/// Where webhooks may point besides public addresses.
const THIS_MACHINE: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// The database that is used. Every cluster has it.
const DATABASE: &str = "postgres";

/// Try pgtopic: starts a PostgreSQL of its own, the HTTP API and a worker
///
/// It needs only installed PostgreSQL binaries. Nothing keeps running when it ends. A database in
/// the settings is ignored. Webhooks may point to this machine.
#[derive(Args)]
pub(super) struct Dev {
    /// Add a topic, two webhooks, a receiver and traffic, and show what arrives
    #[arg(long)]
    demo: bool,
    /// With --demo: stop after this many messages have arrived at both webhooks
    #[arg(long, value_name = "NUMBER", requires = "demo", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "temporary", help = data_dir_help())]
    data_dir: Option<PathBuf>,
    /// Use new data, and remove it at the end
    #[arg(long)]
    temporary: bool,
    /// Directory of postgres and initdb [default: the usual places are searched]
    #[arg(long, value_name = "DIRECTORY")]
    pg_bin: Option<PathBuf>,
    #[command(flatten)]
    listening: ApiFlags,
    #[command(flatten)]
    capacity: WorkerFlags,
    #[command(flatten)]
    network: NetworkFlags,
}

impl Dev {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let settings = common.read(&[&self.listening, &self.capacity, &self.network]);
        let (accepted, wanted) = settings.accept_listening().await?;
        // The demo prints what happens. The log would repeat it.
        let accepted = if self.demo { accepted.quiet() } else { accepted };
        let mut config = accepted.start_logging()?;
        for network in THIS_MACHINE {
            config.delivery.allow_networks.push(network.parse().expect("both are networks"));
        }
        let (listener, address) = bind_near(wanted).await?;

        let started = shutdown.run_until_cancelled(EmbeddedPostgres::start(self.settings()?)).await;
        let Some(postgres) = started else { return Ok(()) };
        let mut postgres = postgres?;
        config.database.url = Some(postgres.url(DATABASE).into());
        config.database.listen_url = None;
        config.database.libpq.clear();
        let fitting = shutdown.run_until_cancelled(renew_if_outdated(&mut postgres, &config.database)).await;
        let Some(fitting) = fitting else { return Ok(()) };
        fitting?;
        config.api.bind = address.into();
        let outcome = match Service::start(config, shutdown.clone()).await {
            Ok(Some(service)) => {
                self.announce(&postgres, &service.config, (wanted, address));
                self.serve(service, listener, shutdown).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let stopped = postgres.stop(ShutdownMode::Fast).await;
        outcome.and(stopped.map_err(CliError::from))
    }

    async fn serve(
        &self,
        mut service: Service,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), CliError> {
        let worker = service.add_worker().await?;
        if self.demo {
            let api = listener.local_addr().map_err(|error| CliError::Failed(error.to_string()))?;
            let demo = Demo::new(&service.config.api, api, service.store.clone(), self.messages);
            service.tasks.spawn("demo", demo.run(shutdown));
        }
        service.add_api(listener, Some(worker));
        service.run().await
    }

    fn settings(&self) -> Result<Settings, CliError> {
        let data_dir = if self.temporary {
            None
        } else {
            match &self.data_dir {
                Some(directory) => Some(directory.clone()),
                None => Some(default_data_dir()?),
            }
        };
        Ok(Settings {
            durable: data_dir.is_some(),
            data_dir,
            tcp: true,
            parameters: Vec::new(),
            pg_bin: self.pg_bin.clone(),
        })
    }

    fn announce(
        &self,
        postgres: &EmbeddedPostgres,
        config: &Config,
        (wanted, api): (SocketAddr, SocketAddr),
    ) {
        let taken = if wanted.port() != 0 && wanted != api {
            format!("   (port {} was taken)", wanted.port())
        } else {
            String::new()
        };
        let kept = if self.temporary { "removed at the end" } else { "kept for the next run" };
        show_line(&format!(
            "\n  pgtopic {version}, for development\n\n  \
             API        http://{api}{taken}\n  \
             API docs   http://{api}/docs\n  \
             Database   schema {schema}, as superuser:\n\n    \
               psql '{database}'\n\n  \
             Commands   such as `pgtopic topics list`, in another terminal, after:\n\n    \
               export DATABASE_URL='{database}' PGTOPIC_DATABASE__SCHEMA='{schema}' \
             PGTOPIC_DELIVERY__ALLOW_NETWORKS={networks}\n\n  \
             Data       {data}   ({kept})\n\n  \
             Ctrl-C stops everything.\n",
            version = env!("CARGO_PKG_VERSION"),
            networks = THIS_MACHINE.join(","),
            database = postgres.tcp_url(DATABASE).unwrap_or_else(|| postgres.url(DATABASE)),
            schema = config.database.schema,
            data = postgres.data_dir().display(),
        ));
    }
}

/// Starts with new data if this pgtopic cannot use the data of an older or newer one. Until the
/// first release, migrations are edited in place, so no migration leads from the old schema to the
/// new one.
async fn renew_if_outdated(
    postgres: &mut EmbeddedPostgres,
    database: &DatabaseConfig,
) -> Result<(), CliError> {
    let outdated = match Store::new(database)?.migrate().await {
        Ok(migrated) => migrated.schema.drifted,
        Err(StoreError::SchemaMismatch(_)) => true,
        Err(error) => return Err(error.into()),
    };
    if outdated {
        let aside = postgres.start_anew().await?;
        show_line(&format!(
            "The data was made by another version of pgtopic. New data was made, and the old data is in {}.",
            aside.display()
        ));
    }
    Ok(())
}

/// Listens on the wanted port, or on the next free port.
async fn bind_near(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let failed = |error| CliError::Failed(format!("cannot listen on {wanted} (api.bind): {error}"));
    let mut candidate = wanted;
    loop {
        match TcpListener::bind(candidate).await {
            Ok(listener) => {
                let address = listener.local_addr().map_err(failed)?;
                return Ok((listener, address));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let next = candidate.port().checked_add(1);
                match next.filter(|port| port - wanted.port() <= PORTS_TRIED) {
                    Some(port) => candidate.set_port(port),
                    None => return Err(failed(error)),
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// The directory where data is kept between runs. For root it is not in root's home: the account
/// that runs the server cannot reach that.
fn default_data_dir() -> Result<PathBuf, CliError> {
    let root = nix::unistd::Uid::effective().is_root();
    data_dir_of(|name| std::env::var_os(name), root)
}

fn data_dir_of(variable: impl Fn(&str) -> Option<OsString>, root: bool) -> Result<PathBuf, CliError> {
    // The XDG specification: an empty or a relative path counts as not set.
    let variable = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data_home) = variable("XDG_DATA_HOME") {
        return Ok(data_home.join("pgtopic/dev"));
    }
    if root {
        return Ok(PathBuf::from("/var/lib/pgtopic/dev"));
    }
    let home = variable("HOME")
        .ok_or_else(|| CliError::Usage("HOME is not set: give --data-dir or --temporary".to_owned()))?;
    Ok(home.join(".local/share/pgtopic/dev"))
}

/// The help of `--data-dir`. It names the directory that is used here and now.
fn data_dir_help() -> String {
    let default = default_data_dir()
        .map_or_else(|_| "none, since HOME is not set".to_owned(), |path| path.display().to_string());
    format!("Keep the data in this directory [default: {default}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_where_the_system_keeps_it() {
        let home = [("HOME", "/home/a")];
        let xdg = [home[0], ("XDG_DATA_HOME", "/data")];
        let of = |variables: &[(&str, &str)], root| {
            let find = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted);
            data_dir_of(|name| find(name).map(|(_, value)| value.into()), root)
        };
        let shown = |variables: &[_], root| of(variables, root).unwrap().display().to_string();
        assert_eq!(shown(&home, false), "/home/a/.local/share/pgtopic/dev");
        assert_eq!(shown(&home, true), "/var/lib/pgtopic/dev");
        assert_eq!(shown(&xdg, false), "/data/pgtopic/dev");
        assert_eq!(shown(&[home[0], ("XDG_DATA_HOME", "relative")], false), shown(&home, false));
        assert!(of(&[], false).is_err());
    }

    #[tokio::test]
    async fn a_taken_port_gives_the_next_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wanted = taken.local_addr().unwrap();
        let (_listener, address) = bind_near(wanted).await.unwrap();
        assert!(address.port() > wanted.port());
    }
}
