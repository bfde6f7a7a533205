//! Where requests may go: which URLs a webhook may have, and which addresses may be connected to.
//!
//! The guard sees the address itself, after name resolution, so a name cannot be pointed elsewhere
//! between the check and the connection.

mod address;
mod resolve;
mod url;

pub use self::{
    address::{AddressGuard, ForbiddenAddress},
    url::UrlError,
};
pub(in crate::delivery) use self::{
    resolve::Lookups,
    url::{bare_host, is_https, parse_url, uri_address},
};
