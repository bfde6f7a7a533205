//! A worker that does only what a test says.

use std::{collections::BTreeMap, time::Duration};

use pgtopic::domain::scope::TopicScope;
use pgtopic::store::{
    ClaimedLane, Doing, DueAfter, Heartbeat, Looked, Notice, ReadLimits, Room, Store, StoreError, Told, Want,
    WorkerInfo, WorkerSession,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Scene;

const LEASE: Duration = Duration::from_secs(20);

const LIMITS: ReadLimits = ReadLimits { messages_per_lane: 10, payload_bytes: 1 << 20 };

/// A registered worker with an open session.
pub struct Puppet {
    /// Its store.
    pub store: Store,
    /// Its incarnation.
    pub id: Uuid,
    session: WorkerSession,
    notices: mpsc::Receiver<Notice>,
}

impl Puppet {
    /// Registers one at a scene's database.
    pub async fn new(scene: &Scene) -> Self {
        Self::on(scene.store()).await
    }

    /// Registers one.
    pub async fn on(store: Store) -> Self {
        let id = Uuid::now_v7();
        let (name, settings) = ("puppet".to_owned(), BTreeMap::new());
        let info = WorkerInfo { id, name, capacity: 10, lease: LEASE, topics: None, settings };
        let (session, notices) = store.open_worker_session(&info).await.unwrap();
        let puppet = Self { store, id, session, notices };
        puppet.beat().await.unwrap();
        puppet
    }

    /// Sends a heartbeat.
    pub async fn beat(&self) -> Result<Heartbeat, StoreError> {
        self.session.heartbeat(&Doing::default(), Some(LEASE)).await
    }

    /// All notifications of transactions that have committed before. They arrive before the answer
    /// to a later statement.
    pub async fn heard(&mut self) -> Vec<Notice> {
        self.session.heartbeat(&Doing::default(), None).await.unwrap();
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }

    /// The same, if they are all of messages. Panics at any other notification.
    pub async fn told(&mut self) -> Vec<Told> {
        let told = |notice| match notice {
            Notice::Published(told) => told,
            other => panic!("{other:?}"),
        };
        self.heard().await.into_iter().map(told).collect()
    }

    /// Claims what is due, as a sweep does.
    pub async fn claim(&self, token: i64) -> Result<Vec<ClaimedLane>, StoreError> {
        let wants = [Want { webhook_id: 1, slots: 10, due_after: DueAfter::Beginning }];
        self.store.claim_lanes(self.id, token, &wants, true, LIMITS).await
    }

    /// Looks at messages of which it was notified, with this much room.
    pub async fn look(&self, token: i64, message_ids: &[i64], room: &Room) -> Looked {
        self.store.claim_messages(self.id, token, message_ids, room, LIMITS, &TopicScope::All).await.unwrap()
    }
}
