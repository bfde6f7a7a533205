//! One HTTP request: body, headers, signature, address guard, client.
//!
//! What is promised:
//!
//! - The body for a `raw` webhook is the payload, byte for byte. The signature covers exactly the
//!   bytes that are sent.
//! - [`send`] always returns an [`AttemptResult`](crate::domain::attempt::AttemptResult) within the
//!   webhook's timeout, the answer's body included, whatever the receiver does. It never panics. It
//!   repeats a request only on a new connection, once, if the receiver has closed a kept one and no
//!   byte of an answer came.
//! - Only 2xx is success. Redirects are never followed, and no proxy is used.
//! - No connection is made to an address that [`AddressGuard`] refuses. The guard checks the
//!   address itself, after name resolution. So a name cannot lead to another address between the
//!   check and the connection.
//! - If the future of [`send`] is dropped, its connection is closed at once.
//! - No error text and no `Debug` output of this module shows a secret, the value of a header or
//!   the path of a URL.
//!
//! | folder or file | what it does |
//! |---|---|
//! | `guard` | which URLs a webhook may have, which addresses a request may go to |
//! | `request` | body, headers, signature; what all requests of a webhook share is made once |
//! | `http` | kept connections, TCP and TLS, one request and its answer |
//! | `send` | one attempt: from messages to an attempt's result |
//! | `preview` | a request as it would be sent, for people |
//! | `test_sender` | test requests, outside every lane |
//! | `classify` | what an answer or a missing answer means, and its description |

mod classify;
mod guard;
mod http;
mod preview;
mod request;
mod send;
mod test_sender;

#[cfg(test)]
mod class_tests;
#[cfg(test)]
mod connection_tests;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod test_tls;

pub use self::{
    guard::{AddressGuard, ForbiddenAddress, UrlError},
    http::{Client, ClientError, TlsSettingsError, check_ca_file, parse_retry_after},
    preview::preview,
    request::{HeaderError, PrepareError, PreparedTarget, SecretError, SigningKey, check_header},
    send::send,
    test_sender::TestSender,
};
