//! Order: each webhook gets each partition in order. Many may publish and deliver at the same time.
//!
//! | file | what it tests |
//! |---|---|
//! | `concurrent` | many publishers and several workers at once |
//! | `model` | random operations, compared with a very simple model |
//! | `operated` | replays, cancels, skips and retries beside workers |
//! | `operated_at_random` | the same at random, beside jobs, retention, pauses and workers that are killed |
//! | `rules` | the rules of the design about calls that overlap |

mod concurrent;
mod model;
mod operated;
mod operated_at_random;
mod rules;
