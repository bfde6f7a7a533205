//! Failover: workers, connections, poolers and servers that die, stop or hang.
//!
//! | file | what it tests |
//! |---|---|
//! | `hangs` | statements that hang, and answers that never come |
//! | `pooler` | everything but LISTEN through PgBouncer |
//! | `release` | the lanes of workers that are gone |
//! | `replication` | a standby is promoted when its primary is lost |
//! | `restarts` | PostgreSQL stops, crashes and comes back |
//! | `slow_connects` | a worker that is cut off while it connects to a receiver |
//! | `workers` | workers die, stop or lose their connections while others go on |

mod hangs;
mod pooler;
mod release;
mod replication;
mod restarts;
mod slow_connects;
mod workers;

use pgtopic::{config::DatabaseConfig, store::Store};
use pgtopic_testkit::{Scene, TestDatabase, TestProxy, Upstream};

/// A store whose connections all go through a proxy.
async fn all_behind_a_proxy(scene: &Scene) -> (TestProxy, Store) {
    let socket = TestDatabase::socket_dir().await.join(".s.PGSQL.5432");
    let proxy = TestProxy::start(Upstream::Unix(socket)).await;
    let name = scene.text("SELECT current_database()").await;
    let url = format!("postgresql://postgres@{}/{name}", proxy.address());
    let config = DatabaseConfig { url: Some(url.into()), listen_url: None, ..scene.database.config() };
    (proxy, Store::new(&config).unwrap())
}
