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

#[derive(Default, Clone, Copy)]
struct Counts {
    delivered: u64,
    refused: u64,
    duplicates: u64,
}

pub(super) struct Report {
    published: Arc<AtomicU64>,
    lanes: HashMap<(u64, String), Lane>,
    webhooks: BTreeMap<u64, Counts>,
}

impl Report {
    pub(super) fn new(published: Arc<AtomicU64>) -> Self {
        let webhooks = [(1, Counts::default()), (2, Counts::default())].into();
        Self { published, lanes: HashMap::new(), webhooks }
    }

    /// Prints an arrival.
    ///
    /// # Errors
    /// [`DemoError`] if it breaks the order of its partition.
    pub(super) fn note(&mut self, arrival: &Arrival) -> Result<(), DemoError> {
        let Arrival { webhook, partition, position, attempt, event, accepted } = arrival;
        let lane = self.lanes.entry((*webhook, partition.clone())).or_default();
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
            counts.duplicates += 1;
        } else if *accepted {
            counts.delivered += 1;
            lane.last_accepted = *position;
            lane.refused = None;
        } else {
            counts.refused += 1;
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

    pub(super) fn print_summary(&self) {
        let published = self.published.load(Ordering::Relaxed);
        let webhooks = self.webhooks.iter().map(|(webhook, Counts { delivered, refused, duplicates })| {
            format!("webhook {webhook}: {delivered} delivered, {refused} refused, {duplicates} sent twice")
        });
        let webhooks = webhooks.collect::<Vec<_>>().join(" · ");
        show_line(&format!("  ── {published} published · {webhooks} · every partition in order ──"));
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
            accepted,
        }
    }

    #[test]
    fn a_refused_message_holds_its_own_partition_and_no_other() {
        let mut report = Report::new(Arc::default());
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
