//! The worker's limits and times: what each is for, and how they depend on one another. Some that
//! only one file needs stand in that file, such as those of `engine/tail` and `wakeup/mode`.
//!
//! None of them is a setting. Settings that a user has (`worker.concurrency`, timeouts) come with
//! the configuration and with the webhooks.

use std::time::Duration;

use crate::domain::known_targets::OVERLAP;

// -- Claims ---------------------------------------------------------------------------------------

/// A worker holds at most this many busy lanes for each of its slots. Idle lanes do not count.
pub(super) const HELD_PER_SLOT: usize = 10;

/// The most lanes of one claim.
pub(super) const CLAIM_MAX: usize = 500;

/// How many messages a claim reads of each lane. It reads more if a webhook's batch is larger.
pub(super) const CLAIM_MESSAGES: usize = 16;

/// Up to this many webhooks, each look asks for lanes of all of them. With more, the database is
/// asked first which of them have due lanes.
pub(super) const ASK_ALL_WEBHOOKS: usize = 64;

/// The time between two checks for room. Each check goes through all lanes.
pub(super) const ROOM_EVERY: Duration = Duration::from_millis(1);

/// How often a sweep asks all idle lanes while tail reads tell of them, too.
pub(super) const ASK_ALL_EVERY: Duration = Duration::from_secs(2);

/// If there was no lane to claim for this long, a tail read may replace a claim.
pub(super) const FIND_NOTHING: Duration = Duration::from_millis(100);

// -- Memory ---------------------------------------------------------------------------------------

/// The most bytes of payload and headers that a worker holds. Reads wait while no room is left. One
/// message more may come, so that a message larger than the room can be sent at all.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// A webhook may hold this many times the bytes that are free. So some always are, for others.
pub(super) const BYTES_SHARE: usize = 4;

/// The most bytes of payload and headers in one answer.
pub(super) const READ_BYTES: usize = 2 << 20;

/// The most messages of one lane in one read.
pub(super) const READ_MESSAGES: usize = 50;

/// The most lanes in one read.
pub(super) const READ_LANES: usize = 256;

const _: () = assert!(READ_BYTES * 8 <= BYTES_MAX, "several reads must fit");

/// A busy lane takes in followers (messages that a notification has named) only while it holds
/// fewer messages and bytes than this. Further ones are read when it has sent these. So it does not
/// fill this worker while its receiver is slow.
pub(super) const FOLLOWERS_MAX: usize = 16;
/// The bytes of payload for [`FOLLOWERS_MAX`].
pub(super) const FOLLOWERS_BYTES_MAX: usize = 64 << 10;

/// The most messages that may wait for a look because notifications have named them. If more come,
/// all of them are dropped, and one ordinary look replaces them.
pub(super) const NAMED_MAX: usize = 256;

/// If this many outcomes wait to be written, or are being written, no burst begins. Outcomes of
/// lanes whose row is locked do not count: a lane has at most one burst of them.
pub(super) const OUTCOMES_MAX: usize = 50_000;

/// If this many outcomes of one lane are not written, it is not read further. A lane may owe many
/// messages that are all given up. One call writes all outcomes of a lane, and must not take long.
pub(super) const UNWRITTEN_MAX: usize = 2_000;

/// The most events of bursts that wait for the engine. A burst waits until there is room.
pub(super) const EVENTS_MAX: usize = 4_096;

// -- Reading --------------------------------------------------------------------------------------

/// The read of a lane that still has messages to send waits this long, so that more lanes can join
/// it. The time is multiplied by the number of workers, at most [`SHARED_BY_MAX`].
pub(super) const READ_AHEAD: Duration = Duration::from_millis(4);

/// How long a lane waits if its messages cannot be read.
pub(super) const UNREADABLE_WAIT: Duration = Duration::from_mins(1);

/// How long a lane waits if this worker may not start its next request.
pub(super) const HELD_BACK: Duration = Duration::from_millis(500);

// -- Settling (group commit) ----------------------------------------------------------------------

/// Outcomes gather at least this long before they are written. So statements are fewer and larger,
/// and nearly always nobody waits for them. After a crash, requests whose outcomes were not written
/// are repeated.
pub(super) const GATHER_MIN: Duration = Duration::from_millis(2);

