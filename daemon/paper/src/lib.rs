//! What is printed about a drive: the certificate as a page, and labels.
//!
//! - Owns what stands on paper and where ([`certificate`]), the fonts that it takes ([`fonts`]), and labels for printers that
//!   speak ZPL ([`label`]).
//! - May touch the system's fonts, and nothing else: what is printed comes from the caller, and goes back to the caller.
//! - May never print a word of a certificate of which the signature was not checked, nor ask for the time.

#![forbid(unsafe_code)]

pub mod certificate;
mod facts;
#[cfg(test)]
mod fixture;
pub mod fonts;
pub mod label;
mod page;
mod pdf;
mod sheet;
#[cfg(test)]
mod tests;
mod text;
