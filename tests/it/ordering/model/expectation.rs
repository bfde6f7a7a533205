//! The model: a very simple broker. Here is also the comparison with what receivers saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use pgtopic_testkit::Received;

use super::operation::Patience;

/// After this time, no request for a deleted webhook may begin. The time starts when its deletion
/// is acknowledged. Workers are notified of the deletion, and read the webhooks again.
const DELETION_SEEN: Duration = Duration::from_secs(2);

/// A webhook as the model knows it.
pub(super) struct Webhook {
    pub(super) id: i64,
    pub(super) path: String,
    pub(super) patience: Patience,
    pub(super) deleted: Option<Instant>,
    /// The numbers of the messages that it must get, in order, for each partition.
    lanes: BTreeMap<String, Vec<u32>>,
}

/// A message that is published and not committed: the webhooks, the partition, the number.
struct Pending {
    subscribers: Vec<usize>,
    key: String,
    number: u32,
}

/// The model.
#[derive(Default)]
pub(super) struct Model {
    pub(super) webhooks: Vec<Webhook>,
    poison: BTreeSet<u32>,
    open: Vec<Pending>,
    numbers: u32,
}

/// What is compared with the model.
pub(super) struct Outcome {
    /// Every request.
    pub(super) received: Vec<Received>,
    /// The dead letters: webhook and number of the message.
    pub(super) dead: BTreeSet<(i64, u32)>,
    /// When workers were lost.
    pub(super) losses: Vec<Loss>,
    /// Whether a worker started over by itself. Then nobody knows what it had in flight.
    pub(super) lost_by_itself: bool,
    /// The longest time for which the machine stood still. Every time limit is longer by this.
    pub(super) stall: Duration,
}

/// A worker was killed, or lost its connections. What it had sent and not settled may be sent
/// again.
pub(super) struct Loss {
    pub(super) at: Instant,
    /// When the last of its requests had arrived.
    pub(super) over: Instant,
    /// What was owed then: webhook and number of the message. Settles on their way are not counted.
    pub(super) owed: BTreeSet<(i64, u32)>,
}

impl Outcome {
    /// Whether a message may be sent again if its last accepted request arrived at `accepted`.
    fn may_repeat(&self, webhook: i64, message: u32, accepted: Instant) -> bool {
        let unsettled = |loss: &Loss| accepted >= loss.at || loss.owed.contains(&(webhook, message));
        let in_time = |loss: &Loss| accepted <= loss.over + self.stall;
        self.lost_by_itself || self.losses.iter().any(|loss| in_time(loss) && unsettled(loss))
    }
}

impl Model {
    /// The number of the next message.
    pub(super) fn number(&mut self, poison: bool) -> u32 {
        self.numbers += 1;
        if poison {
            self.poison.insert(self.numbers);
        }
        self.numbers
    }

    pub(super) fn webhook_created(&mut self, id: i64, path: String, patience: Patience) {
        self.webhooks.push(Webhook { id, path, patience, deleted: None, lanes: BTreeMap::new() });
    }

    /// The webhooks that exist, as indices.
    pub(super) fn there(&self) -> Vec<usize> {
        (0..self.webhooks.len()).filter(|index| self.webhooks[*index].deleted.is_none()).collect()
    }

    /// Messages were committed in this order.
    pub(super) fn committed(&mut self, messages: &[(String, u32)]) {
        for index in self.there() {
            for (key, number) in messages {
                self.webhooks[index].lanes.entry(key.clone()).or_default().push(*number);
            }
        }
    }

    /// A message was published in the open transaction. If it is committed, it is owed to the
    /// webhooks that its statement saw. With one snapshot for the whole transaction, these are the
    /// webhooks that existed at its first message.
    pub(super) fn opened(&mut self, key: String, number: u32, one_snapshot: bool) {
        let first = self.open.first().filter(|_| one_snapshot);
        let subscribers = first.map_or_else(|| self.there(), |first| first.subscribers.clone());
        self.open.push(Pending { subscribers, key, number });
    }

    pub(super) fn closed(&mut self, commit: bool) {
        for pending in std::mem::take(&mut self.open) {
            for index in pending.subscribers {
                if commit {
                    self.webhooks[index].lanes.entry(pending.key.clone()).or_default().push(pending.number);
                }
            }
        }
    }

