//! Whatever goes wrong with a drive, its job never ends in "passed" unless every byte was right when it was last read.
//!
//! The drive is one in memory that misbehaves at random (`drives::memory`); the job is the real one. The test compares
//! what the drive gave last with the master's bytes, stamped, and knows nothing of how the job compares. `PROPTEST_CASES`
//! says how many drives are tried.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use drives::medium::{Foreign, Medium as _};
use drives::memory::{Fault, MemoryDrive};
use formats::gpt;
use masters::allocation;
use masters::store::Master;
use model::code::ReasonCode;
use model::digest::Digest;
use model::drive::Geometry;
use model::identity::{Fixup, Identity, Site, stamp};
use model::job::{Limits, Outcome, State, Stop, StopReason};
use model::layout::{Boot, Extent, Layout, Partition, Plan, Role};
use model::manifest::{Chunk, Manifest, Recipe, Stage, root};
use model::old_data::{OldDataFate, OldDataPolicy};
use model::ranges::{Range, RangeSet};
use model::units::{Bytes, SectorSize};
use model::verdict::Verdict;
use proptest::prelude::*;
use uuid::Uuid;

use crate::Replicator;
use crate::engine::JobContext;
use crate::job::{bytes_to_move, run_job};
use crate::progress::Progress;

/// The smallest drive that holds the smallest NTFS volume.
const SIZE: Bytes = Bytes::mib(18);
/// A job makes about so many requests of each kind; faults beyond the last one do not happen.
const REQUESTS: u64 = 60;

/// The bytes of the master's image: tables as rendered, boot sectors, and a body of data and zeros.
fn image(plan: &Plan, body: &RangeSet) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE.0).unwrap();
    let placeholder = Identity::placeholder(plan.partitions.len());
    let tables = gpt::render(plan, &placeholder).unwrap();
    file.write_all_at(&tables.primary, 0).unwrap();
    file.write_all_at(&tables.backup, plan.backup_range().start.0).unwrap();
    for (number, range) in (1_u8..).zip(body.ranges()) {
        // Every third range holds zeros, as free space inside a chunk does.
        if number % 3 != 0 {
            let data: Vec<u8> =
                (0..range.length().0).map(|at| at.to_le_bytes()[0] ^ number).collect();
            file.write_all_at(&data, range.start.0).unwrap();
        }
    }
    file
}

/// A master with everything that the engine treats differently: body and commit chunks, chunks that join, sites of every
/// kind in both stages, ranges of zeros. Masters of different media share nothing in memory.
fn master(sector: SectorSize, media: u8) -> Arc<Master> {
    let geometry = Geometry { size: SIZE, sector };
    let layout = Layout {
        name: "test".into(),
        boot: Boot::None,
        boot_manager: model::boot::BootManagerRule::Newest,
        partitions: vec![Partition::new(Role::Windows, Extent::Rest)],
    };
    let plan = layout.plan(geometry).unwrap();
    let windows = plan.partitions[0].range(sector);
    let kib = |start: u64, length: u64| {
        Range::at(windows.start + Bytes(start << 10), Bytes(length << 10))
    };
    let commit = allocation::commit(&plan);
    let body: RangeSet =
        [kib(4, 60), kib(128, 8), kib(512, 4), kib(1000, 96), kib(3000, 16), kib(9000, 4)]
            .into_iter()
            .collect();
    let file = image(&plan, &body);
    let site = |start: Bytes, length, fixup| Site { offset: start, length: Bytes(length), fixup };
    let mut sites = gpt::sites(&plan);
    sites.push(site(windows.start + Bytes(0x48), 8, Fixup::NtfsSerial(0)));
    sites.push(site(windows.start + Bytes((128 << 10) + 40), 16, Fixup::PartitionGuid(0)));
    let chunk = |range: Range, stage| {
        let mut data = vec![0; range.length().as_usize()];
        file.read_exact_at(&mut data, range.start.0).unwrap();
        Chunk { offset: range.start, length: range.length(), sha256: Digest::of(&data), stage }
    };
    let body = body.without(&commit);
    let body = body.pieces().map(|range| chunk(range, Stage::Body));
    let last = commit.ranges().iter().map(|range| chunk(*range, Stage::Commit));
    let mut chunks: Vec<Chunk> = body.chain(last).collect();
    chunks.sort_by_key(|chunk| chunk.offset);
    let media_sha256 = Digest([media; 32]);
    let recipe = Recipe { media_name: "m".into(), media_sha256, image: 1, layout, geometry };
    let manifest = Manifest {
        format: model::manifest::FORMAT,
        id: recipe.id(),
        root_sha256: root(&chunks),
        seal_sha256: Digest([0; 32]),
        recipe,
        plan,
        chunks,
        sites,
        telltales: Vec::new(),
        pressed: jiff::Timestamp::UNIX_EPOCH,
        warnings: Vec::new(),
        boot_programs: Vec::new(),
        base: None,
    };
    let manifest = manifest.sealed();
    let stamp = masters::stamp::of(&file).unwrap();
    Arc::new(Master { manifest, image: file.into(), stamp })
}

