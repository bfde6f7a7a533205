//! What operators do.

use std::{collections::BTreeMap, time::Duration};

use pgtopic::{
    domain::{
        breaker::BreakerPolicy,
        policy::{OnExhausted, Policy},
    },
    worker::engine::event::Endpoint,
};

use super::{
    Handle, Hook, World,
    plan::{Manner, policy},
    queries::disable,
    webhooks::endpoint,
};
use crate::{
    functions::{
        cancel_deliveries::cancel_deliveries,
        close_breaker::close_breaker,
        create_webhook::{create_webhook, delete_webhook},
        delete_old_messages::delete_old_messages,
        owe_messages::owe_messages,
        replay_dead_letters::replay_dead_letters,
        retry_lanes::retry_lanes,
        update_webhook::{keep_latest, pause_topic, pause_webhook},
    },
    postgres::{
        row_lock::{Locked, RowLock},
        session::Session,
        tables::{DeadLetter, Delivery, Lane, Message, Pause, Reason, Webhook},
    },
    random::Random,
};

/// Webhooks that nobody publishes for, if there are any.
const STRANGERS: i64 = 70;

impl World {
    pub(super) async fn create_webhook(&self, topic: usize, types: Option<u8>, random: &mut Random) {
        let Some(topic) = self.topics.borrow().get(topic).copied() else { return };
        let Ok(Some(id)) =
            self.operate(async |session| create_webhook(session, topic, types, false).await).await
        else {
            return;
        };
        self.changed();
        let (policy, batch_size) = self.policy(id, random);
        self.note((id, 0), format!("webhook {id} is created: {policy:?}, batches of {batch_size}"));
        let hook = Hook {
            topic,
            types,
            since: self.now(),
            deleted: false,
            least_retries: policy.max_retries,
            most_retries: policy.max_retries,
            least_backoff: policy.max_backoff,
            largest_batch: batch_size,
            most_in_flight: policy.max_in_flight,
            ever_limited: policy.max_in_flight.is_some(),
            changed: false,
            ever_latest: policy.latest_only,
            always_latest: policy.latest_only,
            policy,
            batch_size,
            manner: Manner::Accepts,
            only_from: None,
        };
        let latest = hook.policy.latest_only;
        self.hooks.borrow_mut().insert(id, hook);
        self.keep_latest(id, latest).await;
        if let Some(hook) = self.hooks.borrow_mut().get_mut(&id) {
            hook.since = self.now();
        }
    }

    async fn keep_latest(&self, id: i64, latest: bool) {
        let kept = self.operate(async |session| keep_latest(session, id, latest).await).await;
        if !matches!(kept, Ok(true))
            && let Some(hook) = self.hooks.borrow_mut().get_mut(&id)
        {
            // Nobody knows what the row says.
            hook.always_latest = false;
        }
    }

    /// A webhook's policy, and how many messages one request carries. In one plan of three, some
    /// webhooks keep the latest message: for a while, or always.
    fn policy(&self, webhook: i64, random: &mut Random) -> (Policy, usize) {
        if let Some(policy) = &self.plan.policy {
            return (policy.clone(), 1);
        }
        let (mut policy, batch_size) = policy(self.plan.hooks, random);
        let changes = self.webhook_changes.get();
        let chosen = self.plan.seed.is_multiple_of(3) && !(self.plan.seed / 3 + changes).is_multiple_of(4);
        policy.latest_only = chosen && batch_size == 1 && webhook % 4 != 0;
        (policy, batch_size)
    }

    /// A webhook or a topic has changed.
    fn changed(&self) {
        self.webhook_changes.set(self.webhook_changes.get() + 1);
    }

    pub(super) async fn change_webhook(&self, number: usize, random: &mut Random) {
        let Some(id) = self.hook(number) else { return };
        let (policy, batch_size) = self.policy(id, random);
        self.note((id, 0), format!("webhook {id} changes: {policy:?}, batches of {batch_size}"));
        let latest = policy.latest_only;
        if let Some(hook) = self.hooks.borrow_mut().get_mut(&id) {
            hook.least_retries = hook.least_retries.min(policy.max_retries);
            hook.most_retries = hook.most_retries.max(policy.max_retries);
            hook.least_backoff = hook.least_backoff.min(policy.max_backoff);
            hook.largest_batch = hook.largest_batch.max(batch_size);
            hook.most_in_flight =
                hook.most_in_flight.zip(policy.max_in_flight).map(|(one, other)| one.max(other));
            hook.ever_limited |= policy.max_in_flight.is_some();
            hook.changed = true;
            hook.ever_latest |= policy.latest_only;
            hook.always_latest &= policy.latest_only;
            hook.policy = policy;
            hook.batch_size = batch_size;
        }
        self.history.borrow_mut().all_disturbed(Some(id));
        // The row is written, so that workers look.
        let _ = self.operate(async |session| pause_webhook(session, id, false).await).await;
        self.keep_latest(id, latest).await;
        self.changed();
    }

