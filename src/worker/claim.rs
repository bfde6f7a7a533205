//! Claiming: which webhooks to look at, how many lanes to take, and where to begin looking.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    WorkerError,
    engine::Engine,
    lane::{Lane, Phase},
    news::{ASK_EACH, Look},
    operation::{Done, READ_LIMITS},
    pace::POLL_IDLE,
    target::Targets,
    turns::RunTakes,
};
use crate::store::{ClaimedLane, DueAfter, ReadLimits, StoreError, Want};

/// A worker holds at most this many lanes for each of its slots, not counting idle lanes.
const HELD_MAX: usize = 10;

/// The time between two checks for room. Each check goes through all lanes.
const ROOM_EVERY: Duration = Duration::from_millis(1);

/// If more bytes of payload than this wait in this worker, a webhook that holds more than an equal
/// part of them claims no more.
const BYTES_MAX: usize = 16 << 20;

/// How often sweeps ask all idle lanes while tail reads tell of them, too.
const ASK_ALL_EVERY: Duration = Duration::from_secs(2);

/// If there was no lane to claim for this long, a tail read may replace a claim.
const FIND_NOTHING: Duration = Duration::from_millis(100);

/// Each webhook may have this many lanes claimed, however many the others hold.
const FLOOR: usize = 4;

/// The most lanes of one claim. (Each webhook with room gets at least one, even beyond this.)
const CLAIM_MAX: usize = 500;

/// How many messages a claim reads of each lane. It reads more if a webhook's batch is larger.
pub(super) const MESSAGES: usize = 16;

/// The state of the claims, by webhook and in all.
pub(super) struct Claims {
    webhooks: HashMap<i64, WebhookClaims>,
    /// Whether anything may have become due since the last claim was sent.
    look: bool,
    under_way: bool,
    asked: Instant,
    last_sweep: Instant,
    /// When a sweep next asks all idle lanes, even if tail reads tell of them.
    ask_all_at: Instant,
    /// When a lane was last claimed, or was seen that could be claimed.
    last_found: Instant,
    not_before: Instant,
    room_looked_at: Instant,
    next_token: i64,
    /// Whether the last claim was made lane by lane. That was logged.
    singly: bool,
}

#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true whatever the others are")]
struct WebhookClaims {
    /// Whether to claim again: the last claim came back full, or something may have become due
    /// since then.
    hungry: bool,
    /// Whether the next claim is a sweep.
    sweep: bool,
    /// Where the next claim begins: after a full claim, at the greatest `due_at` that it returned.
    due_after: DueAfter,
    /// Whether more lanes are due than are claimed, as far as is known: the last claim came back
    /// full, or lanes were given back since.
    more: bool,
    /// `hungry` or `more` became true after the claim under way was sent. That claim may have been
    /// too early to see why.
    since_asked: bool,
    /// How long a lane keeps a slot.
    run_takes: RunTakes,
    /// How long one message takes in a slot.
    message_takes: RunTakes,
}

impl Default for WebhookClaims {
    fn default() -> Self {
        Self {
            hungry: false,
            sweep: true,
            due_after: DueAfter::Recent,
            more: false,
            since_asked: false,
            run_takes: RunTakes::default(),
            message_takes: RunTakes::default(),
        }
    }
}

impl Claims {
    /// Logs once why lanes are claimed one by one, and once that they no longer are.
    pub(super) fn say_refused(&mut self, refused: Option<&StoreError>) {
        let before = std::mem::replace(&mut self.singly, refused.is_some());
        match refused {
            Some(error) if !before => {
                tracing::warn!(%error, "a lane cannot be claimed; others are claimed one by one");
            }
            None if before => tracing::info!("all lanes can be claimed again"),
            _ => {}
        }
    }

    pub(super) fn new(now: Instant) -> Self {
        Self {
            webhooks: HashMap::new(),
            look: true,
            under_way: false,
            asked: now,
            // The first claim is a sweep.
            last_sweep: now.checked_sub(POLL_IDLE).unwrap_or(now),
            ask_all_at: now,
            last_found: now,
            not_before: now,
            room_looked_at: now,
            next_token: 1,
            singly: false,
        }
    }

