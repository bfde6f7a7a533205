//! Test requests: requests outside every lane.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::{
    guard::AddressGuard,
    http::{Client, ClientError},
    request::PreparedTarget,
    send::send_test,
};
use crate::domain::{attempt::AttemptResult, message::Message, target::Target};

/// The type and the partition key of a test request's message, and its payload.
const TYPE: &str = "pgtopic.test";
const PAYLOAD: &str = r#"{"test":true}"#;

/// Sends test requests.
#[derive(Default)]
pub struct TestSender {
    guard: AddressGuard,
    /// A PEM file of authorities that are trusted beside the system's.
    ca_file: Option<PathBuf>,
    /// Made for the first test request. Most processes never send one.
    client: OnceCell<Client>,
}

impl TestSender {
    /// Sends nothing yet. Trusts the authorities of `ca_file` beside the system's.
    pub fn new(guard: AddressGuard, ca_file: Option<PathBuf>) -> Self {
        Self { guard, ca_file, client: OnceCell::new() }
    }

    async fn client(&self) -> Result<&Client, ClientError> {
        self.client.get_or_try_init(async || Client::new(self.guard.clone(), self.ca_file.as_deref())).await
    }

    /// Sends a test request to a webhook. Its `webhook-id` is `id`.
    pub async fn send(&self, id: &str, target: &Target) -> AttemptResult {
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
            born: std::time::Instant::now(),
        };
        send_test(client, &prepared, id, &message).await
    }
}
