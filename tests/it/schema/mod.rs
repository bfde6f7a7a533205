//! The schema: what `migrate` makes, and who may do what in it.
//!
//! | file | what it tests |
//! |---|---|
//! | `cell` | ids that are unique across several installations |
//! | `limits` | limits and words are the same in the database and in `domain` |
//! | `migrate` | functions, triggers, drift, and the kept dump of version 1 (`v1.sql`) |
//! | `rights` | a worker whose role owns nothing |
//! | `search_path` | functions that an attacker has planted are never called |

mod cell;
mod limits;
mod migrate;
mod rights;
mod search_path;