static MASTERS: LazyLock<[Arc<Master>; 2]> =
    LazyLock::new(|| [master(SectorSize::B512, 1), master(SectorSize::B4096, 2)]);
static REPLICATOR: LazyLock<Replicator> =
    LazyLock::new(|| Replicator::new(Bytes::mib(64), crate::hash::measured(None)));

/// What a drive with this identity must hold where a chunk stands.
fn expected(master: &Master, chunk: &Chunk, identity: &Identity) -> Vec<u8> {
    let mut data = vec![0; chunk.length.as_usize()];
    master.image.own().read_exact_at(&mut data, chunk.offset.0).unwrap();
    stamp(&mut data, chunk.offset, &master.manifest.sites, identity).unwrap();
    data
}

/// A job on a drive with these faults.
struct Trial {
    master: Arc<Master>,
    identity: Identity,
    drive: MemoryDrive,
    outcome: Outcome,
}

impl Trial {
    fn run(master: &Arc<Master>, faults: &[Fault], rewrites: u32) -> Self {
        Self::with(master, faults, rewrites, OldDataPolicy::Discard)
    }

    fn with(
        master: &Arc<Master>,
        faults: &[Fault],
        rewrites: u32,
        old_data: OldDataPolicy,
    ) -> Self {
        let identity = Identity::random(1);
        let stop = Stop::default();
        let geometry = master.manifest.plan.geometry;
        let mut drive = MemoryDrive::new(geometry, faults.to_vec(), stop.clone());
        let total = bytes_to_move(&master.manifest, old_data);
        let progress = Progress::new(State::Claiming, total);
        let limits = Limits {
            min_rate: None,
            min_batch_share: None,
            window: Duration::from_secs(10),
            stall: Duration::from_secs(120),
            rewrites,
        };
        let context = JobContext {
            master,
            job: Uuid::new_v4(),
            identity: &identity,
            replicator: &REPLICATOR,
            limits: &limits,
            old_data,
            stop: &stop,
            progress: &progress,
        };
        let outcome = run_job(&mut drive, &context);
        let given_up = stop.reason() == Some(StopReason::Stalled);
        if given_up {
            // As the runner does with a drive that answers after all.
            context.unfinish(&mut drive);
        }
        Self { master: Arc::clone(master), identity, drive, outcome }
    }

    /// The chunks that the drive did not give as they should be when they were last read.
    fn wrong(&self) -> Vec<Chunk> {
        let right = |chunk: &&Chunk| {
            let wanted = expected(&self.master, chunk, &self.identity);
            self.drive.last_read(chunk.range()) == Some(wanted)
        };
        self.master.manifest.chunks.iter().filter(|chunk| !right(chunk)).copied().collect()
    }

    /// What no chunk covers and did not read as zeros when it was last read.
    fn not_overwritten(&self) -> Vec<Range> {
        let chunks = self.master.manifest.chunks.iter().map(Chunk::range).collect();
        let whole: RangeSet = [Range::new(Bytes(0), SIZE)].into_iter().collect();
        let rest = whole.without(&chunks);
        rest.ranges().iter().filter(|range| !self.drive.last_read_zeros(**range)).copied().collect()
    }

