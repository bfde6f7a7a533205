//! What pgtopic does for its users and operators: one method a use case, one file a noun.
//!
//! The HTTP API and the command line call these methods and nothing below them, so that a webhook
//! that is created by either means the same. A method checks what it is given, asks the store, and
//! gives types of [`crate::domain`] or a [`BrokerError`] that says, in words for whoever asked,
//! what is wrong. Nothing here knows HTTP or SQL.
//!
//! | file | use cases |
//! |---|---|
//! | `topics` | create, list, read, change, delete |
//! | `messages` | publish one or a batch, list, read |
//! | `webhooks` | create, list, read, change, pause, resume, delete |
//! | `deliveries` | list, read, list attempts |
//! | `dead_letters` | list, count, read |
//! | `ready` | whether the database answers and its schema fits |

mod dead_letters;
mod deliveries;
mod error;
mod messages;
mod ready;
mod topics;
mod webhooks;

use std::sync::Arc;

use ipnet::IpNet;

pub use self::{
    error::{BrokerError, Conflict},
    webhooks::CreatedWebhook,
};
use crate::{delivery::AddressGuard, store::Store};

/// The use cases, on one database; cheap to clone.
#[derive(Clone)]
pub struct Broker {
    store: Store,
    /// Which URLs a webhook may have.
    guard: Arc<AddressGuard>,
}

impl Broker {
    /// Webhooks may also reach `allow_networks`, whatever else the address guard refuses.
    pub fn new(store: Store, allow_networks: Vec<IpNet>) -> Self {
        Self { store, guard: Arc::new(AddressGuard::new(allow_networks)) }
    }
}
