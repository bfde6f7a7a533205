//! A webhook and a range of messages, as arguments.

use clap::Args;

use super::operate::webhook_argument;
use crate::{
    api::schema::parse_point,
    domain::{
        range::{MessageRange, Point},
        webhook_ref::WebhookRef,
    },
};

/// A webhook, and which messages are meant.
#[derive(Args)]
pub(super) struct RangeFlags {
    /// The webhook's id, or topic:name
    #[arg(value_parser = webhook_argument)]
    pub(super) webhook: WebhookRef,
    /// The first message: its id, or a time such as 2026-11-24T00:00:00Z
    #[arg(long, value_name = "PLACE", value_parser = point_argument)]
    from: Option<Point>,
    /// The last message: its id, or a time, which is not included [default: now]
    #[arg(long, value_name = "PLACE", value_parser = point_argument)]
    to: Option<Point>,
    /// Only messages of this partition
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Only messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
}

impl RangeFlags {
    /// The messages.
    pub(super) fn range(&self, only_failed: bool) -> MessageRange {
        MessageRange {
            from: self.from,
            to: self.to,
            partition_key: self.partition_key.clone(),
            message_type: self.message_type.clone(),
            only_failed,
        }
    }
}

/// Reads a place in the messages, as an argument.
fn point_argument(text: &str) -> Result<Point, String> {
    let rule = "must be the id of a message, or a time such as 2026-11-24T00:00:00Z";
    parse_point(text).ok_or_else(|| rule.to_owned())
}
