//! The settings of a webhook as flags, named as the fields of the API.

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::{
    CliError,
    flags::NetworkFlags,
    headers::{header_argument, headers},
    input::Input,
    operate::{nothing_to_change, webhook_argument},
    words::word,
};
use crate::{
    api::schema::parse_start,
    domain::{
        breaker::BreakerPolicy,
        headers::Headers,
        policy::{OnExhausted, OnOverflow},
        range::StartFrom,
        webhook::{Format, NewWebhook, WebhookChanges},
        webhook_ref::WebhookRef,
    },
};

/// The longest file of a secret or of headers, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// A webhook to be created.
#[derive(Args)]
pub(super) struct Create {
    /// The topic's name or id
    #[arg(long)]
    topic: String,
    /// Where requests go
    #[arg(long)]
    url: String,
    /// Its name, unique in its topic [default: webhook- and its id]
    #[arg(long)]
    name: Option<String>,
    /// Read the signing secret from a file; - is standard input [default: a secret is generated]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<Input>,
    /// Where it begins: now, beginning, the id of a message, or a time such as
    /// 2026-11-24T00:00:00Z
    #[arg(long, value_name = "PLACE", default_value = "now", value_parser = start_argument)]
    start_from: StartFrom,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    pub(super) network: NetworkFlags,
}

/// Reads where a webhook begins, as an argument.
fn start_argument(text: &str) -> Result<StartFrom, String> {
    parse_start(text).ok_or_else(|| "must be now, beginning, the id of a message, or a time".to_owned())
}

/// Changes of a webhook.
#[derive(Args)]
pub(super) struct Update {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    pub(super) webhook: WebhookRef,
    /// Where requests go
    #[arg(long)]
    url: Option<String>,
    /// Its name, unique in its topic
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: SettingFlags,
    /// Return settings to their defaults; several are separated by commas
    #[arg(long, value_name = "SETTING", value_delimiter = ',')]
    unset: Vec<Setting>,
    #[command(flatten)]
    pub(super) network: NetworkFlags,
}

#[derive(Args)]
struct SettingFlags {
    /// A header sent with every request; may be repeated; they replace all earlier ones
    #[arg(long, value_name = "NAME=VALUE", value_parser = header_argument)]
    header: Vec<(String, String)>,
    /// Read the headers from a file, a JSON object of strings; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "header")]
    headers_file: Option<Input>,
    /// A type of messages that are owed: exact, or a start followed by *; may be repeated. The types
    /// replace all earlier ones
    #[arg(long, value_name = "TYPE")]
    r#type: Vec<String>,
    /// A jsonpath predicate; only messages for which it is true are owed
    #[arg(long, value_name = "JSONPATH")]
    filter: Option<String>,
    /// The format of a request's body
    #[arg(long, value_name = "WORD", value_parser = word(Format::ALL, Format::as_str, Format::parse))]
    format: Option<Format>,
    /// How many messages of a partition one request may carry
    #[arg(long, value_name = "NUMBER")]
    batch_size: Option<i32>,
    /// How many attempts are made in all
    #[arg(long, value_name = "NUMBER")]
    max_retries: Option<i32>,
    /// The wait after the n-th failure is this number to the power of n, in seconds
    #[arg(long, value_name = "NUMBER")]
    backoff_factor: Option<f64>,
    /// The longest wait
    #[arg(long, value_name = "SECONDS")]
    max_backoff_seconds: Option<i32>,
    /// The wait after the first failure, after the second, and so on, in seconds, separated by
    /// commas; the last one repeats. It takes the place of the factor and the longest wait
    #[arg(long, value_name = "SECONDS", value_delimiter = ',')]
    retry_schedule: Vec<i32>,
    /// HTTP statuses after which a message is not tried again, separated by commas
    #[arg(long, value_name = "STATUSES", value_delimiter = ',')]
    permanent_statuses: Vec<i32>,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<i32>,
    /// What happens to a partition whose first message used up its attempts
    #[arg(long, value_name = "WORD",
          value_parser = word(OnExhausted::ALL, OnExhausted::as_str, OnExhausted::parse))]
    on_exhausted: Option<OnExhausted>,
    /// Whether its circuit breaker may open
    #[arg(long, value_name = "WORD",
          value_parser = word(BreakerPolicy::ALL, BreakerPolicy::as_str, BreakerPolicy::parse))]
    breaker: Option<BreakerPolicy>,
    /// How many partitions all workers together may have in flight
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<i32>,
    /// How many requests a second all workers together may send
    #[arg(long, value_name = "NUMBER")]
    rate_limit_per_second: Option<f64>,
    /// How old a message may be that is sent; an older one becomes a dead letter
    #[arg(long, value_name = "SECONDS")]
    max_age_seconds: Option<i32>,
    /// How many messages it may be owed, replays aside
    #[arg(long, value_name = "NUMBER")]
    max_owed: Option<i32>,
    /// What happens if it is owed more. To keep the latest means that only the newest message of each
    /// partition is sent, in any case. To refuse means that nobody can publish to its topic meanwhile
    #[arg(long, value_name = "WORD",
          value_parser = word(OnOverflow::ALL, OnOverflow::as_str, OnOverflow::parse))]
    on_overflow: Option<OnOverflow>,
}

