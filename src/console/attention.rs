//! What is wrong, most urgent first, and what helps. Everything here is pure.

use axum::http::Method;
use jiff::Timestamp;

use super::{
    actions::{Advice, Lines},
    lanes::retry_lines,
    text::{self, Badge},
    topics,
    visitor::ApiAddress,
    webhook,
};
use crate::{
    api::schema::Remedy,
    domain::{
        dead_letter::DeadLetter,
        health::HealthState,
        job::Job,
        lane::LaneState,
        sending::NotSending,
        topic::{Topic, TopicPause},
        webhook::Webhook,
        why,
        worker::{Worker, WorkerState},
    },
};

/// The most things that are shown.
const SHOWN: usize = 50;
/// Dead letters grow if one is not older than this, in seconds.
const GROWING_FOR: i64 = 600;

/// What is looked at.
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    pub(super) api: &'a ApiAddress,
    pub(super) not_sending: Option<NotSending>,
    /// `None` if the visitor may not see them.
    pub(super) workers: Option<&'a [Worker]>,
    pub(super) topics: &'a [Topic],
    pub(super) webhooks: &'a [Webhook],
    /// The newest dead letters.
    pub(super) dead_letters: &'a [DeadLetter],
    pub(super) failed_jobs: &'a [Job],
}

/// How soon something must be looked at. The first is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    NothingIsSent,
    PublishersFail,
    WorkerTrouble,
    WebhookDown,
    WebhookFailing,
    DeadLettersGrow,
    Halted,
    DeadLetters,
    Waiting,
    Notice,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    urgency: Urgency,
    owed: i64,
    pub(super) badge: Badge,
    pub(super) title: String,
    pub(super) href: String,
    pub(super) text: String,
    pub(super) since: Option<String>,
    pub(super) advice: Option<Advice>,
}

/// What is wrong, most urgent first, and how many things were left out. Among equals, what is owed
/// most comes first.
pub(super) fn judge(facts: &Facts<'_>) -> (Vec<Item>, usize) {
    let mut items = Vec::new();
    items.extend(facts.not_sending.map(|reason| nothing_is_sent(facts, reason)));
    items.extend(facts.workers.and_then(|workers| no_worker(facts, workers)));
    items.extend(facts.workers.unwrap_or_default().iter().filter_map(worker_trouble));
    items.extend(facts.topics.iter().filter_map(|topic| topic_paused(facts, topic)));
    items.extend(facts.webhooks.iter().flat_map(|webhook| of_webhook(facts, webhook)));
    items.extend(facts.failed_jobs.iter().map(|job| failed_job(facts, job)));
    items.sort_by_key(|item| (item.urgency, -item.owed));
    let left_out = items.len().saturating_sub(SHOWN);
    items.truncate(SHOWN);
    (items, left_out)
}

fn remedy(facts: &Facts<'_>, remedy: why::Remedy) -> Advice {
    Advice::of(Remedy::from(remedy), facts.api)
}

fn nothing_is_sent(facts: &Facts<'_>, reason: NotSending) -> Item {
    let text = match reason {
        NotSending::SwitchedOff => "Sending was switched off. Nothing is sent to any webhook.",
        NotSending::Copy => "This database is a copy of another one. Nothing is sent from it.",
        NotSending::StartPaused => "worker.start_paused is set, and nobody has switched sending on.",
    };
    Item {
        urgency: Urgency::NothingIsSent,
        owed: 0,
        badge: Badge::bad("not sending"),
        title: "Nothing is sent".to_owned(),
        href: "workers".to_owned(),
        text: text.to_owned(),
        since: None,
        advice: Some(remedy(facts, why::Remedy::SwitchSendingOn)),
    }
}

fn no_worker(facts: &Facts<'_>, workers: &[Worker]) -> Option<Item> {
    let lives = workers.iter().any(|worker| worker.state == WorkerState::Live);
    (!lives && !facts.webhooks.is_empty()).then(|| Item {
        urgency: Urgency::NothingIsSent,
        owed: 0,
        badge: Badge::bad("no worker"),
        title: "No worker lives".to_owned(),
        href: "workers".to_owned(),
        text: "Messages are accepted and owed. Nothing is sent, and no job runs, until a worker starts."
            .to_owned(),
        since: None,
        advice: Some(remedy(facts, why::Remedy::StartWorker)),
    })
}

