//! A request as it would be sent now, for people.

use bytes::Bytes;

/// A request that is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRequest {
    /// Its method.
    pub method: String,
    /// The webhook's URL.
    pub url: String,
    /// Its headers. The values of the webhook's own headers are left out: they may be credentials.
    pub headers: Vec<(String, Option<String>)>,
    /// Its body.
    pub body: Bytes,
    /// Whether the webhook takes batches. Then other messages may be sent with this one.
    pub batch: bool,
}
