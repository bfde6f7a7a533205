//! The functions of the schema, changed for conformity.
