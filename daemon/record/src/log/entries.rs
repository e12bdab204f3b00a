//! All entries of the log, each compared with the record that it is about. One thread reads the database; hashing the
//! entries and reading their JSON takes several times as long, and is done by as many threads as there are processors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use evidence::checkpoint::Checkpoint;
use evidence::statement::{self, Content, Event};
use evidence::tree::{self, Edge};
use model::digest::Digest;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Deserialize;
use signing::Envelope;
use uuid::Uuid;

use super::begin::{self, Begun};
use super::verify::Tampered;
use super::{LogError, seal};

/// How many entries a thread is given at once.
const BATCH: usize = 256;
const SQL: &str = "
    SELECT log.seq, log.job, log.entry, log.leaf,
           r.job, r.record, r.serial, r.disk_guid, r.verdict, r.opened
    FROM log LEFT JOIN records AS r ON r.job = log.job ORDER BY log.seq";

/// The edge of the tree over all entries, if they are numbered and chained as they should be, and each record is what the
/// last entry about it says; and whether one of them tells of a seal.
pub(super) fn verify(
    db: &Connection,
    ledger: Uuid,
    known: &[&Checkpoint],
) -> Result<(Edge, bool), LogError> {
    let (to_threads, batches) = bounded(2);
    let (results, from_threads) = unbounded();
    let (emptied, spare) = unbounded();
    let mut all = All { db, known, edge: Edge::default(), previous: None, is_sealed: false };
    let mut differing = Vec::new();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            let (batches, results, emptied) = (batches.clone(), results.clone(), emptied.clone());
            scope.spawn(move || look_at(ledger, &batches, &results, &emptied));
        }
        drop((batches, results, emptied));
        // What came out of its turn waits for what belongs before it.
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        let mut take = |number, checked| {
            waiting.insert(number, checked);
            while let Some(checked) = waiting.remove(&next) {
                differing.append(&mut all.follow(checked?)?);
                next += 1;
            }
            Ok::<_, LogError>(())
        };
        read(db, &spare, |batch| {
            // Only a thread that has panicked takes no more; the scope passes that on.
            let _ = to_threads.send(batch);
            from_threads.try_iter().try_for_each(|(number, checked)| take(number, checked))
        })?;
        drop(to_threads);
        from_threads.iter().try_for_each(|(number, checked)| take(number, checked))
    })?;
    // A record that was refused may have been closed again since: the last entry about it counts.
    let mut last = db.prepare("SELECT max(seq) FROM log WHERE job = ?1")?;
    let mut wrong = Vec::new();
    for (seq, job) in differing {
        if last.query_row([&job], |row| row.get::<_, i64>(0))? == seq {
            wrong.push(job);
        }
    }
    match wrong.into_iter().min() {
        Some(job) => Err(Tampered::Record(job).into()),
        None => Ok((all.edge, all.is_sealed)),
    }
}

/// Entries that follow one another, as they stand in the database. What is in their cells lies in one buffer, which is used
/// again and again: memory of their own would cost as much as reading them.
#[derive(Default)]
struct Batch {
    /// Counted from 0; all but the last have [`BATCH`] entries.
    number: usize,
    entries: Vec<Found>,
    cells: Vec<u8>,
}

/// Where the contents of a cell lie; `None` for one that is empty.
type Cell = Option<Range<usize>>;

/// An entry.
struct Found {
    seq: i64,
    job: Cell,
    entry: Cell,
    leaf: Cell,
    /// The row of its job.
    record: Option<RecordRow>,
}

struct RecordRow {
    record: Cell,
    serial: Cell,
    disk_guid: Cell,
    verdict: Cell,
    opened: Cell,
}

