#!/usr/bin/env python3
"""Breaks lines of the engine, one at a time, in a copy of the repository.

    python3 tests/simulation/mutations.py COPY          builds all of them into COPY/src
    python3 tests/simulation/mutations.py COPY --list   prints their names

COPY is a fresh clone that may be thrown away. In COPY each mutation is behind a switch, so that one
build serves all of them. The environment variable MUTANT switches one on:

    MUTANT=outdate SIMULATION_FIRST=1 SIMULATION_SECONDS=60 SIMULATION_FROM=100000 \\
    cargo test --release --test simulation -- world::tests::long --exact --ignored --nocapture

If the text of a mutation is not found any more, its name is printed, and it is left out.
"""

import re
import sys

# In a mutation, ON stands for its switch (NUM for its number, outside of the engine's folder).
E="src/worker/engine/"
S="src/worker/scheduling/"
M=[]
def m(name, file, old, new, count=1):
    M.append((name,file,old,new,count))
m("outdate", E+"settling.rs", "        lane.backlog.outdate();", "        if !ON { lane.backlog.outdate(); }")
m("locked_flag", E+"settling.rs", "        lane.set_locked(true);", "        if !ON { lane.set_locked(true); }")
m("locked_stops_burst", E+"settling.rs", "        lane.set_locked(true);\n        if lane.in_burst() {", None)
m("successor_waits", E+"advance.rs", "            && known.in_burst()\n        {", "            && !ON && known.in_burst()\n        {")
m("unsent_put_back", E+"lane.rs", "        self.backlog.put_back(unsent);", "        self.backlog.put_back(if ON { Vec::new() } else { unsent });")
m("may_not_send_waits", E+"bursts.rs", "            BurstEnd::MayNotSend => self.release(key, LaneState::Waiting(HELD_BACK), now),", "            BurstEnd::MayNotSend if !ON => self.release(key, LaneState::Waiting(HELD_BACK), now),\n            BurstEnd::MayNotSend => self.advance(key, now),")
m("answer_token", E+"state.rs", "filter(|lane| lane.token == token)", "filter(|lane| ON || lane.token == token)")
m("gone_at_read", E+"backlog.rs", "if busy || self.gone_at_read != Some(self.gone) {", "if busy || !ON && self.gone_at_read != Some(self.gone) {")
m("keep_back", E+"settling.rs", "        self.locked.keep_back(&mut settlement);", "        if !ON { self.locked.keep_back(&mut settlement); }")
m("settle_put_back", E+"settling.rs", "                    self.pending.put_back(settlement, now + wait);", "                    if !ON { self.pending.put_back(settlement, now + wait); }")
m("owes_again", E+"lane.rs", "        if self.reading == Reading::UnderWay {", "        if !ON && self.reading == Reading::UnderWay {")
m("read_by_again", E+"reading.rs", "            Reading::UnderWay => lane.reading = Reading::Again,", "            Reading::UnderWay => if !ON { lane.reading = Reading::Again },")
m("sends_off", E+"waking.rs", "        if before.sends && !self.session.sends {", "        if !ON && before.sends && !self.session.sends {")
m("follow_after", E+"backlog.rs", "            && follower.after <= self.read_to;", "            && (ON || follower.after <= self.read_to);")
m("failed_gives_up", E+"attempts.rs", "        self.pending.lane(claim, LaneChange { epoch, ..change }, now);\n        lane.leave();", "        self.pending.lane(claim, LaneChange { epoch, ..change }, now);\n        if !ON { lane.leave(); }")
m("unknown_is_nothing", E+"settling.rs", "    if failure.effect == Effect::Nothing {", "    if ON || failure.effect == Effect::Nothing {")
# -- Generations
m("renewed_stops_burst", E+"settling.rs", "        lane.backlog.outdate();\n        if lane.in_burst() {", None)
m("renewed_idle_read", E+"settling.rs", "        } else if lane.is_idle() {\n            self.read_now(key, now);", "        } else if lane.is_idle() && !ON {\n            self.read_now(key, now);")
m("renewed_never_asked", E+"settling.rs", "            outcomes.generation = held.map(|lane| lane.backlog.generation());", "            outcomes.generation = held.filter(|_| !ON).map(|lane| lane.backlog.generation());")
m("outdated_unsent", E+"backlog.rs", "        if self.outdated {\n            unsent.clear();", "        if self.outdated && !ON {\n            unsent.clear();")
m("outdated_read", E+"backlog.rs", "        if self.outdated {\n            // This read", "        if self.outdated && !ON {\n            // This read")
m("outdated_follow", E+"backlog.rs", "        let next = !self.outdated\n", "        let next = (ON || !self.outdated)\n")
m("follow_generation", E+"backlog.rs", "            && follower.generation == self.generation\n", "            && (ON || follower.generation == self.generation)\n")
m("follow_read_to", E+"backlog.rs", "            && follower.message_id > self.read_to\n", "            && (ON || follower.message_id > self.read_to)\n")
m("read_position", E+"backlog.rs", "            self.position = self.position.min(read.position);", "            if !ON { self.position = self.position.min(read.position); }")
m("read_read_to", E+"backlog.rs", "            self.read_to = read.position;\n", "            if !ON { self.read_to = read.position; }\n")
m("read_drop", E+"backlog.rs", "            self.drop_read();\n            self.outdated = false;", "            if !ON { self.drop_read(); }\n            self.outdated = false;")
m("read_outdated_off", E+"backlog.rs", "            self.drop_read();\n            self.outdated = false;", None)
m("read_busy", E+"lane.rs", "        self.backlog.read(read, busy)", "        self.backlog.read(read, busy && !ON)")
m("read_generation", E+"backlog.rs", "            self.generation = read.generation;", "            if !ON { self.generation = read.generation; }")
m("wrote_nothing", E+"backlog.rs", "        self.written += count;", "        self.written += if ON { 0 } else { count };")
m("gone_written", E+"backlog.rs", "Some(self.gone).filter(|gone| *gone == self.written);", "Some(self.gone).filter(|gone| ON || *gone == self.written);")
m("left_not_counted", E+"backlog.rs", "        self.gone += 1;", "        self.gone += usize::from(!ON);")
m("left_position", E+"backlog.rs", "        self.position = message_id;\n        self.unsaved += 1;", "        if !ON { self.position = message_id; }\n        self.unsaved += 1;")
m("append_twice", E+"backlog.rs", "            if item.id() > self.read_to {", "            if ON || item.id() > self.read_to {")
m("more_lost", E+"backlog.rs", "        self.more = owed.more;", "        self.more = owed.more && !ON;")
m("expect_more", E+"backlog.rs", "    pub(super) fn expect_more(&mut self) {\n        self.more = true;", "    pub(super) fn expect_more(&mut self) {\n        self.more |= !ON;")
m("replayed_follower_known", E+"lane.rs", "self.owes(if replayed { i64::MAX } else { message_id })", "self.owes(if replayed && !ON { i64::MAX } else { message_id })")
# -- Failures
m("failed_other", E+"lane.rs", "        if self.failed != messages {", "        if !ON && self.failed != messages {")
m("failures_not_counted", E+"lane.rs", "        self.failed = messages;\n        self.failures += 1;", "        self.failed = messages;\n        self.failures += u32::from(!ON);")
m("overcame", E+"lane.rs", "        let failed = std::mem::take(&mut self.failures) > 0;", "        let failed = if ON { self.failures > 0 } else { std::mem::take(&mut self.failures) > 0 };")
m("overcame_not_written", E+"attempts.rs", "        if lane.overcame() || ", "        if lane.overcame() && !ON || ")
m("repeats_failures", E+"lane.rs", "        if !batching.repeats(&members) {", "        if !ON && !batching.repeats(&members) {")
m("died_failures", E+"lane.rs", "        self.backlog.left(message_id);\n        self.failures = 0;\n    }\n\n    /// Whether its row", "        self.backlog.left(message_id);\n        if !ON { self.failures = 0; }\n    }\n\n    /// Whether its row")
m("died_position", E+"lane.rs", "        self.backlog.left(message_id);\n        self.failures = 0;\n    }\n\n    /// Whether its row", None)
m("change_head", E+"lane.rs", "filter(|_| self.failures > 0).or_else(head),", "filter(|_| ON || self.failures > 0).or_else(head),")
m("change_no_head", E+"lane.rs", "            failed: self.failed.filter(|_| self", None)
m("change_failures", E+"lane.rs", "            failures: self.failures,\n            split_until: self.split", "            failures: if ON { 0 } else { self.failures },\n            split_until: self.split")
m("change_position", E+"lane.rs", "            position: self.backlog.position(),\n            state,", "            position: if ON { self.backlog.read_to() } else { self.backlog.position() },\n            state,")
m("change_split", E+"lane.rs", "        self.split_until = Some(until);\n", "        if !ON { self.split_until = Some(until); }\n")
m("change_generation", E+"lane.rs", "            generation: self.backlog.generation(),\n            position: if", "            generation: self.backlog.generation() + i32::from(ON),\n            position: if")
m("claimed_failures", E+"lane.rs", "            failures: u32::try_from(claimed.failures).unwrap_or_default(),", "            failures: if ON { 0 } else { u32::try_from(claimed.failures).unwrap_or_default() },")
m("incomplete_batch", E+"advance.rs", " && !lane.is_incomplete() {", " && (ON || !lane.is_incomplete()) {")
m("retry_wait", E+"attempts.rs", "(lane.change(LaneState::Waiting(delay), error), Loss::None)", "(lane.change(LaneState::Waiting(if ON { Duration::ZERO } else { delay }), error), Loss::None)")
m("retry_one_more", "src/domain/retry.rs", "    } else if failures >= policy.max_retries {", "    } else if failures >= policy.max_retries + u32::from(crate::mutant::on(NUM)) {")
m("retry_one_less", "src/domain/retry.rs", "    } else if failures >= policy.max_retries {", None)
m("dead_in_batch", E+"attempts.rs", "            AfterFailure::Halt | AfterFailure::DeadLetter(_) if several => {", "            AfterFailure::Halt | AfterFailure::DeadLetter(_) if several && !ON => {")
m("dead_not_written", E+"attempts.rs", "                self.pending.dead(claim, dead, now);", "                if !ON { self.pending.dead(claim, dead, now); }")
m("dead_attempts", E+"attempts.rs", "                    attempts: failures,", "                    attempts: failures + u32::from(ON),")
m("gone_disables", E+"attempts.rs", "            self.commands.push(Command::Disable { webhook_id });", "            if !ON { self.commands.push(Command::Disable { webhook_id }); }")
m("gone_gives_up", E+"attempts.rs", "        lane.leave();\n        if self.stop_webhook(webhook_id) {", "        if !ON { lane.leave(); }\n        if self.stop_webhook(webhook_id) {")
# -- Slots and bursts
m("slot_not_given_back", E+"bursts.rs", "        self.slots.give_back(key.webhook_id);\n        let early", "        if !ON { self.slots.give_back(key.webhook_id); }\n        let early")
m("slot_unused_not_given_back", E+"bursts.rs", "            } else {\n                self.slots.give_back(webhook_id);\n            }\n            // A slot", "            } else if !ON {\n                self.slots.give_back(webhook_id);\n            }\n            // A slot")
m("slot_limit", S+"concurrency_limit.rs", " || webhook.used >= limit || ", " || !ON && webhook.used >= limit || ")
m("slot_capacity", S+"concurrency_limit.rs", "        if free == 0 || !admitted", "        if !ON && free == 0 || !admitted")
m("queue_come_back", S+"fair_queue.rs", "            self.lines[line as usize].push_back(webhook_id);\n        }\n    }\n\n    /// Newcomers", "            if !ON { self.lines[line as usize].push_back(webhook_id); }\n        }\n    }\n\n    /// Newcomers")
m("queue_lifo", S+"fair_queue.rs", "        let key = lanes.pop_front();", "        let key = if ON { lanes.pop_back() } else { lanes.pop_front() };")
m("queue_same_webhook", S+"fair_queue.rs", "            self.lines[line as usize].push_back(webhook_id);\n        }\n    }\n\n    /// Newcomers", None)
m("change_line", S+"fair_queue.rs", "        self.come_back(webhook_id, to);", "        if !ON { self.come_back(webhook_id, to); }")
m("given_up_removed", E+"bursts.rs", "            self.lanes.remove(&key);\n            if let", "            if !ON { self.lanes.remove(&key); }\n            if let")
m("successor_lost", E+"bursts.rs", "                self.take_in(successor, now);", "                if !ON { self.take_in(successor, now); }")
m("rate_limited", E+"bursts.rs", "            BurstEnd::RateLimited(wait) => self.release", "            BurstEnd::RateLimited(_) if ON => self.advance(key, now),\n            BurstEnd::RateLimited(wait) => self.release")
m("no_yield", E+"bursts.rs", "        self.commands.extend(yields", "        if ON { yields.clear(); }\n        self.commands.extend(yields")
m("end_burst_advance", E+"bursts.rs", "            BurstEnd::Over => self.advance(key, now),", "            BurstEnd::Over => if !ON { self.advance(key, now) },")
m("start_undeliverable", E+"bursts.rs", ".filter(|_| takes_messages && sends);\n        let ready", ".filter(|_| ON || takes_messages && sends);\n        let ready")
m("start_locked", E+"bursts.rs", "        let ready = !lane.is_locked() && ", "        let ready = (ON || !lane.is_locked()) && ")
m("start_stopping", E+"bursts.rs", " && !self.stopping;\n        let Some(endpoint)", " && (ON || !self.stopping);\n        let Some(endpoint)")
m("memory_put_back", E+"backlog.rs", "        self.bytes = self.queue.iter().map(OwedMessage::bytes).sum();", "        if !ON { self.bytes = self.queue.iter().map(OwedMessage::bytes).sum(); }")
m("memory_left", E+"reading.rs", "                left.push(key);\n                continue;", "                if !ON { left.push(key); }\n                continue;")
# -- The session
m("lease", "src/worker/session/liveness.rs", "            && nanoseconds(now + timeout) < self.leased_until.load(Ordering::Relaxed)", "            && (crate::mutant::on(NUM) || nanoseconds(now + timeout) < self.leased_until.load(Ordering::Relaxed))")
m("alive", "src/worker/session/liveness.rs", "        nanoseconds(now) < self.alive_until.load(Ordering::Relaxed)\n", "        (crate::mutant::on(NUM) || nanoseconds(now) < self.alive_until.load(Ordering::Relaxed))\n")
m("verdict_early", "src/worker/session/verdict.rs", "(*seen.free_since.get_or_insert(answered)) >= TAKEOVER_AFTER {", "(*seen.free_since.get_or_insert(answered)) >= if crate::mutant::on(NUM) { Duration::ZERO } else { TAKEOVER_AFTER } {")
m("verdict_never", "src/worker/session/verdict.rs", "        return Verdict::Dead;", "        if !crate::mutant::on(NUM) { return Verdict::Dead; }")
# -- Shutdown
m("stop_gives_back", E+"advance.rs", "        self.stopping = true;\n        self.give_back_all(now);", "        self.stopping = true;\n        if !ON { self.give_back_all(now); }")
m("done_lanes", E+"mod.rs", "            && self.lanes.is_empty()", "            && (ON || self.lanes.is_empty())")
m("done_pending", E+"mod.rs", "            && self.pending.due().is_none()", "            && (ON || self.pending.due().is_none())")
m("done_locked", E+"mod.rs", "            && self.locked.is_empty()\n", "            && (ON || self.locked.is_empty())\n")
m("done_settles", E+"mod.rs", "            && self.settles.is_idle()", "            && (ON || self.settles.is_idle())")
m("done_claims", E+"mod.rs", "            && !self.claims.is_under_way()\n            && !self.named", "            && (ON || !self.claims.is_under_way())\n            && !self.named")
m("give_back_stops", E+"advance.rs", "if lane.in_burst() => self.commands.push(Command::StopBurst(key)),", "if lane.in_burst() => if !ON { self.commands.push(Command::StopBurst(key)) },")
m("advance_stopping", E+"advance.rs", "        let may_send = !self.stopping && ", "        let may_send = (ON || !self.stopping) && ")
m("release_forgets", E+"advance.rs", "            self.pending.lane((lane.key, lane.token), change, now);", "            if !ON { self.pending.lane((lane.key, lane.token), change, now); }")
m("give_up_stops", E+"advance.rs", "            self.lanes.remove(&key);\n        } else {\n            self.commands.push(Command::StopBurst(key));", "            self.lanes.remove(&key);\n        } else if !ON {\n            self.commands.push(Command::StopBurst(key));")
m("successor_stops", E+"advance.rs", "            known.leave();\n            self.commands.push(Command::StopBurst(key));", "            known.leave();\n            if !ON { self.commands.push(Command::StopBurst(key)); }")
# -- Reads, and lanes that are lost or idle
m("read_none", E+"reading.rs", "                None => self.forget_lane(key),", "                None => if !ON { self.forget_lane(key) },")
m("lane_lost", E+"settling.rs", "            self.forget_lane(key);", "            if !ON { self.forget_lane(key); }")
m("read_token", E+"reading.rs", "if failed.contains(&key) || self.held(key, token).is_none() {", "if failed.contains(&key) || !ON && self.held(key, token).is_none() {")
m("removal_token", E+"settling.rs", "            if self.held(*key, *token).is_none() {", "            if !ON && self.held(*key, *token).is_none() {")
m("removed_kept", E+"idling.rs", "            self.lanes.remove(&key);\n            self.removed_lately", "            if !ON { self.lanes.remove(&key); }\n            self.removed_lately")
m("not_removed", E+"idling.rs", "        lane.recurring = true;\n        lane.kept_at", "        lane.recurring = !ON;\n        lane.kept_at")
m("not_removed_advance", E+"idling.rs", "        if self.stopping || lane.backlog.has_messages() {", "        if self.stopping || !ON && lane.backlog.has_messages() {")
m("not_removed_read", E+"idling.rs", "        self.keep_idle(key, now + wait, now);\n        self.read_now(key, now);", "        self.keep_idle(key, now + wait, now);\n        if !ON { self.read_now(key, now); }")
m("remove_forgotten", E+"idling.rs", "        self.pending.remove(key, now);", "        if !ON { self.pending.remove(key, now); }")
m("idle_not_listed", E+"idling.rs", "        lane.keep_idle(remove_at);\n        self.idle.insert(key);", "        lane.keep_idle(remove_at);\n        if !ON { self.idle.insert(key); }")
m("idle_read", E+"idling.rs", "        if !(told && self.wakeup.polling(now)) {", "        if !(told && self.wakeup.polling(now)) && !ON {")
m("idle_news", E+"reading.rs", "            Phase::Idle { .. } if new || lane.backlog.more() =>", "            Phase::Idle { .. } if (new || lane.backlog.more()) && !ON =>")
m("removing_news", E+"settling.rs", "lanes.filter(|lane| lane.is_removing())", "lanes.filter(|lane| ON || lane.is_removing())")
m("read_waiting", E+"reading.rs", "            Phase::Waiting => self.advance(key, now),", "            Phase::Waiting => if !ON { self.advance(key, now) },")
m("read_failed_idle", E+"reading.rs", "                self.keep_idle(key, now + wait, now);", "                if !ON { self.keep_idle(key, now + wait, now); }")
m("read_again_now", E+"reading.rs", "        } else if again {\n            self.read_now(key, now);", "        } else if again && !ON {\n            self.read_now(key, now);")
m("follower_advance", E+"looks.rs", "            Owes::TakenIn if free => self.advance(key, now),", "            Owes::TakenIn if free => if !ON { self.advance(key, now) },")
m("follower_waiting", E+"looks.rs", "let free = lane.is_idle() || lane.is_waiting();", "let free = lane.is_idle() || lane.is_waiting() && !ON;")
m("follower_read", E+"looks.rs", "            Owes::ReadNow => self.read_now(key, now),\n            Owes::TakenIn", "            Owes::ReadNow => if !ON { self.read_now(key, now) },\n            Owes::TakenIn")
m("sweep_never", E+"claims.rs", "        if now.duration_since(self.last_sweep) < POLL_NOTIFIED {", "        if ON || now.duration_since(self.last_sweep) < POLL_NOTIFIED {")
m("sweep_flag", E+"looks.rs", "                sweeps |= sweep;", "                sweeps |= sweep && !ON;")
m("claim_unknown", E+"looks.rs", "        let failure = nothing_done(failure)?;\n        let wait = self.troubles.failed(kind", "        let failure = if ON { failure } else { nothing_done(failure)? };\n        let wait = self.troubles.failed(kind")
m("token_reused", E+"claims.rs", "        self.next_token += 1;\n        self.next_token - 1", "        self.next_token += i64::from(!ON);\n        self.next_token - i64::from(!ON)")
m("claims_end", E+"looks.rs", "                self.take_in_all(lanes.into_iter().map(|lane| Lane::claimed(lane, now)), now);\n                for Want", "                self.take_in_all(lanes.into_iter().filter(|lane| !(ON && lane.failures > 0)).collect::<Vec<_>>().into_iter().map(|lane| Lane::claimed(lane, now)), now);\n                for Want")
# -- Outcomes that could not be written
m("locked_later_lost", E+"locked.rs", "        waiting.outcomes.add(later);\n        if", "        if !ON { waiting.outcomes.add(later); }\n        if")
m("locked_settled_later", E+"settling.rs", "            self.pending.put_back(Settlement::from([(claim, later)]), now);", "            if !ON { self.pending.put_back(Settlement::from([(claim, later)]), now); }")
m("locked_goes_on", E+"settling.rs", "            && lane.set_locked(false)\n            && lane.is_waiting()\n        {", "            && lane.set_locked(false)\n            && lane.is_waiting()\n            && !ON\n        {")
m("locked_stays_set", E+"settling.rs", "            && lane.set_locked(false)\n", "            && lane.set_locked(ON)\n")
m("locked_again_due", E+"settling.rs", "        let again = self.locked.due().filter", "        let again = self.locked.due().filter(|_| !ON).filter")
m("locked_not_tried", E+"settling.rs", "        if !self.settles.is_under_way(true) && self", "        if !ON && !self.settles.is_under_way(true) && self")
m("put_back_order", E+"pending_writes.rs", "            outcomes.add(std::mem::take(newer));\n            *newer = outcomes;", "            if ON { newer.add(outcomes); } else { outcomes.add(std::mem::take(newer)); *newer = outcomes; }")
m("put_back_replaces", E+"pending_writes.rs", "            outcomes.add(std::mem::take(newer));\n            *newer = outcomes;", None)
m("change_kept_first", "src/store/settle.rs", "        self.change = later.change.or(self.change.take());", "        self.change = if crate::mutant::on(NUM) { self.change.take().or(later.change) } else { later.change.or(self.change.take()) };")
m("done_not_written", E+"attempts.rs", "        self.pending.done(claim, &attempt.message_ids, now);", "        self.pending.done(claim, if ON { &attempt.message_ids[..attempt.message_ids.len() - 1] } else { &attempt.message_ids }, now);")
# -- Webhooks
m("stop_webhook_flag", E+"webhooks.rs", "        Arc::make_mut(endpoint).deliverable = false;", "        if !ON { Arc::make_mut(endpoint).deliverable = false; }")
m("release_stopped", E+"webhooks.rs", "            self.claims.look();\n            self.release_stopped(now);", "            self.claims.look();\n            if !ON { self.release_stopped(now); }")
m("webhook_removed", E+"webhooks.rs", "            self.endpoints.remove(webhook_id);", "            if !ON { self.endpoints.remove(webhook_id); }")
m("session_changes", E+"waking.rs", "        if session.webhook_changes != before.webhook_changes {", "        if session.webhook_changes != before.webhook_changes && !ON {")
m("loading_stays", E+"webhooks.rs", "        self.loading_webhooks = false;\n", "        self.loading_webhooks = ON;\n")
# -- Batches
m("batch_mixes_replays", "src/domain/batch.rs", "        let alike = |member: &&Member| Some(member.replay) == owed.first().map(|first| first.replay);", "        let alike = |member: &&Member| crate::mutant::on(NUM) || Some(member.replay) == owed.first().map(|first| first.replay);")
m("batch_same_name", "src/domain/batch.rs", "        if same_name && count > 1 {", "        if !crate::mutant::on(NUM) && same_name && count > 1 {")
m("batch_split", "src/domain/batch.rs", "        if self.split_until.is_some_and(", "        if !crate::mutant::on(NUM) && self.split_until.is_some_and(")
m("wakeup_reads", E+"mod.rs", "            self.reads.due(),\n", "            self.reads.due().filter(|_| !ON),\n")
m("wakeup_settle", E+"mod.rs", "            self.next_settle(),\n", "            self.next_settle().filter(|_| !ON),\n")
m("named_later", E+"named.rs", "            self.now.extend(self.later.pop_front().map(|(_, id)| id));", "            let id = self.later.pop_front().map(|(_, id)| id);\n            if !ON { self.now.extend(id); }")
m("pop_missing_more", E+"advance.rs", "        } else if lane.backlog.more() {\n            lane.wait();", "        } else if lane.backlog.more() && !ON {\n            lane.wait();")
m("more_messages_unasked", E+"attempts.rs", "        let wants_more = half_over", "        let wants_more = !ON && half_over")
# Lines that stand beside another mutation: what they are when that one is in place.
SPECIAL={
"locked_stops_burst": ("if !crate::mutant::on(%(locked_flag)d) { lane.set_locked(true); }\n        if lane.in_burst() {", "if !crate::mutant::on(%(locked_flag)d) { lane.set_locked(true); }\n        if lane.in_burst() && !ON {"),
"renewed_stops_burst": ("lane.backlog.outdate(); }\n        if lane.in_burst() {", "lane.backlog.outdate(); }\n        if lane.in_burst() && !ON {"),
"read_outdated_off": ("self.drop_read(); }\n            self.outdated = false;", "self.drop_read(); }\n            self.outdated = ON;"),
"died_position": ("        self.backlog.left(message_id);\n        if !crate::mutant::on(%(died_failures)d)", "        if !ON { self.backlog.left(message_id); }\n        if !crate::mutant::on(%(died_failures)d)"),
"change_no_head": ("self.failures > 0).or_else(head),", "self.failures > 0).or_else(head).filter(|_| !ON),"),
"retry_one_less": ("policy.max_retries + u32::from(crate::mutant::on(%(retry_one_more)d)) {", "(policy.max_retries + u32::from(crate::mutant::on(%(retry_one_more)d))).saturating_sub(u32::from(ON)) {"),
"queue_same_webhook": ("{ self.lines[line as usize].push_back(webhook_id); }", "{ if ON { self.lines[line as usize].push_front(webhook_id); } else { self.lines[line as usize].push_back(webhook_id); } }"),
"put_back_replaces": ("else { outcomes.add(std::mem::take(newer)); *newer = outcomes; }", "else { if !ON { outcomes.add(std::mem::take(newer)); } *newer = outcomes; }"),
}