/// A setting that has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Setting {
    Headers,
    Types,
    Filter,
    MaxRetries,
    BackoffFactor,
    MaxBackoffSeconds,
    RetrySchedule,
    PermanentStatuses,
    TimeoutSeconds,
    MaxInFlight,
    RateLimitPerSecond,
    MaxAgeSeconds,
    MaxOwed,
}

impl Create {
    /// The webhook, and whether its secret was given.
    pub(super) async fn read(self) -> Result<(NewWebhook, bool), CliError> {
        let secret = match &self.secret_file {
            Some(file) => Some(SecretString::from(file.read_text(FILE_BYTES_MAX).await?)),
            None => None,
        };
        let is_given = secret.is_some();
        let settings = self.settings;
        let headers = read_headers(settings.header, settings.headers_file.as_ref()).await?;
        let new = NewWebhook {
            topic: Some(self.topic),
            topic_id: None,
            name: self.name,
            url: self.url,
            secret,
            headers,
            types: list(settings.r#type),
            filter: settings.filter,
            format: settings.format,
            batch_size: settings.batch_size,
            max_retries: settings.max_retries,
            backoff_factor: settings.backoff_factor,
            max_backoff_seconds: settings.max_backoff_seconds,
            retry_schedule: list(settings.retry_schedule),
            permanent_statuses: list(settings.permanent_statuses),
            timeout_seconds: settings.timeout_seconds,
            on_exhausted: settings.on_exhausted.unwrap_or_default(),
            breaker: settings.breaker.unwrap_or_default(),
            max_in_flight: settings.max_in_flight,
            rate_limit_per_second: settings.rate_limit_per_second,
            max_age_seconds: settings.max_age_seconds,
            max_owed: settings.max_owed,
            on_overflow: settings.on_overflow.unwrap_or_default(),
            start_from: self.start_from,
        };
        Ok((new, is_given))
    }
}

impl Update {
    /// The changes.
    ///
    /// # Errors
    /// [`CliError::Usage`] if there is none, or a setting is given and unset.
    pub(super) async fn read(self) -> Result<WebhookChanges, CliError> {
        let settings = self.settings;
        let headers = read_headers(settings.header, settings.headers_file.as_ref()).await?;
        let unset = Unset(self.unset);
        let changes = WebhookChanges {
            name: self.name,
            url: self.url,
            headers: unset.or(Setting::Headers, headers)?.map(Option::unwrap_or_default),
            types: unset.or(Setting::Types, list(settings.r#type))?,
            filter: unset.or(Setting::Filter, settings.filter)?,
            format: settings.format,
            batch_size: settings.batch_size,
            max_retries: unset.or(Setting::MaxRetries, settings.max_retries)?,
            backoff_factor: unset.or(Setting::BackoffFactor, settings.backoff_factor)?,
            max_backoff_seconds: unset.or(Setting::MaxBackoffSeconds, settings.max_backoff_seconds)?,
            retry_schedule: unset.or(Setting::RetrySchedule, list(settings.retry_schedule))?,
            permanent_statuses: unset.or(Setting::PermanentStatuses, list(settings.permanent_statuses))?,
            timeout_seconds: unset.or(Setting::TimeoutSeconds, settings.timeout_seconds)?,
            on_exhausted: settings.on_exhausted,
            breaker: settings.breaker,
            max_in_flight: unset.or(Setting::MaxInFlight, settings.max_in_flight)?,
            rate_limit_per_second: unset.or(Setting::RateLimitPerSecond, settings.rate_limit_per_second)?,
            max_age_seconds: unset.or(Setting::MaxAgeSeconds, settings.max_age_seconds)?,
            max_owed: unset.or(Setting::MaxOwed, settings.max_owed)?,
            on_overflow: settings.on_overflow,
            paused: None,
            enable: false,
        };
        if changes == WebhookChanges::default() { Err(nothing_to_change()) } else { Ok(changes) }
    }
}

/// The list that was given, if one was.
fn list<T>(given: Vec<T>) -> Option<Vec<T>> {
    Some(given).filter(|list| !list.is_empty())
}

/// The settings that return to their defaults.
struct Unset(Vec<Setting>);

impl Unset {
    /// The change of a setting: to nothing, to a value, or none.
    #[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
    fn or<T>(&self, setting: Setting, value: Option<T>) -> Result<Option<Option<T>>, CliError> {
        match (self.0.contains(&setting), value) {
            (true, Some(_)) => {
                let name = setting.to_possible_value().map(|value| value.get_name().to_owned());
                Err(CliError::Usage(format!("{} is given and unset", name.unwrap_or_default())))
            }
            (true, None) => Ok(Some(None)),
            (false, value) => Ok(value.map(Some)),
        }
    }
}

async fn read_headers(
    arguments: Vec<(String, String)>,
    file: Option<&Input>,
) -> Result<Option<Headers>, CliError> {
    let Some(file) = file else { return headers(arguments) };
    let text = file.read_text(FILE_BYTES_MAX).await?;
    // The text may hold credentials, so the error does not show it.
    let unreadable = |_| CliError::Usage(format!("{file} must be a JSON object whose values are strings"));
    serde_json::from_str(&text).map(Some).map_err(unreadable)
}
