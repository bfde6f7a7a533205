//! What is known of each webhook's due lanes, and which claim is under way. Also for how long its
//! lanes keep slots, and how large its messages are.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    super::{
        scheduling::{moving_average::MovingAverage, read_share::MessageBytes},
        tuning::{FIND_NOTHING, POLL_NOTIFIED, ROOM_EVERY},
    },
    failure::Failure,
};
use crate::store::{DueAfter, Owed, OwedMessage, Want};

/// How long a lane, or one of its messages, takes in a slot.
type SlotTime = MovingAverage<16>;

/// The claims of this worker.
pub(super) struct Claims {
    webhooks: HashMap<i64, WebhookClaims>,
    /// Webhooks that the next claim asks for lanes.
    hungry: BTreeSet<i64>,
    /// The last webhook that a claim has asked. The next claim goes on after it, so that each
    /// webhook gets its turn.
    pub(super) asked_last: i64,
    /// Whether anything may have become due since the last look began.
    look: bool,
    /// The claim under way: what was asked for, and when.
    under_way: Option<(Vec<Want>, Instant)>,
    /// When the last sweep began, and its number.
    last_sweep: Instant,
    sweeps: u32,
    /// When a sweep next asks all idle lanes, even if tail reads tell of them.
    pub(super) ask_all_at: Instant,
    /// When a lane was last claimed, or was seen that could be claimed.
    last_found: Instant,
    not_before: Instant,
    room_looked_at: Instant,
    next_token: i64,
    /// Whether the last claim was made lane by lane. That was logged.
    one_by_one: bool,
}

/// The database is being asked which webhooks have due lanes.
#[derive(Clone, Copy)]
pub(super) struct ListingDue {
    /// Since when.
    pub(super) asked: Instant,
    /// Whether lanes count whose holder is gone.
    pub(super) sweep: bool,
}

#[derive(Clone, Copy)]
struct WebhookClaims {
    /// The number of the sweep that has asked it last.
    swept: u32,
    /// Where the next claim begins: after a full claim, at the greatest `due_at` that it returned.
    due_after: DueAfter,
    /// The earliest `due_at` of its due lanes, if the database has said it since the last claim.
    due_at: Option<Timestamp>,
    /// Whether more lanes are due than are claimed, as far as is known: the last claim came back
    /// full, or lanes were given back since.
    more: bool,
    /// It became hungry, or `more` became true, after the claim under way was sent. That claim may
    /// have been too early to see why.
    since_asked: bool,
    burst_time: SlotTime,
    message_time: SlotTime,
    request_time: SlotTime,
    message_bytes: MessageBytes,
}

impl Default for WebhookClaims {
    fn default() -> Self {
        Self {
            swept: 0,
            due_after: DueAfter::Recent,
            due_at: None,
            more: false,
            since_asked: false,
            burst_time: SlotTime::default(),
            message_time: SlotTime::default(),
            request_time: SlotTime::default(),
            message_bytes: MessageBytes::default(),
        }
    }
}