fn worker_trouble(worker: &Worker) -> Option<Item> {
    let trouble = worker.trouble.as_deref()?;
    Some(Item {
        urgency: Urgency::WorkerTrouble,
        owed: 0,
        badge: Badge::bad("trouble"),
        title: format!("Worker {}", text::line(&worker.name)),
        href: "workers".to_owned(),
        text: text::line(trouble),
        // Nobody has kept since when.
        since: None,
        advice: None,
    })
}

fn topic_paused(facts: &Facts<'_>, topic: &Topic) -> Option<Item> {
    let (urgency, said) = match topic.paused? {
        TopicPause::Refuse => (Urgency::PublishersFail, "It refuses new messages: publishers get an error."),
        TopicPause::Hold => {
            (Urgency::Waiting, "Messages are accepted and owed. Nothing of the topic is sent.")
        }
    };
    Some(Item {
        urgency,
        owed: 0,
        badge: topics::badge(topic.paused),
        title: format!("Topic {}", topic.name),
        href: format!("topics/{}", topic.name),
        text: said.to_owned(),
        since: None,
        advice: Some(remedy(facts, why::Remedy::ResumeTopic(topic.name.clone()))),
    })
}

/// What is wrong with a webhook: its state, its halted lanes, its dead letters.
fn of_webhook(facts: &Facts<'_>, webhook: &Webhook) -> Vec<Item> {
    let health = &webhook.health;
    let backlog = health.backlog.unwrap_or_default();
    let owed = health.backlog.map_or_else(
        || "What is owed was not counted yet.".to_owned(),
        |backlog| format!("{} owed.", text::count(backlog.owed, backlog.owed_capped)),
    );
    let item = |urgency, badge, said: String, advice| Item {
        urgency,
        owed: backlog.owed,
        badge,
        title: format!("{}:{}", webhook.topic, webhook.name),
        href: format!("webhooks/{}", webhook.id),
        text: said,
        since: health.since.map(|since| text::age(facts.now, since)),
        advice,
    };
    let because =
        health.reason.as_deref().map(|reason| format!(": {}", text::line(reason))).unwrap_or_default();
    let badge = Badge::of_webhook(health.state);
    let state = match health.state {
        HealthState::Active | HealthState::Starting => None,
        HealthState::Disabled => Some(item(
            Urgency::WebhookDown,
            badge,
            format!("Nothing is sent{because}. {owed}"),
            Some(remedy(facts, why::Remedy::EnableWebhook(webhook.id))),
        )),
        HealthState::Open => {
            let probe = health.breaker.next_probe_at.map(|at| text::until(facts.now, at));
            let probe = probe.map(|at| format!(" Next probe in {at}.")).unwrap_or_default();
            let said =
                format!("Its receiver is down{because}. Messages are kept until it answers. {owed}{probe}");
            Some(item(Urgency::WebhookDown, badge, said, Some(enable(facts, webhook.id))))
        }
        HealthState::Failing => Some(item(
            Urgency::WebhookFailing,
            badge,
            format!("Every request fails{because}. {owed}"),
            Some(pause(facts, webhook.id)),
        )),
        HealthState::Holding => Some(item(
            Urgency::Notice,
            badge,
            format!("Its receiver asked for a pause{because}. {owed}"),
            None,
        )),
        HealthState::Paused => Some(item(
            if health.backlog.is_some_and(|backlog| backlog.owed == 0) {
                Urgency::Notice
            } else {
                Urgency::Waiting
            },
            badge,
            format!("Nothing is sent{because}. {owed}"),
            Some(remedy(facts, why::Remedy::ResumeWebhook(webhook.id))),
        )),
    };
    let halted = (backlog.lanes.halted > 0).then(|| {
        let number = backlog.lanes.halted;
        let said = format!("{number} halted {}. Each waits for an operator.", text::plural(number, "lane"));
        let id = webhook.id;
        let lines = retry_lines(facts.api, id, LaneState::Halted);
        let advice = Advice { text: "Repair the receiver, then retry the lanes.", lines: Some(lines) };
        Item {
            href: format!("lanes?webhook={id}&state=halted"),
            since: None,
            ..item(Urgency::Halted, Badge::bad("halted"), said, Some(advice))
        }
    });
    let dead = (backlog.dead_letters > 0).then(|| {
        let number = text::count(backlog.dead_letters, backlog.dead_letters_capped);
        let newest = facts.dead_letters.iter().filter(|letter| letter.webhook_id == webhook.id);
        let newest = newest.map(|letter| letter.created_at).max();
        let growing = newest.filter(|at| facts.now.as_second() - at.as_second() < GROWING_FOR);
        let newest = growing.map(|at| format!(" The newest is {} old.", text::age(facts.now, at)));
        let said = format!(
            "{number} dead {}.{}",
            text::plural(backlog.dead_letters, "letter"),
            newest.unwrap_or_default()
        );
        let id = webhook.id;
        let lines = Lines::new(
            facts.api,
            &Method::POST,
            "/dead-letter/replay",
            Some(&serde_json::json!({"webhook_id": id})),
            format!("pgtopic dead-letter replay --webhook-id {id}"),
        );
        let advice = Advice { text: "Repair the receiver, then replay them.", lines: Some(lines) };
        Item {
            href: format!("dead-letters?webhook_id={id}"),
            since: None,
            ..match growing {
                Some(_) => item(Urgency::DeadLettersGrow, Badge::bad("dead letters"), said, Some(advice)),
                None => item(Urgency::DeadLetters, Badge::warn("dead letters"), said, Some(advice)),
            }
        }
    });
    [state, halted, dead].into_iter().flatten().collect()
}

