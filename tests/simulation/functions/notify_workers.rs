//! `notify_workers`: NOTIFY that a message was published.

use crate::postgres::{error::Result, notify::Notification, session::Session};

/// A transaction names its first ten messages.
const NAMED: usize = 10;

pub(super) fn notify_workers(session: &Session, message: i64, stripe: Option<i32>) -> Result<()> {
    let until = session.database().state().notify_until;
    if session.notified()? > NAMED || until <= session.clock() {
        return Ok(());
    }
    let sent = session.count_notification()?;
    session.notify(if sent < NAMED { Notification::Message(message, stripe) } else { Notification::More })
}
