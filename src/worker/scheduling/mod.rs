//! Who may send next, and how much to claim: pure decisions.
//!
//! | file | what it is about |
//! |---|---|
//! | `concurrency_limit` | how many slots each webhook may use |
//! | `fair_queue` | which webhook and which lane gets the next slot (round robin) |
//! | `trial` | when webhooks are tried that do not answer, or were never tried |
//! | `holds` | which receivers have asked for nothing to be sent |
//! | `breaker` | when a webhook counts as down, and when a worker does |
//! | `claim_budget` | how many lanes to claim of each webhook |
//! | `memory_budget` | how many bytes each webhook may hold |
//! | `read_share` | which lanes one read holds, and how many messages of each |
//! | `rate_limit` | when the next request of a webhook may start |
//! | `moving_average` | how long statements and bursts take lately |

pub(super) mod breaker;
pub(super) mod claim_budget;
pub(super) mod concurrency_limit;
pub(super) mod fair_queue;
pub(super) mod holds;
pub(super) mod memory_budget;
pub(super) mod moving_average;
pub(super) mod rate_limit;
pub(super) mod read_share;
pub(super) mod trial;
