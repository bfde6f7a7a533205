//! Where requests may go: which URLs a webhook may have, and which addresses a request may go to.
//!
//! The guard checks the address itself, after name resolution. So a name cannot lead to another
//! address between the check and the connection.

mod address;
mod places;
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
