//! prestaged.

pub mod audit;
pub mod digest;
pub mod drive;
pub mod gpt_table;
pub mod identity;
pub mod layout;
pub mod master;
pub mod media;
pub mod press;
pub mod sys;
pub mod tools;
pub mod units;
pub mod wim;
pub mod worker;