    /// What is promised when all receivers accept and nothing is owed:
    ///
    /// - In each partition, a webhook gets exactly the committed messages that were published while
    ///   it existed, in order. Message n+1 is first sent when message n was accepted or has become
    ///   a dead letter. There is one request at a time.
    /// - With endless patience no message becomes a dead letter. With one attempt, a message is a
    ///   dead letter exactly if the last request for it was refused. A poisoned message always is
    ///   one.
    /// - What was rolled back, or published after a webhook's deletion, is never sent to it.
    ///   Nothing that begins later than [`DELETION_SEEN`] after the deletion is sent to it.
    /// - What was accepted is sent again only if a worker was lost, and only if it was not settled
    ///   by then.
    pub(super) fn check(&self, outcome: &Outcome) -> Result<(), String> {
        let mut lanes: BTreeMap<(&str, &str), Vec<&Received>> = BTreeMap::new();
        for request in &outcome.received {
            lanes.entry((&request.path, request.partition())).or_default().push(request);
        }
        for webhook in &self.webhooks {
            for (key, numbers) in &webhook.lanes {
                let requests = lanes.remove(&(webhook.path.as_str(), key.as_str())).unwrap_or_default();
                self.check_lane(webhook, numbers, &requests, outcome)
                    .map_err(|problem| format!("{} {key}: {problem}; owed: {numbers:?}", webhook.path))?;
            }
        }
        match lanes.first_key_value() {
            None => Ok(()),
            Some(((path, key), requests)) => {
                Err(format!("{path} {key}: nothing was owed, {} requests came", requests.len()))
            }
        }
    }

    fn check_lane(
        &self,
        webhook: &Webhook,
        numbers: &[u32],
        requests: &[&Received],
        outcome: &Outcome,
    ) -> Result<(), String> {
        for pair in requests.windows(2) {
            if pair[0].ended.is_none_or(|ended| ended > pair[1].arrived) {
                return Err(format!("two requests at once, for {} and {}", number(pair[0]), number(pair[1])));
            }
        }
        if let Some(deleted) = webhook.deleted
            && let Some(late) =
                requests.iter().find(|one| one.arrived > deleted + DELETION_SEEN + outcome.stall)
        {
            return Err(format!("{} was sent long after the webhook was deleted", number(late)));
        }
        let last_accepted: BTreeMap<u32, bool> =
            requests.iter().map(|one| (number(one), one.accepted())).collect();
        // Only a dead letter may be left out. The dead letters of a deleted webhook were deleted
        // with it.
        let passed = |message: &u32| {
            webhook.patience == Patience::OneAttempt
                && last_accepted.get(message) == Some(&false)
                && (webhook.deleted.is_some() || outcome.dead.contains(&(webhook.id, *message)))
        };
        let (mut done, mut accepted, mut last) = (0, BTreeMap::new(), 0);
        for request in requests {
            let message = number(request);
            let Some(place) = numbers.iter().position(|one| *one == message) else {
                return Err(format!("{message} was never owed"));
            };
            if let Some(waiting) = numbers[done.min(place)..place].iter().find(|one| !passed(one)) {
                return Err(format!("{message} was sent when it was the turn of {waiting}"));
            }
            match accepted.get(&message) {
                Some(before) if !outcome.may_repeat(webhook.id, message, *before) => {
                    return Err(format!(
                        "{message} was sent again, and no worker was lost that had not settled it"
                    ));
                }
                None if request.position() < last && !outcome.lost_by_itself => {
                    return Err(format!("{message} was sent after a later one"));
                }
                _ => last = request.position(),
            }
            if request.accepted() {
                accepted.insert(message, request.arrived);
                done = done.max(place + 1);
            }
        }
        if webhook.deleted.is_some() {
            return Ok(());
        }
        for message in numbers {
            let dead = outcome.dead.contains(&(webhook.id, *message));
            match last_accepted.get(message) {
                None => return Err(format!("{message} was never sent")),
                Some(false) if !passed(message) => return Err(format!("{message} was not accepted")),
                Some(true) if dead => return Err(format!("{message} was accepted, and is a dead letter")),
                Some(true) if webhook.patience == Patience::OneAttempt && self.poison.contains(message) => {
                    return Err(format!("{message} is poisoned, and was accepted"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The number in a message's body.
fn number(request: &Received) -> u32 {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    u32::try_from(body["n"].as_u64().unwrap()).unwrap()
}
