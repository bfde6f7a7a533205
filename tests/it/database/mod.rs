//! Databases as they are found: how they are reached, what is set in them, who may do what.
//!
//! | file | what holds |
//! |---|---|
//! | `copies` | copies of a database, and whether anything is sent |
//! | `environment` | `PG*` variables, the password file, passwords that never show |
//! | `locks` | advisory locks that strangers hold |
//! | `read_only` | servers that take no writes for a while |
//! | `replicas` | rows that arrive where triggers are switched off |
//! | `settings` | settings of roles and databases that would hinder |
//! | `strange_schemas` | schemas that were renamed, edited, or are somebody else's |
//! | `tls` | TLS with real certificates, for each `sslmode` |

mod copies;
mod environment;
mod locks;
mod read_only;
mod replicas;
mod settings;
mod strange_schemas;
mod tls;
