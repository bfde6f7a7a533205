//! Looking for lanes to claim: those that are due, and those of messages that notifications named.

use std::{collections::HashMap, time::Instant};

use jiff::Timestamp;

use super::{
    super::{
        scheduling::{
            claim_budget::{Ask, ClaimBudget},
            fair_queue::Line,
            memory_budget::MemoryBudget,
        },
        tuning::{ASK_ALL_EVERY, ASK_ALL_WEBHOOKS, CLAIM_MAX, CLAIM_MESSAGES, READ_MESSAGES},
    },
    claims::ListingDue,
    command::Command,
    event::ClaimAnswer,
    failure::{Failure, Lost},
    lane::{Lane, Owes},
    reading::read_limits,
    settling::nothing_done,
    state::Engine,
    tail::{ASK_EACH, Look},
    troubles::Kind,
};
use crate::store::{DueWebhooks, Follower, Looked, Room, Want};

impl Engine {
    // -- Due lanes --------------------------------------------------------------------------------

    /// Looks for due lanes, if anything may be due and there is room. Also asks whether idle lanes
    /// owe something.
    pub(super) fn look_for_due_lanes(&mut self, now: Instant) {
        if self.claims.is_under_way() || self.listing_due.is_some() || now < self.claims.not_before() {
            return;
        }
        let sweep = self.claims.begin_sweep(now);
        let look = self.claims.begin_look() || sweep;
        if look {
            self.ask_idle(sweep, now);
            if self.endpoints.len() > ASK_ALL_WEBHOOKS {
                self.list_due_webhooks(ListingDue { asked: now, sweep }, None);
                return;
            }
            // Also webhooks that have no room now: what came must not wait for the next sweep.
            for webhook_id in self.endpoints.keys().copied().collect::<Vec<_>>() {
                self.claims.ask(webhook_id);
            }
        }
        if look || self.claims.next_room().is_some_and(|at| now >= at) {
            self.claim(now);
        }
    }

    /// A claim does not find what held lanes owe. Tail reads and reads do.
    fn ask_idle(&mut self, sweep: bool, now: Instant) {
        let many = self.idle.len() > ASK_EACH;
        if many {
            self.read_tail(if sweep { Look::Sweep } else { Look::BesideClaim }, now);
        }
        let ask_all = sweep && (now >= self.claims.ask_all_at || !self.tail.tells_since(now, now));
        if ask_all || !many {
            self.claims.ask_all_at = now + ASK_ALL_EVERY;
            self.read_idle(now);
        }
    }

    fn list_due_webhooks(&mut self, listing: ListingDue, after: Option<i64>) {
        self.commands.push(Command::ListDueWebhooks { after, sweep: listing.sweep });
        self.listing_due = Some(listing);
    }

    /// These webhooks have due lanes.
    pub(super) fn on_due_webhooks(&mut self, due: Result<DueWebhooks, Failure>, now: Instant) {
        let Some(listing) = self.listing_due.take() else { return };
        let DueWebhooks { webhooks, next } = match due {
            Ok(due) => due,
            Err(failure) => {
                let wait = self.troubles.failed(Kind::ListDueWebhooks, &failure, now);
                self.claims.failed(now + wait);
                return;
            }
        };
        self.troubles.succeeded(Kind::ListDueWebhooks);
        for due in webhooks {
            self.claims.ask_from(due.webhook_id, due.due_at);
        }
        let claims = !self.stopping && self.session.sends;
        let asked = listing.asked;
        if claims && next.is_some() {
            self.list_due_webhooks(listing, next);
            return;
        }
        if claims {
            self.claim(now);
        }
        if !self.claims.is_under_way() {
            self.look_answered(asked, now);
        }
    }

    /// Starts a claim, if a webhook wants lanes and has room for them.
    fn claim(&mut self, now: Instant) {
        self.claims.look_for_room(now);
        let memory = self.memory();
        let (wants, sweep) = self.wants(&memory, now);
        if wants.is_empty() {
            return;
        }
        // Read a whole batch at once, but in all no more rows than without batches.
        let batches = wants.iter().filter_map(|want| self.endpoints.get(&want.webhook_id));
        let batch = batches.map(|endpoint| endpoint.batch_size).max().unwrap_or_default();
        let lanes: usize = wants.iter().map(|want| want.slots).sum();
        let messages = batch.min(CLAIM_MAX * CLAIM_MESSAGES / lanes.max(1)).max(CLAIM_MESSAGES);
        let limits = read_limits(messages.min(READ_MESSAGES), memory.answer());
        let token = self.claims.begin(wants.clone(), now);
        self.commands.push(Command::Claim { token, wants, sweep, limits });
    }

    /// How many lanes to claim of each webhook that may have due ones, and whether to claim also
    /// lanes whose holder is gone.
    fn wants(&mut self, memory: &MemoryBudget, now: Instant) -> (Vec<Want>, bool) {
        let mut held: HashMap<i64, usize> = HashMap::new();
        let mut held_doubtful = 0;
        // Idle lanes are held too, but send nothing.
        for lane in self.lanes.values().filter(|lane| lane.is_busy()) {
            *held.entry(lane.key.webhook_id).or_default() += 1;
            held_doubtful += usize::from(self.slots.line(lane.key.webhook_id) != Line::Answering);
        }
        let mut budget = ClaimBudget::new(self.settings.concurrency, held.values().sum(), held_doubtful);
        let waiting = self.waiting();
        let (mut wants, mut sweeps) = (Vec::new(), false);
        for webhook_id in self.claims.hungry() {
            if budget.is_used_up() {
                break;
            }
            if !self.is_deliverable(webhook_id) {
                self.claims.sate(webhook_id);
                continue;
            }
            if !memory.allows(webhook_id) {
                continue;
            }
            // Without a share, one lane shows that there is something to send. Then a share is asked
            // for.
            let slots = self.fair_slots(webhook_id, waiting).max(1);
            let ask = Ask {
                line: self.slots.line(webhook_id),
                held: held.get(&webhook_id).copied().unwrap_or_default(),
                slots,
                ahead: self.ahead(webhook_id, slots, now),
                peek: self.claims.is_to_peek(webhook_id),
            };
            if let Some(lanes) = budget.grant(ask) {
                let (want, sweep) = self.claims.want(webhook_id, lanes);
                wants.push(want);
                sweeps |= sweep;
            }
        }
        (wants, sweeps)
    }

