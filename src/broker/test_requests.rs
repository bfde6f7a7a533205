//! The use case of test requests: try a webhook, outside every lane.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{Broker, BrokerError};
use crate::{
    delivery::{AddressGuard, Client, ClientError, PreparedTarget, send_test},
    domain::{
        attempt::AttemptResult, message::Message, policy::PolicyDefaults, target::Target,
        webhook_ref::WebhookRef,
    },
};

/// The type and the partition key of a test request's message, and its payload.
const TYPE: &str = "pgtopic.test";
const PAYLOAD: &str = r#"{"test":true}"#;

/// What test requests need.
#[derive(Default)]
pub(super) struct TestRequests {
    guard: AddressGuard,
    /// A PEM file of authorities that are trusted beside the system's.
    ca_file: Option<PathBuf>,
    /// The values for what a webhook's own policy leaves open.
    defaults: PolicyDefaults,
    /// Made for the first test request. Most processes never send one.
    client: OnceCell<Client>,
}

/// A test request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRequest {
    /// Its `webhook-id`.
    pub id: String,
    /// How it ended.
    pub result: AttemptResult,
}

impl TestRequests {
    pub(super) fn new(guard: AddressGuard) -> Self {
        Self { guard, ..Self::default() }
    }

    async fn client(&self) -> Result<&Client, ClientError> {
        self.client.get_or_try_init(async || Client::new(self.guard.clone(), self.ca_file.as_deref())).await
    }

    async fn send(&self, name: &str, target: &Target) -> AttemptResult {
        let prepared = match PreparedTarget::new(target) {
            Ok(prepared) => prepared,
            Err(error) => return error.to_attempt_result(),
        };
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return AttemptResult::no_request(error.to_string()),
        };
        let message = Message {
            id: 0,
            partition_key: Arc::from(TYPE),
            r#type: Some(TYPE.to_owned()),
            payload: PAYLOAD.into(),
            headers: None,
            created_at: Timestamp::now(),
            replay: false,
        };
        send_test(client, &prepared, name, &message).await
    }
}

impl Broker {
    /// Test requests trust the authorities of `ca_file` too, and `defaults` fills in what a
    /// webhook's own policy leaves open.
    #[must_use]
    pub fn with_delivery(self, ca_file: Option<PathBuf>, defaults: PolicyDefaults) -> Self {
        let guard = AddressGuard::clone(&self.guard);
        Self { tests: Arc::new(TestRequests { ca_file, defaults, ..TestRequests::new(guard) }), ..self }
    }

    /// Sends a request to a webhook at once, also if it is paused or disabled. The request is
    /// signed as all others are, and it is not stored. The webhook does not change, whatever its
    /// receiver answers.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook.
    pub async fn test_webhook(&self, webhook: &WebhookRef) -> Result<TestRequest, BrokerError> {
        let webhook_id = self.find_webhook(webhook).await?.id;
        let found = self.store.get_target(webhook_id, &self.tests.defaults).await?;
        let target = found.ok_or_else(|| BrokerError::no_webhook(webhook))?.target;
        let id = format!("msg_test_{}", Uuid::new_v4());
        let result = match &target {
            Ok(target) => self.tests.send(&id, target).await,
            Err(error) => AttemptResult::no_request(error.to_string()),
        };
        Ok(TestRequest { id, result })
    }
}