    /// Something may have become due.
    pub(super) fn look(&mut self) {
        self.look = true;
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

    pub(super) fn under_way(&self) -> bool {
        self.under_way
    }

    /// When to check next whether a webhook that may have more due lanes has room for them. `None`
    /// if there is no such webhook, or a claim is under way.
    pub(super) fn next_room(&self) -> Option<Instant> {
        let hungry = self.webhooks.values().any(|webhook| webhook.hungry);
        (hungry && !self.under_way).then(|| (self.room_looked_at + ROOM_EVERY).max(self.not_before))
    }

    /// Whether a webhook has more lanes due than are claimed, as far as is known.
    pub(super) fn more(&self, webhook_id: i64) -> bool {
        self.webhooks.get(&webhook_id).is_some_and(|webhook| webhook.more)
    }

    /// A lane of this webhook was given back: it is due in the database, for any worker.
    pub(super) fn released(&mut self, webhook_id: i64) {
        let webhook = self.webhooks.entry(webhook_id).or_default();
        webhook.more = true;
        webhook.since_asked = true;
    }

    /// Makes the next claim ask for lanes of this webhook.
    pub(super) fn ask(&mut self, webhook_id: i64) {
        let webhook = self.webhooks.entry(webhook_id).or_default();
        webhook.hungry = true;
        webhook.since_asked = true;
    }

    /// How long a lane of a webhook keeps its slot; zero if nothing is known yet.
    pub(super) fn run_takes(&self, webhook_id: i64) -> Duration {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.run_takes.mean()).unwrap_or_default()
    }

    /// How long a message of a webhook takes in its slot; zero if nothing is known yet.
    pub(super) fn message_takes(&self, webhook_id: i64) -> Duration {
        self.webhooks.get(&webhook_id).map(|webhook| webhook.message_takes.mean()).unwrap_or_default()
    }

    /// A lane of a webhook has kept a slot for `took`, and sent `sent` messages.
    pub(super) fn ran(&mut self, webhook_id: i64, sent: usize, took: Duration) {
        let webhook = self.webhooks.entry(webhook_id).or_default();
        webhook.run_takes.note(took);
        if let Some(sent) = u32::try_from(sent).ok().filter(|sent| *sent > 0) {
            webhook.message_takes.note(took / sent);
        }
    }

    /// No claim begins before this instant. It lies ahead if the last one failed.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// A token that this worker has not used before.
    pub(super) fn next_token(&mut self) -> i64 {
        self.next_token += 1;
        self.next_token - 1
    }

    /// Forgets webhooks that are gone.
    pub(super) fn forget_except(&mut self, targets: &Targets) {
        self.webhooks.retain(|id, _| targets.contains_key(id));
    }
}