impl Batch {
    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let seq = row.get(0)?;
        let (job, entry, leaf) = (self.text(row, 1)?, self.blob(row, 2)?, self.blob(row, 3)?);
        let record = match row.get_ref(4)? {
            ValueRef::Null => None,
            _ => Some(RecordRow {
                record: self.text(row, 5)?,
                serial: self.text(row, 6)?,
                disk_guid: self.text(row, 7)?,
                verdict: self.text(row, 8)?,
                opened: self.text(row, 9)?,
            }),
        };
        self.entries.push(Found { seq, job, entry, leaf, record });
        Ok(())
    }

    /// Keeps a text's bytes. What is no text is none that the station has written, and is kept as one that equals no other.
    fn text(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<Cell> {
        Ok(match row.get_ref(column)? {
            ValueRef::Null => None,
            ValueRef::Text(text) => self.keep(text),
            _ => self.keep(b"\0"),
        })
    }

    fn blob(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<Cell> {
        let cell = row.get_ref(column)?;
        Ok(self.keep(cell.as_blob().unwrap_or_default()))
    }

    fn keep(&mut self, bytes: &[u8]) -> Cell {
        let from = self.cells.len();
        self.cells.extend_from_slice(bytes);
        Some(from..self.cells.len())
    }

    fn get(&self, cell: &Cell) -> Option<&[u8]> {
        cell.clone().and_then(|range| self.cells.get(range))
    }
}

/// Reads all entries in their order, and gives them to `each` by the batch.
fn read(
    db: &Connection,
    spare: &Receiver<Batch>,
    mut each: impl FnMut(Batch) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut statement = db.prepare(SQL)?;
    let mut rows = statement.query([])?;
    for number in 0.. {
        let Batch { mut entries, mut cells, .. } = spare.try_recv().unwrap_or_default();
        entries.clear();
        cells.clear();
        let mut batch = Batch { number, entries, cells };
        while batch.entries.len() < BATCH
            && let Some(row) = rows.next()?
        {
            batch.add(row)?;
        }
        if batch.entries.is_empty() {
            break;
        }
        each(batch)?;
    }
    Ok(())
}

/// What a batch is found to be, by itself.
struct Checked {
    /// The leaf that its first entry says stands before it.
    follows: Option<Digest>,
    leaves: Vec<Digest>,
    /// The entry that begins the log, in the first batch.
    begins: Option<Event>,
    is_sealed: bool,
    /// Numbers and jobs of entries that say something else than the row of their job.
    differing: Vec<(i64, String)>,
}

/// What a thread does: looks at batches until there are no more.
fn look_at(
    ledger: Uuid,
    batches: &Receiver<Batch>,
    results: &Sender<(usize, Result<Checked, LogError>)>,
    emptied: &Sender<Batch>,
) {
    let mut payload = Vec::new();
    for batch in batches {
        let checked = check(ledger, &batch, &mut payload).map_err(LogError::from);
        if results.send((batch.number, checked)).is_err() {
            return;
        }
        // When all is read, nobody needs it any more.
        let _ = emptied.send(batch);
    }
}

/// Looks at a batch; `payload` is where payloads are decoded to.
fn check(ledger: Uuid, batch: &Batch, payload: &mut Vec<u8>) -> Result<Checked, Tampered> {
    let mut checked = Checked {
        follows: None,
        leaves: Vec::with_capacity(batch.entries.len()),
        begins: None,
        is_sealed: false,
        differing: Vec::new(),
    };
    for (seq, found) in (batch.number as u64 * BATCH as u64 + 1..).zip(&batch.entries) {
        if u64::try_from(found.seq) != Ok(seq) {
            return Err(Tampered::Gap(seq));
        }
        let bytes = batch.get(&found.entry).unwrap_or_default();
        let leaf = tree::leaf(bytes);
        if batch.get(&found.leaf) != Some(&leaf.0) {
            return Err(Tampered::Entry(seq));
        }
        Envelope::payload_of(bytes, payload).map_err(|_| Tampered::Entry(seq))?;
        let row = found.record.as_ref();
        let record = row.and_then(|row| std::str::from_utf8(batch.get(&row.record)?).ok());
        let columns: Option<Columns<'_>> =
            record.and_then(|record| serde_json::from_str(record).ok());
        let entry = match record.filter(|_| columns.is_some()) {
            Some(record) => statement::read_expected(payload, record),
            None => statement::read(payload),
        };
        let entry = entry.map_err(|_| Tampered::Entry(seq))?;
        if (entry.place.ledger, entry.place.seq) != (ledger, seq) {
            return Err(Tampered::Chain(seq));
        }
        match checked.leaves.last() {
            None => checked.follows = entry.place.previous,
            Some(before) if entry.place.previous == Some(*before) => {}
            Some(_) => return Err(Tampered::Chain(seq)),
        }
        let job = batch.get(&found.job);
        match entry.content {
            Content::Event(event) => {
                if event.kind == begin::KIND && seq != 1 {
                    return Err(Tampered::Beginning);
                }
                if job.is_some() {
                    return Err(Tampered::Job(seq));
                }
                checked.is_sealed |= event.kind == seal::KIND;
                if event.kind == begin::KIND {
                    checked.begins = Some(event);
                }
            }
            Content::Record(logged) => {
                let columns: Columns<'_> = match columns.filter(|_| record == Some(logged)) {
                    Some(columns) => columns,
                    None => serde_json::from_str(logged).map_err(|_| Tampered::Entry(seq))?,
                };
                if job != Some(columns.job.as_bytes()) {
                    return Err(Tampered::Job(seq));
                }
                let Some(row) = &found.record else {
                    return Err(Tampered::Gone(columns.job.into_owned()));
                };
                if !is_as_logged(batch, row, logged, &columns) {
                    checked.differing.push((found.seq, columns.job.into_owned()));
                }
            }
        }
        checked.leaves.push(leaf);
    }
    Ok(checked)
}

