//! Pressing: from a prestaged media file to a master.
//!
//! [`build`] runs in a child process and touches the store only. This file holds what both sides know.

pub mod build;
pub mod esp;

use std::path::PathBuf;

use model::manifest::Recipe;
use model::media::MediaFile;
use serde::{Deserialize, Serialize};

use crate::tools::Tools;

/// What a pressing worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct PressTask {
    /// The files of the media, first part first, as they were when they were verified.
    pub files: Vec<MediaFile>,
    /// What to press.
    pub recipe: Recipe,
    /// Programs.
    pub tools: Tools,
    /// Empty folder in the store to build in.
    pub staging: PathBuf,
}
