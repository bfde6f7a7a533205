//! `pgtopic why`: where a message or a partition stands, and what helps.

use std::fmt::Write as _;

use clap::Args;

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, topic_argument},
    table::escape,
};
use crate::{
    api::schema::{MessageWhy, PartitionWhy, Remedy},
    domain::{
        topic::TopicRef,
        why::{self, Entry},
    },
};

/// Explain where a message, or the head of a partition, is: what is in the way, and what helps
///
/// One argument is the id of a message. Two are a topic and the key of a partition.
#[derive(Args)]
pub(super) struct Why {
    #[command(flatten)]
    operator: OperatorFlags,
    /// The id of a message; or, before a key, a topic's id or name
    #[arg(value_name = "MESSAGE | TOPIC")]
    first: String,
    /// The key of a partition
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// What is to be explained.
enum Question {
    Message(i64),
    Partition(TopicRef, String),
}

impl Why {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let question = question(&self.first, self.key).map_err(CliError::Usage)?;
        self.operator.run(common, async |operator| explain(operator, question).await).await
    }
}

fn question(first: &str, key: Option<String>) -> Result<Question, String> {
    match key {
        Some(key) => match topic_argument(first) {
            Ok(topic) => Ok(Question::Partition(topic, key)),
            Err(rule) => Err(format!("{first:?} {rule}")),
        },
        None => first.parse().map(Question::Message).map_err(|_| {
            format!("{first:?} must be the id of a message, or a topic with the key of a partition after it")
        }),
    }
}

async fn explain(operator: &Operator, question: Question) -> Result<(), CliError> {
    match question {
        Question::Message(id) => {
            let answer = operator.broker.explain_message(id, None).await?;
            let text = message_text(&answer);
            operator.print(&MessageWhy::from(answer), text)
        }
        Question::Partition(topic, key) => {
            let answer = operator.broker.explain_partition(&topic, &key, None).await?;
            let text = partition_text(&answer);
            operator.print(&PartitionWhy::from(answer), text)
        }
    }
}

fn message_text(answer: &why::MessageWhy) -> String {
    let (id, topic, key) = (answer.message_id, &answer.topic, escape(&answer.partition_key));
    let mut text =
        format!("message {id} of topic {topic}, partition {key}, published at {}\n", answer.created_at);
    if answer.webhooks.is_empty() {
        text += "\nthe topic has no webhook\n";
    }
    entries(&mut text, &answer.webhooks);
    text
}

fn partition_text(answer: &why::PartitionWhy) -> String {
    let mut text = format!("partition {} of topic {}\n", escape(&answer.partition_key), answer.topic);
    if let Some(publisher) = &answer.publisher {
        let process = publisher.pid.map(|pid| format!("process {pid}, ")).unwrap_or_default();
        let user = publisher.user.as_deref().unwrap_or("?");
        let application = publisher.application_name.as_deref().filter(|name| !name.is_empty());
        let application = application.map(|name| format!(", {}", escape(name))).unwrap_or_default();
        let since = publisher.since.map(|since| format!(", since {since}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "a transaction publishes to it now: {process}role {}{application}{since}",
            escape(user)
        );
        // A prepared transaction is named with its quoted gid.
        let prepared =
            publisher.application_name.as_deref().and_then(|name| name.strip_prefix("prepared transaction "));
        let end = match publisher.pid {
            Some(pid) => Some(format!("SELECT pg_terminate_backend({pid})")),
            None => prepared.map(|gid| format!("ROLLBACK PREPARED {gid}")),
        };
        if let Some(end) = end {
            let _ =
                writeln!(text, "→ If it hangs, end it in SQL. What it published is lost.  {}", escape(&end));
        }
    }
    if answer.webhooks.is_empty() {
        text += "\nno webhook is owed anything of it\n";
    }
    entries(&mut text, &answer.webhooks);
    text
}

fn entries(text: &mut String, entries: &[Entry]) {
    for entry in entries {
        let reason =
            entry.verdict.reason().map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
        let state = entry.verdict.state().as_str();
        let _ = writeln!(text, "\n{} (webhook {}): {state}{reason}", entry.webhook, entry.webhook_id);
        let _ = writeln!(text, "  {}", escape(&entry.text));
        let Some(remedy) = entry.remedy.clone().map(Remedy::from) else { continue };
        let command = remedy.command.map(|command| format!("  {}", escape(&command))).unwrap_or_default();
        let _ = writeln!(text, "  → {}{command}", remedy.text);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::{api::schema::Remedy, cli::Cli, domain::why};

    /// The words of a command, as a shell reads them.
    fn words(command: &str) -> Vec<String> {
        let script = format!("pgtopic() {{ printf '%s\\0' pgtopic \"$@\"; }}\n{command}");
        let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        words.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_remedy_is_a_command_that_there_is() {
        for remedy in why::tests::remedies().into_iter().map(Remedy::from) {
            let command = remedy.command.unwrap();
            let words = words(&command);
            assert_eq!(words[0], "pgtopic", "{command}");
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{command}: {error}");
            }
            if command.contains("--partition-key") {
                assert_eq!(words.last().unwrap(), "--partition-key=-it's a $key\n");
            }
        }
    }
}
