//! The use case of test requests: try a webhook, outside every lane.

use std::{path::PathBuf, sync::Arc};

use uuid::Uuid;

use super::{Broker, BrokerError, Conflict};
use crate::{
    delivery::{AddressGuard, TestSender},
    domain::{attempt::AttemptResult, policy::PolicyDefaults, webhook_ref::WebhookRef},
};

/// A test request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRequest {
    /// Its `webhook-id`.
    pub id: String,
    /// How it ended.
    pub result: AttemptResult,
}

impl Broker {
    /// Test requests trust the authorities of `ca_file` too, and `defaults` fills in what a
    /// webhook's own policy leaves open.
    #[must_use]
    pub fn with_delivery(self, ca_file: Option<PathBuf>, defaults: PolicyDefaults) -> Self {
        let guard = AddressGuard::clone(&self.guard);
        Self { tests: Arc::new(TestSender::new(guard, ca_file)), defaults, ..self }
    }

    /// Sends a request to a webhook at once, also if it is paused or disabled. The request is
    /// signed as all others are, and it is not stored. The webhook does not change, whatever its
    /// receiver answers.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such webhook, [`BrokerError::Conflict`] if nothing
    /// is sent from here.
    pub async fn test_webhook(&self, webhook: &WebhookRef) -> Result<TestRequest, BrokerError> {
        let webhook_id = self.find_webhook(webhook).await?.id;
        if let (_, Some(why_not)) = self.get_sending().await? {
            return Err(BrokerError::conflict(Conflict::NotSending, why_not.text()));
        }
        let found = self.store.get_target(webhook_id, &self.defaults).await?;
        let target = found.ok_or_else(|| BrokerError::no_webhook(webhook))?.target;
        let id = format!("msg_test_{}", Uuid::new_v4());
        let result = match &target {
            Ok(target) => self.tests.send(&id, target).await,
            Err(error) => AttemptResult::no_request(error.to_string()),
        };
        Ok(TestRequest { id, result })
    }
}
