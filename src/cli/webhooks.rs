//! `pgtopic webhooks`: the webhooks.

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use super::{
    CliError,
    confirm::ConfirmFlags,
    flags::{CommonFlags, Flags, NetworkFlags},
    operate::{Operator, OperatorFlags, PageFlags, topic_argument, webhook_argument},
    table::{Fields, Table, capped, or_dash},
    webhook_flags::{Create, Update},
    words::word,
};
use crate::{
    api::schema,
    domain::{
        attempt::Outcome,
        health::{Backlog, HealthState},
        topic::TopicRef,
        webhook::{Webhook, WebhookFilter},
        webhook_ref::WebhookRef,
    },
    telemetry::say,
};

/// List, create, change, pause, resume, enable and delete webhooks
#[derive(Args)]
pub(super) struct Webhooks {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Subcommand)]
enum WebhooksCommand {
    /// List webhooks, by rising id
    List(ListWebhooks),
    /// Show a webhook: its settings and its health
    Show(WebhookArgument),
    /// Subscribe a URL to a topic
    Create(Create),
    /// Change a webhook; its topic never changes
    Update(Update),
    /// Pause a webhook: nothing is sent, and it is still owed what is published
    Pause(WebhookArgument),
    /// End the pause of a webhook; if it is disabled, it stays so
    Resume(WebhookArgument),
    /// Enable a webhook that was disabled; if it is paused, it stays so
    Enable(WebhookArgument),
    /// Send a test request now, outside every partition; exit code 1 if it is not accepted
    Test(Test),
    /// Delete a webhook, its backlog and its dead letters
    Delete(Delete),
}

#[derive(Args)]
struct ListWebhooks {
    /// Only webhooks of this topic, by id or name
    #[arg(long, value_parser = topic_argument)]
    topic: Option<TopicRef>,
    /// Only webhooks whose health is in this state
    #[arg(long, value_parser = word(HealthState::ALL, HealthState::as_str, HealthState::parse))]
    state: Option<HealthState>,
    #[command(flatten)]
    page: PageFlags,
}

#[derive(Args)]
struct WebhookArgument {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    webhook: WebhookRef,
}

#[derive(Args)]
struct Test {
    #[command(flatten)]
    webhook: WebhookArgument,
    #[command(flatten)]
    network: NetworkFlags,
}

#[derive(Args)]
struct Delete {
    #[command(flatten)]
    webhook: WebhookArgument,
    #[command(flatten)]
    confirm: ConfirmFlags,
}

impl Webhooks {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let network = self.command.network().cloned();
        let flags: Vec<&dyn Flags> = network.iter().map(|network| network as &dyn Flags).collect();
        self.operator.run_with(common, &flags, async |operator| self.command.run(operator).await).await
    }
}

impl WebhooksCommand {
    /// Where the URL may point, if the command has one.
    fn network(&self) -> Option<&NetworkFlags> {
        match self {
            Self::Create(create) => Some(&create.network),
            Self::Update(update) => Some(&update.network),
            Self::Test(test) => Some(&test.network),
            _ => None,
        }
    }

    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let broker = &operator.broker;
        match self {
            Self::List(ListWebhooks { topic, state, page }) => {
                let webhooks = broker.list_webhooks(&WebhookFilter { topic, state }, page.into()).await?;
                operator.print_page::<_, schema::Webhook>(webhooks, table)
            }
            Self::Show(WebhookArgument { webhook }) => print(operator, broker.get_webhook(&webhook).await?),
            Self::Create(create) => create_webhook(operator, create).await,
            Self::Update(update) => {
                let webhook = update.webhook.clone();
                let changes = update.read().await?;
                print(operator, broker.update_webhook(&webhook, &changes).await?)
            }
            Self::Pause(WebhookArgument { webhook }) => {
                print_state(operator, broker.pause_webhook(&webhook).await?)
            }
            Self::Resume(WebhookArgument { webhook }) => {
                print_state(operator, broker.resume_webhook(&webhook).await?)
            }
            Self::Enable(WebhookArgument { webhook }) => {
                print_state(operator, broker.enable_webhook(&webhook).await?)
            }
            Self::Test(Test { webhook: WebhookArgument { webhook }, .. }) => {
                test_webhook(operator, &webhook).await
            }
            Self::Delete(delete) => delete.run(operator).await,
        }
    }
}

async fn create_webhook(operator: &Operator, create: Create) -> Result<(), CliError> {
    let (new, secret_is_given) = create.read().await?;
    let created = operator.broker.create_webhook(new).await?;
    let secret = (!secret_is_given).then(|| created.secret.expose_secret().to_owned());
    let is_shown = secret.is_some() && !operator.is_json();
    let fields = match secret {
        Some(secret) => fields(&created.webhook).with("secret", secret),
        None => fields(&created.webhook),
    };
    operator.print(&schema::CreatedWebhook::from(created), fields.to_string())?;
    if is_shown {
        say("The secret is shown only this once. The receiver needs it to check signatures.");
    }
    Ok(())
}

