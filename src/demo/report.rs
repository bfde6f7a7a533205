//! Prints every request that arrives, and checks that every partition is in order and skips
//! nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{error::DemoError, receiver::Arrival};
use crate::telemetry::show_line;

/// What is known about one partition of one webhook.
#[derive(Default)]
struct Lane {
    last_accepted: i64,
    /// The message that was refused. No later message may arrive before it is accepted.
    refused: Option<i64>,
}

/// The demo's own messages at one webhook.
#[derive(Default, Clone, Copy)]
struct Counts {
    delivered: u64,
    refused: u64,
    duplicates: u64,
    dead_letters: u64,
}

impl Counts {
    /// Every message that was published is delivered, owed or a dead letter.
    fn describe(self, webhook: u64, published: u64) -> String {
        let Self { delivered, refused, duplicates, dead_letters } = self;
        let owed = published.saturating_sub(delivered + dead_letters);
        format!(
            "webhook {webhook}: {delivered} delivered, {owed} owed, {dead_letters} dead letters \
             ({refused} refused, {duplicates} sent twice)"
        )
    }
}

pub(super) struct Report {
    run: String,
    published: Arc<AtomicU64>,
    lanes: HashMap<(u64, String), Lane>,
    webhooks: BTreeMap<u64, Counts>,
}

impl Report {
    /// Counts the messages of this run.
    pub(super) fn new(run: String, published: Arc<AtomicU64>) -> Self {
        let webhooks = [(1, Counts::default()), (2, Counts::default())].into();
        Self { run, published, lanes: HashMap::new(), webhooks }
    }

    /// Prints an arrival.
    ///
    /// # Errors
    /// [`DemoError`] if it breaks the order of its partition.
    pub(super) fn note(&mut self, arrival: &Arrival) -> Result<(), DemoError> {
        let Arrival { webhook, partition, position, attempt, event, run, accepted } = arrival;
        let lane = self.lanes.entry((*webhook, partition.clone())).or_default();
        // Messages that somebody else publishes to the topic are shown, but not counted.
        let own = u64::from(run.as_ref() == Some(&self.run));
        let counts = self.webhooks.entry(*webhook).or_default();
        let duplicate = *position <= lane.last_accepted;
        if let Some(head) = lane.refused.filter(|head| head != position && !duplicate) {
            return Err(DemoError(format!(
                "order broken: webhook {webhook}, partition {partition}: #{position} came before #{head} was accepted"
            )));
        }
        let outcome = match (duplicate, *accepted, *attempt) {
            (true, ..) => "ok (sent before)".to_owned(),
            (false, true, 1) => "ok".to_owned(),
            (false, true, attempt) => format!("ok, attempt {attempt}"),
            (false, false, attempt) => format!("refused (503), retry {attempt} follows"),
        };
        if duplicate {
            counts.duplicates += own;
        } else if *accepted {
            counts.delivered += own;
            lane.last_accepted = *position;
            lane.refused = None;
        } else {
            counts.refused += own;
            lane.refused = Some(*position);
        }
        let time = jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string();
        show_line(&format!(
            "  {time}  webhook {webhook}  {partition:<8}  #{position:<6}  {event:<14}  {outcome}"
        ));
        Ok(())
    }

    /// Whether both webhooks have accepted this many messages.
    pub(super) fn complete(&self, messages: u64) -> bool {
        self.webhooks.values().all(|counts| counts.delivered >= messages)
    }

    /// How many deliveries to a webhook were given up.
    pub(super) fn note_dead_letters(&mut self, webhook: u64, dead_letters: u64) {
        self.webhooks.entry(webhook).or_default().dead_letters = dead_letters;
    }

    /// The summary in one line.
    pub(super) fn summary(&self) -> String {
        let published = self.published.load(Ordering::Relaxed);
        let webhooks = self.webhooks.iter().map(|(webhook, counts)| counts.describe(*webhook, published));
        let webhooks = webhooks.collect::<Vec<_>>().join(" · ");
        format!("  ── {published} published · {webhooks} · every partition in order ──")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(webhook: u64, partition: &str, position: i64, accepted: bool) -> Arrival {
        Arrival {
            webhook,
            partition: partition.to_owned(),
            position,
            attempt: 1,
            event: "order.created".to_owned(),
            run: Some("ours".to_owned()),
            accepted,
        }
    }

    #[test]
    fn the_summary_adds_up() {
        let mut report = Report::new("ours".to_owned(), Arc::new(AtomicU64::new(4)));
        for position in 1..=4 {
            report.note(&arrival(1, "a", position, true)).unwrap();
        }
        report.note(&Arrival { run: None, ..arrival(1, "a", 5, true) }).unwrap();
        report.note(&arrival(2, "a", 1, true)).unwrap();
        report.note(&arrival(2, "a", 1, true)).unwrap();
        report.note(&arrival(2, "a", 2, false)).unwrap();
        report.note_dead_letters(2, 1);
        let summary = report.summary();
        for words in [
            "4 published",
            "webhook 1: 4 delivered, 0 owed, 0 dead letters (0 refused, 0 sent twice)",
            "webhook 2: 1 delivered, 2 owed, 1 dead letters (1 refused, 1 sent twice)",
        ] {
            assert!(summary.contains(words), "{summary}");
        }
    }

    #[test]
    fn a_refused_message_holds_its_own_partition_and_no_other() {
        let mut report = Report::new("ours".to_owned(), Arc::default());
        report.note(&arrival(2, "a", 1, true)).unwrap();
        report.note(&arrival(2, "a", 2, false)).unwrap();
        report.note(&arrival(2, "b", 3, true)).unwrap();
        report.note(&arrival(1, "a", 2, true)).unwrap();
        assert!(report.note(&arrival(2, "a", 4, true)).is_err(), "skipped a refused message");
        report.note(&arrival(2, "a", 1, true)).unwrap();
        report.note(&arrival(2, "a", 2, true)).unwrap();
        report.note(&arrival(2, "a", 4, true)).unwrap();
        assert!(report.complete(1));
        assert!(!report.complete(3), "a message sent twice counts once");
    }
}
