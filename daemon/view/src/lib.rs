//! What the views of a station show, made once for all of them from its snapshot: `watch`, `top`, the web pages.
//!
//! - Owns the tiles of the rack in their order, who needs hands next, what the last jobs of a bay tell about it, and from
//!   when on data is too old to be shown.
//! - May touch nothing: a snapshot in, values that borrow from it out. Times are arguments.
//! - May never compute a verdict: words and colours follow the station's. What codes mean stands in [`model::meaning`].

#![forbid(unsafe_code)]

#[cfg(test)]
mod fixture;
pub mod history;
pub mod lamp;
pub mod rack;
pub mod scanned;
pub mod tile;
