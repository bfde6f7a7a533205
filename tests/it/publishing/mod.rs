//! Publishing: what a transaction that inserts messages may do, and what it costs others.
//!
//! | file | what holds |
//! |---|---|
//! | `filters` | what a filter may be, and what is not filtered |
//! | `forms` | every form of the function `publish` |
//! | `idempotency` | what ON CONFLICT leaves out, and what it lets in |
//! | `levels` | publishers at every isolation level |
//! | `long_transactions` | a transaction that stays open delays its own stripe alone |
//! | `notification_queue` | a full queue fails no publisher |
//! | `stripes` | the advisory locks of publishers, and triggers that run beside ours |
//! | `subscribed` | whom a message is owed to while webhooks come and go |
//! | `two_phase` | prepared transactions, and whether publishers notify |
//! | `ways` | every way to publish, and what is refused |

mod filters;
mod forms;
mod idempotency;
mod levels;
mod long_transactions;
mod notification_queue;
mod stripes;
mod subscribed;
mod two_phase;
mod ways;