    /// A claim was answered.
    pub(super) fn on_claimed(
        &mut self,
        answer: Result<ClaimAnswer, Failure>,
        now: Instant,
    ) -> Result<(), Lost> {
        let Some((wants, asked)) = self.claims.end() else { return Ok(()) };
        match answer {
            Ok(ClaimAnswer { lanes, one_by_one }) => {
                self.troubles.succeeded(Kind::Claim);
                self.claims.say_one_by_one(one_by_one.as_ref());
                let mut found: HashMap<i64, (usize, Timestamp)> = HashMap::new();
                for lane in &lanes {
                    self.claims.read(lane.key.webhook_id, &lane.owed);
                    let (count, due_at) = found.entry(lane.key.webhook_id).or_insert((0, Timestamp::MIN));
                    *count += 1;
                    *due_at = lane.due_at.max(*due_at);
                }
                self.take_in_all(lanes.into_iter().map(|lane| Lane::claimed(lane, now)), now);
                for Want { webhook_id, slots, .. } in wants {
                    let full = found.get(&webhook_id).filter(|(count, _)| *count >= slots);
                    self.claims.answered(webhook_id, full.map(|(_, due_at)| *due_at));
                }
            }
            Err(failure) => self.on_claim_failed(Kind::Claim, failure, now)?,
        }
        self.look_answered(asked, now);
        Ok(())
    }

    fn take_in_all(&mut self, lanes: impl ExactSizeIterator<Item = Lane>, now: Instant) {
        if lanes.len() > 0 {
            self.claims.found(now);
            self.wakeup.worked(now);
        }
        for lane in lanes {
            self.take_in(lane, now);
        }
    }

    /// A claim failed. If it did nothing for certain, claim again a little later. Otherwise it may
    /// have claimed lanes that this worker would never hear of: then the worker starts over, and
    /// the new incarnation releases them with the rest.
    fn on_claim_failed(&mut self, kind: Kind, failure: Failure, now: Instant) -> Result<(), Lost> {
        let failure = nothing_done(failure)?;
        let wait = self.troubles.failed(kind, &failure, now);
        self.claims.failed(now + wait);
        Ok(())
    }

    // -- Named messages ---------------------------------------------------------------------------

    /// Looks at the messages that notifications have named, if it is time.
    pub(super) fn look_at_named(&mut self, now: Instant) {
        if self.named.due(now).is_none_or(|due| now < due) || now < self.claims.not_before() {
            return;
        }
        let message_ids = self.named.begin(now);
        let limits = read_limits(CLAIM_MESSAGES, self.memory().answer());
        let (room, token) = (self.room(), self.claims.next_token());
        self.commands.push(Command::ClaimMessages { token, message_ids, room, limits });
    }

    /// What this worker has room for: lanes that it can start soon.
    fn room(&self) -> Room {
        let full = self.queue.webhooks().filter(|webhook_id| {
            // A webhook is full if its lanes wait here and either more of them are due in the
            // database (these come first), or it may use no more slots.
            self.claims.more(*webhook_id) || !self.slots.could_use(*webhook_id, self.own_limit(*webhook_id))
        });
        let full = full.chain(self.shares.refused()).chain(self.breakers.suspects());
        let mut full_webhooks: Vec<i64> = full.collect();
        full_webhooks.sort_unstable();
        full_webhooks.dedup();
        Room { lanes: self.slots.free(), full_webhooks }
    }

    /// A look at named messages was answered.
    pub(super) fn on_messages_claimed(
        &mut self,
        looked: Result<Looked, Failure>,
        now: Instant,
    ) -> Result<(), Lost> {
        let began = self.named.ended().unwrap_or(now);
        let Looked { claimed, followers } = match looked {
            Ok(looked) => looked,
            Err(failure) => return self.on_claim_failed(Kind::ClaimMessages, failure, now),
        };
        self.troubles.succeeded(Kind::ClaimMessages);
        for follower in followers {
            self.on_follower(follower, began, now);
        }
        self.take_in_all(claimed.into_iter().map(|lane| Lane::claimed(lane, now)), now);
        Ok(())
    }

    /// A lane that this worker holds owes one more message.
    fn on_follower(&mut self, follower: Follower, began: Instant, now: Instant) {
        let key = follower.key;
        let Some(lane) = self.held(key, follower.token) else { return };
        // A lane that waits for a read sends what came. It does not wait for the read: reads wait
        // for memory, and memory becomes free only when lanes send.
        let free = lane.is_idle() || lane.is_waiting();
        let removing = lane.is_removing();
        match lane.follow(follower, began) {
            Owes::TakenIn if free => self.advance(key, now),
            Owes::ReadNow => self.read_now(key, now),
            Owes::TakenIn | Owes::Removal if removing => self.pending.hurry(),
            Owes::TakenIn | Owes::Removal | Owes::ReadLater | Owes::Known => {}
        }
    }
}
