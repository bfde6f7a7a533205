//! The session: the worker's own connection. It listens for notifications. Each answered round trip
//! over it proves that the worker's lock is held.
//!
//! | file | what it is about |
//! |---|---|
//! | `signals` | what the session, the watchers and the driver tell one another |
//! | `heartbeat` | round trips over the session |
//! | `liveness` | whether this worker may still send |
//! | `takeover` | taking over the lanes of other workers |
//! | `verdict` | whether another worker is dead or hung |
//! | `due_at_repair` | lanes that a step of the database's clock has made late |
//! | `reconnect_backoff`, `failing` | when a worker that lost its session opens the next one, and says so |

pub(super) mod due_at_repair;
pub(super) mod failing;
pub(super) mod heartbeat;
pub mod liveness;
pub(super) mod reconnect_backoff;
pub(super) mod signals;
pub(super) mod takeover;
pub mod verdict;
