//! Databases of users: how pgtopic reaches them, and what is unusual in them.
//!
//! | file | what it tests |
//! |---|---|
//! | `copies` | copies of a database, and whether anything is sent |
//! | `environment` | `PG*` variables, the password file, passwords that are never shown |
//! | `locks` | advisory locks of other programs |
//! | `read_only` | servers that take no writes for a while |
//! | `replicas` | rows that logical replication writes |
//! | `settings` | settings of roles and databases that pgtopic must not use |
//! | `strange_schemas` | schemas that were renamed or edited, or belong to another program |
//! | `tls` | TLS with real certificates, for each `sslmode` |

mod copies;
mod environment;
mod locks;
mod read_only;
mod replicas;
mod settings;
mod strange_schemas;
mod tls;
