//! `pgtopic publish`: publishes one message, or many from NDJSON.

#![expect(clippy::doc_markdown, reason = "the words of a flag are shown as they stand")]

mod lines;

use std::ffi::OsString;

use clap::Args;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use self::lines::publish_lines;
use super::{
    CliError,
    flags::CommonFlags,
    headers::{header_argument, headers},
    input::{Input, PAYLOAD_BYTES_MAX},
    operate::{OperatorFlags, topic_argument},
};
use crate::{
    api::schema,
    domain::{
        message::{NewMessage, Published},
        topic::TopicRef,
    },
};

/// Publish one message, or many from NDJSON
#[derive(Args)]
pub(super) struct Publish {
    /// The topic's id or name
    #[arg(value_parser = topic_argument)]
    topic: TopicRef,
    /// The payload as JSON, at most 64 MiB; a text needs its quotes: '"hello"'. With --ndjson: the
    /// file of the lines
    #[arg(value_name = "PAYLOAD | FILE", conflicts_with = "file")]
    payload: Option<String>,
    /// Read from this file in place of the argument; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: Input,
    /// Publish a message for each line: {"payload": …}, with partition_key, type, headers
    /// and idempotency_key if you like
    #[arg(long, conflicts_with_all = ["partition_key", "type", "header", "idempotency_key"])]
    ndjson: bool,
    /// Messages with the same key stay in order [default: default]
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// What kind of event it is, such as order.paid
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// A header sent with the message; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = header_argument)]
    header: Vec<(String, String)>,
    /// Publish nothing if a message with this key was published before
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    operator: OperatorFlags,
}

impl Publish {
    pub(super) async fn run(self, common: &CommonFlags, shutdown: CancellationToken) -> Result<(), CliError> {
        let Self { topic, payload, file, ndjson, partition_key, r#type, header, idempotency_key, operator } =
            self;
        operator
            .run(common, async |operator| {
                if ndjson {
                    let file = payload.map_or(file, |path| Input::from(OsString::from(path)));
                    file.check_not_typed("give the file of the lines as an argument, or a pipe")?;
                    return publish_lines(operator, &topic, &file, &shutdown).await;
                }
                if payload.is_none() {
                    file.check_not_typed("give the payload as an argument, or --file, or a pipe")?;
                }
                let publish = async {
                    let payload = match payload {
                        Some(payload) => payload,
                        None => file.read_text(PAYLOAD_BYTES_MAX).await?,
                    };
                    let headers = headers(header)?;
                    let payload = json(&payload)?;
                    let message = NewMessage { payload, partition_key, r#type, headers, idempotency_key };
                    let published = operator.broker.publish_message(&topic, &message).await?;
                    let text = in_words(&published);
                    operator.print(&schema::Published::from(published), text)
                };
                let outcome = shutdown.run_until_cancelled(publish).await;
                outcome.unwrap_or_else(|| Err(CliError::Failed("interrupted".to_owned())))
            })
            .await
    }
}

/// The payload, without the space around it.
fn json(text: &str) -> Result<Box<RawValue>, CliError> {
    serde_json::from_str(text).map_err(|error| {
        CliError::Usage(format!("the payload is not JSON: {error}; a text needs its quotes: '\"hello\"'"))
    })
}

fn in_words(Published { id, topic, partition_key, repeated, .. }: &Published) -> String {
    if *repeated {
        return format!(
            "Message {id} was published before with this idempotency key; nothing was published."
        );
    }
    format!("Message {id} was published to {topic}, partition {partition_key}.")
}
