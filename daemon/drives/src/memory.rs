//! A drive in memory that misbehaves as it is told, for tests of what is done to drives.
//!
//! It counts its requests, and a [`Fault`] names the request at which it happens. Every read is kept, so that a test can
//! compare what a job was shown last with what it should have been.

use std::borrow::Cow;
use std::io;

use model::drive::{Bay, Bus, DeviceNumber, Diskseq, Drive, Geometry, Serial};
use model::job::{Stop, StopReason};
use model::ranges::Range;
use model::units::Bytes;
use parking_lot::Mutex;

use crate::buffer::Buffer;
use crate::medium::{AccessError, Foreign, Medium};

/// Memory is kept in pieces of this size, the smallest logical sector.
const SECTOR: u64 = 512;
const SIZE: usize = 512;

/// What a sector holds, as an index: noise, as long as it was never written; zeros; or data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sector {
    #[default]
    Noise,
    Zeros,
    Data(u32),
}

/// Something that goes wrong at one request. Requests are counted from 0 for each kind by itself, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say at which request, and where")]
pub enum Fault {
    /// A write fails and stores nothing.
    WriteError { write: u64 },
    /// A write fails after it has stored the first half.
    TornWrite { write: u64 },
    /// A write stores one bit wrong.
    WriteFlipped { write: u64, bit: u64 },
    /// A write stores nothing and succeeds.
    WriteLost { write: u64 },
    /// A write lands elsewhere.
    WriteMisplaced { write: u64, at: u64 },
    /// A read fails.
    ReadError { read: u64 },
    /// A read gives one bit wrong; the medium is right.
    ReadFlipped { read: u64, bit: u64 },
    /// A read gives what stands elsewhere.
    ReadMisplaced { read: u64, at: u64 },
    /// A flush fails.
    FlushError { flush: u64 },
    /// A flush succeeds and drops every write since the one before.
    FlushDropped { flush: u64 },
    /// One bit of the medium changes by itself, before the request with this number, of whatever kind.
    Decay { request: u64, bit: u64 },
    /// Two places of the medium change places by themselves.
    Swap { request: u64, one: u64, other: u64, sectors: u64 },
    /// Something else writes a sector, before the request with this number.
    ForeignWrite { request: u64, at: u64 },
    /// The drive has less memory than it claims: places beyond it are places before it.
    WrapAround { capacity: u64 },
    /// A stretch of the medium is spoilt as soon as a partition table stands at its start.
    SpoiltByTable { at: u64, sectors: u64 },
    /// A sector keeps what it holds, whatever is written.
    DeadSector { at: u64 },
    /// The drive does not answer for so long that the station gives it up; then it does.
    Stall { request: u64 },
    /// The drive is pulled.
    Removal { request: u64 },
}

#[derive(Debug, Default)]
struct State {
    sectors: Vec<Sector>,
    /// What [`Sector::Data`] means. Only added to, so that an old index stays good.
    data: Vec<[u8; SIZE]>,
    writes: u64,
    reads: u64,
    flushes: u64,
    requests: u64,
    gone: bool,
    /// Bytes that something else has written.
    foreign: u64,
    /// What the writes since the last flush have replaced, the first one first.
    unflushed: Vec<(usize, Sector)>,
    /// What the last read of each sector has given.
    given: Vec<Option<Sector>>,
}

/// The drive.
#[derive(Debug)]
pub struct MemoryDrive {
    drive: Drive,
    geometry: Geometry,
    faults: Vec<Fault>,
    stop: Stop,
    state: Mutex<State>,
}

impl MemoryDrive {
    /// A drive full of noise. A [`Fault::Stall`] asks `stop` to end the job, as the station does.
    pub fn new(geometry: Geometry, faults: Vec<Fault>, stop: Stop) -> Self {
        let drive = Drive {
            name: "mem0".into(),
            node: "/dev/mem0".into(),
            number: DeviceNumber { major: 240, minor: 0 },
            diskseq: Diskseq(1),
            serial: Serial::new("MEMORY"),
            placeholder: None,
            transport: None,
            unit: None,
            wwn: None,
            model: None,
            firmware: None,
            bus: Bus("memory".into()),
            path: "memory-0".into(),
            bay: Bay("memory-0".into()),
            size: geometry.size,
            logical_sector_bytes: geometry.sector.into(),
            read_only: false,
        };
        let sectors = vec![Sector::Noise; Bytes(geometry.size.0 / SECTOR).as_usize()];
        let given = vec![None; sectors.len()];
        let state = Mutex::new(State { sectors, given, ..State::default() });
        Self { drive, geometry, faults, stop, state }
    }

    /// What stands in a range of the medium, whatever reads would give.
    pub fn holds(&self, range: Range) -> Vec<u8> {
        self.stored(&self.state.lock(), range)
    }

