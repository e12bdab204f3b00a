//! Prestaged media: files in the inbox are noticed, verified, and pressed into masters.
//!
//! - Owns the inbox's watch, intake, the press, the comparison with media, the binding to libwim, and the worker processes that all of this runs in.
//! - May touch the inbox and the one folder of the store that it is given to press into, and may run the formatting
//!   programs. What reads media runs under an account without rights.
//! - May never see a drive: it does not depend on the crate `drives`, and its workers' account cannot open one.
//!
//! `unsafe` stands in [`wim`] and [`lease`].

#![expect(
    clippy::disallowed_methods,
    reason = "writes into the folder that it presses in, and knows no drive"
)]

mod boot;
pub mod caseless;
pub mod check;
pub mod compare;
pub mod create;
pub mod describe;
pub mod inbox;
pub mod inheritance;
pub mod intake;
pub mod lease;
pub mod press;
pub mod tools;
pub mod unchanged;
pub mod wim;
pub mod worker;