async fn test_webhook(operator: &Operator, webhook: &WebhookRef) -> Result<(), CliError> {
    let test = operator.broker.test_webhook(webhook).await?;
    let result = &test.result;
    let fields = Fields::default()
        .with("id", test.id.clone())
        .with("outcome", result.outcome.as_str().to_owned())
        .with("status code", number(result.status_code))
        .with("error class", result.error_class.map(|class| class.as_str().to_owned()))
        .with("error", result.error.clone())
        .with("duration", format!("{:.1} ms", result.duration.as_secs_f64() * 1000.0))
        .with("response", result.response_excerpt.clone());
    let is_accepted = result.outcome == Outcome::Accepted;
    operator.print(&schema::TestRequest::from(test), fields.to_string())?;
    if is_accepted { Ok(()) } else { Err(CliError::Failed("the test request was not accepted".to_owned())) }
}

impl Delete {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let Self { webhook: WebhookArgument { webhook }, confirm } = self;
        confirm
            .ask(async || {
                let webhook = operator.broker.get_webhook(&webhook).await?;
                Ok(format!(
                    "Delete webhook {} with {} owed deliveries and {} dead letters?",
                    full_name(&webhook),
                    owed(&webhook),
                    dead_letters(&webhook)
                ))
            })
            .await?;
        let deleted = operator.broker.delete_webhook(&webhook).await?;
        let text = format!(
            "The webhook was deleted, with {} owed deliveries and {} dead letters.",
            deleted.dropped_deliveries, deleted.dropped_dead_letters
        );
        operator.print(&schema::DeletedWebhook::from(deleted), text)
    }
}

fn print(operator: &Operator, webhook: Webhook) -> Result<(), CliError> {
    let text = fields(&webhook).to_string();
    operator.print(&schema::Webhook::from(webhook), text)
}

fn print_state(operator: &Operator, webhook: Webhook) -> Result<(), CliError> {
    let text = format!("Webhook {} is {}.", full_name(&webhook), webhook.health.state.as_str());
    operator.print(&schema::Webhook::from(webhook), text)
}

fn table(webhooks: &[Webhook]) -> Table {
    let mut table = Table::new(["id", "webhook", "state", "owed", "oldest", "dead letters", "url"]);
    for webhook in webhooks {
        table.row([
            webhook.id.to_string(),
            full_name(webhook),
            webhook.health.state.as_str().to_owned(),
            owed(webhook),
            or_dash(webhook.health.backlog.and_then(|backlog| backlog.oldest_owed_at)),
            dead_letters(webhook),
            webhook.url.clone(),
        ]);
    }
    table
}

fn lanes(backlog: &Backlog) -> String {
    let lanes = &backlog.lanes;
    format!(
        "{} ready, {} claimed, {} waiting, {} halted",
        lanes.ready, lanes.claimed, lanes.waiting, lanes.halted
    )
}

fn fields(webhook: &Webhook) -> Fields {
    let health = &webhook.health;
    let backlog = health.backlog.as_ref();
    let default = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
    Fields::default()
        .with("id", webhook.id.to_string())
        .with("webhook", full_name(webhook))
        .with("url", webhook.url.clone())
        .with("state", health.state.as_str().to_owned())
        .with("next probe", health.breaker.next_probe_at.map(|at| at.to_string()))
        .with("since", health.since.map(|since| since.to_string()))
        .with("reason", health.reason.clone())
        .with("held until", health.hold_until.map(|until| until.to_string()))
        .with("owed", owed(webhook))
        .with("oldest owed", backlog.and_then(|backlog| backlog.oldest_owed_at).map(|at| at.to_string()))
        .with("lanes", backlog.map(lanes))
        .with("dead letters", dead_letters(webhook))
        .with("last success", health.last.last_success_at.map(|at| at.to_string()))
        .with("last failure", health.last.last_failure_at.map(|at| at.to_string()))
        .with("last error", health.last.last_error.clone())
        .with("filter", webhook.filter.clone())
        .with("headers", webhook.header_names.join(", "))
        .with("format", webhook.format.as_str().to_owned())
        .with("batch size", webhook.batch_size.to_string())
        .with("max retries", default(number(webhook.max_retries)))
        .with("backoff factor", default(number(webhook.backoff_factor)))
        .with("max backoff seconds", default(number(webhook.max_backoff_seconds)))
        .with("retry schedule", webhook.retry_schedule.as_deref().map(numbers))
        .with("permanent statuses", webhook.permanent_statuses.as_deref().map(numbers))
        .with("timeout seconds", default(number(webhook.timeout_seconds)))
        .with("on exhausted", webhook.on_exhausted.as_str().to_owned())
        .with("breaker", webhook.breaker.as_str().to_owned())
        .with("max in flight", number(webhook.max_in_flight))
        .with("rate limit per second", number(webhook.rate_limit_per_second))
        .with("max age seconds", number(webhook.max_age_seconds))
        .with("max owed", number(webhook.max_owed))
        .with("on overflow", webhook.on_overflow.as_str().to_owned())
        .with("overflowing", if webhook.overflowing { "yes" } else { "no" }.to_owned())
        .with("created at", webhook.created_at.to_string())
}

fn owed(Webhook { health, .. }: &Webhook) -> String {
    or_dash(health.backlog.as_ref().map(|backlog| capped(backlog.owed, backlog.owed_capped)))
}

fn dead_letters(Webhook { health, .. }: &Webhook) -> String {
    let count = |backlog: &Backlog| capped(backlog.dead_letters, backlog.dead_letters_capped);
    or_dash(health.backlog.as_ref().map(count))
}

fn number(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn numbers(values: &[i32]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `topic:name`, as every command takes it.
fn full_name(webhook: &Webhook) -> String {
    format!("{}:{}", webhook.topic, webhook.name)
}
