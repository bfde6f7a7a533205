//! Pools of connections.

use std::sync::Arc;

use deadpool::{
    Runtime,
    managed::{self, Metrics, RecycleError, RecycleResult, Timeouts},
};
use deadpool_postgres::ClientWrapper;

use super::{
    connect::{self, Connector},
    error::{StoreError, chain},
    plan_discards::PlanDiscards,
};

/// How long to wait for a connection while all of the pool are in use.
const WAIT: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) type Pool = managed::Pool<Manager>;
pub(super) type Object = managed::Object<Manager>;

/// One connection of a pool.
pub(super) struct PoolConnection {
    /// It owns the task that polls the connection, and aborts it when it is dropped.
    pub(super) client: ClientWrapper,
    /// When its session discards its plans. Behind a pooler, it may have another session each time.
    pub(super) plans: PlanDiscards,
}

/// Makes the connections of one pool.
pub(super) struct Manager {
    connector: Connector,
    /// The SQL that sets a session up; `None` behind a pooler, which may give it to others next.
    setup: Option<Arc<str>>,
}

/// Makes a pool. It does not connect yet.
pub(super) fn new(connector: Connector, size: usize, setup: Option<Arc<str>>) -> Result<Pool, StoreError> {
    let timeouts = Timeouts { wait: Some(WAIT), create: None, recycle: Some(WAIT) };
    Pool::builder(Manager { connector, setup })
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .timeouts(timeouts)
        .build()
        .map_err(|error| StoreError::Connect(chain(&error)))
}

impl managed::Manager for Manager {
    type Type = PoolConnection;
    type Error = StoreError;

    async fn create(&self) -> Result<PoolConnection, StoreError> {
        // Boxed, because this future is large: otherwise it would make the futures of all callers
        // large.
        let (client, connection) = Box::pin(self.connector.connect_pooled()).await?;
        let client = ClientWrapper::new(client, connect::drive(connection));
        if let Some(setup) = &self.setup {
            connect::set_up(&client, setup).await?;
        }
        Ok(PoolConnection { client, plans: PlanDiscards::default() })
    }

    async fn recycle(&self, connection: &mut PoolConnection, _: &Metrics) -> RecycleResult<StoreError> {
        if connection.client.is_closed() { Err(RecycleError::message("it is closed")) } else { Ok(()) }
    }
}