    /// What the last read of each sector of a range has given; `None` if one was never read. A range is whole sectors.
    pub fn last_read(&self, range: Range) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let mut data = Vec::with_capacity(range.length().as_usize());
        for sector in sectors(range) {
            let given = state.given[Bytes(sector).as_usize()]?;
            state.append(given, self.place(sector), &mut data);
        }
        Some(data)
    }

    /// Whether the last read of each sector of a range has given zeros.
    pub fn last_read_zeros(&self, range: Range) -> bool {
        let range = sectors(range);
        let range = Bytes(range.start).as_usize()..Bytes(range.end).as_usize();
        self.state.lock().given[range].iter().all(|given| *given == Some(Sector::Zeros))
    }

    /// Where a sector really lies.
    fn place(&self, sector: u64) -> usize {
        let wrap = self.faults.iter().find_map(|fault| match fault {
            Fault::WrapAround { capacity } => Some(capacity / SECTOR),
            _ => None,
        });
        Bytes(wrap.map_or(sector, |sectors| sector % sectors.max(1))).as_usize()
    }

    fn stored(&self, state: &State, range: Range) -> Vec<u8> {
        let mut data = Vec::with_capacity(range.length().as_usize());
        for sector in sectors(range) {
            let place = self.place(sector);
            state.append(state.sectors[place], place, &mut data);
        }
        data
    }

    fn store(&self, state: &mut State, start: Bytes, data: &[u8]) {
        let range = Range::at(start, Bytes::of(data.len()));
        let dead = self.faults.iter().find_map(|fault| match fault {
            Fault::DeadSector { at } => Some(Bytes(at / SECTOR).as_usize()),
            _ => None,
        });
        for (sector, part) in sectors(range).zip(data.as_chunks::<SIZE>().0) {
            let place = self.place(sector);
            if dead != Some(place) {
                let new = state.sector_of(part);
                let old = std::mem::replace(&mut state.sectors[place], new);
                state.unflushed.push((place, old));
            }
        }
    }

    /// What happens by itself before a request; whether the drive is there for it.
    fn arrive(&self, state: &mut State) -> Result<(), AccessError> {
        let number = state.requests;
        state.requests += 1;
        for fault in &self.faults {
            match *fault {
                Fault::Decay { request, bit } if request == number => {
                    self.flip(state, bit % (self.geometry.size.0 * 8));
                }
                Fault::Swap { request, one, other, sectors } if request == number => {
                    for n in 0..sectors {
                        let all = self.geometry.size.0 / SECTOR;
                        let (a, b) = ((one + n) % all, (other + n) % all);
                        state.sectors.swap(self.place(a), self.place(b));
                    }
                }
                Fault::Stall { request } if request == number => {
                    self.stop.request(StopReason::Stalled);
                }
                Fault::Removal { request } if request == number => state.gone = true,
                Fault::ForeignWrite { request, at } if request == number => {
                    let last = self.geometry.size - Bytes(SECTOR);
                    let at = Bytes(at).min(last).align_down(SECTOR);
                    self.store(state, at, &[0xf0; SIZE]);
                    state.foreign += SECTOR;
                }
                _ => {}
            }
        }
        present(state)
    }

    /// Spoils what a table spoils.
    fn spoil(&self, state: &mut State) {
        for fault in &self.faults {
            if let Fault::SpoiltByTable { at, sectors } = *fault {
                let all = self.geometry.size.0 / SECTOR;
                for sector in (at / SECTOR..at / SECTOR + sectors).filter(|sector| *sector < all) {
                    self.flip(state, sector * SECTOR * 8);
                }
            }
        }
    }

    /// Flips one bit of the medium.
    fn flip(&self, state: &mut State, bit: u64) {
        let start = Bytes(bit / 8).align_down(SECTOR);
        let mut data = self.stored(state, Range::at(start, Bytes(SECTOR)));
        flip(&mut data, bit - start.0 * 8);
        for part in data.as_chunks::<SIZE>().0 {
            let new = state.sector_of(part);
            state.sectors[self.place(start.0 / SECTOR)] = new;
        }
    }
}

impl State {
    /// How a sector with this data is kept.
    fn sector_of(&mut self, data: &[u8; SIZE]) -> Sector {
        if *data == [0; SIZE] {
            return Sector::Zeros;
        }
        self.data.push(*data);
        Sector::Data(u32::try_from(self.data.len() - 1).unwrap_or(u32::MAX))
    }

    /// Appends what a sector holds that lies at this place.
    fn append(&self, sector: Sector, place: usize, data: &mut Vec<u8>) {
        match sector {
            Sector::Noise => data.extend_from_slice(&noise(place)),
            Sector::Zeros => data.resize(data.len() + SIZE, 0),
            Sector::Data(index) => data.extend_from_slice(&self.data[usize_of(index)]),
        }
    }
}

fn usize_of(index: u32) -> usize {
    Bytes(index.into()).as_usize()
}

fn present(state: &State) -> Result<(), AccessError> {
    if state.gone { Err(AccessError::Gone("pulled".into())) } else { Ok(()) }
}

