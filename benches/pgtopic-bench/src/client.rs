//! What a measurement is compared with: a client without a broker, in a process of its own like a
//! worker.
//!
//! It is the client that workers use.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use jiff::Timestamp;
use pgtopic::{
    cli::run_to_end,
    delivery::{self, AddressGuard, PreparedTarget, SigningKey},
    domain::{
        attempt::Outcome,
        breaker::BreakerPolicy,
        message::Message,
        policy::{OnExhausted, Policy},
        target::Target,
        webhook::Format,
    },
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{CliError, failed, load, print_line, settings, sql::Connector, tally::partition_key};

/// It prints this on standard output when it is ready.
pub(super) const READY: &str = "ready";

/// Its command line.
#[derive(Parser)]
pub(super) enum Client {
    /// Send messages that come from nowhere
    Send {
        #[arg(long)]
        url: String,
        #[arg(long)]
        messages: u64,
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        lanes: u64,
    },
    /// Send what arrives on a channel of the database
    Listen {
        #[arg(long)]
        url: String,
        #[arg(long)]
        channel: String,
        /// Read each row anew, as if the notification did not carry it
        #[arg(long)]
        read: bool,
    },
}

impl Client {
    /// Does its work. Then waits until it is stopped, so that its costs can be read.
    pub(super) fn run(self) -> Result<(), CliError> {
        run_to_end(|shutdown| self.work(shutdown))
    }

    async fn work(self, shutdown: CancellationToken) -> Result<(), CliError> {
        let work = async {
            match self {
                Self::Send { url, messages, lanes } => send_all(&url, messages, lanes).await,
                Self::Listen { url, channel, read } => listen(&url, &channel, read).await,
            }
        };
        match shutdown.run_until_cancelled(work).await {
            Some(Ok(())) => shutdown.cancelled().await,
            Some(Err(error)) => return Err(error),
            None => {}
        }
        Ok(())
    }
}

/// Sends lane by lane in order, all lanes at once.
async fn send_all(url: &str, messages: u64, lanes: u64) -> Result<(), CliError> {
    let sender = Sender::new(url)?;
    let mut running: JoinSet<Result<(), CliError>> = JoinSet::new();
    for lane in 0..lanes {
        let sender = sender.clone();
        running.spawn(async move {
            let key: Arc<str> = partition_key(lane).into();
            let filler = load::filler();
            let mut number = lane;
            while number < messages {
                sender.send(number + 1, &key, load::payload(number, &filler)).await?;
                number += lanes;
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| failed(format!("a lane failed: {error}")))??;
    }
    Ok(())
}

/// The smallest loop: a notification arrives, a request leaves. With `read`, it reads the row
/// before that.
async fn listen(url: &str, channel: &str, read: bool) -> Result<(), CliError> {
    let config = settings(None, Vec::new())?;
    let mut listener = Connector::new(&config.database).listen(channel).await?;
    let sender = Sender::new(url)?;
    let key: Arc<str> = partition_key(0).into();
    print_line(READY);
    while let Some(text) = listener.next().await {
        let (id, payload) =
            text.split_once(' ').ok_or_else(|| failed("an unknown notification".to_owned()))?;
        let id: i64 = id.parse().map_err(|_| failed("an unknown notification".to_owned()))?;
        let payload = if read { listener.read(id).await? } else { payload.to_owned() };
        sender.send(id.unsigned_abs(), &key, payload).await?;
    }
    Err(failed("the connection to the database is lost".to_owned()))
}

#[derive(Clone)]
struct Sender {
    client: delivery::Client,
    target: Arc<PreparedTarget>,
}

impl Sender {
    fn new(url: &str) -> Result<Self, CliError> {
        let loopback = "127.0.0.0/8".parse().map_err(|_| failed("no network".to_owned()))?;
        let client = delivery::Client::new(AddressGuard::new(vec![loopback]), None)
            .map_err(|error| failed(error.to_string()))?;
        let target = Target {
            name: "bench".to_owned(),
            webhook_id: 1,
            source: "pgtopic".into(),
            topic: "bench".to_owned(),
            ordered: true,
            url: url.to_owned(),
            secrets: vec![SigningKey::generate()],
            headers: Vec::new(),
            format: Format::Raw,
            batch_size: 1,
            policy: Policy {
                max_retries: 1,
                backoff_factor: 1.0,
                max_backoff: Duration::from_secs(1),
                retry_schedule: Vec::new(),
                permanent_statuses: Vec::new(),
                timeout: Duration::from_secs(10),
                on_exhausted: OnExhausted::Halt,
                max_in_flight: None,
                max_age: None,
                latest_only: false,
            },
            rate_limit_per_second: None,
            held_for: None,
            breaker: BreakerPolicy::Off,
            deliverable: true,
        };
        let target = PreparedTarget::new(&target).map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, target: Arc::new(target) })
    }

    async fn send(&self, id: u64, key: &Arc<str>, payload: String) -> Result<(), CliError> {
        let message = Message {
            r#type: None,
            replay: false,
            born: std::time::Instant::now(),
            id: i64::try_from(id).unwrap_or(i64::MAX),
            partition_key: Arc::clone(key),
            payload: Bytes::from(payload),
            headers: None,
            created_at: Timestamp::now(),
        };
        let later = || Some(Instant::now() + Duration::from_hours(1));
        let sent = delivery::send(&self.client, &self.target, &[message], 1, None, later).await;
        let Some(result) = sent else { return Err(failed("a request was not started".to_owned())) };
        match result.outcome {
            Outcome::Accepted => Ok(()),
            _ => Err(failed(result.error.unwrap_or_else(|| "a request was not accepted".to_owned()))),
        }
    }
}
