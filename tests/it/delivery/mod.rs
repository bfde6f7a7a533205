//! Delivery: what a receiver gets, and what its answers do.
//!
//! | file | what holds |
//! |---|---|
//! | `batches` | several messages in one request: repeated as they were, or one by one |
//! | `flow` | from publishing to arrival, as a user meets it |
//! | `outages` | what the log says of a receiver that is away |
//! | `retries` | failures, the delays between them, and dead letters |
//! | `unusable_webhooks` | a webhook that no request can be made for costs the others nothing |
//! | `webhooks` | what a webhook's settings change, and how webhooks keep out of each other's way |

mod batches;
mod flow;
mod outages;
mod retries;
mod unusable_webhooks;
mod webhooks;