fn sectors(range: Range) -> std::ops::Range<u64> {
    range.start.0 / SECTOR..range.end.0.div_ceil(SECTOR)
}

/// What a drive holds that was never written: data that differs from place to place.
fn noise(place: usize) -> [u8; SIZE] {
    let mut data = [0; SIZE];
    let seed = Bytes::of(place).0.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    for part in data.chunks_mut(seed.len()) {
        part.copy_from_slice(&seed);
    }
    data
}

fn flip(data: &mut [u8], bit: u64) {
    let bit = Bytes(bit).as_usize() % (data.len() * 8);
    data[bit / 8] ^= 1 << (bit % 8);
}

/// Whether what is written to the start of the drive has a GPT header in its second sector, of whatever size.
fn is_table(data: &[u8]) -> bool {
    [SIZE, 4096].into_iter().any(|at| data.get(at..).is_some_and(|d| d.starts_with(b"EFI PART")))
}

fn failed(range: Range) -> AccessError {
    AccessError::Io { range, source: io::Error::other("told to fail") }
}

impl Medium for MemoryDrive {
    fn drive(&self) -> &Drive {
        &self.drive
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn reads_the_medium(&self) -> bool {
        true
    }

    fn write(&self, offset: Bytes, data: &Buffer) -> Result<(), AccessError> {
        let mut state = self.state.lock();
        self.arrive(&mut state)?;
        let number = state.writes;
        state.writes += 1;
        let range = Range::at(offset, Bytes::of(data.len()));
        let (mut at, mut data) = (offset, Cow::Borrowed(&data[..]));
        for fault in &self.faults {
            match *fault {
                Fault::WriteError { write } if write == number => return Err(failed(range)),
                Fault::TornWrite { write } if write == number => {
                    let half = Bytes::of(data.len() / 2).align_down(SECTOR).as_usize();
                    self.store(&mut state, at, &data[..half]);
                    return Err(failed(range));
                }
                Fault::WriteFlipped { write, bit } if write == number => flip(data.to_mut(), bit),
                Fault::WriteLost { write } if write == number => return Ok(()),
                Fault::WriteMisplaced { write, at: elsewhere } if write == number => {
                    let last = self.geometry.size.saturating_sub(range.length());
                    at = Bytes(elsewhere).min(last).align_down(SECTOR);
                }
                _ => {}
            }
        }
        self.store(&mut state, at, &data);
        if at == Bytes(0) && is_table(&data) {
            self.spoil(&mut state);
        }
        Ok(())
    }

    fn read(&self, offset: Bytes, data: &mut Buffer) -> Result<(), AccessError> {
        let mut state = self.state.lock();
        self.arrive(&mut state)?;
        let number = state.reads;
        state.reads += 1;
        let range = Range::at(offset, Bytes::of(data.len()));
        let (mut from, mut flipped) = (range, None);
        for fault in &self.faults {
            match *fault {
                Fault::ReadError { read } if read == number => return Err(failed(range)),
                Fault::ReadFlipped { read, bit } if read == number => flipped = Some(bit),
                Fault::ReadMisplaced { read, at } if read == number => {
                    let last = self.geometry.size.saturating_sub(range.length());
                    from = Range::at(Bytes(at).min(last).align_down(SECTOR), range.length());
                }
                _ => {}
            }
        }
        let mut found = self.stored(&state, from);
        if let Some(bit) = flipped {
            flip(&mut found, bit);
        }
        data.copy_from_slice(&found);
        for (sector, part) in sectors(range).zip(found.as_chunks::<SIZE>().0) {
            let (to, place) = (Bytes(sector).as_usize(), self.place(sector));
            // Where nothing was changed on the way, the index says it, and nothing need be kept twice.
            let given = if from == range && flipped.is_none() {
                state.sectors[place]
            } else {
                state.sector_of(part)
            };
            state.given[to] = Some(given);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), AccessError> {
        let mut state = self.state.lock();
        self.arrive(&mut state)?;
        let number = state.flushes;
        state.flushes += 1;
        if self.faults.contains(&Fault::FlushError { flush: number }) {
            return Err(failed(Range::new(Bytes(0), self.geometry.size)));
        }
        let written = std::mem::take(&mut state.unflushed);
        if self.faults.contains(&Fault::FlushDropped { flush: number }) {
            for (place, old) in written.into_iter().rev() {
                state.sectors[place] = old;
            }
        }
        Ok(())
    }

    fn discard(&self, _: Range) -> bool {
        // Takes no notice, as many drives.
        self.arrive(&mut self.state.lock()).is_err()
    }

    fn foreign_writes(&self) -> Foreign {
        match self.state.lock().foreign {
            0 => Foreign::Nothing,
            bytes => Foreign::Bytes(Bytes(bytes)),
        }
    }

    fn check_present(&self) -> Result<(), AccessError> {
        present(&self.state.lock())
    }

    fn drop_cache(&self) {}
}
