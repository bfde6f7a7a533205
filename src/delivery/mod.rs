//! One HTTP request: body, headers, signature, address guard, client.
//!
//! What is promised:
//!
//! - The body of a `raw` webhook is the payload byte for byte, and the signature covers exactly the bytes sent.
//! - [`send`] always comes back with an [`AttemptResult`](crate::domain::attempt::AttemptResult): within the webhook's
//!   timeout, body included, whatever the receiver does. It never panics and never retries a request of which one byte
//!   may have left.
//! - Only 2xx is success. Redirects are never followed and no proxy is ever used.
//! - No connection is made to an address that [`AddressGuard`] refuses: the guard sees the address itself, after name
//!   resolution, so a name cannot be pointed elsewhere between the check and the connection.
//! - Dropping the future of [`send`] closes its connection at once.
//! - Secrets, header values and paths of URLs appear in no error text and in no `Debug` output of this module.
//!
//! | file | what it does |
//! |---|---|
//! | `address` | which addresses may be reached |
//! | `url` | which URLs a webhook may have |
//! | `signature` | Standard Webhooks signatures |
//! | `headers` | the headers of a request, and which names are reserved |
//! | `traceparent` | the W3C trace context of a request |
//! | `body` | raw, envelope and `CloudEvents` bodies |
//! | `resolve` | addresses of names |
//! | `connect` | TCP and TLS, behind the guard |
//! | `pool` | connections kept alive between requests |
//! | `client` | one request and its answer, over a kept connection or a new one |
//! | `target` | what of a request is the same for every message of a webhook |
//! | `send` | one attempt: from messages to an attempt's result |
//! | `classify` | what an answer means, or the lack of one, and how it is told |
//! | `retry_after` | the `Retry-After` header |

mod address;
mod body;
mod classify;
mod client;
mod connect;
mod headers;
mod pool;
mod resolve;
mod retry_after;
mod send;
mod signature;
mod target;
mod traceparent;
mod url;

#[cfg(test)]
mod class_tests;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod test_tls;

pub use address::{AddressGuard, ForbiddenAddress};
pub use client::{Client, ClientError};
pub use headers::{HeaderError, check_header};
pub use retry_after::parse_retry_after;
pub use send::send;
pub use signature::{SecretError, SigningKey};
pub use target::{PrepareError, PreparedTarget};
pub use url::UrlError;