    pub(super) async fn delete_webhook(&self, number: usize) {
        let Some(id) = self.hook(number) else { return };
        if let Some(hook) = self.hooks.borrow_mut().get_mut(&id) {
            hook.deleted = true;
        }
        let deleted = self.operate(async |session| delete_webhook(session, id).await).await;
        if deleted.is_err()
            && let Some(hook) = self.hooks.borrow_mut().get_mut(&id)
        {
            // Publishers that began meanwhile may have left it out.
            hook.since = self.now();
            hook.deleted = false;
        }
        self.note((id, 0), format!("webhook {id} is deleted: {deleted:?}"));
        self.changed();
    }

    pub(super) async fn pause_webhook(&self, id: i64, paused: bool) {
        self.note((id, 0), format!("webhook {id} paused: {paused}"));
        let _ = self.operate(async |session| pause_webhook(session, id, paused).await).await;
        self.changed();
    }

    pub(super) async fn enable(&self, id: i64) {
        self.note((id, 0), format!("webhook {id} is enabled"));
        let _ = self.operate(async |session| disable(session, id, false).await).await;
        // Otherwise probes find that its receiver answers again.
        if self.plan.breakers && self.plan.seed.is_multiple_of(2) {
            let _ = self.operate(async |session| close_breaker(session, id, None).await).await;
        }
        self.changed();
    }

    pub(super) async fn hold_topic(&self, topic: usize, held: bool) {
        let Some(topic) = self.topics.borrow().get(topic).copied() else { return };
        self.note((0, 0), format!("topic {topic} held: {held}"));
        let paused = held.then_some(Pause::Hold);
        let _ = self.operate(async |session| pause_topic(session, topic, paused).await).await;
        self.changed();
    }

    /// Replays some messages of a webhook, whatever became of them.
    pub(super) async fn replay(&self, number: usize, waits: bool, random: &mut Random) {
        let Some(webhook) = self.hook(number) else { return };
        let ids: Vec<i64> =
            self.database.peek(|view| view.range::<Message>(..).map(|(_, row)| row.id).collect());
        let chosen = some_of(&ids, random);
        let outcomes =
            self.operate(async |session| owe_messages(session, webhook, &chosen, true, waits).await).await;
        for (message, outcome) in outcomes.unwrap_or_default() {
            self.history.borrow_mut().replayed(self.now(), webhook, message, outcome);
        }
    }

    pub(super) async fn replay_dead(&self, waits: bool, random: &mut Random) {
        let letters: BTreeMap<i64, (i64, i64)> = self.database.peek(|view| {
            view.range::<DeadLetter>(..).map(|(_, row)| (row.id, (row.webhook, row.message))).collect()
        });
        let ids: Vec<i64> = letters.keys().copied().collect();
        let chosen = some_of(&ids, random);
        let outcomes = self.operate(async |session| replay_dead_letters(session, &chosen, waits).await).await;
        for (letter, outcome) in outcomes.unwrap_or_default() {
            if let Some((webhook, message)) = letters.get(&letter) {
                self.history.borrow_mut().replayed(self.now(), *webhook, *message, outcome);
            }
        }
    }

    pub(super) async fn cancel(&self, number: usize, skip: bool, waits: bool, random: &mut Random) {
        let Some(webhook) = self.hook(number) else { return };
        let ids: Vec<i64> = self.database.peek(|view| {
            let rows =
                view.range::<Delivery>((webhook, i64::MIN, i64::MIN)..(webhook + 1, i64::MIN, i64::MIN));
            rows.map(|(_, row)| row.message).collect()
        });
        let chosen = some_of(&ids, random);
        let reason = if skip { Reason::Skipped } else { Reason::Canceled };
        self.take_out(webhook, &chosen, reason, waits).await;
    }

    /// Gives up what newer messages supersede, as the leader does.
    pub(super) async fn thin(&self) {
        let hooks: Vec<i64> = {
            let hooks = self.hooks.borrow();
            hooks.iter().filter(|(_, hook)| hook.policy.latest_only).map(|(id, _)| *id).collect()
        };
        for webhook in hooks {
            self.thin_one(webhook).await;
        }
    }

    async fn thin_one(&self, webhook: i64) {
        let late = self.once_in(3);
        let superseded: Vec<i64> = self.database.peek(|view| {
            let lanes = view.range::<Lane>((webhook, i64::MIN)..=(webhook, i64::MAX));
            // The leader looks for free lanes. Meanwhile a worker may claim them.
            let free =
                lanes.map(|(_, row)| row).filter(|row| (row.claimed_by.is_none() || late) && !row.halted);
            let older = |row: &Lane| {
                let owed =
                    view.range::<Delivery>((webhook, row.lane, i64::MIN)..=(webhook, row.lane, i64::MAX));
                let mut live: Vec<i64> =
                    owed.filter(|(_, row)| !row.replayed).map(|(_, row)| row.message).collect();
                live.pop();
                live
            };
            free.flat_map(older).take(4).collect()
        });
        self.take_out(webhook, &superseded, Reason::Superseded, false).await;
    }

