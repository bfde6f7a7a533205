//! Delivery: what a receiver gets, and what its answers do.
//!
//! | file | what it tests |
//! |---|---|
//! | `batches` | several messages in one request: how they are sent again after a failure |
//! | `connections` | kept connections that the receiver has closed, certificates of authorities |
//! | `flow` | the whole way from publishing to arrival |
//! | `headers` | SQL and the API refuse the same headers |
//! | `outages` | what the log says of a receiver that fails |
//! | `receiving` | the code of `docs/receiving.md` |
//! | `retries` | failures, the delays after them, and dead letters |
//! | `unusable_webhooks` | webhooks that no request can be made for |
//! | `webhooks` | the settings of webhooks; no webhook holds up another |

mod batches;
mod connections;
mod flow;
mod headers;
mod outages;
mod receiving;
mod retries;
mod unusable_webhooks;
mod webhooks;
