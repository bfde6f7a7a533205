//! Lanes that do not move, and rows that lack another one.

use jiff::{SignedDuration, Timestamp};

use super::{
    finding::{Check, Finding, ITEMS_MAX, Item, Remedy, Status},
    words::{age, count, span},
};
use crate::domain::shell::flag;

/// A lane that failed, and whose head is older than this, waits for long.
const FAILING_WARN: SignedDuration = SignedDuration::from_hours(1);
/// A lane that is ready, and that nobody has claimed for so long, waits for long.
const READY_WARN: SignedDuration = SignedDuration::from_mins(5);

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSeen {
    /// Its webhook, as `topic:name`.
    pub webhook: String,
    /// Its partition key.
    pub partition_key: String,
    /// Its head, if one is seen.
    pub message_id: Option<i64>,
    /// Whether its topic has no order. Then the message names the lane.
    pub unordered: bool,
    /// How often its head has failed.
    pub failures: i32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// Since when its head waits: its publication, or when the lane became ready.
    pub since: Option<Timestamp>,
}

impl LaneSeen {
    /// The flag that names it.
    fn flag(&self) -> String {
        match (self.unordered, self.message_id) {
            (true, Some(id)) => format!("--message-id {id}"),
            _ => flag("partition-key", &self.partition_key),
        }
    }

    fn retry(&self) -> String {
        format!("pgtopic lanes retry {} {}", self.webhook, self.flag())
    }

    /// What says why its head waits.
    fn why(&self) -> String {
        match self.message_id {
            Some(id) => format!("pgtopic why {id}"),
            None => format!("pgtopic lanes list {} {}", self.webhook, self.flag()),
        }
    }

    fn text(&self) -> String {
        let head = self.message_id.map(|id| format!(", message {id}")).unwrap_or_default();
        let error = self.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        format!("{}, partition {}{head}, {} failures{error}", self.webhook, self.partition_key, self.failures)
    }
}

/// Judges the halted lanes. `most`: how many were looked for.
pub fn judge_halted_lanes(lanes: &[LaneSeen], most: usize) -> Finding {
    let Some(first) = lanes.first() else { return Finding::ok(Check::HaltedLanes, "no lane is halted") };
    let seen = format!("{} halted until somebody acts: {}", count(lanes.len(), most, "lane"), first.text());
    let text =
        "Repair the receiver, then try the lane again. If the message itself is bad: pgtopic lanes skip.";
    let remedy = |lane: &LaneSeen| Remedy::new(text).command(lane.retry());
    let items = lanes.iter().map(|lane| Item::with(lane.text(), remedy(lane)));
    Finding::bad(Check::HaltedLanes, Status::Fail, seen, remedy(first)).listing(items)
}

/// Judges the lanes that wait. `failing`: they have failed, and their head is the oldest; `ready`:
/// nobody has claimed them. Both hold the longest first, `most` at most.
pub fn judge_waiting_lanes(now: Timestamp, failing: &[LaneSeen], ready: &[LaneSeen], most: usize) -> Finding {
    let check = Check::WaitingLanes;
    let long = |lane: &&LaneSeen, limit| lane.since.is_some_and(|since| age(now, since) > limit);
    let since = |lane: &LaneSeen| span(age(now, lane.since.unwrap_or(now)));
    let failing: Vec<_> = failing.iter().filter(|lane| long(lane, FAILING_WARN)).collect();
    if let Some(first) = failing.first() {
        let seen = format!(
            "{} with a head that fails and is older than {}: {}, published {} ago",
            count(failing.len(), most, "lane"),
            span(FAILING_WARN),
            first.text(),
            since(first)
        );
        let text = "See what the receiver answers, and repair it; then try the lane again.";
        let remedy = |lane: &LaneSeen| Remedy::new(text).command(lane.retry());
        let items = failing.iter().map(|lane| Item::with(lane.text(), remedy(lane)));
        return Finding::bad(check, Status::Warn, seen, remedy(first)).listing(items);
    }
    let ready: Vec<_> = ready.iter().filter(|lane| long(lane, READY_WARN)).collect();
    let Some(first) = ready.first() else { return Finding::ok(check, "no lane waits for long") };
    let seen = format!(
        "{} ready for more than {}, and no worker takes them: {}, ready for {}",
        count(ready.len(), most, "lane"),
        span(READY_WARN),
        first.text(),
        since(first)
    );
    let text = "Ask why. Workers have no free slot, or the webhook is limited: raise worker.concurrency, start another worker, \
                or raise max_in_flight or rate_limit_per_second.";
    let remedy = |lane: &LaneSeen| Remedy::new(text).command(lane.why());
    let items = ready.iter().map(|lane| Item::with(lane.text(), remedy(lane)));
    Finding::bad(check, Status::Warn, seen, remedy(first)).listing(items)
}

/// Rows that lack another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneRowsFacts {
    /// Lanes that owe messages and have no row: webhook id, lane, the first message.
    pub without_lane: Vec<(i64, i64, i64)>,
    /// Rows of lanes that owe nothing, and that no worker takes: webhook id, lane.
    pub without_delivery: Vec<(i64, i64)>,
    /// Whether only a part of the rows was looked at.
    pub capped: bool,
    /// The schema, as SQL writes it.
    pub schema: String,
}