/// A pause keeps attempts from being used up.
fn pause(facts: &Facts<'_>, id: i64) -> Advice {
    let lines = webhook::lines(facts.api, id, "pause");
    Advice { text: "Repair the receiver. To use up no attempts until then, pause it.", lines: Some(lines) }
}

/// Enabling a webhook closes its breaker.
fn enable(facts: &Facts<'_>, id: i64) -> Advice {
    let lines = webhook::lines(facts.api, id, "enable");
    Advice { text: "Repair the receiver. To send at once, close the breaker.", lines: Some(lines) }
}

fn failed_job(facts: &Facts<'_>, job: &Job) -> Item {
    Item {
        urgency: Urgency::Notice,
        owed: 0,
        badge: Badge::warn("failed"),
        title: format!("Job {}: {}", job.id, job.kind.as_str()),
        href: format!("jobs/{}", job.id),
        text: job.error.as_deref().map(text::line).unwrap_or_default(),
        since: job.finished_at.map(|at| text::age(facts.now, at)),
        advice: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{topic::Ordering, worker::WakeMode};

    fn worker(trouble: &str) -> Worker {
        Worker {
            id: uuid::Uuid::nil(),
            name: "host".to_owned(),
            version: "1".to_owned(),
            state: WorkerState::Live,
            leader: true,
            started_at: Timestamp::UNIX_EPOCH,
            heartbeat_at: Timestamp::UNIX_EPOCH,
            slots: 1,
            in_flight: 0,
            lanes: 0,
            wake_mode: WakeMode::Notify,
            topics: None,
            trouble: Some(trouble.to_owned()),
        }
    }

    fn paused(number: usize) -> Topic {
        Topic {
            id: 1,
            name: format!("topic-{number}"),
            ordering: Ordering::Partition,
            retention_seconds: None,
            paused: Some(if number == 0 { TopicPause::Hold } else { TopicPause::Refuse }),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let api = ApiAddress { base: "http://localhost".to_owned(), token: false };
        let workers = [worker("the disk is full")];
        let topics: Vec<Topic> = (0..SHOWN + 12).map(paused).collect();
        let facts = Facts {
            now: Timestamp::UNIX_EPOCH,
            api: &api,
            not_sending: None,
            workers: Some(&workers),
            topics: &topics,
            webhooks: &[],
            dead_letters: &[],
            failed_jobs: &[],
        };
        let (items, left_out) = judge(&facts);
        assert_eq!((items.len(), left_out), (SHOWN, 13));
        // The heartbeat does not say since when.
        let (items, left_out) = judge(&Facts { topics: &topics[..2], ..facts });
        let told: Vec<_> = items.iter().map(|item| (item.badge.tone, item.badge.word, &item.since)).collect();
        let expected =
            [("bad", "refuses messages", &None), ("bad", "trouble", &None), ("warn", "held", &None)];
        assert_eq!((told, left_out), (expected.to_vec(), 0));
    }
}
