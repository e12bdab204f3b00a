//! prestaged.

pub mod admission;
pub mod api;
pub mod audit;
pub mod buffer;
pub mod cli;
pub mod config;
pub mod digest;
pub mod drive;
pub mod gpt_table;
pub mod hotplug;
pub mod identity;
pub mod job;
pub mod layout;
pub mod master;
pub mod media;
pub mod press;
pub mod record;
pub mod replicate;
pub mod service;
pub mod station;
pub mod sys;
pub mod target;
pub mod tools;
pub mod units;
pub mod wim;
pub mod worker;
