//! The use cases of webhooks: create, list, read, change, pause, resume, enable, delete.

use std::fmt::Display;

use secrecy::{ExposeSecret as _, SecretString};

use super::{Broker, BrokerError};
use crate::{
    delivery::{SigningKey, check_header},
    domain::{
        headers::Headers,
        page::{Items, List, PageRequest},
        topic::{EVENTS_TOPIC, TopicChanges},
        violation::Violations,
        webhook::{FilterVerdict, NewWebhook, Webhook, WebhookChanges, WebhookDeletion, WebhookFilter},
        webhook_ref::WebhookRef,
    },
};

/// A webhook that was just created, and its signing secret. The secret is never shown again.
pub struct CreatedWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// Its signing secret.
    pub secret: SecretString,
}

impl Broker {
    /// Creates a webhook: subscribes a URL to a topic. The webhook is owed every message that is
    /// published after it was created and that its types and its filter let through. A secret is generated
    /// unless one is given.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotFound`] if there is no such
    /// topic.
    pub async fn create_webhook(&self, mut new: NewWebhook) -> Result<CreatedWebhook, BrokerError> {
        let secret = new.secret.take().unwrap_or_else(SigningKey::generate);
        let mut violations = new.check().err().unwrap_or_default();
        if let Err(error) = SigningKey::parse(secret.expose_secret()) {
            violations.add("secret", rule("secret", &error));
        }
        self.check_request(Some(&new.url), new.headers.as_ref(), &mut violations);
        violations.finish()?;
        self.check_filter(new.filter.as_deref()).await?;
        let named = || new.topic.clone().or(new.topic_id.map(|id| id.to_string())).unwrap_or_default();
        let topic = new.topic_ref().ok_or_else(|| BrokerError::no_topic(&named()))?;
        self.permit_topic(&topic).await?;
        if topic.name() == Some(EVENTS_TOPIC) {
            // It comes with the first one that subscribes.
            self.store.put_topic(EVENTS_TOPIC, None, &TopicChanges::default(), &self.actor).await?;
        }
        let created = self.store.create_webhook(&topic, &new, &secret, &self.actor).await?;
        let webhook = created.ok_or_else(|| BrokerError::unknown_topic(&topic))?;
        Ok(CreatedWebhook { webhook, secret })
    }

    /// A page of the webhooks that the caller may see, by rising id.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the filter names a topic that does not exist.
    pub async fn list_webhooks(
        &self,
        filter: &WebhookFilter,
        page: PageRequest,
    ) -> Result<Items<Webhook>, BrokerError> {
        let page = page.of(List::Webhooks)?;
        let topic_id = match &filter.topic {
            Some(topic) => Some(self.find_topic(topic).await?),
            None => None,
        };
        let webhooks = self.store.list_webhooks(topic_id, filter.state, &self.scope, page).await?;
        Ok(Items::full(webhooks, page, |webhook| webhook.id))
    }

    /// One webhook: its settings and its health. What it is owed is counted now.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook.
    pub async fn get_webhook(&self, webhook: &WebhookRef) -> Result<Webhook, BrokerError> {
        let id = self.find_webhook(webhook).await?.id;
        let found = self.store.get_webhook(id).await?;
        let mut webhook = found.ok_or_else(|| BrokerError::no_webhook(webhook))?;
        let (backlog, now) = self.store.count_webhook_backlog(id).await?;
        webhook.health.backlog = Some(backlog);
        webhook.health.sampled_at = Some(now);
        Ok(webhook)
    }

    /// Changes a webhook. Its topic never changes.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotFound`] if there is no such
    /// webhook.
    pub async fn update_webhook(
        &self,
        webhook: &WebhookRef,
        changes: &WebhookChanges,
    ) -> Result<Webhook, BrokerError> {
        let id = self.find_webhook(webhook).await?.id;
        let mut violations = changes.check().err().unwrap_or_default();
        self.check_request(changes.url.as_ref(), changes.headers.as_ref(), &mut violations);
        violations.finish()?;
        self.check_filter(changes.filter.as_ref().and_then(Option::as_deref)).await?;
        let updated = self.store.update_webhook(id, changes, &self.actor).await?;
        updated.ok_or_else(|| BrokerError::no_webhook(webhook))
    }

    /// Pauses a webhook: nothing is sent to it. It is still owed what is published.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook.
    pub async fn pause_webhook(&self, webhook: &WebhookRef) -> Result<Webhook, BrokerError> {
        self.update_webhook(webhook, &WebhookChanges::pause(true)).await
    }

    /// Ends the pause of a webhook. If it is disabled, it stays so.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook.
    pub async fn resume_webhook(&self, webhook: &WebhookRef) -> Result<Webhook, BrokerError> {
        self.update_webhook(webhook, &WebhookChanges::pause(false)).await
    }

    /// Enables a webhook that was disabled. If it is paused, it stays so. An unusable webhook is
    /// disabled again by a worker.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook.
    pub async fn enable_webhook(&self, webhook: &WebhookRef) -> Result<Webhook, BrokerError> {
        self.update_webhook(webhook, &WebhookChanges::enable()).await
    }

    /// Deletes a webhook, its backlog and its dead letters.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook.
    pub async fn delete_webhook(&self, webhook: &WebhookRef) -> Result<WebhookDeletion, BrokerError> {
        let id = self.find_webhook(webhook).await?.id;
        self.store.delete_webhook(id).await?.ok_or_else(|| BrokerError::no_webhook(webhook))
    }

    /// Adds a violation for a URL and for each header that could not be sent.
    fn check_request(&self, url: Option<&String>, headers: Option<&Headers>, violations: &mut Violations) {
        if let Some(Err(error)) = url.map(|url| self.guard.check_url(url)) {
            violations.add("url", rule("url", &error));
        }
        for (name, value) in headers.into_iter().flatten() {
            if let Err(error) = check_header(name, value) {
                violations.add(format!("headers.{name}"), error.to_string());
            }
        }
    }

    /// Checks that a text is a filter. Only PostgreSQL can tell.
    async fn check_filter(&self, filter: Option<&str>) -> Result<(), BrokerError> {
        let Some(filter) = filter else { return Ok(()) };
        let rule = match self.store.check_webhook_filter(filter).await? {
            FilterVerdict::Accepted => return Ok(()),
            FilterVerdict::Refused(rule) => rule,
            FilterVerdict::Unreadable(reason) => format!("must be a jsonpath: {reason}"),
        };
        Err(Violations::one("filter", rule).into())
    }
}

/// An error's text as a rule of `field`: without the field's name at its beginning, because a
/// violation names the field before the rule.
fn rule(field: &str, error: &impl Display) -> String {
    let text = error.to_string();
    text.strip_prefix(field).map_or(&*text, str::trim_start).to_owned()
}
