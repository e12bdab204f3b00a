//! All entries of the log, each compared with the record that it is about. One thread reads the database; hashing the
//! entries and reading their JSON takes several times as long, and is done by as many threads as there are processors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use evidence::checkpoint::Checkpoint;
use evidence::statement::{self, Content, Event};
use evidence::tree::{self, Edge};
use model::digest::Digest;
use rusqlite::{Connection, Row};
use serde::Deserialize;
use signing::Envelope;
use uuid::Uuid;

use super::begin::{self, Begun};
use super::verify::{Tampered, text};
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
    let mut all = All { db, known, edge: Edge::default(), previous: None, is_sealed: false };
    let mut differing = Vec::new();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            let (batches, results) = (batches.clone(), results.clone());
            scope.spawn(move || look_at(ledger, &batches, &results));
        }
        drop((batches, results));
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
        read(db, |batch| {
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

/// Entries that follow one another.
struct Batch {
    /// Counted from 0; all but the last have [`BATCH`] entries.
    number: usize,
    entries: Vec<Found>,
}

/// An entry as it stands in the database.
struct Found {
    seq: i64,
    job: Option<String>,
    entry: Vec<u8>,
    leaf: Vec<u8>,
    /// The row of its job.
    record: Option<RecordRow>,
}

struct RecordRow {
    record: Option<String>,
    serial: Option<String>,
    disk_guid: Option<String>,
    verdict: Option<String>,
    opened: Option<String>,
}

impl Found {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |column| text(row, column).map(str::to_owned);
        let blob = |column| {
            let cell = row.get_ref(column)?;
            Ok::<_, rusqlite::Error>(cell.as_blob().unwrap_or_default().to_owned())
        };
        let record = text(4).map(|_| RecordRow {
            record: text(5),
            serial: text(6),
            disk_guid: text(7),
            verdict: text(8),
            opened: text(9),
        });
        Ok(Self { seq: row.get(0)?, job: text(1), entry: blob(2)?, leaf: blob(3)?, record })
    }
}

/// Reads all entries in their order, and gives them to `each` by the batch.
fn read(
    db: &Connection,
    mut each: impl FnMut(Batch) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut statement = db.prepare(SQL)?;
    let mut found = statement.query_map([], Found::of)?;
    for number in 0.. {
        let entries = found.by_ref().take(BATCH).collect::<Result<Vec<_>, _>>()?;
        if entries.is_empty() {
            break;
        }
        each(Batch { number, entries })?;
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
) {
    for Batch { number, entries } in batches {
        let checked = check(ledger, number, &entries).map_err(LogError::from);
        if results.send((number, checked)).is_err() {
            return;
        }
    }
}

fn check(ledger: Uuid, number: usize, entries: &[Found]) -> Result<Checked, Tampered> {
    let mut checked = Checked {
        follows: None,
        leaves: Vec::with_capacity(entries.len()),
        begins: None,
        is_sealed: false,
        differing: Vec::new(),
    };
    for (seq, found) in (number as u64 * BATCH as u64 + 1..).zip(entries) {
        if u64::try_from(found.seq) != Ok(seq) {
            return Err(Tampered::Gap(seq));
        }
        let leaf = tree::leaf(&found.entry);
        if found.leaf != leaf.0 {
            return Err(Tampered::Entry(seq));
        }
        let payload = Envelope::payload_of(&found.entry).map_err(|_| Tampered::Entry(seq))?;
        let entry = statement::read(&payload).map_err(|_| Tampered::Entry(seq))?;
        if (entry.place.ledger, entry.place.seq) != (ledger, seq) {
            return Err(Tampered::Chain(seq));
        }
        match checked.leaves.last() {
            None => checked.follows = entry.place.previous,
            Some(before) if entry.place.previous == Some(*before) => {}
            Some(_) => return Err(Tampered::Chain(seq)),
        }
        let job = match entry.content {
            Content::Event(event) if event.kind == begin::KIND => {
                if seq != 1 {
                    return Err(Tampered::Beginning);
                }
                checked.begins = Some(event);
                None
            }
            Content::Event(event) => {
                checked.is_sealed |= event.kind == seal::KIND;
                None
            }
            Content::Record(logged) => {
                let columns: Columns<'_> =
                    serde_json::from_str(&logged).map_err(|_| Tampered::Entry(seq))?;
                let job = columns.job.clone().into_owned();
                if found.job.as_ref() == Some(&job) {
                    let Some(row) = &found.record else { return Err(Tampered::Gone(job)) };
                    if !is_as_logged(row, &logged, &columns) {
                        checked.differing.push((found.seq, job.clone()));
                    }
                }
                Some(job)
            }
        };
        if found.job != job {
            return Err(Tampered::Job(seq));
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
fn is_as_logged(row: &RecordRow, logged: &str, columns: &Columns<'_>) -> bool {
    if row.verdict.is_none() {
        return columns.verdict.as_deref() == Some("refused");
    }
    let guid = columns.identity.as_ref().map(|identity| &*identity.disk_guid);
    row.record.as_deref() == Some(logged)
        && row.serial.as_deref() == columns.serial.as_deref()
        && row.disk_guid.as_deref() == guid
        && row.verdict.as_deref() == columns.verdict.as_deref()
        && row.opened.as_deref() == Some(&*columns.opened)
}
