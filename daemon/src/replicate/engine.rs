//! One drive from erased to committed.
//!
//! The order is the point: old signatures go first, then everything that is not needed to recognise a finished
//! drive is written and read back, and only when all of that is right are boot sectors and partition
//! tables written and read back in turn. A drive that was interrupted never boots and never looks done.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::fault::{Fault, mismatch_fault, read_fault, write_fault};
use super::hash::{Hashed, Order};
use super::progress::Progress;
use super::watch::Watch;
use super::{DRIVE_BUFFERS, Replicator};
use crate::bcd;
use crate::buffer::Buffer;
use crate::digest::{Digest, Root};
use crate::direct::DirectReader;
use crate::gpt_table::{self, Tables};
use crate::identity::{Identity, stamp};
use crate::job::{Mismatch, State, Stop};
use crate::layout::{Boot, Plan, Role};
use crate::master::runs::{CHUNK, Runs};
use crate::master::store::Master;
use crate::master::{Chunk, Stage, map};
use crate::target::Claim;
use crate::units::{ByteRate, Bytes};

/// Configured limits of a job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// A drive that stays below this for [`SLOW_WINDOW`](super::watch::SLOW_WINDOW) fails.
    pub min_rate: Option<ByteRate>,
    /// How often a range that reads back wrong may be written again.
    pub rewrites: u32,
}

/// More differing ranges than this are not listed: the drive is bad enough.
const LISTED_MISMATCHES: usize = 32;

/// What was done to a drive so far; complete even if the job fails.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes written, commit included, erasing not.
    pub written: Bytes,
    /// Bytes read back and found right.
    pub verified: Bytes,
    /// Root over what was read back, once all was.
    pub readback: Option<Digest>,
    /// Differing ranges.
    pub mismatches: Vec<Mismatch>,
    /// Write phase.
    pub write_rate: Option<ByteRate>,
    /// Read-back phase.
    pub verify_rate: Option<ByteRate>,
    /// For the record.
    pub warnings: Vec<String>,
}

/// What a drive's job works with.
#[derive(Debug)]
pub struct Work<'a> {
    /// What to write.
    pub master: &'a Arc<Master>,
    /// Whose bytes to stamp.
    pub identity: &'a Identity,
    /// Shared parts.
    pub replicator: &'a Replicator,
    /// Limits.
    pub limits: &'a Limits,
    /// Stop request.
    pub stop: &'a Stop,
    /// Where to count.
    pub progress: &'a Progress,
}

