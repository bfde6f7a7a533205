//! Background work: the leader, and what it does.
//!
//! | file | what holds |
//! |---|---|
//! | `samples` | what webhooks are owed and how they do; activity that grows old |
//! | `leader` | one worker leads; another takes the lead when it is gone; an old leader does nothing |

mod leader;
mod samples;
