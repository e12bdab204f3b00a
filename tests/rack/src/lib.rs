//! A rack on any developer's machine: a QEMU guest that boots Debian with systemd and takes hot-plugged NVMe, SCSI, SATA
//! and USB drives.
//!
//! - [`image`] builds the guest's system from Debian packages, once for each recipe;
//! - [`machine`] runs QEMU, from a cold start or from a saved state;
//! - [`guest`] runs commands in it, through Debian's QEMU guest agent;
//! - [`drive`] says what a drive is like and plugs it;
//! - [`session`] runs a command there on a terminal, while drives come and go;
//! - [`ready`] saves a machine with the package installed and media checked, so that a test starts in a second.
//!
//! QEMU's software emulation (TCG) is used in any case: where a machine has /dev/kvm and cannot really run a stock
//! kernel with it, there is no other way to find out than to try.

mod channel;
pub mod drive;
pub mod guest;
pub mod image;
pub mod machine;
pub mod programs;
pub mod ready;
pub mod session;

pub use drive::{Bus, Fault, Spec};
pub use guest::Guest;
pub use image::Image;
pub use machine::{Machine, Start};
pub use ready::{Cargo, Ready};
pub use session::Session;
