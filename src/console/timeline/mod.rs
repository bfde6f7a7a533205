//! The timeline of a lane: what happened to its messages, as a drawing and as a table. Everything
//! here is pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `drawing` | the drawing, as SVG |
//! | `events` | the same as a table |
//! | `facts` | what is shown, and in which words |
//! | `scale` | where a time is, from left to right |
//!
//! At most `ROWS_MAX` messages are shown: the first that the lane owes, and the newest others.

mod drawing;
mod events;
mod facts;
mod scale;

pub(super) use self::{
    drawing::draw,
    events::{EventRow, events},
    facts::{ROWS_MAX, owed_shown},
};

#[cfg(test)]
mod tests;
