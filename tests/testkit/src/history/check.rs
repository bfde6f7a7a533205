//! The check itself.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{Fate, Fault, History, Publication, Reply, Request, Verdict};

/// A webhook, a topic and a partition key.
type Lane<'a> = (&'a str, i64, &'a str);

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict {
        messages: history.publications.iter().filter(|one| one.fate == Fate::Committed).count(),
        requests: history.requests.len(),
        dead: history.dead.len(),
        aborted: history
            .requests
            .iter()
            .filter(|one| matches!(one.reply, Reply::Aborted | Reply::Hung))
            .count(),
        duplicates_bound: history.faults.iter().map(|fault| may_be_repeated(history, fault)).sum(),
        ..Verdict::default()
    };
    let published: HashMap<&str, &Publication> =
        history.publications.iter().map(|one| (one.mark.as_str(), one)).collect();
    assert_eq!(published.len(), history.publications.len(), "every message has a mark of its own");

    let mut requests: Vec<&Request> = history.requests.iter().collect();
    requests.sort_by_key(|request| request.started);
    let mut lanes: BTreeMap<Lane<'_>, Vec<&Request>> = BTreeMap::new();
    let mut by_delivery: HashMap<(&str, &str), Vec<&Request>> = HashMap::new();
    for request in requests {
        match published.get(request.mark.as_str()) {
            Some(message) => {
                if let Some(wrong) = phantom(message, request) {
                    verdict.phantoms.push(wrong);
                }
                lanes.entry((&request.webhook, message.topic, &request.key)).or_default().push(request);
                by_delivery.entry((&request.webhook, &request.mark)).or_default().push(request);
            }
            None => verdict.phantoms.push(format!("nobody published {request:?}")),
        }
    }

    for delivery in by_delivery.values() {
        let mut accepted = delivery.iter().filter(|request| request.accepted());
        let Some(first) = accepted.next() else { continue };
        verdict.accepted += 1;
        for repeated in accepted {
            verdict.duplicates += 1;
            *verdict.duplicates_by.entry(cause(history, first, repeated)).or_default() += 1;
        }
    }
    for (lane, requests) in &lanes {
        overlaps(history, lane, requests, &mut verdict.overlaps);
    }
    order_and_losses(history, &by_delivery, &mut verdict);
    verdict
}

/// What was in flight at a fault, and what was accepted while nothing was sure to be written down.
fn may_be_repeated(history: &History, fault: &Fault) -> usize {
    let unwritten = |request: &&Request| {
        request.accepted() && request.ended.is_some_and(|ended| fault.unwritten.contains(&ended))
    };
    fault.in_flight + history.requests.iter().filter(unwritten).count()
}

/// Why this request must not have been made.
fn phantom(message: &Publication, request: &Request) -> Option<String> {
    let wrong = if message.fate == Fate::RolledBack {
        "was rolled back"
    } else if !message.webhooks.contains(&request.webhook) {
        "is not owed to this webhook"
    } else if message.key != request.key {
        "is of another partition"
    } else if message.id.is_some_and(|id| id != request.position) {
        "has another id"
    } else {
        return None;
    };
    Some(format!("{} {wrong}: {request:?}", message.mark))
}

/// The probable reason why a message was accepted twice: of the faults before the second time, the
/// one nearest to the first time.
fn cause(history: &History, first: &Request, repeated: &Request) -> String {
    let before = history.faults.iter().filter(|fault| fault.at <= repeated.started);
    let nearest = before.min_by_key(|fault| fault.at.abs_diff(first.ended.unwrap_or(first.started)));
    nearest.map_or("no fault", |fault| &fault.kind).to_owned()
}

/// When a request was over for its sender, at the latest.
fn over(history: &History, request: &Request) -> Duration {
    let seen = request.ended.unwrap_or(Duration::MAX);
    let timed_out = request.started + history.timeout;
    match request.reply {
        Reply::Answered(_) | Reply::Broken => seen,
        // The receiver sees an abort only after it was made.
        Reply::Aborted => seen.saturating_sub(history.abort_seen_within).max(request.started).min(timed_out),
        Reply::Hung => timed_out,
    }
}

fn overlaps(history: &History, lane: &Lane<'_>, requests: &[&Request], found: &mut Vec<String>) {
    let mut last: Option<(&Request, Duration)> = None;
    for request in requests {
        if let Some((earlier, until)) = last
            && request.started < until
        {
            found.push(format!(
                "{lane:?}: {} (attempt {}, {:?}-{:?}, {:?}) and {} (attempt {}, from {:?}, {:?})",
                earlier.position,
                earlier.attempt,
                earlier.started,
                earlier.ended,
                earlier.reply,
                request.position,
                request.attempt,
                request.started,
                request.reply,
            ));
        }
        let until = over(history, request);
        if last.is_none_or(|(_, before)| until > before) {
            last = Some((request, until));
        }
    }
}

/// Goes through each lane in the order of the ids. What is committed must have left the lane before
/// a later message is first sent, and must leave it at the end.
fn order_and_losses(
    history: &History,
    by_delivery: &HashMap<(&str, &str), Vec<&Request>>,
    verdict: &mut Verdict,
) {
    let mut lanes: BTreeMap<Lane<'_>, Vec<(i64, &Publication)>> = BTreeMap::new();
    let mut ids = HashSet::new();
    for message in &history.publications {
        for webhook in &message.webhooks {
            let sent = by_delivery.get(&(webhook.as_str(), message.mark.as_str()));
            let id = match message.fate {
                Fate::Committed => message.id.expect("what is committed has an id"),
                // If it was sent, it was committed. If it was not sent, nobody can know.
                Fate::Unknown => match sent {
                    Some(requests) => requests[0].position,
                    None => continue,
                },
                Fate::RolledBack => continue,
            };
            if !ids.insert((webhook, id)) {
                verdict.order_violations.push(format!("id {id} was given twice, last to {}", message.mark));
            }
            lanes.entry((webhook, message.topic, &message.key)).or_default().push((id, message));
        }
    }
    for (lane, mut messages) in lanes {
        messages.sort_unstable_by_key(|(id, _)| *id);
        // The message that left last, of those so far.
        let mut behind: Option<(i64, Duration)> = None;
        for (id, message) in messages {
            let sent = by_delivery.get(&(lane.0, message.mark.as_str())).map_or(&[][..], Vec::as_slice);
            if let (Some(first), Some((earlier, left))) = (sent.first(), behind)
                && first.started < left
            {
                verdict.order_violations.push(format!(
                    "{lane:?}: {id} was first sent at {:?}, and {earlier} had not left before {}",
                    first.started,
                    if left == Duration::MAX { "the end".to_owned() } else { format!("{left:?}") },
                ));
            }
            let accepted = sent.iter().filter(|one| one.accepted()).filter_map(|one| one.ended).min();
            let dead = history.dead.contains(&(lane.0.to_owned(), message.mark.clone()));
            let left = match accepted {
                // It is a dead letter and was accepted: the answer was lost, and no later attempt
                // succeeded.
                Some(ended) => ended,
                // A dead letter leaves when its last request is over. It is not sent again.
                None if dead => sent.iter().map(|one| over(history, one)).max().unwrap_or_default(),
                None => {
                    verdict.losses.push(format!("{lane:?}: {id} ({}), requests: {sent:?}", message.mark));
                    Duration::MAX
                }
            };
            if behind.is_none_or(|(_, before)| left > before) {
                behind = Some((id, left));
            }
        }
    }
}
