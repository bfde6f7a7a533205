//! When to look for work: wait for notifications, or poll. Pure decisions.
//!
//! | file | what it is about |
//! |---|---|
//! | `mode` | when to poll, and when to suppress notifications |
//! | `publish_rate` | how much is published, and whether publishers wait for one another |

pub(super) mod mode;
pub(super) mod publish_rate;
