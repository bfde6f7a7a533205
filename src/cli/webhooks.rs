//! `pgtopic webhooks`: the webhooks.

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use super::{
    CliError,
    confirm::ConfirmFlags,
    flags::{CommonFlags, NetworkFlags},
    operate::{Operator, OperatorFlags, PageFlags, topic_argument, webhook_argument},
    table::{Fields, Table, capped},
    webhook_flags::{Create, Update},
};
use crate::{
    api::schema,
    domain::{
        topic::TopicRef,
        webhook::{Webhook, WebhookState, WebhookStatus},
        webhook_ref::WebhookRef,
    },
    telemetry::say,
};

/// List, create, change, pause, resume and delete webhooks
#[derive(Args)]
pub(super) struct Webhooks {
    #[command(flatten)]
    operator: OperatorFlags,
    #[command(flatten)]
    network: NetworkFlags,
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Subcommand)]
enum WebhooksCommand {
    /// List webhooks, by rising id
    List(ListWebhooks),
    /// Show a webhook: its settings, its state, its backlog and its dead letters
    Show(WebhookArgument),
    /// Subscribe a URL to a topic
    ///
    /// The webhook is owed every message that is published after it was created and that its filter
    /// lets through. If no secret is given, one is generated and shown this once.
    Create(Create),
    /// Change a webhook; its topic never changes
    Update(Update),
    /// Pause a webhook: nothing is sent, and it is still owed what is published
    Pause(WebhookArgument),
    /// Resume a webhook that was paused or disabled
    Resume(WebhookArgument),
    /// Delete a webhook, its backlog and its dead letters
    Delete(Delete),
}

#[derive(Args)]
struct ListWebhooks {
    /// Only webhooks of this topic, by id or name
    #[arg(long, value_parser = topic_argument)]
    topic: Option<TopicRef>,
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
struct Delete {
    #[command(flatten)]
    webhook: WebhookArgument,
    #[command(flatten)]
    confirm: ConfirmFlags,
}

impl Webhooks {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { operator, network, command } = self;
        operator.run_with(common, &[&network], async |operator| command.run(operator).await).await
    }
}

impl WebhooksCommand {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let broker = &operator.broker;
        match self {
            Self::List(ListWebhooks { topic, page }) => {
                let webhooks = match topic {
                    Some(topic) => broker.list_topic_webhooks(&topic, page.into()).await?,
                    None => broker.list_webhooks(page.into()).await?,
                };
                operator.print_page::<_, schema::Webhook>(webhooks, table)
            }
            Self::Show(WebhookArgument { webhook }) => {
                let status = broker.get_webhook(&webhook).await?;
                let text = status_text(&status);
                operator.print(&schema::WebhookStatus::from(status), text)
            }
            Self::Create(create) => create_webhook(operator, create).await,
            Self::Update(update) => {
                let webhook = update.webhook.clone();
                let changes = update.read().await?;
                print(operator, broker.update_webhook(&webhook, &changes).await?)
            }
            Self::Pause(WebhookArgument { webhook }) => {
                print(operator, broker.pause_webhook(&webhook).await?)
            }
            Self::Resume(WebhookArgument { webhook }) => {
                print(operator, broker.resume_webhook(&webhook).await?)
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

impl Delete {
    async fn run(self, operator: &Operator) -> Result<(), CliError> {
        let Self { webhook: WebhookArgument { webhook }, confirm } = self;
        confirm
            .ask(async || {
                let WebhookStatus { webhook, owed } = operator.broker.get_webhook(&webhook).await?;
                Ok(format!(
                    "Delete webhook {} with {} owed deliveries and {} dead letters?",
                    full_name(&webhook),
                    capped(owed.backlog, owed.backlog_capped),
                    capped(owed.dead_letters, owed.dead_letters_capped)
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

fn table(webhooks: &[Webhook]) -> Table {
    let mut table = Table::new(["id", "webhook", "state", "url"]);
    for webhook in webhooks {
        table.row([
            webhook.id.to_string(),
            full_name(webhook),
            state(webhook).to_owned(),
            webhook.url.clone(),
        ]);
    }
    table
}

fn fields(webhook: &Webhook) -> Fields {
    let default = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
    let seconds = |value: Option<i32>| value.map(|seconds| format!("{seconds} s"));
    Fields::default()
        .with("id", webhook.id.to_string())
        .with("webhook", full_name(webhook))
        .with("url", webhook.url.clone())
        .with("state", state(webhook).to_owned())
        .with("disabled because", webhook.disabled_reason.clone())
        .with("filter", webhook.filter.clone())
        .with("headers", webhook.header_names.join(", "))
        .with("format", webhook.format.as_str().to_owned())
        .with("batch size", webhook.batch_size.to_string())
        .with("max retries", default(webhook.max_retries.map(|number| number.to_string())))
        .with("backoff factor", default(webhook.backoff_factor.map(|number| number.to_string())))
        .with("max backoff", default(seconds(webhook.max_backoff_seconds)))
        .with("timeout", default(seconds(webhook.timeout_seconds)))
        .with("on exhausted", webhook.on_exhausted.as_str().to_owned())
        .with("max in flight", webhook.max_in_flight.map(|number| number.to_string()))
        .with("rate limit", webhook.rate_limit_per_second.map(|number| format!("{number} per second")))
        .with("created at", webhook.created_at.to_string())
}

fn status_text(WebhookStatus { webhook, owed }: &WebhookStatus) -> String {
    fields(webhook)
        .with("owed", capped(owed.backlog, owed.backlog_capped))
        .with("dead letters", capped(owed.dead_letters, owed.dead_letters_capped))
        .to_string()
}

/// `topic:name`, as every command takes it.
fn full_name(webhook: &Webhook) -> String {
    format!("{}:{}", webhook.topic, webhook.name)
}

fn state(webhook: &Webhook) -> &'static str {
    match webhook {
        Webhook { disabled_reason: Some(_), .. } => "disabled",
        Webhook { paused: true, .. } => "paused",
        Webhook { state: WebhookState::Starting, .. } => "starting",
        Webhook { state: WebhookState::Active, .. } => "active",
    }
}