    /// Whether the drive holds a GPT header at either end.
    fn looks_finished(&self) -> bool {
        let plan = &self.master.manifest.plan;
        let sector = Bytes(plan.geometry.sector.bytes());
        let last = Range::new(SIZE - sector, SIZE);
        [Range::at(sector, sector), last]
            .into_iter()
            .any(|range| self.drive.holds(range).starts_with(b"EFI PART"))
    }

    fn code(&self) -> Option<ReasonCode> {
        self.outcome.reason.as_ref().map(|reason| reason.code)
    }
}

/// Faults after which the drive can still be written, so that the tables can be taken from it.
fn leaves_writes_alone(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::ReadError { .. }
            | Fault::ReadFlipped { .. }
            | Fault::ReadMisplaced { .. }
            | Fault::FlushError { .. }
            | Fault::WriteFlipped { .. }
            | Fault::ForeignWrite { .. }
            | Fault::Stall { .. }
            | Fault::SpoiltByTable { .. }
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    let number = || 0..REQUESTS;
    let request = || 0..3 * REQUESTS;
    let bit = || any::<u64>();
    // Near a place that is written, more often than not.
    let place = || {
        let chunks: Vec<u64> =
            MASTERS[0].manifest.chunks.iter().map(|chunk| chunk.offset.0).collect();
        prop_oneof![
            3 => (prop::sample::select(chunks), 0_u64..64).prop_map(|(at, n)| at + n * 512),
            1 => (0..SIZE.0 / 512).prop_map(|sector| sector * 512),
        ]
    };
    let bit_of_medium = || (place(), 0_u64..4096).prop_map(|(at, bit)| at * 8 + bit);
    prop_oneof![
        number().prop_map(|write| Fault::WriteError { write }),
        number().prop_map(|write| Fault::TornWrite { write }),
        (number(), bit()).prop_map(|(write, bit)| Fault::WriteFlipped { write, bit }),
        number().prop_map(|write| Fault::WriteLost { write }),
        (number(), place()).prop_map(|(write, at)| Fault::WriteMisplaced { write, at }),
        number().prop_map(|read| Fault::ReadError { read }),
        (number(), bit()).prop_map(|(read, bit)| Fault::ReadFlipped { read, bit }),
        (number(), place()).prop_map(|(read, at)| Fault::ReadMisplaced { read, at }),
        (0_u64..8).prop_map(|flush| Fault::FlushError { flush }),
        (0_u64..8).prop_map(|flush| Fault::FlushDropped { flush }),
        (request(), bit_of_medium()).prop_map(|(request, bit)| Fault::Decay { request, bit }),
        (request(), place(), place(), 1_u64..64).prop_map(|(request, one, other, sectors)| {
            Fault::Swap { request, one: one / 512, other: other / 512, sectors }
        }),
        (place(), 1_u64..4096).prop_map(|(at, sectors)| Fault::SpoiltByTable { at, sectors }),
        (1_u64..36).prop_map(|halves| Fault::WrapAround { capacity: halves << 19 }),
        place().prop_map(|at| Fault::DeadSector { at }),
        request().prop_map(|request| Fault::Stall { request }),
        request().prop_map(|request| Fault::Removal { request }),
        (request(), place()).prop_map(|(request, at)| Fault::ForeignWrite { request, at }),
    ]
}