impl Claims {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            webhooks: HashMap::new(),
            hungry: BTreeSet::new(),
            asked_last: i64::MIN,
            look: true,
            under_way: None,
            // The first claim is a sweep.
            last_sweep: now.checked_sub(POLL_NOTIFIED).unwrap_or(now),
            sweeps: 1,
            ask_all_at: now,
            last_found: now,
            not_before: now,
            room_looked_at: now,
            next_token: 1,
            one_by_one: false,
        }
    }

    fn webhook(&mut self, webhook_id: i64) -> &mut WebhookClaims {
        self.webhooks.entry(webhook_id).or_default()
    }

    // -- Looks ------------------------------------------------------------------------------------

    /// Something may have become due.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// Whether something may have become due; a look takes that in.
    pub(super) fn begin_look(&mut self) -> bool {
        std::mem::take(&mut self.look)
    }

    /// Begins a sweep, if it is time: each webhook's next claim begins at the beginning.
    pub(super) fn begin_sweep(&mut self, now: Instant) -> bool {
        if now.duration_since(self.last_sweep) < POLL_NOTIFIED {
            return false;
        }
        self.last_sweep = now;
        self.sweeps = self.sweeps.wrapping_add(1);
        true
    }

    /// Makes the next sweep ask all idle lanes. Needed if a lane that a tail read has named could
    /// not be read.
    pub(super) fn ask_all(&mut self) {
        self.ask_all_at = self.last_sweep;
    }

    /// There is a lane to claim.
    pub(super) fn found(&mut self, now: Instant) {
        self.last_found = now;
    }

    /// Whether there was no lane to claim lately.
    pub(super) fn find_nothing(&self, now: Instant) -> bool {
        now.duration_since(self.last_found) > FIND_NOTHING
    }

    // -- Which webhooks ---------------------------------------------------------------------------

    /// Makes the next claim ask for lanes of this webhook.
    pub(super) fn ask(&mut self, webhook_id: i64) {
        self.hungry.insert(webhook_id);
        self.webhook(webhook_id).since_asked = true;
    }

    /// The same. The earliest of its due lanes is due since `due_at`.
    pub(super) fn ask_from(&mut self, webhook_id: i64, due_at: Timestamp) {
        self.ask(webhook_id);
        self.webhook(webhook_id).due_at = Some(due_at);
    }

    /// The same. The next claim begins with the lane that is due first.
    pub(super) fn ask_from_beginning(&mut self, webhook_id: i64) {
        self.ask(webhook_id);
        let webhook = self.webhook(webhook_id);
        webhook.due_after = DueAfter::Beginning;
        webhook.more = true;
    }

    /// The next claim does not ask for lanes of this webhook.
    pub(super) fn sate(&mut self, webhook_id: i64) {
        self.hungry.remove(&webhook_id);
    }

    /// The webhooks to ask, beginning after the one that was asked last.
    pub(super) fn hungry(&self) -> Vec<i64> {
        let after = self.asked_last;
        let later = self.hungry.range(after.saturating_add(1)..).copied();
        later.chain(self.hungry.range(..=after).copied()).collect()
    }

    /// When to check next whether a webhook that may have more due lanes has room for them. `None`
    /// if there is no such webhook, or a claim is under way.
    pub(super) fn next_room(&self) -> Option<Instant> {
        let wanted = !self.hungry.is_empty() && self.under_way.is_none();
        wanted.then(|| (self.room_looked_at + ROOM_EVERY).max(self.not_before))
    }

    /// A check for room begins.
    pub(super) fn look_for_room(&mut self, now: Instant) {
        self.room_looked_at = now;
    }

    /// Whether a webhook has more lanes due than are claimed, as far as is known.
    pub(super) fn more(&self, webhook_id: i64) -> bool {
        self.webhooks.get(&webhook_id).is_some_and(|webhook| webhook.more)
    }

    /// A lane of this webhook was given back: it is due in the database, for any worker.
    pub(super) fn released(&mut self, webhook_id: i64) {
        let webhook = self.webhook(webhook_id);
        webhook.more = true;
        webhook.since_asked = true;
    }

    /// Whether a webhook without room is to learn that any lane is due.
    pub(super) fn is_to_peek(&mut self, webhook_id: i64) -> bool {
        let sweeps = self.sweeps;
        let webhook = self.webhook(webhook_id);
        webhook.swept != sweeps && !webhook.more
    }

    /// What to ask for this webhook, and whether the claim is a sweep for it.
    pub(super) fn want(&mut self, webhook_id: i64, slots: usize) -> (Want, bool) {
        let sweeps = self.sweeps;
        let webhook = self.webhook(webhook_id);
        let sweep = std::mem::replace(&mut webhook.swept, sweeps) != sweeps;
        let due_after = match webhook.due_at.take() {
            // The first due lane is there. The claim need not walk over old row versions before it.
            Some(due_at) => DueAfter::At(due_at),
            None if sweep => DueAfter::Beginning,
            None => webhook.due_after,
        };
        webhook.since_asked = false;
        (Want { webhook_id, slots, due_after }, sweep)
    }

    /// Forgets a webhook that is gone.
    pub(super) fn forget(&mut self, webhook_id: i64) {
        self.webhooks.remove(&webhook_id);
        self.hungry.remove(&webhook_id);
    }

    // -- The claim under way ----------------------------------------------------------------------

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// A claim begins. Returns its token.
    pub(super) fn begin(&mut self, wants: Vec<Want>, now: Instant) -> i64 {
        if let Some(last) = wants.last() {
            self.asked_last = last.webhook_id;
        }
        self.under_way = Some((wants, now));
        self.next_token()
    }

    /// A token that this worker has not used before.
    pub(super) fn next_token(&mut self) -> i64 {
        self.next_token += 1;
        self.next_token - 1
    }

    /// The claim under way has ended: what it has asked for, and when.
    pub(super) fn end(&mut self) -> Option<(Vec<Want>, Instant)> {
        self.under_way.take()
    }

    /// A claim for this webhook was answered. `full`: it returned as many lanes as were asked for,
    /// and this is the greatest `due_at` among them.
    pub(super) fn answered(&mut self, webhook_id: i64, full: Option<Timestamp>) {
        let webhook = self.webhook(webhook_id);
        // By the lanes' own `due_at`, not by the clock: otherwise a backlog would be skipped.
        webhook.due_after = full.map_or(DueAfter::Recent, DueAfter::At);
        let wanted = full.is_some() || webhook.since_asked;
        webhook.more = full.is_some() || (webhook.more && webhook.since_asked);
        if full.is_some() {
            self.hungry.insert(webhook_id);
        } else if !wanted {
            self.hungry.remove(&webhook_id);
        }
    }

    /// No claim begins before this instant. It lies ahead if the last one failed.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// A claim has failed: the next one waits until `until`.
    pub(super) fn failed(&mut self, until: Instant) {
        self.look = true;
        self.not_before = until;
    }

    /// Logs once why lanes are claimed one by one, and once that they no longer are.
    pub(super) fn say_one_by_one(&mut self, refused: Option<&Failure>) {
        let before = std::mem::replace(&mut self.one_by_one, refused.is_some());
        match refused {
            Some(error) if !before => {
                tracing::warn!(%error, "a lane cannot be claimed; others are claimed one by one");
            }
            None if before => tracing::info!("all lanes can be claimed again"),
            _ => {}
        }
    }

    // -- How long slots are kept ------------------------------------------------------------------

    /// How long a lane of a webhook keeps its slot; zero if nothing is known yet.
    pub(super) fn burst_time(&self, webhook_id: i64) -> Duration {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.burst_time.get()).unwrap_or_default()
    }

    /// How long a message of a webhook takes in its slot; zero if nothing is known yet.
    pub(super) fn message_time(&self, webhook_id: i64) -> Duration {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.message_time.get()).unwrap_or_default()
    }

    /// How long a request of a webhook takes in its slot; zero if nothing is known yet.
    pub(super) fn request_time(&self, webhook_id: i64) -> Duration {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.request_time.get()).unwrap_or_default()
    }

    /// A lane of a webhook has kept a slot for `took`, for so many messages and requests.
    pub(super) fn burst_ended(&mut self, webhook_id: i64, messages: usize, requests: usize, took: Duration) {
        let webhook = self.webhook(webhook_id);
        webhook.burst_time.add(took);
        for (time, count) in [(&mut webhook.message_time, messages), (&mut webhook.request_time, requests)] {
            if let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) {
                time.add(took / count);
            }
        }
    }

    // -- How large messages are -------------------------------------------------------------------

    /// The bytes of a message of a webhook; zero if nothing is known yet.
    pub(super) fn message_bytes(&self, webhook_id: i64) -> usize {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.message_bytes.get()).unwrap_or_default()
    }

    /// This was read of a lane of a webhook.
    pub(super) fn read(&mut self, webhook_id: i64, owed: &Owed) {
        let messages = || owed.items.iter().filter(|item| matches!(item, OwedMessage::Present(_)));
        let bytes = messages().map(OwedMessage::bytes).sum();
        self.webhook(webhook_id).message_bytes.add(messages().count(), bytes);
    }
}
