//! `is_held`, and `sql/webhooks/hold.sql`.

use crate::{
    postgres::{error::Result, notify::Notification, session::Session, tables::Webhook},
    schedule::{Micros, SECOND},
};

/// The longest hold.
const HOLD_MAX: Micros = 60 * SECOND;

/// How much longer a webhook is held; nothing if it is not.
pub(crate) fn held_for(webhook: &Webhook, now: Micros) -> Option<Micros> {
    let left = webhook.hold_until? - now;
    (1..=HOLD_MAX).contains(&left).then_some(left)
}

/// A receiver has asked for nothing to be sent for a while.
pub(crate) async fn hold_webhook(session: &Session, webhook: i64, hold: Micros) -> Result<()> {
    let statement = session.statement().await?;
    let now = session.statement_at();
    let until = now + hold.min(HOLD_MAX);
    if let Some(place) = statement.read(|view| view.find::<Webhook>(&webhook).map(|(place, _)| place)) {
        let longer = |row: &Webhook| held_for(row, now).is_none_or(|left| now + left < until);
        let change = |row: &Webhook| longer(row).then(|| Webhook { hold_until: Some(until), ..row.clone() });
        statement.update(place, change).await?;
    }
    session.notify(Notification::Webhooks)
}