proptest! {
    #[test]
    fn a_drive_passes_only_if_every_byte_was_right(
        large in any::<bool>(),
        rewrites in 0_u32..3,
        old_data in prop::sample::select(vec![
            OldDataPolicy::Discard, OldDataPolicy::Overwrite, OldDataPolicy::Leave,
        ]),
        faults in prop::collection::vec(fault(), 0..4),
    ) {
        let trial = Trial::with(&MASTERS[usize::from(large)], &faults, rewrites, old_data);
        let Outcome { verdict, reason, report } = &trial.outcome;
        if *verdict == Verdict::Passed {
            prop_assert_eq!(trial.wrong(), Vec::new());
            prop_assert_eq!(trial.drive.foreign_writes(), Foreign::Nothing);
            if old_data == OldDataPolicy::Overwrite {
                prop_assert_eq!(trial.not_overwritten(), Vec::new());
                prop_assert_eq!(report.old_data.unwrap().fate, Some(OldDataFate::Overwritten));
            }
            prop_assert!(reason.is_none() && report.readback.is_some());
            prop_assert_eq!(report.verified, trial.master.manifest.payload());
        } else {
            let reason = reason.as_ref();
            prop_assert!(reason.is_some_and(|reason| reason.code.verdicts().contains(verdict)));
            prop_assert_ne!(trial.code(), Some(ReasonCode::InternalError));
            if faults.iter().all(leaves_writes_alone) {
                prop_assert!(!trial.looks_finished(), "a drive that did not pass looks finished");
            }
        }
        if faults.is_empty() {
            prop_assert_eq!(*verdict, Verdict::Passed);
        }
    }
}

/// Each fault alone is noticed where it can be, and called by its name: the property above would hold for a job that
/// passes nothing, too.
#[test]
fn each_fault_has_its_verdict() {
    use ReasonCode as C;
    let windows = MASTERS[0].manifest.plan.partitions[0].range(SectorSize::B512).start.0;
    let body = windows + (128 << 10);
    for (fault, code) in [
        (Fault::WriteError { write: 20 }, Some(C::WriteError)),
        (Fault::TornWrite { write: 20 }, Some(C::WriteError)),
        (Fault::ReadError { read: 3 }, Some(C::ReadError)),
        (Fault::ReadFlipped { read: 3, bit: 77 }, Some(C::Mismatch)),
        (Fault::ReadMisplaced { read: 3, at: 0 }, Some(C::Mismatch)),
        (Fault::FlushError { flush: 2 }, Some(C::WriteError)),
        (Fault::FlushDropped { flush: 2 }, Some(C::Mismatch)),
        (Fault::Swap { request: 30, one: body / 512, other: windows / 512 + 8, sectors: 8 }, None),
        (Fault::WrapAround { capacity: 8 << 20 }, Some(C::Mismatch)),
        (Fault::SpoiltByTable { at: body, sectors: 1 }, Some(C::Mismatch)),
        (Fault::SpoiltByTable { at: windows, sectors: 8 }, Some(C::Mismatch)),
        (Fault::DeadSector { at: body }, Some(C::Mismatch)),
        (Fault::DeadSector { at: windows }, Some(C::Mismatch)),
        (Fault::DeadSector { at: 512 }, Some(C::Mismatch)),
        // Onto a place that is free, where no read-back looks.
        (Fault::ForeignWrite { request: 25, at: windows + (8 << 20) }, Some(C::ForeignWrite)),
        (Fault::Stall { request: 25 }, Some(C::Stalled)),
        (Fault::Removal { request: 25 }, Some(C::Unplugged)),
    ] {
        let trial = Trial::run(&MASTERS[0], &[fault], 0);
        if let Some(code) = code {
            assert_eq!(trial.code(), Some(code), "{fault:?}: {:?}", trial.outcome.reason);
        } else {
            assert!(trial.wrong().is_empty() == (trial.outcome.verdict == Verdict::Passed));
        }
    }
}

