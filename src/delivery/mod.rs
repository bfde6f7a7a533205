//! One HTTP request: body, headers, signature, address guard, client.
//!
//! What is promised:
//!
//! - The body of a `raw` webhook is the payload byte for byte, and the signature covers exactly the
//!   bytes sent.
//! - [`send`] always comes back with an [`AttemptResult`](crate::domain::attempt::AttemptResult):
//!   within the webhook's timeout, body included, whatever the receiver does. It never panics and
//!   never retries a request of which one byte may have left.
//! - Only 2xx is success. Redirects are never followed and no proxy is ever used.
//! - No connection is made to an address that [`AddressGuard`] refuses: the guard sees the address
//!   itself, after name resolution, so a name cannot be pointed elsewhere between the check and the
//!   connection.
//! - Dropping the future of [`send`] closes its connection at once.
//! - Secrets, header values and paths of URLs appear in no error text and in no `Debug` output of
//!   this module.
//!
//! | folder or file | what it does |
//! |---|---|
//! | `guard` | which URLs a webhook may have, which addresses may be reached |
//! | `request` | body, headers, signature: what of them is the same for every message of a webhook, and what is not |
//! | `http` | connections that are kept, TCP and TLS, one request and its answer |
//! | `send` | one attempt: from messages to an attempt's result |
//! | `classify` | what an answer means, or the lack of one, and how it is told |

mod classify;
mod guard;
mod http;
mod request;
mod send;

#[cfg(test)]
mod class_tests;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod test_tls;

pub use self::{
    guard::{AddressGuard, ForbiddenAddress, UrlError},
    http::{Client, ClientError, parse_retry_after},
    request::{HeaderError, PrepareError, PreparedTarget, SecretError, SigningKey, check_header},
    send::send,
};
