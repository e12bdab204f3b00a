//! Presses a master from prestaged media.
//!
//! [`build`] runs in a worker process and writes only into the store; [`crate::check`], in another one, compares what it
//! has made with the media. [`rehearsal`] tries at intake what a press will do. [`mod@derive`] makes
//! masters for larger drives of one that was pressed. This file holds the task of the first, which the station makes and the worker does.

pub mod build;
pub mod derive;
pub mod esp;
mod fat_names;
pub(crate) mod fits;
mod long_names;
pub(crate) mod rehearsal;

use std::path::PathBuf;

use model::manifest::Recipe;
use model::media::MediaFile;
use serde::{Deserialize, Serialize};

use crate::tools::Tools;

/// The task of a pressing worker.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PressTask {
    /// The files of the media, first part first, as they were when they were verified.
    pub files: Vec<MediaFile>,
    pub recipe: Recipe,
    pub tools: Tools,
    /// An empty folder in the store, into which the master is pressed.
    pub staging: PathBuf,
}