/// A master that is not what was pressed any more is never the drive's fault, wherever it differs; and a drive that is
/// given the wrong bytes never passes.
#[test]
fn rot_in_the_store_is_not_blamed_on_the_drive() {
    let chunks = MASTERS[0].manifest.chunks.len();
    let trials = (0..chunks).flat_map(|number| [(number, 0), (number, 1)]);
    for (media, (number, rewrites)) in (10..).zip(trials) {
        let rotten = master(SectorSize::B512, media);
        let at = rotten.manifest.chunks[number].offset.0 + 77;
        let mut byte = [0];
        rotten.image.own().read_exact_at(&mut byte, at).unwrap();
        rotten.image.own().write_all_at(&[byte[0] ^ 1], at).unwrap();
        let trial = Trial::run(&rotten, &[], rewrites);
        assert_eq!(trial.code(), Some(ReasonCode::StoreError), "{at}: {:?}", trial.outcome);
        assert!(trial.outcome.report.mismatches.is_empty() && !trial.looks_finished());
    }
    // Put back before anybody looks, it leaves only the time of the file's last change.
    let touched = master(SectorSize::B512, 3);
    let body = touched.manifest.chunks.iter().find(|chunk| chunk.stage == Stage::Body).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let mut byte = [0];
    touched.image.own().read_exact_at(&mut byte, body.offset.0).unwrap();
    touched.image.own().write_all_at(&byte, body.offset.0).unwrap();
    assert_eq!(Trial::run(&touched, &[], 0).code(), None, "no harm was done");
    let dead = Fault::DeadSector { at: body.offset.0 };
    assert_eq!(Trial::run(&touched, &[dead], 0).code(), Some(ReasonCode::StoreError));
}

/// A range that reads back wrong once is written again where that is allowed, and the record says so.
#[test]
fn a_rewrite_mends_what_can_be_mended_and_is_told() {
    let body = MASTERS[0].manifest.chunks.iter().find(|chunk| chunk.stage == Stage::Body).unwrap();
    // Writes are counted from the erasing on; the body's begin behind those.
    let mut mended = 0;
    let codes: BTreeSet<Option<ReasonCode>> = (0..REQUESTS)
        .map(|write| {
            let trial = Trial::run(&MASTERS[0], &[Fault::WriteFlipped { write, bit: 9 }], 1);
            let told = &trial.outcome.report.warnings;
            if trial.code().is_none() && told.iter().any(|text| text.starts_with("rewritten: ")) {
                assert!(trial.wrong().is_empty());
                mended += 1;
            }
            trial.code()
        })
        .collect();
    assert!(mended > 0, "nothing was mended");
    // What the commit writes is written once; what the body writes is mended.
    assert_eq!(codes, BTreeSet::from([None, Some(ReasonCode::Mismatch)]));
    let dead = Fault::DeadSector { at: body.offset.0 };
    assert_eq!(Trial::run(&MASTERS[0], &[dead], 2).code(), Some(ReasonCode::Mismatch));
}

/// What became of old data is what the drive's medium says, on drives that take no discard.
#[test]
fn the_report_says_what_became_of_old_data() {
    use OldDataPolicy as P;
    for (policy, fate) in [
        (P::Discard, OldDataFate::Left),
        (P::Overwrite, OldDataFate::Overwritten),
        (P::Leave, OldDataFate::Left),
    ] {
        let Outcome { verdict, report, .. } = Trial::with(&MASTERS[0], &[], 0, policy).outcome;
        assert_eq!(verdict, Verdict::Passed);
        let old_data = report.old_data.unwrap();
        assert_eq!((old_data.policy, old_data.fate), (policy, Some(fate)));
        let looked = policy != P::Overwrite;
        assert_eq!(old_data.sampled_places > 0 && old_data.places_with_data > 0, looked);
        // Erased in part: the drive was full of data, and some of it had to go for the master's sake.
        assert_eq!(old_data.bytes + MASTERS[0].manifest.payload(), SIZE);
        let warned = report.warnings.iter().any(|text| text.starts_with("old_data_left: "));
        assert_eq!(warned, policy == P::Discard, "{policy}");
    }
    // A place that loses its zeros after they were written is found, wherever it lies.
    let rest = Bytes::mib(12);
    let dead = Fault::DeadSector { at: rest.0 };
    let outcome = Trial::with(&MASTERS[0], &[dead], 2, P::Overwrite).outcome;
    assert_eq!(outcome.reason.unwrap().code, ReasonCode::Mismatch);
    assert_eq!(outcome.report.mismatches[0].offset, rest);
    assert_eq!(Trial::with(&MASTERS[0], &[dead], 2, P::Leave).outcome.verdict, Verdict::Passed);
}