/// The batches so far.
struct All<'a> {
    db: &'a Connection,
    known: &'a [&'a Checkpoint],
    edge: Edge,
    previous: Option<Digest>,
    is_sealed: bool,
}

impl All<'_> {
    /// Adds the next batch; returns what differs in it.
    fn follow(&mut self, checked: Checked) -> Result<Vec<(i64, String)>, LogError> {
        let seq = self.edge.size() + 1;
        if checked.follows != self.previous {
            return Err(Tampered::Chain(seq).into());
        }
        match checked.begins {
            Some(event) => self.is_sealed |= begun(self.db, event)?.is_sealed,
            None if seq == 1 => return Err(Tampered::Beginning.into()),
            None => {}
        }
        self.is_sealed |= checked.is_sealed;
        for leaf in checked.leaves {
            self.edge.push(leaf);
            self.previous = Some(leaf);
            let size = self.edge.size();
            if self.known.iter().any(|known| known.size == size && known.root != self.edge.root()) {
                return Err(Tampered::Forked(size).into());
            }
        }
        Ok(checked.differing)
    }
}

/// What a log's first entry says, if what it vouches for is there.
fn begun(db: &Connection, event: Event) -> Result<Begun, LogError> {
    let begun: Result<Begun, _> = serde_json::from_value(event.detail);
    let Ok(begun) = begun else { return Err(Tampered::Beginning.into()) };
    if begin::base(db)? != (begun.records, begun.records_root) {
        return Err(Tampered::Base.into());
    }
    let kept = begin::kept(db)?;
    match begun.kept.as_ref().is_none_or(|said| *said == kept) {
        true => Ok(begun),
        false => Err(Tampered::Former.into()),
    }
}

/// What of a record stands in columns of its own.
#[derive(Deserialize)]
struct Columns<'a> {
    #[serde(borrow)]
    job: Cow<'a, str>,
    #[serde(borrow)]
    serial: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    opened: Cow<'a, str>,
    #[serde(borrow)]
    identity: Option<Disk<'a>>,
}

#[derive(Deserialize)]
struct Disk<'a> {
    #[serde(borrow)]
    disk_guid: Cow<'a, str>,
}

/// Whether the row of a job is what an entry about it says. A record that was refused may have been opened again since.
fn is_as_logged(batch: &Batch, row: &RecordRow, logged: &str, columns: &Columns<'_>) -> bool {
    if row.verdict.is_none() {
        return columns.verdict.as_deref() == Some("refused");
    }
    let guid = columns.identity.as_ref().map(|identity| &*identity.disk_guid);
    let is = |cell, said: Option<&str>| batch.get(cell) == said.map(str::as_bytes);
    is(&row.record, Some(logged))
        && is(&row.serial, columns.serial.as_deref())
        && is(&row.disk_guid, guid)
        && is(&row.verdict, columns.verdict.as_deref())
        && is(&row.opened, Some(&columns.opened))
}