impl Engine {
    /// Starts a claim, if anything may be due and there is room. Has idle lanes asked, too.
    pub(super) fn start_claim(&mut self, now: Instant) {
        if self.claims.under_way || now < self.claims.not_before {
            return;
        }
        let sweep = now.duration_since(self.claims.last_sweep) >= POLL_IDLE;
        let look = self.claims.look || sweep;
        if look {
            // A claim does not find what held lanes owe. Tail reads and reads do.
            let many = self.dry.len() > ASK_EACH;
            if many {
                self.look_for_news(now, if sweep { Look::Sweep } else { Look::BesideClaim });
            }
            let ask_all = sweep && (now >= self.claims.ask_all_at || !self.news.tells_since(now, now));
            if ask_all || !many {
                self.claims.ask_all_at = now + ASK_ALL_EVERY;
                self.read_dry();
            }
        }
        if sweep {
            self.claims.last_sweep = now;
            self.claims.webhooks.values_mut().for_each(|webhook| webhook.sweep = true);
        }
        if !(look || self.claims.next_room().is_some_and(|at| now >= at)) {
            return;
        }
        self.claims.room_looked_at = now;
        let wants = self.wants(look, now);
        self.claims.look = false;
        if wants.is_empty() {
            return;
        }
        // Read a whole batch at once, but in all no more rows than without batches.
        let batches = wants.iter().filter_map(|want| self.targets.get(&want.webhook_id));
        let batch = batches.map(|target| target.settings.batch_size).max().unwrap_or_default();
        let lanes: usize = wants.iter().map(|want| want.slots).sum();
        let messages = batch.min(CLAIM_MAX * MESSAGES / lanes.max(1)).max(MESSAGES);
        let messages_per_lane =
            i32::try_from(messages).unwrap_or(i32::MAX).min(READ_LIMITS.messages_per_lane);
        let limits = ReadLimits { messages_per_lane, ..READ_LIMITS };
        self.claims.under_way = true;
        self.claims.asked = now;
        let token = self.claims.next_token();
        let (store, worker) = (self.store.clone(), self.worker);
        // A claim that begins at the beginning (a sweep) also takes lanes of gone workers.
        let all = wants.iter().any(|want| want.due_after == DueAfter::Beginning);
        self.operations.spawn(async move {
            let claimed = store.claim_lanes(worker, token, &wants, all, limits).await;
            match claimed {
                // One lane may be the reason. The others are claimed without it. From here on only
                // this second answer counts. So the first call must have done nothing for certain:
                // lanes that it had claimed would be lost.
                Err(error) if error.is_refusal() && error.may_be_of_a_row() => {
                    let claimed = store.claim_lanes_singly(worker, token, &wants, all).await;
                    Done::Claimed { wants, claimed, refused: Some(error) }
                }
                claimed => Done::Claimed { wants, claimed, refused: None },
            }
        });
    }

    /// What to claim. `look`: whether any webhook may have something new. If not, only the hungry
    /// ones are asked.
    fn wants(&mut self, look: bool, now: Instant) -> Vec<Want> {
        // Busy lanes and their bytes, by webhook.
        let mut held_by: HashMap<i64, (usize, usize)> = HashMap::new();
        // Idle lanes are held too, but send nothing.
        for lane in self.lanes.values().filter(|lane| lane.busy()) {
            let (lanes, bytes) = held_by.entry(lane.key.webhook_id).or_default();
            *lanes += 1;
            *bytes += lane.bytes();
        }
        let held_in_all: usize = held_by.values().map(|(lanes, _)| lanes).sum();
        let too_much = held_by.values().map(|(_, bytes)| bytes).sum::<usize>() > BYTES_MAX;
        let mut free = (self.config.concurrency * HELD_MAX).saturating_sub(held_in_all);
        if look {
            // Also webhooks that have no room now: what came must not wait for the next sweep.
            for id in self.targets.keys() {
                self.claims.webhooks.entry(*id).or_default().hungry = true;
            }
        }
        let (mut left, waiting) = (CLAIM_MAX, self.waiting());
        let mut wants = Vec::new();
        for (id, target) in &self.targets {
            if !target.deliverable() {
                self.claims.webhooks.entry(*id).or_default().hungry = false;
                continue;
            }
            if !self.claims.webhooks.get(id).is_some_and(|claims| claims.hungry) {
                continue;
            }
            let limit = self.fair_slots(*id, waiting);
            let ahead = self.ahead(*id, limit, now);
            let claims = self.claims.webhooks.entry(*id).or_default();
            let (held, bytes) = held_by.get(id).copied().unwrap_or_default();
            if too_much && bytes > BYTES_MAX / held_by.len() {
                continue;
            }
            let most = limit + ahead;
            // A webhook may hold no more lanes than are free, but always `FLOOR`. So some stay
            // free, however many webhooks hang.
            let room = most.min(free.max(FLOOR)).saturating_sub(held);
            // A small claim costs as much as a large one, so wait until a part of the room is free.
            // Without room, a sweep takes a single lane, to learn whether any is due. If one is
            // due, lanes of this worker yield to it.
            let probe = claims.sweep && !claims.more;
            let room = if room > 0 && (room >= ahead / 3 || held <= FLOOR) {
                room
            } else if probe {
                1
            } else {
                continue;
            };
            let slots = room.min(left.max(1));
            free = free.saturating_sub(slots);
            left = left.saturating_sub(slots);
            let due_after = if claims.sweep { DueAfter::Beginning } else { claims.due_after };
            claims.sweep = false;
            claims.since_asked = false;
            wants.push(Want { webhook_id: *id, slots, due_after });
        }
        wants
    }