ids = {name: number + 1 for number, (name, *_) in enumerate(M)}


def switched(text, number):
    if "NUM" in text:
        return text.replace("NUM", str(number))
    return re.sub(r"\bON\b", f"crate::mutant::on({number})", text)


def main(root):
    texts, absent = {}, []
    for name, file, old, new, count in M:
        texts.setdefault(file, open(f"{root}/{file}").read())
        if new is None:
            old, new = SPECIAL[name]
            old, new = (text % ids if "%(" in text else text for text in (old, new))
        if texts[file].count(old) != count:
            absent.append(name)
            continue
        texts[file] = texts[file].replace(old, switched(new, ids[name]))
    for file, text in texts.items():
        open(f"{root}/{file}", "w").write(text)
    names = ", ".join(f'"{name}"' for name, *_ in M)
    open(f"{root}/src/mutant.rs", "w").write(f"""use std::sync::OnceLock;

const NAMES: [&str; {len(M) + 1}] = ["", {names}];
static WHICH: OnceLock<usize> = OnceLock::new();

pub(crate) fn on(number: usize) -> bool {{
    let find = || {{
        let name = std::env::var("MUTANT").unwrap_or_default();
        NAMES.iter().position(|known| *known == name).expect("a mutation of this name")
    }};
    *WHICH.get_or_init(find) == number
}}
""")
    with open(f"{root}/src/lib.rs", "a") as lib:
        lib.write("\nmod mutant;\n")
    print(f"{len(M) - len(absent)} mutations; not found: {absent}")


if __name__ == "__main__":
    if "--list" in sys.argv:
        print("\n".join(ids))
    else:
        main(sys.argv[1])
