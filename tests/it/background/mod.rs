//! Background work: the leader, and what it does.
//!
//! | file | what holds |
//! |---|---|
//! | `leader` | one worker leads; another takes the lead when it is gone; an old leader does nothing |

mod leader;