    /// A claim was answered.
    pub(super) fn on_claimed(&mut self, wants: &[Want], claimed: Vec<ClaimedLane>) {
        self.claims.under_way = false;
        let mut full_until: HashMap<i64, (usize, Timestamp)> = HashMap::new();
        let now = Instant::now();
        if !claimed.is_empty() {
            self.claims.found(now);
            self.pace.worked(now);
        }
        for lane in claimed {
            let entry = full_until.entry(lane.key.webhook_id).or_insert((0, Timestamp::MIN));
            entry.0 += 1;
            entry.1 = entry.1.max(lane.due_at);
            self.take_in(Lane::claimed(lane));
        }
        for want in wants {
            let claims = self.claims.webhooks.entry(want.webhook_id).or_default();
            match full_until.get(&want.webhook_id) {
                // By the lanes' own `due_at`, not by the clock: otherwise a backlog would be
                // skipped.
                Some((count, due_at)) if *count >= want.slots => {
                    claims.hungry = true;
                    claims.more = true;
                    claims.due_after = DueAfter::At(*due_at);
                }
                _ => {
                    claims.hungry &= claims.since_asked;
                    claims.more &= claims.since_asked;
                    claims.due_after = DueAfter::Recent;
                }
            }
        }
        self.looked(self.claims.asked, now);
    }

    /// Takes in a lane that this worker has claimed.
    pub(super) fn take_in(&mut self, mut lane: Lane) {
        let key = lane.key;
        lane.recurring = self.retired.lately(key, Instant::now());
        if let Some(known) = self.lanes.get_mut(&key)
            && known.running()
        {
            // A request of an earlier claim is under way, for example after an operator has
            // released the lane. That request must end first.
            known.stop_run();
            known.phase = Phase::Released;
            self.successors.insert(key, lane);
            return;
        }
        self.lanes.insert(key, lane);
        self.advance(key);
    }

    /// A look at named messages has claimed these lanes.
    pub(super) fn on_lanes_claimed(&mut self, claimed: Vec<ClaimedLane>) {
        if !claimed.is_empty() {
            let now = Instant::now();
            self.claims.found(now);
            self.pace.worked(now);
        }
        for lane in claimed {
            self.take_in(Lane::claimed(lane));
        }
    }

    /// A claim failed. If it did nothing for certain, claim again a little later. Otherwise it may
    /// have claimed lanes that this worker would never hear of: then the worker starts over, and
    /// the new incarnation releases them with the rest.
    pub(super) fn on_claim_failed(&mut self, error: StoreError) -> Result<(), WorkerError> {
        if !error.is_refusal() || error.is_not_registered() {
            return Err(WorkerError::Store(error));
        }
        self.claims.look = true;
        self.claims.not_before = Instant::now() + self.trouble(&error, "claim");
        Ok(())
    }

    /// The claim under way has failed.
    pub(super) fn on_claim_ended(&mut self, error: StoreError) -> Result<(), WorkerError> {
        self.claims.under_way = false;
        self.on_claim_failed(error)?;
        self.looked(self.claims.asked, Instant::now());
        Ok(())
    }

    /// A statement failed. Returns how long to wait before the next try: 100 ms at first, at most
    /// 1.6 s. Logs only the first failure until a statement succeeds, and not too often, since one
    /// of several statements may fail each time.
    pub(super) fn trouble(&mut self, error: &StoreError, what: &str) -> Duration {
        if self.trouble == 0
            && let Some(left_out) = self.trouble_said.say(Instant::now())
        {
            tracing::warn!(%error, left_out, "{what} failed; trying again");
            self.tell_recovery = true;
        }
        self.trouble = self.trouble.saturating_add(1);
        self.signals.set_trouble(Some(format!("{what} failed: {error}")));
        Duration::from_millis(50 << self.trouble.min(5))
    }
}