/// How long outcomes gather if few have come, or if somebody waits: this many times what a settle
/// takes, and at most this long. These may wait: the lane of a dead letter, a lane that is being
/// removed and owes something again, and this worker when it stops.
pub(super) const GATHER_FEW: (u32, Duration) = (3, Duration::from_millis(8));

/// The same if many have come. Both values are multiplied by the number of workers: so all workers
/// together keep the database no busier with settles than one worker would.
pub(super) const GATHER_MANY: (u32, Duration) = (8, Duration::from_millis(25));

/// Up to this many requests are few: to wait for more is not worth it.
pub(super) const FEW_REQUESTS: usize = 4;

/// Write a busy lane's position after this many messages. After a crash, reading begins at the
/// position and walks over what has left the lane since.
pub(super) const SAVE_POSITION_AFTER: usize = 1_000;

/// Write the position with a removal after this many messages: the removal looks from there on.
pub(super) const SAVE_POSITION_BEFORE_REMOVAL: usize = 64;

/// The first and the longest wait of outcomes whose lane's row is locked.
pub(super) const LOCKED_WAIT: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// The first and the longest wait after a kind of statement has failed.
pub(super) const FAILED_WAIT: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1_600)];

// -- Idle lanes -----------------------------------------------------------------------------------

/// How long an idle lane is kept if messages keep arriving. If its row is deleted and made again,
/// that costs its share of three statements. It also leaves row versions, which later looks walk
/// over while an old snapshot is held.
pub(super) const KEEP_IDLE: Duration = Duration::from_secs(3);

/// If there are other workers: how long a recurring lane stays with this one. After that it is
/// removed as soon as it is idle, and any worker may have it. Each change of worker leaves versions
/// of the lane's row.
pub(super) const KEEP_CLAIM: Duration = Duration::from_mins(1);

/// The same, while another worker is new, or lanes wait for a slot, or more than half of the slots
/// are in use.
pub(super) const KEEP_CLAIM_SPREADING: Duration = Duration::from_secs(10);

/// If a lane was held that long, but owed something again when it was to be removed: when to try
/// again.
pub(super) const REMOVE_AGAIN: Duration = Duration::from_secs(1);

/// How long another worker counts as new.
pub(super) const NEWCOMER_FOR: Duration = Duration::from_mins(1);

/// If so many lanes are idle, a lane that becomes idle is removed at once. A lane whose removal has
/// failed is kept all the same.
pub(super) const IDLE_MAX: usize = 1_024;

/// If so many lanes are idle, a lane whose removal has failed for long is released, and waits in
/// its row. One long transaction may hold the stripes of any number of lanes.
pub(super) const STRIPE_TAKEN_MAX: usize = 512;

/// How long a removed lane is remembered. If it is claimed again in that time, messages keep
/// arriving.
pub(super) const REMEMBER_REMOVED: Duration = Duration::from_secs(3);

/// The most removed lanes that are remembered: the latest ones.
pub(super) const REMEMBER_REMOVED_MAX: usize = 4_096;

/// How often idle lanes are checked for those to remove.
pub(super) const REMOVE_IDLE_EVERY: Duration = Duration::from_millis(20);

/// The first and the longest wait between two tries to remove a lane whose stripe is taken.
pub(super) const REMOVAL_WAIT: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(250)];

// -- Slots and time slices ------------------------------------------------------------------------

/// A webhook may hold this many slots for each free slot.
pub(super) const SLOTS_SHARE: usize = 4;

/// If requests are in flight, and no answer comes for this long, a webhook counts as silent. It
/// gets four times what a request of it usually takes, if that is longer.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(1);

/// For how long a webhook that was never tried is a newcomer.
pub(super) const NEWCOMER_WEBHOOK_FOR: Duration = Duration::from_secs(1);

/// How often webhooks that have become silent are looked for, while requests are in flight.
pub(super) const FIND_SILENT_EVERY: Duration = Duration::from_millis(100);

/// The time slice: how long a burst may last while other lanes wait for its slot.
pub(super) const SLICE: Duration = Duration::from_millis(250);

/// How long a lane may stay claimed while other lanes of its webhook are due and not claimed. To
/// give it back and to claim it again costs as much as a few messages, and what was read ahead is
/// read again.
pub(super) const TURN: Duration = Duration::from_secs(1);

