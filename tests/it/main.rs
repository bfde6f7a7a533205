//! Integration tests: one binary, against the PostgreSQL that `PGTOPIC_TEST_URL` names.

mod api;
mod support;