    async fn take_out(&self, webhook: i64, messages: &[i64], reason: Reason, waits: bool) {
        self.history.borrow_mut().canceling.push(webhook);
        let before = self.holders(webhook);
        let rows = self
            .operate(async |session| cancel_deliveries(session, webhook, messages, reason, waits).await)
            .await;
        if let Ok(rows) = &rows {
            self.check_taken_out(reason, &before, &self.holders(webhook), rows);
        }
        self.history.borrow_mut().no_longer_canceling(webhook);
        self.note((webhook, 0), format!("{reason:?}: {rows:?}"));
        for (message, outcome, _) in rows.unwrap_or_default() {
            let lane =
                self.history.borrow().committed.get(&message).map(|committed| (webhook, committed.lane));
            if let Some(lane) = lane.filter(|_| outcome == "removed") {
                let generation = self.database.peek(|view| view.get::<Lane>(&lane).map(|row| row.generation));
                let generation = generation.unwrap_or(i32::MIN);
                self.history.borrow_mut().canceled(lane, message, generation);
            }
        }
    }

    pub(super) async fn retry(&self, webhook: i64) {
        let lanes: Vec<i64> = self.database.peek(|view| {
            let rows = view.range::<Lane>((webhook, i64::MIN)..=(webhook, i64::MAX));
            rows.map(|(_, row)| row.lane).collect()
        });
        let _ = self.operate(async |session| retry_lanes(session, webhook, &lanes).await).await;
        self.history.borrow_mut().all_disturbed(Some(webhook));
    }

    pub(super) async fn delete_old_messages(&self) {
        let deleted = self.operate(async |session| delete_old_messages(session).await).await;
        self.note((0, 0), format!("old messages deleted: {deleted:?}"));
    }

    /// What deleted webhooks were owed is deleted, as the leader does.
    pub(super) async fn delete_orphans(&self) {
        let _ = self.operate(async |session| delete_orphans(session).await).await;
    }

    /// Webhooks without a message, so many that workers ask which ones have due lanes.
    pub(super) fn strangers(&self) -> Vec<(i64, Endpoint)> {
        if !self.plan.seed.is_multiple_of(9) {
            return Vec::new();
        }
        let policy = Policy {
            max_retries: 1,
            backoff_factor: 1.0,
            max_backoff: Duration::from_secs(1),
            retry_schedule: Vec::new(),
            permanent_statuses: Vec::new(),
            timeout: Duration::from_secs(1),
            on_exhausted: OnExhausted::DeadLetter,
            max_in_flight: None,
            max_age: None,
            latest_only: false,
        };
        (0..STRANGERS)
            .map(|n| (1_000_000 + n, endpoint(-1, true, 1, policy.clone(), BreakerPolicy::Off)))
            .collect()
    }

    /// Whatever keeps lanes from being sent is put right.
    pub(super) async fn put_right(self: &Handle) {
        let hooks: Vec<i64> = self.hooks.borrow().keys().copied().collect();
        for id in hooks {
            if let Some(hook) = self.hooks.borrow_mut().get_mut(&id) {
                (hook.manner, hook.only_from) = (Manner::Accepts, None);
            }
            self.pause_webhook(id, false).await;
            self.enable(id).await;
        }
        let topics = self.topics.borrow().len();
        for topic in 0..topics {
            self.hold_topic(topic, false).await;
        }
        self.changed();
    }
}

async fn delete_orphans(session: &Session) -> crate::postgres::error::Result<()> {
    let statement = session.statement().await?;
    let (lanes, deliveries) = statement.read(|view| {
        let gone = |webhook: i64| view.get::<Webhook>(&webhook).is_none();
        let lanes: Vec<_> =
            view.range::<Lane>(..).filter(|(_, row)| gone(row.webhook)).map(|(place, _)| place).collect();
        let rows = view.range::<Delivery>(..).filter(|(_, row)| gone(row.webhook));
        (lanes, rows.map(|(place, _)| place).collect::<Vec<_>>())
    });
    for place in lanes {
        if let Some((place, _)) =
            statement.lock(place, RowLock::Update, Locked::Skip, |_: &Lane| true).await?
        {
            statement.delete(place, |_: &Lane| true).await?;
        }
    }
    for place in deliveries {
        if let Some((place, _)) =
            statement.lock(place, RowLock::Update, Locked::Skip, |_: &Delivery| true).await?
        {
            statement.delete(place, |_: &Delivery| true).await?;
        }
    }
    Ok(())
}

/// Some of the values: more often the newest.
fn some_of(ids: &[i64], random: &mut Random) -> Vec<i64> {
    if ids.is_empty() {
        return Vec::new();
    }
    let lately = &ids[ids.len().saturating_sub(random.pick(&[3, 10, 1_000]))..];
    let count = 1 + random.below(4);
    let mut chosen: Vec<i64> = (0..count).map(|_| random.pick(lately)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}
