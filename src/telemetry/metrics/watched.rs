//! What is asked at each reading.

use crate::domain::metrics::{ConnectionUses, PoolConnections};

/// Gives the connections of a pool.
type Pool = Box<dyn Fn() -> PoolConnections + Send>;
/// Gives how often a client has used which connections.
type Client = Box<dyn Fn() -> ConnectionUses + Send>;

/// What is asked at each reading.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) pools: Vec<Pool>,
    pub(super) client: Option<Client>,
}