/// So many lanes are claimed ahead that they keep the slots busy for this long.
pub(super) const AHEAD: Duration = Duration::from_millis(100);

/// The most lanes that are claimed ahead, for each slot.
pub(super) const AHEAD_MAX: usize = 4;

/// Lanes that wait for a slot are given back only if the first one in line has waited this long. A
/// lane that is given back after [`TURN`] does not ask for this.
pub(super) const LONG_WAIT: Duration = Duration::from_millis(500);

/// The time between two checks of the time slices.
pub(super) const CHECK_SLICES_EVERY: Duration = Duration::from_millis(50);

const _: () = assert!(SLICE.as_millis() < TURN.as_millis(), "a turn holds several slices");

/// A request that failed to connect and took longer than this counts like a timeout: it held its
/// slot for nothing.
pub(super) const SLOW_FAILURE: Duration = Duration::from_secs(1);

// -- The circuit breaker --------------------------------------------------------------------------

/// A breaker opens after so many deliveries in a row have used up their attempts. An outage costs no
/// more than these, and a few bad messages between good ones never open it.
pub(super) const BREAKER_EXHAUSTED: u32 = 5;

/// It also opens after so many failed attempts in a row, over at least [`BREAKER_LANES`] lanes. With
/// fewer lanes, a bad message in each of them could be the reason.
pub(super) const BREAKER_FAILED: u32 = 50;

/// See [`BREAKER_FAILED`].
pub(super) const BREAKER_LANES: usize = 10;

/// While requests fail in a row, a webhook may have no more in flight than would open its breaker, and
/// always this many. So a dead receiver gets few requests before it opens.
pub(super) const BREAKER_IN_FLIGHT: usize = 10;

/// How long other workers have for an objection before a breaker opens. They hear of the question with
/// a notification, or with their next heartbeat.
pub(super) const BREAKER_OBJECTION: Duration = Duration::from_secs(1);

/// A success of another worker counts for this long against opening a breaker.
pub(super) const SUCCESS_COUNTS: Duration = Duration::from_secs(10);

/// How often a worker says that its requests are accepted, while another one suspects the webhook.
pub(super) const NOTE_SUCCESS_EVERY: Duration = Duration::from_secs(1);

/// If others deliver well, a worker whose requests fail leaves the webhook to them for this long.
pub(super) const STAND_BACK: Duration = Duration::from_secs(10);

/// How long a suspicion lasts: others need not answer later.
pub(super) const SUSPECTED: Duration = Duration::from_secs(11);

const _: () = assert!(
    SUSPECTED.as_millis() == (BREAKER_OBJECTION.as_millis() + SUCCESS_COUNTS.as_millis()),
    "open_breaker asks anew after that"
);
const _: () = assert!(HEARTBEAT.as_millis() * 4 < BREAKER_OBJECTION.as_millis(), "others hear in time");

/// How often a worker looks for probes that are due, while a breaker is open.
pub(super) const LOOK_FOR_PROBES: Duration = Duration::from_millis(250);

/// The first and the longest wait between two probes. Each is twice the last one.
pub(super) const PROBE_WAIT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// After [`PROBE_SELDOM_AFTER`] there is one probe in this time.
pub(super) const PROBE_SELDOM: Duration = Duration::from_mins(1);

/// See [`PROBE_SELDOM`].
pub(super) const PROBE_SELDOM_AFTER: Duration = Duration::from_hours(1);

/// If a webhook has one lane left, one failed probe in so many uses up an attempt of its head.
/// Otherwise a message that makes its receiver fail would never leave the lane.
pub(super) const PROBE_COUNTS_EVERY: u32 = 10;

/// The turn to probe lasts for two timeouts and this time. A request begins only if its timeout ends
/// before the turn does: this is the time that it may wait for a slot.
pub(super) const PROBE_SPARE: Duration = Duration::from_secs(5);

/// Probes share a part of the slots: one in so many.
pub(super) const PROBE_SLOTS: usize = 4;

/// How many lanes are made due in one call when a breaker has closed.
pub(super) const WAKE_LANES: i32 = 1_000;

