//! A piece of background work: something that is done again and again by the leader.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::store::{LeaderStore, StoreError};

/// How often a run that found nothing to do is noted, at most.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// What a run did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// How many rows it dealt with.
    pub(super) did: u64,
    /// The pause before the next run; `None`: the usual one.
    pub(super) again: Option<Duration>,
}

/// A piece of background work. It is made when its worker begins to lead, and dropped when the lead
/// is lost: what must outlast that is in the database.
pub(super) trait Piece: Send {
    /// Its name in `background_runs`.
    const NAME: &'static str;
    /// The pause between two runs.
    const EVERY: Duration;

    /// Does the work once.
    fn run(&mut self, steps: &LeaderStore) -> impl Future<Output = Result<Done, StoreError>> + Send;

    /// Resolves when the work is to be done sooner than usual.
    fn nudged(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Repeats a piece. Returns only when its worker does not lead any more. A run that fails is
/// repeated like any other.
pub(super) async fn repeat<P: Piece>(steps: LeaderStore, mut piece: P) {
    let mut failing = false;
    let mut noted: Option<Instant> = None;
    loop {
        let begun = Instant::now();
        let outcome = piece.run(&steps).await;
        let changed = match &outcome {
            Ok(done) => done.did > 0 || failing,
            Err(error) if error.is_not_leading() => return,
            Err(error) => {
                if !failing {
                    warn!(piece = P::NAME, %error, "background work failed; it is tried again");
                }
                !failing
            }
        };
        failing = outcome.is_err();
        if changed || noted.is_none_or(|noted| noted.elapsed() >= NOTE_EVERY) {
            noted = Some(Instant::now());
            let note = steps.note_run(P::NAME, begun.elapsed(), outcome.as_ref().map(|done| done.did)).await;
            if note.is_err_and(|error| error.is_not_leading()) {
                return;
            }
        }
        let pause = outcome.ok().and_then(|done| done.again).unwrap_or(P::EVERY);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = piece.nudged() => {}
        }
    }
}
