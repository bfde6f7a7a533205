//! Failover: workers, connections, poolers and servers that die, stop or hang.
//!
//! | file | what it tests |
//! |---|---|
//! | `hangs` | statements that hang, and answers that never come |
//! | `pooler` | everything but LISTEN through PgBouncer |
//! | `release` | the lanes of workers that are gone |
//! | `replication` | a standby is promoted when its primary is lost |
//! | `restarts` | PostgreSQL stops, crashes and comes back |
//! | `workers` | workers die, stop or lose their connections while others go on |

mod hangs;
mod pooler;
mod release;
mod replication;
mod restarts;
mod workers;