/// If requests to so many webhooks have failed by DNS or connect, [`BROKEN_FAILURES`] of them in a
/// row, and no request to any other webhook got further, the worker is the one that is broken.
pub(super) const BROKEN_WEBHOOKS: usize = 2;

/// See [`BROKEN_WEBHOOKS`].
pub(super) const BROKEN_FAILURES: u32 = 10;

/// Then it claims nothing for this long.
pub(super) const BROKEN_FOR: Duration = Duration::from_secs(5);

// -- Shares of limits that hold for all workers ----------------------------------------------------

/// How often a worker asks for its shares of the webhooks that it sends to.
pub(super) const SHARE_EVERY: Duration = Duration::from_secs(1);

/// The pause between two asks while a webhook waits for its share: another worker has all of it, and
/// gives a part back within [`SHARE_EVERY`].
pub(super) const SHARE_AGAIN: Duration = Duration::from_millis(100);

/// How long a worker keeps a share that it has no use for. Then it asks at once when there is
/// something to send again.
pub(super) const KEEP_SHARE: Duration = Duration::from_secs(10);

/// How long a worker that got no share wants one. It had something to send, and gave it back.
pub(super) const WANT_SHARE_FOR: Duration = Duration::from_secs(3);

const _: () = assert!(SHARE_EVERY.as_millis() * 2 < WANT_SHARE_FOR.as_millis(), "the others ask meanwhile");

/// The most webhooks of one ask. Further ones have their turn in the next one.
pub(super) const SHARES_MAX: usize = 1_000;

/// If it is not known whether an ask was carried out: when to ask again. By then the server has ended
/// it.
pub(super) const SHARE_UNCLEAR_WAIT: Duration = Duration::from_secs(10);

// -- Notifications and polls ----------------------------------------------------------------------

/// The workers that do not rank first for a message look this much later.
pub(super) const OTHERS_LATER: Duration = Duration::from_millis(5);

/// The pause between two polls while publishers notify. A lost notification costs no more than
/// this. It is also the least time between two sweeps, which take lanes of workers that are gone.
pub(super) const POLL_NOTIFIED: Duration = Duration::from_millis(500);

/// How long one request suppresses notifications.
pub(super) const SUPPRESS_FOR: Duration = Duration::from_secs(1);

/// Look at least this often for webhooks that were changed lately, even if no notification arrived.
pub(super) const RELOAD_WEBHOOKS: Duration = Duration::from_secs(10);

/// Look at all webhooks this often. A change is found only then if its transaction was open for
/// longer than [`OVERLAP`].
pub(super) const RELOAD_ALL_WEBHOOKS: Duration = Duration::from_mins(1);

const _: () = assert!(RELOAD_WEBHOOKS.as_millis() < OVERLAP.as_millis(), "looks overlap");

/// The least time between two reloads.
pub(super) const RELOAD_WEBHOOKS_MIN: Duration = Duration::from_millis(20);

/// The wait after webhooks could not be read.
pub(super) const RELOAD_WEBHOOKS_AGAIN: Duration = Duration::from_secs(1);

// -- The session ----------------------------------------------------------------------------------

/// The pause between two heartbeats.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(150);

/// The time between two heartbeats that write the worker's row.
pub(super) const WRITE_ROW: Duration = Duration::from_secs(1);

/// For how long, from when it was sent, an answered round trip proves that the worker's lock is
/// held.
pub(super) const ALIVE_FOR: Duration = Duration::from_millis(700);

/// How long a worker's lock must be free, without a break, before its lanes are taken over.
pub(super) const TAKEOVER_AFTER: Duration = Duration::from_millis(1_200);

/// The shortest lease. Without it, if all timeouts are short, a slow database would make a worker
/// look hung.
pub(super) const LEASE_MIN: Duration = Duration::from_secs(10);

/// More workers than this count as this many. Otherwise outcomes would gather too long where many
/// workers share a database.
pub(super) const SHARED_BY_MAX: u32 = 4;

const _: () = assert!(HEARTBEAT.as_millis() * 4 < ALIVE_FOR.as_millis(), "several heartbeats count");
const _: () = assert!(ALIVE_FOR.as_millis() < TAKEOVER_AFTER.as_millis(), "it stops before others take over");
const _: () = assert!(WRITE_ROW.as_millis() * 4 < LEASE_MIN.as_millis(), "several rows in a lease");
