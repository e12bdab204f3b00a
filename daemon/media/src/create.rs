//! Makes media of its parts: an operating system image, a boot image, packages, and what the customer's site has made.
//! Runs in a worker, which prestagectl starts without any daemon.
//!
//! Everything that can fail does so before the first byte is written: sources are verified, names judged, room computed.
//! Then the image is exported, which copies what is compressed as it is, and everything else is added in one go. What was
//! written is compared with what was listed and goes through [`crate::intake`], and only then gets its name.

mod listing;
mod names;
mod plan;
mod room;
mod sources;
mod split;
mod tree;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use model::code::FailureCode as Code;
use model::composition::{Composition, Create, Created, CreatedPackage, Extent, Product, RESULT};
use model::failure::{Failure, chain};
use model::layout::Layout;
use model::media::{IntakeOutcome, Media};
use model::units::{ByteRate, Bytes};

use crate::intake::IntakeTask;
use crate::tools::Tools;
use crate::wim::{Draft, Flow, Phase, Progress, Start, Wim, WimError};
use crate::worker::domain::Reach;
use crate::worker::protocol::Reporter;
use crate::worker::{Given, Work};
use listing::Listing;
use plan::Plan;
use tree::Tree;

impl Work for Create {
    const NAME: &'static str = "create";
    type Output = Created;

    fn reach(&self) -> Reach {
        let Composition { os, boot, site, packages, files, about: _, bcd, compress: _ } =
            &self.parts;
        let wims = [Some(&os.wim), Some(&boot.wim), site.as_ref()];
        let mut reach = Reach::to_read(wims.into_iter().flatten().map(|path| path.as_path()));
        let others = [&boot.sdi, &boot.start, bcd].into_iter().filter_map(Option::as_ref);
        let others = others.chain(packages.iter().map(|package| &package.path));
        let others = others.chain(files.iter().map(|file| &file.from));
        reach.read.extend(others.filter_map(|path| std::fs::canonicalize(path).ok()));
        reach.write.push(self.folder.clone());
        reach.run = Tools::find(&self.search).map(|tools| tools.of_a_press()).unwrap_or_default();
        reach
    }

    fn perform(self, _: Given) -> Result<Created, Failure> {
        let tools = Tools::find(&self.search)
            .map_err(|error| Failure::of(Code::ToolMissing, &error).with_hint_of(&error))?;
        let mut plan = Plan::of(&self.parts, &self.folder)?;
        plan.verify()?;
        let needed = plan.check_room(&self.folder)?;
        let mut created = plan.described(&self.parts, needed);
        if self.extent == Extent::Check {
            return Ok(created);
        }
        plan.prepare(&self.parts, &self.folder)?;
        created = plan.described(&self.parts, needed);
        let target = self.folder.join(RESULT);
        let made = write(plan, &self.parts, &target).and_then(|written| {
            split::sync(&target)?;
            written.check(&target)?;
            admit(&target, tools)
        });
        let is_full = target_is_full(&self.folder);
        let media = made.map_err(|failure| match is_full {
            true => no_room(&self.folder, &failure),
            false => failure,
        })?;
        created.size_bytes = media.size_bytes;
        created.sha256 = Some(media.sha256);
        created.boot_image = media.boot_image;
        created.first_start = media.first_start;
        created.warnings = media.warnings;
        Ok(created)
    }
}

/// With less than this left, whatever failed did so for lack of room.
const NEARLY_FULL: u64 = 1 << 20;

fn target_is_full(folder: &Path) -> bool {
    room::free(folder).is_some_and(|free| free.0 < NEARLY_FULL)
}

fn no_room(folder: &Path, failure: &Failure) -> Failure {
    let detail =
        format!("{} is full: {}", folder.parent().unwrap_or(folder).display(), failure.detail);
    Failure::new(Code::NoRoom, detail)
}

/// libwim could not do something with the media.
fn failed(folder: &Path, error: &WimError) -> Failure {
    if error.is_full() {
        let failure = Failure::new(Code::CreateFailed, chain(error));
        return no_room(folder, &failure);
    }
    Failure::of(Code::CreateFailed, error).with_hint_of(error)
}

/// What must be in the media that was written.
struct Expected {
    before: Tree,
    listing: Listing,
    removed: Vec<String>,
}

