//! Statements that are no functions of their own in the model.

use pgtopic::store::{DueWebhook, DueWebhooks, LaneNews};

use super::clock::timestamp;
use crate::{
    functions::is_held::held_for,
    postgres::{
        error::Result,
        notify::Notification,
        session::Session,
        tables::{Breaker, Lane, Message, Pause, Topic, Webhook, Worker},
        view::View,
    },
};

/// How many webhooks one `list_due_webhooks` looks at.
const DUE_WEBHOOKS: usize = 2;

/// `list_due_webhooks`.
pub(super) async fn due(session: &Session, after: Option<i64>, sweep: bool) -> Result<DueWebhooks> {
    let now = session.statement_at();
    let statement = session.statement().await?;
    Ok(statement.read(|view| {
        let lives = |id: u32| view.get::<Worker>(&id).is_some_and(|worker| !worker.gone);
        let mut earliest: Vec<(i64, i64)> = Vec::new();
        let first = (after.unwrap_or(i64::MIN).saturating_add(1), i64::MIN);
        for (_, lane) in view.range::<Lane>(first..) {
            if lane.claimed_by.is_some_and(|holder| !sweep || lives(holder)) {
                continue;
            }
            match earliest.last_mut() {
                Some((webhook, due_at)) if *webhook == lane.webhook => *due_at = lane.due_at.min(*due_at),
                _ => earliest.push((lane.webhook, lane.due_at)),
            }
        }
        let next = earliest.get(DUE_WEBHOOKS - 1).map(|(webhook, _)| *webhook);
        earliest.truncate(DUE_WEBHOOKS);
        let is_open = |id: &i64| view.get::<Breaker>(id).is_some_and(|breaker| breaker.open);
        let is_sent = |id: &i64| {
            let free = |webhook: &Webhook| sent(view, webhook) && held_for(webhook, now).is_none();
            !is_open(id) && view.get::<Webhook>(id).is_some_and(free)
        };
        let due = earliest.iter().filter(|(webhook, due_at)| *due_at <= now && is_sent(webhook));
        let due = due.map(|(webhook_id, at)| DueWebhook { webhook_id: *webhook_id, due_at: timestamp(*at) });
        DueWebhooks { webhooks: due.collect(), next }
    }))
}

pub(super) fn sent(view: &View<'_>, webhook: &Webhook) -> bool {
    let hold = view.get::<Topic>(&webhook.topic).is_none_or(|topic| topic.paused == Some(Pause::Hold));
    !webhook.starting && !webhook.paused && !webhook.disabled && !hold
}

/// `list_news`.
pub(super) async fn tail(session: &Session, after: Option<i64>, missing: &[i64]) -> Result<Vec<LaneNews>> {
    let statement = session.statement().await?;
    let after = statement.read(|view| {
        let newest = view.range::<Message>(..).next_back().map(|(_, message)| message.id - 1);
        after.or(newest).unwrap_or(0)
    });
    let news = |message: &Message| LaneNews { message_id: message.id, lane: message.lane, step: 1 };
    let mut found: Vec<LaneNews> =
        statement.read(|view| view.range::<Message>(after + 1..).map(|(_, message)| news(message)).collect());
    let statement = session.statement().await?;
    found.extend(
        statement.read(|view| {
            missing.iter().filter_map(|id| view.get::<Message>(id)).map(news).collect::<Vec<_>>()
        }),
    );
    Ok(found)
}

/// `sql/webhooks/disable.sql`, and `enable`.
pub(super) async fn disable(session: &Session, webhook: i64, disabled: bool) -> Result<()> {
    let statement = session.statement().await?;
    if let Some(place) = statement.read(|view| view.find::<Webhook>(&webhook).map(|(place, _)| place)) {
        let change = |row: &Webhook| (row.disabled != disabled).then(|| Webhook { disabled, ..row.clone() });
        statement.update(place, change).await?;
    }
    session.notify(Notification::Webhooks)
}
