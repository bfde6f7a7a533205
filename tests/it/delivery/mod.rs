//! Delivery: what a receiver gets, and what its answers do.
//!
//! | file | what it tests |
//! |---|---|
//! | `ages` | messages that are too old for their webhook |
//! | `backlogs` | webhooks that are owed more than they may be, or that keep the latest message |
//! | `batches` | several messages in one request: how they are sent again after a failure |
//! | `breaker` | circuit breakers: what an outage costs |
//! | `changes` | the audit log |
//! | `connections` | kept connections that the receiver has closed, certificates of authorities |
//! | `flow` | the whole way from publishing to arrival |
//! | `headers` | SQL and the API refuse the same headers |
//! | `holds` | topics on hold |
//! | `outages` | what a worker says of receivers that fail |
//! | `policies` | permanent failures, and the waits of a schedule |
//! | `receiving` | the code of `docs/receiving.md` |
//! | `replays` | requests that carry replays |
//! | `retries` | failures, the delays after them, and dead letters |
//! | `retry_after` | receivers that ask for a longer wait, or for nothing to be sent |
//! | `test_requests` | requests that only try a webhook |
//! | `traces` | spans of what is published and sent, as a collector gets them |
//! | `types` | types of messages, and webhooks that ask for some |
//! | `unusable_webhooks` | webhooks that no request can be made for |
//! | `webhooks` | the settings of webhooks; no webhook holds up another |

mod ages;
mod backlogs;
mod batches;
mod breaker;
mod changes;
mod connections;
mod flow;
mod headers;
mod holds;
mod outages;
mod policies;
mod receiving;
mod replays;
mod retries;
mod retry_after;
mod test_requests;
mod traces;
mod types;
mod unusable_webhooks;
mod webhooks;