/// Writes the media.
fn write(plan: Plan, parts: &Composition, target: &Path) -> Result<Expected, Failure> {
    let folder = target.parent().unwrap_or(target).to_owned();
    let failed = |error: WimError| failed(&folder, &error);
    let Plan { os, index, listing, before, removed, compression, .. } = plan;
    let report = Meter::new("writing").report();
    let mut draft = Draft::of(os.wim, index, compression, Start::Plain, report).map_err(failed)?;
    for path in &removed {
        draft.remove(path).map_err(failed)?;
    }
    // Folders that libwim makes by itself on the way to a place are missing from its counts.
    let empty = folder.join("empty");
    std::fs::create_dir_all(&empty).map_err(plan::scratch_failed(&folder))?;
    let mut implied: Vec<&str> = listing.places.implied().collect();
    implied.sort_unstable();
    for path in implied {
        if !draft.has(path) {
            draft.add(&empty, path).map_err(failed)?;
        }
    }
    for root in &listing.roots {
        draft.add(&root.from, &root.to).map_err(failed)?;
    }
    let about = &parts.about;
    let texts = [
        ("NAME", &about.name),
        ("DESCRIPTION", &about.description),
        ("PRESTAGED/VERSION", &about.version),
        ("PRESTAGED/COMMENT", &about.comment),
        ("PRESTAGED/CREATEDBY", &about.created_by),
    ];
    for (property, text) in texts {
        if let Some(text) = text {
            draft.set(property, text).map_err(failed)?;
        }
    }
    draft.write(target).map_err(failed)?;
    Ok(Expected { before, listing, removed })
}

impl Expected {
    fn check(&self, target: &Path) -> Result<(), Failure> {
        let mut wim = Wim::reopen(target, |_| Flow::Continue)
            .map_err(|error| Failure::of(Code::CreateFailed, &error))?;
        let tree =
            Tree::of(&mut wim, 1).map_err(|error| Failure::of(Code::CreateFailed, &error))?;
        let Some(what) = tree.differs(&self.before, &self.listing, &self.removed) else {
            return Ok(());
        };
        let code = if what.ends_with("listed") { Code::SourceChanged } else { Code::CreateFailed };
        Err(Failure::new(code, format!("in what was written, {what}")))
    }
}

/// What the station's intake makes of the media.
fn admit(target: &Path, tools: Tools) -> Result<Media, Failure> {
    let task = IntakeTask { path: target.to_owned(), image: 1, layout: Layout::default(), tools };
    let media = match task.perform(Given::default())? {
        IntakeOutcome::Media(media) => *media,
        IntakeOutcome::LaterPart => {
            return Err(Failure::new(Code::CreateFailed, "a part of a split set was written"));
        }
    };
    if media.problems.is_empty() {
        return Ok(media);
    }
    let all: Vec<String> = media.problems.iter().map(|problem| problem.sentence()).collect();
    let detail = format!("a station would refuse the media: {}", all.join("; "));
    let failure = Failure::new(Code::CreateFailed, detail);
    Err(match media.problems.into_iter().find_map(|problem| problem.hint) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    })
}

/// Reports a step with its rate.
struct Meter {
    step: &'static str,
    since: Instant,
    reporter: Reporter,
}

impl Meter {
    fn new(step: &'static str) -> Self {
        Self { step, since: Instant::now(), reporter: Reporter::default() }
    }

    /// As what libwim calls.
    fn report(mut self) -> impl FnMut(Progress) -> Flow + 'static {
        move |progress| {
            if matches!(progress.phase, Phase::Verify | Phase::Write | Phase::Split) {
                self.tell(Bytes(progress.done), Bytes(progress.total));
            }
            Flow::Continue
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
    fn tell(&mut self, done: Bytes, total: Bytes) {
        let elapsed = self.since.elapsed();
        let fraction = done.0 as f64 / total.0.max(1) as f64;
        // A rate over less is chance.
        if elapsed < Duration::from_secs(1) {
            return self.reporter.report(self.step, fraction);
        }
        let rate = ByteRate::mean(done, elapsed);
        self.reporter.report(&format!("{} {rate}", self.step), fraction);
    }
}

/// Runs both at once; the first error counts.
fn both<A>(
    beside: impl FnOnce() -> Result<(), Failure> + Send,
    here: impl FnOnce() -> Result<A, Failure>,
) -> Result<A, Failure> {
    thread::scope(|scope| {
        let beside = scope.spawn(beside);
        let here = here();
        let beside = beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let value = here?;
        beside?;
        Ok(value)
    })
}

impl Plan {
    /// What is known before anything is written.
    fn described(&self, parts: &Composition, needed_bytes: Bytes) -> Created {
        let packages = parts.packages.iter().map(|package| {
            let place = format!("\\{}\\", plan::package_place(&package.id).join("\\"));
            let own = || {
                self.listing.files().filter(|(item, _)| {
                    item.to.starts_with(&place) || item.to.len() + 1 == place.len()
                })
            };
            CreatedPackage {
                id: package.id.clone(),
                kind: package.kind,
                files: Bytes::of(own().count()).0,
                bytes: own().map(|(_, contents)| contents.size).sum(),
            }
        });
        Created {
            product: if parts.site.is_some() { Product::Recomposed } else { Product::StandAlone },
            size_bytes: Bytes(0),
            sha256: None,
            needed_bytes,
            added_files: Bytes::of(self.listing.files().count()).0,
            added_bytes: self.listing.size(),
            replaced: self.removed.clone(),
            packages: packages.collect(),
            boot_image: None,
            first_start: Vec::new(),
            warnings: Vec::new(),
            notes: self.notes.clone(),
        }
    }
}
