//! Compares a master with the media that it was pressed from, in a worker of its own, before the master exists.
//!
//! Nothing of the press takes part: the worker gets the image open for reading, when nobody can write to it any more and
//! the station has hashed it. What is compared is the drive that the master would make ([`super::finished`]), so the
//! digests, the choice of bytes to write and the places of the fix-ups are tried along with the content.

mod esp;

use std::fs::File;
use std::io;

use formats::gpt::{self, TableError, Tables};
use model::api::audit::AuditReport as Report;
use model::boot::BootProgram;
use model::code::FailureCode;
use model::failure::Failure;
use model::identity::Identity;
use model::layout::{Boot, Role};
use model::manifest::Manifest;
use model::media::MediaFile;
use model::ranges::Range;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::finished::Finished;
use crate::compare::{Source, VolumeError, compare, expected};
use crate::unchanged::{MediaChanged, check_unchanged};
use crate::wim::WimError;
use crate::worker::domain::Reach;
use crate::worker::protocol::Reporter;
use crate::worker::{Given, Work};

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
    #[error("the {role} volume of the pressed image cannot be read")]
    Volume {
        role: Role,
        #[source]
        source: VolumeError,
    },
}

impl Work for CheckTask {
    const NAME: &'static str = "check";
    type Output = Checked;

    fn reach(&self) -> Reach {
        Reach::to_read(self.files.iter().map(|file| file.path.as_path()))
    }

    fn perform(self, given: Given) -> Result<Checked, Failure> {
        check(&self, given).map_err(|error| match &error {
            CheckError::Changed(changed) => {
                Failure::of(FailureCode::MediaChanged, &error).with_hint_of(changed)
            }
            CheckError::Wim(wim) => Failure::of(FailureCode::PressFailed, &error).with_hint_of(wim),
            _ => Failure::of(FailureCode::PressFailed, &error),
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
    let mut boot_programs = Vec::new();
    for partition in &plan.partitions {
        let role = partition.role;
        let range = partition.range(plan.geometry.sector);
        let open = || Box::new(drive.part(range)) as Box<dyn Source>;
        let volume = |source| CheckError::Volume { role, source };
        match role {
            Role::Msr => zeros(&drive, range, &mut report)?,
            Role::Esp if manifest.recipe.layout.boot == Boot::Prestaged => {
                let places = plan.places(&identity);
                boot_programs = esp::compare(drive.part(range), &media, places, &mut report);
            }
            Role::Esp => {
                esp::compare(drive.part(range), &[], None, &mut report);
            }
            Role::Windows => {
                let reporter = Mutex::new(Reporter::default());
                let progress = |part| reporter.lock().report("comparing", part);
                compare(&media, &open, &mut report, &progress).map_err(volume)?;
            }
            Role::Recovery => {
                let mut own = Report::default();
                compare(&[], &open, &mut own, &|_| ()).map_err(volume)?;
                for difference in own.differences.iter().filter(|found| found.path != "/") {
                    report.differs(&difference.path, format!("{role}: {}", difference.what));
                }
            }
        }
    }
    task.files.iter().try_for_each(check_unchanged)?;
    Ok(Checked { report, boot_programs })
}

/// Tells where a range that must be empty is not.
fn zeros(drive: &Finished, range: Range, report: &mut Report) -> io::Result<()> {
    let mut data = vec![0; range.length().as_usize()];
    drive.read_exact_at(&mut data, range.start)?;
    if let Some(at) = data.iter().position(|byte| *byte != 0) {
        report.differs("the MSR partition", format!("is not empty at byte {at}"));
    }
    Ok(())
}
