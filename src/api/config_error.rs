//! Why the API cannot start.

use std::net::SocketAddr;

/// Why the API cannot start with these settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiConfigError {
    /// A token cannot be used. The message says which one and shows nothing of it.
    #[error("api.tokens[{index}] {rule}")]
    Token {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// A token stands in the list twice, and the two entries cannot be taken together.
    #[error("api.tokens[{index}] is the same token as api.tokens[{earlier}], {rule}")]
    Repeated {
        /// Its second place in the list, from 0.
        index: usize,
        /// Its first place.
        earlier: usize,
        /// Why they cannot be taken together.
        rule: &'static str,
    },
    /// An allowed host is not a host name or an address.
    #[error(
        "api.allowed_hosts[{index}] must be a host name or an address without a scheme and a port, not {host:?}"
    )]
    Host {
        /// Its place in the list, from 0.
        index: usize,
        /// What is there.
        host: String,
    },
    /// There are no tokens, and the address is not a loopback one: anybody who reaches it could do
    /// anything.
    #[error(
        "api.bind {0} can be reached from other machines: give api.tokens, or bind to 127.0.0.1 or [::1]"
    )]
    OpenToAll(SocketAddr),
}
