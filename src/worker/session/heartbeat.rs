//! Round trips over the session. Each one that is answered in time proves that the worker's lock is
//! held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    super::{
        error::WorkerError,
        tuning::{HEARTBEAT, WRITE_ROW},
        wakeup::publish_rate::{PublishRate, Publishing},
    },
    liveness::Liveness,
    signals::Signals,
};
use crate::{
    domain::sending::NotSending,
    store::{Heartbeat, WorkerSession},
};

/// How often the log says that nothing is sent.
const SAY_NOT_SENDING: Duration = Duration::from_mins(1);

/// At so few messages a second, publishers do not wait for one another, however long a flush takes.
const FEW: u32 = 20;

/// Keeps the session. Returns only when it is lost, and says why.
pub(crate) async fn keep(
    session: Arc<WorkerSession>,
    signals: Arc<Signals>,
    liveness: Arc<Liveness>,
    start_paused: bool,
) -> WorkerError {
    tokio::select! {
        error = beat(&session, &signals, &liveness, start_paused) => error,
        () = watch(&liveness) => WorkerError::Lost("the database did not answer in time"),
    }
}

async fn beat(
    session: &WorkerSession,
    signals: &Signals,
    liveness: &Liveness,
    start_paused: bool,
) -> WorkerError {
    let mut not_sending = SayNotSending::default();
    let mut row_written = Instant::now();
    let mut lease_written = Duration::ZERO;
    let mut rate = PublishRate::default();
    let mut webhooks_changed_at: Option<Timestamp> = None;
    loop {
        let asked = Instant::now();
        let lease = Some(signals.lease())
            .filter(|lease| *lease > lease_written || asked.duration_since(row_written) >= WRITE_ROW);
        match session.heartbeat(&signals.doing(), lease).await {
            Ok(Heartbeat { silent_for, given_ids, notifies, changed_at, switch }) => {
                liveness.answered(asked, lease);
                let why_not = switch.why_not(start_paused);
                signals.set_not_sending(why_not);
                not_sending.say(why_not, asked);
                if let Some(lease) = lease {
                    row_written = asked;
                    lease_written = lease;
                }
                if !silent_for.is_zero() {
                    signals.set_suppressed_until(Instant::now() + silent_for);
                }
                if signals.set_notifies(notifies) {
                    info!(notifies, "whether transactions that publish NOTIFY has changed");
                }
                // Any other value counts, not only a later one: the database may have been replaced
                // by another one.
                if changed_at.is_some() && changed_at != webhooks_changed_at {
                    signals.webhooks_changed();
                }
                webhooks_changed_at = changed_at;
                let per_second = rate.seen(asked, Instant::now(), given_ids);
                // Publishers that do not notify do not wait, and a few publishers slow nobody down.
                let waiting = if silent_for.is_zero() && per_second > FEW {
                    match session.count_waiting_publishers().await {
                        Ok(waiting) => waiting,
                        // The worker's role may not be allowed to see who waits.
                        Err(error) if error.is_refusal() => 0,
                        Err(error) => return WorkerError::Store(error),
                    }
                } else {
                    0
                };
                signals.set_publishing(Publishing { per_second, waits: rate.waiting(waiting) });
            }
            Err(error) => return WorkerError::Store(error),
        }
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = signals.lease_grew(lease_written) => {}
        }
    }
}

/// Says that nothing is sent, each minute.
#[derive(Default)]
struct SayNotSending(Option<Instant>);

impl SayNotSending {
    fn say(&mut self, why_not: Option<NotSending>, now: Instant) {
        match (why_not, self.0) {
            (Some(_), Some(said)) if now.duration_since(said) < SAY_NOT_SENDING => {}
            (Some(why_not), _) => {
                warn!("{}", why_not.text());
                self.0 = Some(now);
            }
            (None, Some(_)) => {
                info!("messages are sent again");
                self.0 = None;
            }
            (None, None) => {}
        }
    }
}

/// Returns when no round trip was answered in time.
async fn watch(liveness: &Liveness) {
    loop {
        let until = liveness.alive_until();
        if Instant::now() >= until {
            return;
        }
        tokio::time::sleep_until(until.into()).await;
    }
}
