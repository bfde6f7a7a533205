//! Publishes a message for each line of NDJSON.
//!
//! Lines are published in batches, in their order. A batch is committed as a whole. If a line is
//! refused, all lines before it are published, and none after it.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::super::{
    CliError,
    input::{Input, PAYLOAD_BYTES_MAX},
    operate::Operator,
    progress::Progress,
};
use crate::{
    api::{read_message, schema},
    broker::BrokerError,
    domain::{message::NewMessage, topic::TopicRef},
    telemetry::print_line,
};

/// How many lines are in one batch, at most.
const BATCH_LINES: usize = 1000;
/// After how many bytes a batch takes no further line.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// Publishes all lines of `input`. A signal ends it between two batches.
pub(super) async fn publish_lines(
    operator: &Operator,
    topic: &TopicRef,
    input: &Input,
    shutdown: &CancellationToken,
) -> Result<(), CliError> {
    let (reader, length) = input.open().await?;
    let mut lines = Lines { reader: BufReader::new(reader), number: 0, bytes: 0 };
    let mut publisher = Publisher { operator, topic, published: 0, ids: None };
    let progress = Progress::new(length);
    let outcome = async {
        loop {
            let batch = shutdown.run_until_cancelled(lines.next_batch(input)).await;
            let Some((batch, ended)) = batch else {
                return Err(publisher.stopped(CliError::Failed("interrupted".to_owned())));
            };
            publisher.publish(&batch).await?;
            progress.set(lines.bytes, publisher.published);
            match ended {
                Ended::Full => {}
                Ended::Input => return Ok(()),
                Ended::Refused(error) => return Err(publisher.stopped(error)),
            }
        }
    }
    .await;
    progress.finish();
    outcome?;
    if !operator.is_json() {
        print_line(&publisher.in_words());
    }
    Ok(())
}

/// A line, and its message.
struct Line {
    number: u64,
    message: NewMessage,
}

/// Why a batch takes no further line.
enum Ended {
    /// It is full.
    Full,
    /// There is no further line.
    Input,
    /// The next line cannot be read, or is no message.
    Refused(CliError),
}

/// The lines that were not read yet.
struct Lines<R> {
    reader: R,
    /// How many lines were read.
    number: u64,
    /// How many bytes were read.
    bytes: u64,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next batch. It may be empty.
    async fn next_batch(&mut self, input: &Input) -> (Vec<Line>, Ended) {
        let begin = self.bytes;
        let mut batch = Vec::new();
        while batch.len() < BATCH_LINES && self.bytes - begin < BATCH_BYTES {
            match self.next_line(input, PAYLOAD_BYTES_MAX).await {
                Ok(None) => return (batch, Ended::Input),
                Ok(Some(text)) if text.trim_ascii().is_empty() => {}
                Ok(Some(text)) => match read_message(&text) {
                    Ok(message) => batch.push(Line { number: self.number, message }),
                    Err(problem) => {
                        let error = CliError::from(problem).at_line(self.number);
                        return (batch, Ended::Refused(error));
                    }
                },
                Err(error) => return (batch, Ended::Refused(error)),
            }
        }
        (batch, Ended::Full)
    }

    /// The next line with its end; `None` after the last one.
    async fn next_line(&mut self, input: &Input, limit: usize) -> Result<Option<Vec<u8>>, CliError> {
        let mut text = Vec::new();
        let mut bounded = (&mut self.reader).take(limit as u64 + 1);
        let read = bounded.read_until(b'\n', &mut text).await.map_err(|error| input.unreadable(&error))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        if text.len() > limit {
            let error = CliError::Failed(format!("has more than {limit} bytes"));
            return Err(error.at_line(self.number));
        }
        Ok(Some(text))
    }
}

/// Publishes batches.
struct Publisher<'a> {
    operator: &'a Operator,
    topic: &'a TopicRef,
    /// How many messages were published.
    published: u64,
    /// The least and the greatest id.
    ids: Option<(i64, i64)>,
}

impl Publisher<'_> {
    /// Publishes all lines of a batch, or those before the first one that is refused.
    async fn publish(&mut self, batch: &[Line]) -> Result<(), CliError> {
        let broker = &self.operator.broker;
        let outcome = match batch {
            [] => return Ok(()),
            [line] => {
                broker.publish_message(self.topic, &line.message).await.map(|published| vec![published.id])
            }
            lines => {
                let messages: Vec<_> = lines.iter().map(|line| line.message.clone()).collect();
                broker.publish_batch(self.topic, &messages).await.map(|published| published.ids)
            }
        };
        match outcome {
            Ok(ids) => self.count(ids),
            // One of them is refused. The halves tell which one.
            Err(BrokerError::Invalid(_) | BrokerError::TooLarge(_)) if batch.len() > 1 => {
                let (before, after) = batch.split_at(batch.len() / 2);
                Box::pin(self.publish(before)).await?;
                Box::pin(self.publish(after)).await
            }
            Err(error) => Err(self.refused(error, batch)),
        }
    }

    fn count(&mut self, ids: Vec<i64>) -> Result<(), CliError> {
        self.published += ids.len() as u64;
        for &id in &ids {
            let (least, greatest) = self.ids.unwrap_or((id, id));
            self.ids = Some((least.min(id), greatest.max(id)));
        }
        self.operator.print_part(&schema::PublishedBatch { ids })
    }

    /// The error of a batch.
    fn refused(&self, error: BrokerError, batch: &[Line]) -> CliError {
        let (first, last) = (batch[0].number, batch[batch.len() - 1].number);
        let is_unclear = matches!(error, BrokerError::Unavailable(_));
        let error = CliError::from(error).at_line(first);
        if is_unclear {
            let unclear = format!("it is not known whether lines {first} to {last} were published");
            return self.stopped(error.and(&unclear));
        }
        self.stopped(error)
    }

    /// The error, with what was published before it.
    fn stopped(&self, error: CliError) -> CliError {
        error.and(&format!("before it, {}", were_published(self.published))).with("published", self.published)
    }

    fn in_words(&self) -> String {
        let published = were_published(self.published);
        match self.ids {
            Some((least, greatest)) => format!("{published}, with ids from {least} to {greatest}."),
            None => format!("{published}."),
        }
    }
}

fn were_published(messages: u64) -> String {
    if messages == 1 {
        "1 message was published".to_owned()
    } else {
        format!("{messages} messages were published")
    }
}
