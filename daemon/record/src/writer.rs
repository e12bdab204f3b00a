//! Writing records that must not be lost: in order, again and again until the ledger takes them.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use model::failure::chain;
use model::record::Record;

use crate::ledger::Ledger;

/// How long to wait before a ledger that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long the station's end may wait for a ledger that cannot be written.
const LAST_CHANCE: Duration = Duration::from_secs(5);

enum WriterMessage {
    Write(Box<Record>),
    Tell(Sender<()>),
}

/// A thread that writes records. Clones share it.
#[derive(Clone, Debug)]
pub struct RecordWriter(Sender<WriterMessage>);

impl std::fmt::Debug for WriterMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriterMessage")
    }
}

impl RecordWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(ledger: Ledger) -> std::io::Result<Self> {
        let (sender, orders) = mpsc::channel();
        let work = move || {
            for order in orders {
                match order {
                    WriterMessage::Write(record) => keep(&ledger, &record),
                    // Whoever asked may have stopped waiting.
                    WriterMessage::Tell(done) => drop(done.send(())),
                }
            }
        };
        thread::Builder::new().name("records".into()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Queues a record.
    pub fn write(&self, record: Record) {
        // The thread runs as long as anybody can ask it to write.
        let _ = self.0.send(WriterMessage::Write(Box::new(record)));
    }

    /// Waits until everything queued so far is in the ledger, or for a while.
    pub fn finish(&self) {
        let (done, told) = mpsc::channel();
        let _ = self.0.send(WriterMessage::Tell(done));
        if told.recv_timeout(LAST_CHANCE).is_err() {
            tracing::error!("records could not be written before the end; the log has them");
        }
    }
}

/// Writes a record that must not be lost: until it is written the caller waits.
pub fn keep(ledger: &Ledger, record: &Record) {
    let mut complained = false;
    while let Err(error) = ledger.put(record) {
        if !complained {
            let detail = chain(&error);
            let sentence = record.sentence();
            tracing::error!("{detail}; this record is kept until it can be written: {sentence}");
            complained = true;
        }
        thread::park_timeout(RETRY);
    }
}