/// Judges rows that lack another one.
pub fn judge_lane_rows(facts: &LaneRowsFacts) -> Finding {
    let LaneRowsFacts { without_lane, without_delivery, capped, schema } = facts;
    let check = Check::LaneRows;
    let part = if *capped { ", as far as was looked" } else { "" };
    if let Some((webhook, lane, message)) = without_lane.first() {
        let seen = format!(
            "{} owe messages and have no row, so no worker finds them{part}: webhook {webhook}, lane {lane}, message {message}",
            count(without_lane.len(), ITEMS_MAX, "lane")
        );
        let text = "Somebody has deleted rows, or copied them in part. Make the rows of all that were found.";
        let keys: Vec<_> =
            without_lane.iter().map(|(webhook, lane, _)| format!("({webhook}, {lane})")).collect();
        let sql = format!(
            "INSERT INTO {schema}.lanes (webhook_id, lane, stripe, partition_key, due_at, position) SELECT DISTINCT ON \
             (d.webhook_id, d.lane) d.webhook_id, d.lane, s.stripe, m.partition_key, now(), d.message_id - 1 FROM \
             {schema}.deliveries d JOIN {schema}.messages m ON m.id = d.message_id CROSS JOIN LATERAL \
             {schema}.lane_stripe(d.webhook_id, d.lane) s WHERE (d.webhook_id, d.lane) IN ({}) ORDER BY d.webhook_id, d.lane, \
             d.message_id ON CONFLICT DO NOTHING",
            keys.join(", ")
        );
        let items = without_lane.iter().map(|(webhook, lane, message)| {
            Item::new(format!("webhook {webhook}, lane {lane}, first message {message}"))
        });
        return Finding::bad(check, Status::Fail, seen, Remedy::new(text).sql(sql)).listing(items);
    }
    if let Some((webhook, lane)) = without_delivery.first() {
        let seen = format!(
            "{} of lanes owe nothing and stay{part}: webhook {webhook}, lane {lane}",
            count(without_delivery.len(), ITEMS_MAX, "row")
        );
        let text = "They do no harm, but count as halted or waiting. Make them ready: a worker removes them.";
        let keys: Vec<_> =
            without_delivery.iter().map(|(webhook, lane)| format!("({webhook}, {lane})")).collect();
        let sql = format!(
            "UPDATE {schema}.lanes SET due_at = now(), halted = false, wait_seconds = NULL WHERE claimed_by IS NULL AND \
             (webhook_id, lane) IN ({})",
            keys.join(", ")
        );
        return Finding::bad(check, Status::Warn, seen, Remedy::new(text).sql(sql));
    }
    let seen = if *capped { "of the rows that were looked at" } else { "" };
    Finding::ok(check, format!("every delivery has its lane, and every lane its delivery {seen}").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn lane(seconds: i64) -> LaneSeen {
        LaneSeen {
            webhook: "orders:billing".to_owned(),
            partition_key: "-it's".to_owned(),
            message_id: Some(7),
            unordered: false,
            failures: 3,
            last_error: Some("status 500".to_owned()),
            since: Some(NOW - SignedDuration::from_secs(seconds)),
        }
    }

    fn command(finding: Finding) -> String {
        finding.remedy.unwrap().command.unwrap()
    }

    #[test]
    fn a_halted_lane_is_named_with_what_releases_it() {
        assert_eq!(judge_halted_lanes(&[], 9).status, Status::Ok);
        let finding = judge_halted_lanes(&[lane(0)], 9);
        assert!(
            finding.status == Status::Fail && finding.seen.starts_with("1 lane halted"),
            "{}",
            finding.seen
        );
        assert_eq!(command(finding), r"pgtopic lanes retry orders:billing --partition-key='-it'\''s'");
        let unordered = judge_halted_lanes(&[LaneSeen { unordered: true, ..lane(0) }], 9);
        assert_eq!(command(unordered), "pgtopic lanes retry orders:billing --message-id 7");
    }

    #[test]
    fn a_lane_may_fail_for_an_hour_and_be_ready_for_five_minutes() {
        let judge = |failing: &[LaneSeen], ready: &[LaneSeen]| judge_waiting_lanes(NOW, failing, ready, 9);
        assert_eq!(judge(&[lane(3600)], &[lane(300)]).status, Status::Ok);
        let failing = judge(&[lane(3601)], &[lane(301)]);
        assert_eq!(failing.status, Status::Warn);
        assert!(command(failing).starts_with("pgtopic lanes retry"));
        assert_eq!(command(judge(&[], &[lane(301)])), "pgtopic why 7");
    }

    #[test]
    fn a_delivery_without_a_lane_is_worse_than_a_lane_without_a_delivery() {
        let judge = |facts: &LaneRowsFacts| judge_lane_rows(facts).status;
        assert_eq!(judge(&LaneRowsFacts::default()), Status::Ok);
        let idle = LaneRowsFacts { without_delivery: vec![(1, 2)], ..LaneRowsFacts::default() };
        assert_eq!(judge(&idle), Status::Warn);
        assert_eq!(judge(&LaneRowsFacts { without_lane: vec![(1, 2, 3)], ..idle }), Status::Fail);
    }
}
