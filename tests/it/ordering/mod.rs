//! Order: each partition reaches each webhook in it, whoever publishes and delivers meanwhile.
//!
//! | file | what holds |
//! |---|---|
//! | `concurrent` | many publishers, several workers, one lane in one hand |
//! | `model` | random operations, compared with a model so simple that it is right |
//! | `rules` | the rules that interleavings demand, each where it can be shown |

mod concurrent;
mod model;
mod rules;