impl Work<'_> {
    /// Does everything. What `tally` says is right whether or not it succeeds.
    ///
    /// # Errors
    /// A [`Fault`]. In the state `Committing` the drive may hold tables then; the caller takes them away.
    pub fn replicate(&self, claim: &mut Claim, tally: &mut Tally) -> Result<(), Fault> {
        let chunks = &self.master.manifest.chunks;
        // What each chunk must read back as. Chunks with fix-ups get their own digest when they are stamped.
        let mut expected: Vec<Digest> = chunks.iter().map(|chunk| chunk.sha256).collect();
        let mut actual: Vec<Option<Digest>> = vec![None; chunks.len()];

        self.progress.enter(State::Erasing);
        self.erase(claim)?;

        self.progress.enter(State::Writing);
        let start = Instant::now();
        self.write_body(claim, tally, &mut expected)?;
        claim.flush().map_err(write_fault)?;
        tally.write_rate = Some(ByteRate::mean(tally.written, start.elapsed()));

        self.progress.enter(State::ReadingBack);
        let start = Instant::now();
        self.read_back(claim, tally, &expected, &mut actual)?;
        tally.verify_rate = Some(ByteRate::mean(tally.verified, start.elapsed()));

        self.progress.enter(State::Committing);
        self.commit(claim, tally, &mut actual)?;
        claim.drop_cache();

        let mut root = Root::default();
        for (chunk, digest) in chunks.iter().zip(&actual) {
            let Some(digest) = digest else {
                return Err(Fault::Internal(format!("chunk at {} was never read", chunk.offset.0)));
            };
            root.add(chunk.offset, chunk.length, digest);
        }
        tally.readback = Some(root.finish());
        Ok(())
    }

    fn check_stop(&self) -> Result<(), Fault> {
        self.stop.reason().map_or(Ok(()), |reason| Err(Fault::Stopped(reason)))
    }

    /// Removes what could look like an old partition table, file system or RAID member: zeros at both ends of the
    /// drive first, so that an interruption leaves no table at all, then a discard, then zeros at both
    /// ends of every partition to be.
    fn erase(&self, claim: &mut Claim) -> Result<(), Fault> {
        let plan = &self.master.manifest.plan;
        self.zero(claim, &table_ranges(plan))?;
        claim.flush().map_err(write_fault)?;
        claim.discard_all();
        self.zero(claim, &Runs::from_ranges(map::guards(plan)).aligned(plan.geometry.size.0))?;
        claim.flush().map_err(write_fault)
    }

    fn zero(&self, claim: &mut Claim, runs: &Runs) -> Result<(), Fault> {
        write_zeros(claim, runs, || self.check_stop())
    }

    /// Takes the tables away again: a drive that did not pass must not look finished. Told to stop or not; if it fails,
    /// the drive is gone or dead.
    pub(super) fn unfinish(&self, claim: &mut Claim) {
        let gone = write_zeros(claim, &table_ranges(&self.master.manifest.plan), || Ok(()));
        if let Err(error) = gone.and_then(|()| claim.flush().map_err(write_fault)) {
            tracing::warn!(%error, "cannot take the tables from a drive that did not pass");
        }
    }

    /// Stamps a copy of a chunk if it holds fix-up sites.
    fn stamped(&self, chunk: &Chunk, data: &[u8], copy: &mut Buffer) -> Result<bool, Fault> {
        let end = chunk.offset.0 + chunk.length.0;
        let sites = &self.master.manifest.sites;
        let touched = |s: &crate::identity::Site| {
            s.offset.0 < end && s.offset.0 + s.length.0 > chunk.offset.0
        };
        if !sites.iter().any(touched) {
            return Ok(false);
        }
        // Its digest is about to become that of the stamped bytes, so what is stamped must be right.
        if Digest::of(data) != chunk.sha256 {
            return Err(Fault::Master(chunk.offset.0));
        }
        copy.resize(chunk.length);
        copy.copy_from_slice(data);
        Ok(stamp(copy, chunk.offset, sites, self.identity)?)
    }

    fn write_body(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &mut [Digest],
    ) -> Result<(), Fault> {
        let source = self.replicator.source(self.master);
        let mut subscription = source.subscribe()?;
        let mut own = Buffer::zeroed(CHUNK);
        let mut watch = Watch::new(self.limits.min_rate);
        let stopping = || self.stop.reason().is_some();
        while let Some((index, data)) = subscription.next(&stopping)? {
            let chunk = &self.master.manifest.chunks[index];
            if self.stamped(chunk, &data, &mut own)? {
                expected[index] = Digest::of(&own);
                claim.write(chunk.offset, &own).map_err(write_fault)?;
            } else {
                claim.write(chunk.offset, &data).map_err(write_fault)?;
            }
            tally.written.0 += chunk.length.0;
            self.progress.add(chunk.length);
            watch.moved(chunk.length, claim)?;
        }
        self.check_stop()
    }

    fn read_back(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
    ) -> Result<(), Fault> {
        let chunks = &self.master.manifest.chunks;
        let (reply, hashed): (Sender<Hashed>, Receiver<Hashed>) = unbounded();
        let mut spare: Vec<Buffer> = (0..DRIVE_BUFFERS).map(|_| Buffer::zeroed(CHUNK)).collect();
        let buffers = spare.len();
        let mut watch = Watch::new(self.limits.min_rate);
        let mut todo = (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Body);
        let mut next = todo.next();
        while next.is_some() || spare.len() < buffers {
            self.check_stop()?;
            // Read while there are buffers; else take in a result, which frees one.
            if let Some(index) = next
                && let Some(mut data) = spare.pop()
            {
                data.resize(chunks[index].length);
                claim.read(chunks[index].offset, &mut data).map_err(read_fault)?;
                self.replicator.hashing().submit(Order { index, data, reply: reply.clone() });
                watch.moved(chunks[index].length, claim)?;
                next = todo.next();
                continue;
            }
            let Ok(Hashed { index, mut data, mut digest }) = hashed.recv() else {
                return Err(Fault::Internal("the hashing threads are gone".into()));
            };
            if digest != expected[index] {
                self.rewrite(claim, index, expected[index], &mut data, &mut digest, tally)?;
            }
            if digest == expected[index] {
                tally.verified.0 += chunks[index].length.0;
            } else {
                self.note_mismatch(index, expected[index], &data, tally);
            }
            actual[index] = Some(digest);
            self.progress.add(chunks[index].length);
            spare.push(data);
            if tally.mismatches.len() >= LISTED_MISMATCHES {
                break;
            }
        }
        mismatch_fault(&tally.mismatches)
    }

    /// Writes a chunk that read back wrong again, as often as configured, and reads it again.
    fn rewrite(
        &self,
        claim: &mut Claim,
        index: usize,
        expected: Digest,
        data: &mut Buffer,
        digest: &mut Digest,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let chunk = &self.master.manifest.chunks[index];
        for attempt in 1..=self.limits.rewrites {
            let Some(good) = self.master_bytes(index, expected) else { return Ok(()) };
            claim.write(chunk.offset, &good).map_err(write_fault)?;
            claim.flush().map_err(write_fault)?;
            claim.read(chunk.offset, data).map_err(read_fault)?;
            *digest = Digest::of(data);
            if *digest == expected {
                tally.warnings.push(format!(
                    "rewritten: {} bytes at {} read back wrong and were written again, {attempt} times",
                    chunk.length.0, chunk.offset.0
                ));
                return Ok(());
            }
        }
        Ok(())
    }

    /// What should stand on the drive, if the store still holds it unharmed.
    fn master_bytes(&self, index: usize, expected: Digest) -> Option<Buffer> {
        use std::os::unix::fs::FileExt as _;
        let chunk = &self.master.manifest.chunks[index];
        let mut good = Buffer::zeroed(CHUNK);
        good.resize(chunk.length);
        self.master.image.read_exact_at(&mut good, chunk.offset.0).ok()?;
        stamp(&mut good, chunk.offset, &self.master.manifest.sites, self.identity).ok()?;
        (Digest::of(&good) == expected).then_some(good)
    }

    /// Records which sectors of a chunk differ.
    fn note_mismatch(&self, index: usize, expected: Digest, data: &[u8], tally: &mut Tally) {
        let chunk = &self.master.manifest.chunks[index];
        let Some(good) = self.master_bytes(index, expected) else {
            // Nothing to compare with byte by byte: the whole chunk.
            tally.mismatches.push(Mismatch {
                offset: chunk.offset,
                length: chunk.length,
                expected,
                actual: Digest::of(data),
            });
            return;
        };
        let sector = self.master.manifest.plan.geometry.sector.bytes();
        let step = Bytes(sector).as_usize();
        let differing = (0_u64..)
            .zip(good.chunks(step).zip(data.chunks(step)))
            .filter(|(_, (good, bad))| good != bad)
            .map(|(n, _)| (n * sector, (n + 1) * sector))
            .collect();
        for (start, end) in Runs::from_ranges(differing).ranges() {
            let part = Bytes(*start).as_usize()..Bytes(*end).as_usize();
            tally.mismatches.push(Mismatch {
                offset: Bytes(chunk.offset.0 + start),
                length: Bytes(end - start),
                expected: Digest::of(&good[part.clone()]),
                actual: Digest::of(&data[part]),
            });
        }
    }

    /// Writes and verifies what makes the drive look finished: boot sectors, then the backup table, then the primary
    /// one with the protective MBR.
    fn commit(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        actual: &mut [Option<Digest>],
    ) -> Result<(), Fault> {
        use std::os::unix::fs::FileExt as _;
        let manifest = &self.master.manifest;
        let chunks = &manifest.chunks;
        let mut order: Vec<usize> =
            (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Commit).collect();
        let last = Bytes(manifest.plan.geometry.size.0).0;
        order.sort_by_key(|i| {
            let chunk = &chunks[*i];
            let rank = match chunk.offset.0 {
                0 => 2,
                _ if chunk.offset.0 + chunk.length.0 == last => 1,
                _ => 0,
            };
            (rank, chunk.offset)
        });
        let mut written: Vec<(usize, Buffer)> = Vec::with_capacity(order.len());
        for index in order {
            self.check_stop()?;
            let chunk = &chunks[index];
            let mut data = Buffer::zeroed(chunk.length);
            let store = |e: std::io::Error| Fault::Internal(format!("read the master: {e}"));
            self.master.image.read_exact_at(&mut data, chunk.offset.0).map_err(store)?;
            if Digest::of(&data) != chunk.sha256 {
                return Err(Fault::Master(chunk.offset.0));
            }
            stamp(&mut data, chunk.offset, &manifest.sites, self.identity)?;
            if chunk.offset.0 == 0 || chunk.offset.0 + chunk.length.0 == last {
                // Tables go only onto a drive whose boot sectors are on the medium.
                claim.flush().map_err(write_fault)?;
            }
            claim.write(chunk.offset, &data).map_err(write_fault)?;
            tally.written.0 += chunk.length.0;
            self.progress.add(chunk.length);
            written.push((index, data));
        }
        claim.flush().map_err(write_fault)?;
        let mut back = Buffer::zeroed(CHUNK);
        for (index, good) in &written {
            let chunk = &chunks[*index];
            back.resize(chunk.length);
            claim.read(chunk.offset, &mut back).map_err(read_fault)?;
            let digest = Digest::of(&back);
            actual[*index] = Some(digest);
            if digest == Digest::of(good) {
                tally.verified.0 += chunk.length.0;
            } else {
                self.note_mismatch(*index, Digest::of(good), &back, tally);
            }
            self.progress.add(chunk.length);
        }
        mismatch_fault(&tally.mismatches)?;
        self.check_tables(claim)?;
        self.check_boot(claim)
    }

    /// Parses the tables as they stand on the drive with another reader than the code that stamped them.
    fn check_tables(&self, claim: &Claim) -> Result<(), Fault> {
        let plan = &self.master.manifest.plan;
        let size = plan.geometry.size;
        let (primary, backup) =
            (Plan::primary_table(plan.geometry), Plan::backup_table(plan.geometry));
        let read = |offset, length: Bytes| {
            let mut data = Buffer::zeroed(length);
            claim.read(offset, &mut data).map_err(read_fault).map(|()| data.to_vec())
        };
        let tables = Tables {
            primary: read(Bytes(0), primary)?,
            backup: read(Bytes(size.0 - backup.0), backup)?,
        };
        Ok(gpt_table::check(plan, self.identity, &tables)?)
    }

    /// Reads the BCD from the drive's ESP, as firmware's boot manager will, and checks that it names this drive's
    /// partitions.
    fn check_boot(&self, claim: &Claim) -> Result<(), Fault> {
        let manifest = &self.master.manifest;
        let plan = &manifest.plan;
        if manifest.recipe.layout.boot != Boot::Prestaged {
            return Ok(());
        }
        let (Some((_, esp)), Some(places)) = (plan.find(Role::Esp), plan.places(self.identity))
        else {
            return Ok(());
        };
        let wrong = |what: String| Fault::Boot(what);
        let sector = plan.geometry.sector;
        let drive = claim.drive();
        let reader =
            DirectReader::open(&drive.node, drive.size).map_err(|e| wrong(e.to_string()))?;
        let volume = reader.slice(esp.offset(sector), esp.size(sector));
        let bcd = read_bcd(volume).map_err(|e| wrong(format!("read it from the ESP: {e}")))?;
        bcd::check(&bcd, &places).map_err(|e| wrong(e.to_string()))
    }
}

fn write_zeros(
    claim: &mut Claim,
    runs: &Runs,
    go_on: impl Fn() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut zeros = Buffer::zeroed(CHUNK);
    for (offset, length) in runs.pieces() {
        go_on()?;
        zeros.resize(length);
        claim.write(offset, &zeros).map_err(write_fault)?;
    }
    Ok(())
}

fn read_bcd(volume: DirectReader) -> io::Result<Vec<u8>> {
    let fat = fatfs::FileSystem::new(volume, fatfs::FsOptions::new())?;
    let mut data = Vec::new();
    fat.root_dir().open_file("EFI/Microsoft/Boot/BCD")?.read_to_end(&mut data)?;
    Ok(data)
}

fn table_ranges(plan: &Plan) -> Runs {
    let size = plan.geometry.size.0;
    let end = crate::units::MIB.0.min(size);
    Runs::from_ranges(vec![(0, end), (size - end, size)]).aligned(size)
}
