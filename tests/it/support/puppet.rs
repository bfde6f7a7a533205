//! A worker that does only what a test says.

use std::time::Duration;

use pgtopic::store::{
    ClaimedLane, DueAfter, Handed, Notice, ReadLimits, Store, StoreError, Want, WorkerInfo, WorkerSession,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Scene;

const LEASE: Duration = Duration::from_secs(20);

/// A registered worker with an open session.
pub(crate) struct Puppet {
    pub(crate) store: Store,
    pub(crate) id: Uuid,
    session: WorkerSession,
    notices: mpsc::UnboundedReceiver<Notice>,
}

impl Puppet {
    pub(crate) async fn new(scene: &Scene) -> Self {
        let (store, id) = (scene.store(), Uuid::now_v7());
        let info = WorkerInfo { id, name: "puppet".to_owned(), capacity: 10, lease: LEASE };
        let (session, notices) = store.open_worker_session(&info).await.unwrap();
        Self { store, id, session, notices }
    }

    /// One to which lanes may be handed over.
    pub(crate) async fn accepting(scene: &Scene, in_flight: usize) -> Self {
        let puppet = Self::new(scene).await;
        puppet.beat(in_flight, true).await;
        puppet
    }

    pub(crate) async fn beat(&self, in_flight: usize, accepts: bool) {
        self.session.heartbeat(in_flight, Some(LEASE), accepts).await.unwrap();
    }

    /// All that was heard of what is committed by now: notifications arrive before the answer to a later question.
    pub(crate) async fn heard(&mut self) -> Vec<Notice> {
        self.session.heartbeat(0, None, true).await.unwrap();
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }

    /// The one message that was heard of.
    pub(crate) async fn handed(&mut self) -> Handed {
        match &self.heard().await[..] {
            [Notice::Handed(handed)] => handed.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Claims what is due, as a sweep does.
    pub(crate) async fn claim(
        &self,
        token: i64,
        handed: Option<&[i64]>,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let wants = [Want { webhook_id: 1, slots: 10, due_after: DueAfter::Beginning }];
        let limits = ReadLimits { messages_per_lane: 10, payload_bytes: 1 << 20 };
        self.store.claim_lanes(self.id, token, &wants, limits, handed).await
    }
}
