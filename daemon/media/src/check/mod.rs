//! Compares a master with the media that it was pressed from, in a worker of its own, before the master exists.
//!
//! Nothing of the press takes part: the worker gets the image open for reading, when nobody can write to it any more and
//! the station has hashed it. What is compared is the drive that the master would make ([`finished`]), so the digests, the
//! choice of bytes to write and the places of the fix-ups are tried along with the content. An audit compares a drive in
//! the same way ([`drive`]).

pub mod drive;
mod esp;
pub mod esp_map;
mod finished;

use std::fs::File;
use std::io;

use formats::gpt::{self, TableError, Tables};
use model::api::audit::AuditReport as Report;
use model::boot::BootProgram;
use model::code::FailureCode;
use model::failure::Failure;
use model::identity::Identity;
use model::layout::Boot;
use model::manifest::Manifest;
use model::media::MediaFile;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::compare::expected;
use crate::unchanged::{MediaChanged, check_unchanged};
use crate::wim::WimError;
use crate::worker::domain::Reach;
use crate::worker::protocol::Reporter;
use crate::worker::{Given, Work};
use drive::{CompareError, Part};
use finished::Finished;

/// The task of a worker that compares a master with its media. The image comes open with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckTask {
    /// The files of the media, first part first, as they were when they were verified.
    pub files: Vec<MediaFile>,
    /// The manifest of the master.
    pub manifest: Manifest,
}

/// What a comparison has found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checked {
    /// What was compared, and how it differs.
    pub report: Report,
    /// The programs on the ESP.
    pub boot_programs: Vec<BootProgram>,
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("the station has sent no image")]
    NoImage,
    #[error(transparent)]
    Changed(#[from] MediaChanged),
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error("cannot read the pressed image")]
    Read(#[from] io::Error),
    #[error("the pressed image has no sound partition tables")]
    Table(#[from] TableError),
    #[error("the pressed image cannot be compared")]
    Compare(#[from] CompareError),
}

impl Work for CheckTask {
    const NAME: &'static str = "check";
    type Output = Checked;

    fn reach(&self) -> Reach {
        Reach::to_read(self.files.iter().map(|file| file.path.as_path()))
    }

    fn perform(self, given: Given) -> Result<Checked, Failure> {
        let changed = || self.files.iter().try_for_each(check_unchanged).err();
        let checked = check(&self, given);
        // Media that is being overwritten fails in any way.
        checked.map_err(|error| changed().map_or(error, CheckError::from)).map_err(|error| {
            match &error {
                CheckError::Changed(changed) => {
                    Failure::of(FailureCode::MediaChanged, &error).with_hint_of(changed)
                }
                CheckError::Wim(wim) => {
                    Failure::of(FailureCode::PressFailed, &error).with_hint_of(wim)
                }
                _ => Failure::of(FailureCode::PressFailed, &error),
            }
        })
    }
}

fn check(task: &CheckTask, given: Given) -> Result<Checked, CheckError> {
    let CheckTask { files, manifest } = task;
    let plan = &manifest.plan;
    let image = given.files.into_iter().next().ok_or(CheckError::NoImage)?;
    files.iter().try_for_each(check_unchanged)?;
    let media = expected(files, manifest.recipe.image)?;
    let identity = Identity::random(plan.partitions.len());
    let drive = Finished::new(File::from(image), manifest, &identity)?;

    let mut tables = Tables { primary: Vec::new(), backup: Vec::new() };
    for (range, into) in
        [(plan.primary_range(), &mut tables.primary), (plan.backup_range(), &mut tables.backup)]
    {
        into.resize(range.length().as_usize(), 0);
        drive.read_exact_at(into, range.start)?;
    }
    gpt::check(plan, &identity, &tables)?;

    let mut report = Report { media: manifest.recipe.media_name.clone(), ..Report::default() };
    let sector = plan.geometry.sector;
    let parts: Vec<Part> =
        plan.partitions.iter().map(|p| Part { role: p.role, range: p.range(sector) }).collect();
    let boots = manifest.recipe.layout.boot == Boot::Prestaged;
    let places = plan.places(&identity).filter(|_| boots);
    let reporter = Mutex::new(Reporter::default());
    let progress = |part| reporter.lock().report("comparing", part);
    let boot_programs = drive::compare(&drive, &parts, places, &media, &mut report, &progress)?;
    task.files.iter().try_for_each(check_unchanged)?;
    Ok(Checked { report, boot_programs })
}
