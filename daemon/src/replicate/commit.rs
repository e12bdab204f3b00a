//! What makes a drive look finished: written last, read back, and then read as firmware and Windows will.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use super::engine::{Tally, Work};
use super::fault::{Fault, mismatch_fault, read_fault, write_fault};
use super::source::SourceError;
use crate::bcd;
use crate::buffer::Buffer;
use crate::digest::Digest;
use crate::direct::DirectReader;
use crate::gpt_table::{self, Tables};
use crate::identity::stamp;
use crate::layout::{Boot, Plan, Role};
use crate::master::Stage;
use crate::master::runs::CHUNK;
use crate::target::Claim;
use crate::units::Bytes;

impl Work<'_> {
    /// Writes and verifies what makes the drive look finished: boot sectors, then the backup table, then the primary
    /// one with the protective MBR.
    pub(super) fn commit(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        actual: &mut [Option<Digest>],
    ) -> Result<(), Fault> {
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
            let store = |e: io::Error| Fault::Store(SourceError::from(e));
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
                let differing = self.mismatches(*index, Digest::of(good), &back);
                tally.mismatches.extend(differing);
            }
            self.progress.add(chunk.length);
        }
        mismatch_fault(&tally.mismatches)?;
        self.check_tables(claim)?;
        self.check_boot(claim)?;
        // Pulled at the last moment, it is not the drive in the bay that was found right.
        claim.check_present().map_err(read_fault)
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
        let bcd = claim
            .reading(|reader| read_bcd(reader.slice(esp.offset(sector), esp.size(sector))))
            .map_err(read_fault)?
            .map_err(|e| wrong(format!("read it from the ESP: {e}")))?;
        bcd::check(&bcd, &places).map_err(|e| wrong(e.to_string()))
    }
}

fn read_bcd(volume: DirectReader) -> io::Result<Vec<u8>> {
    let fat = fatfs::FileSystem::new(volume, fatfs::FsOptions::new())?;
    let mut data = Vec::new();
    fat.root_dir().open_file("EFI/Microsoft/Boot/BCD")?.read_to_end(&mut data)?;
    Ok(data)
}
