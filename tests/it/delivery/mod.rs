//! Delivery: what a receiver gets, and what its answers do.
//!
//! | file | what holds |
//! |---|---|
//! | `batches` | several messages in one request: repeated as they were, or one by one |
//! | `changes` | the audit log |
//! | `connections` | kept connections that the receiver has closed, names that do not resolve |
//! | `flow` | from publishing to arrival, as a user meets it |
//! | `headers` | headers that are refused, the same ones in SQL and over HTTP |
//! | `holds` | topics on hold |
//! | `outages` | what the log says of a receiver that is away |
//! | `receiving` | the code of `docs/receiving.md` |
//! | `replays` | requests that carry replays |
//! | `retries` | failures, the delays between them, and dead letters |
//! | `test_requests` | requests that only try a webhook |
//! | `types` | types of messages, and webhooks that ask for some |
//! | `unusable_webhooks` | a webhook that no request can be made for costs the others nothing |
//! | `webhooks` | what a webhook's settings change, and how webhooks keep out of each other's way |

mod batches;
mod changes;
mod connections;
mod flow;
mod headers;
mod holds;
mod outages;
mod receiving;
mod replays;
mod retries;
mod test_requests;
mod types;
mod unusable_webhooks;
mod webhooks;
