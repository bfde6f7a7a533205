//! Taking over the lanes of workers that are dead or hung ([`verdict`](super::verdict) has the rule).

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tracing::{debug, info};
use uuid::Uuid;

use super::{
    signals::Signals,
    verdict::{Seen, Verdict, is_newcomer, judge, pause},
};
use crate::{
    store::{Store, StoreError},
    telemetry::metrics::Metrics,
};

/// Watches the other workers; never returns.
pub(crate) async fn watch(store: Store, worker: Uuid, signals: Arc<Signals>, metrics: Metrics) {
    let mut seen = BTreeMap::new();
    loop {
        if let Err(error) = look(&store, worker, &signals, &metrics, &mut seen).await {
            // What was seen before stays true. A look that failed proves nothing. If the database
            // is gone, the session notices it.
            debug!(%error, "could not look at the other workers");
        }
        tokio::time::sleep(pause(&seen, Instant::now())).await;
    }
}

async fn look(
    store: &Store,
    worker: Uuid,
    signals: &Signals,
    metrics: &Metrics,
    seen: &mut BTreeMap<Uuid, Seen>,
) -> Result<(), StoreError> {
    let asked = Instant::now();
    let others = store.watch_workers(worker).await?;
    let answered = Instant::now();
    seen.retain(|id, _| others.iter().any(|other| other.id == *id));
    let newcomer = others.iter().any(|other| is_newcomer(seen, other)).then_some(answered);
    let live = others.iter().filter(|other| !other.gone).map(|other| other.id);
    signals.set_others(live.collect(), newcomer);
    let mut lost = Vec::new();
    for other in others {
        let reason = if other.gone {
            "it is gone"
        } else {
            match judge(seen, &other, asked, answered) {
                Verdict::Alive => continue,
                Verdict::Dead => "its session is gone",
                Verdict::Hung => "its heartbeat stands still",
            }
        };
        // All are marked before lanes are released: sweeps take lanes of a worker that is marked. So
        // none of them has to wait for the lanes of another one.
        let marked = !other.gone && store.mark_lost_worker(other.id, reason, worker).await?;
        if marked {
            metrics.took_over();
        }
        lost.push((other, reason, marked));
    }
    for (other, reason, marked) in lost {
        let (lanes, complete) = store.release_lanes(other.id).await?;
        if marked || lanes > 0 {
            info!(worker = %other.id, name = other.name, lanes, reason, "took over another worker's lanes");
            signals.wake();
        }
        if complete {
            seen.remove(&other.id);
        }
    }
    Ok(())
}
