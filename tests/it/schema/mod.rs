//! The schema: what `migrate` makes, and who may do what in it.
//!
//! | file | what holds |
//! |---|---|
//! | `cell` | ids that are unique over several installations |
//! | `limits` | bounds and words are the same in the database and in `domain` |
//! | `migrate` | functions, triggers, drift, and the schema that was kept (`v1.sql`) |
//! | `rights` | a worker whose role owns nothing |
//! | `search_path` | names that a stranger has planted are not taken for PostgreSQL's |

mod cell;
mod limits;
mod migrate;
mod rights;
mod search_path;
