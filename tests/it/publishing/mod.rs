//! Publishing: what a transaction that inserts messages may do, and what it costs others.
//!
//! | file | what it tests |
//! |---|---|
//! | `filters` | what a filter may be, and what is not filtered |
//! | `forms` | every form of the function `publish` |
//! | `idempotency` | idempotency keys in SQL, with ON CONFLICT |
//! | `levels` | publishers at every isolation level |
//! | `long_transactions` | an open transaction delays only its own stripe |
//! | `notification_queue` | publishing goes on while the notification queue is full |
//! | `stripes` | the advisory locks of publishers; triggers of others on `messages` |
//! | `subscribed` | which webhooks a message is owed to while webhooks come and go |
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
