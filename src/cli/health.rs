//! `pgtopic health`: one line and an exit code, for the health check of a container.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

use super::{
    CliError,
    flags::{CommonFlags, DatabaseFlags},
};
use crate::{domain::worker::WorkerState, store::Store, telemetry::print_line, worker::name_prefix};

/// How long the answer may take. `/readyz` gives the database 2 s.
const LIMIT: Duration = Duration::from_secs(4);
/// The longest answer that is read.
const ANSWER_MAX: usize = 64 * 1024;

/// Say in one line whether a process is ready, for the health check of a container
///
/// It asks GET /readyz of the process at api.bind. With --worker it asks the database whether a
/// worker of this host lives. The exit code is 0 if so, otherwise 1.
#[derive(Args)]
pub(super) struct Health {
    /// Where the process is [default: the address of api.bind]
    #[arg(long, value_name = "URL", conflicts_with = "worker")]
    url: Option<Uri>,
    /// Ask the database for a worker of this host, which serves no API
    #[arg(long)]
    worker: bool,
    #[command(flatten)]
    database: DatabaseFlags,
}

impl Health {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let asked = async {
            if self.worker { self.ask_database(common).await } else { self.ask_process(common).await }
        };
        let in_time = tokio::time::timeout(LIMIT, asked).await;
        let late = || Err(CliError::Failed(format!("no answer within {} s", LIMIT.as_secs())));
        let line = in_time.unwrap_or_else(|_| late())?;
        print_line(&line);
        Ok(())
    }

    async fn ask_process(&self, common: &CommonFlags) -> Result<String, CliError> {
        let failed = |what: String| CliError::Failed(what);
        let base = if let Some(url) = &self.url {
            url.to_string()
        } else {
            let config = common.read(&[]).accept()?.quiet().start_logging()?;
            let bound = config.api.bind.resolve().await;
            let address = bound.map_err(|error| failed(format!("api.bind: {}: {error}", config.api.bind)))?;
            format!("http://{}", reachable(address))
        };
        let url = format!("{}/readyz", base.trim_end_matches('/'));
        let request = Request::get(&url).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| CliError::Usage(format!("--url {base}: {error}")))?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await;
        let answer = answer.map_err(|_| failed(format!("nobody answers at {base}")))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status == StatusCode::OK {
            return Ok("ready".to_owned());
        }
        Err(failed(format!("not ready: {}", body["detail"].as_str().unwrap_or(status.as_str()))))
    }

    async fn ask_database(&self, common: &CommonFlags) -> Result<String, CliError> {
        let config = common.read(&[&self.database]).with_database().accept()?.quiet().start_logging()?;
        let store = Store::new(&config.database)?;
        let prefix = name_prefix();
        let workers = store.list_workers().await.map_err(|error| CliError::Failed(error.to_string()))?;
        let mut here = workers.iter().filter(|worker| worker.name.starts_with(&prefix));
        match here.find(|worker| worker.state != WorkerState::Stale) {
            Some(worker) => Ok(format!("worker {} is {}", worker.name, worker.state.as_str())),
            None => Err(CliError::Failed(format!("no worker of this host ({prefix}) lives"))),
        }
    }
}

/// The address to connect to. One that means all addresses of a machine is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_reached_by_loopback() {
        for (bound, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), reached);
        }
    }
}
