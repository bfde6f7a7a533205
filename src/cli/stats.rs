//! `pgtopic stats`: what goes through.

use clap::Args;
use jiff::Timestamp;

use super::{
    CliError,
    flags::CommonFlags,
    operate::{Operator, OperatorFlags, topic_argument},
    table::{Table, capped, or_dash},
};
use crate::{
    api::schema,
    domain::{
        latency::quantile,
        stats::{Figures, WINDOW_SECONDS},
        topic::TopicRef,
    },
};

/// Show what is owed, and rates and latencies of the last minute
///
/// The figures are those of the last sample, which a worker takes every ten seconds.
#[derive(Args)]
pub(super) struct Stats {
    /// Only this topic: its id or name
    #[arg(long, value_name = "TOPIC", value_parser = topic_argument)]
    topic: Option<TopicRef>,
    #[command(flatten)]
    operator: OperatorFlags,
}

impl Stats {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        let Self { topic, operator } = self;
        operator.run(common, async |operator| get_stats(operator, topic.as_ref()).await).await
    }
}

async fn get_stats(operator: &Operator, topic: Option<&TopicRef>) -> Result<(), CliError> {
    let stats = operator.broker.get_stats(topic).await?;
    let now = Timestamp::now();
    let mut table = Table::new([
        "topic",
        "webhook",
        "state",
        "owed",
        "oldest",
        "in flight",
        "halted",
        "dead",
        "published/s",
        "delivered/s",
        "failed/s",
        "p50 ms",
        "p99 ms",
    ]);
    let mut add = |topic: &str, webhook: &str, state: &str, figures: &Figures| {
        let number = |number: Option<f64>| or_dash(number.map(|number| format!("{number:.1}")));
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = |count: i64| number(Some(count as f64 / WINDOW_SECONDS as f64));
        let backlog = &figures.backlog;
        table.row([
            topic.to_owned(),
            webhook.to_owned(),
            state.to_owned(),
            capped(backlog.owed, backlog.owed_capped),
            or_dash(backlog.oldest_owed_at.map(|at| format!("{} s", now.duration_since(at).as_secs()))),
            figures.in_flight.to_string(),
            backlog.lanes.halted.to_string(),
            capped(backlog.dead_letters, backlog.dead_letters_capped),
            number(figures.published_per_second),
            rate(figures.accepted),
            rate(figures.failed),
            number(quantile(&figures.latency, 0.5)),
            number(quantile(&figures.latency, 0.99)),
        ]);
    };
    add("(all)", "", "", &stats.totals);
    for topic in &stats.topics {
        add(&topic.topic, "(all)", "", &topic.figures);
    }
    for webhook in &stats.webhooks {
        add(&webhook.topic, &webhook.webhook, webhook.state.as_str(), &webhook.figures);
    }
    let sampled = match stats.sampled_at {
        Some(at) => format!("as of {at}"),
        None => "no worker has taken a sample yet".to_owned(),
    };
    let left_out = if stats.truncated { "; topics or webhooks were left out" } else { "" };
    let text = format!("{table}{sampled}{left_out}");
    operator.print(&schema::Stats::from(stats), text)
}
