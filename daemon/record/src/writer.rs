//! Writes records that must not be lost: in order, and each again and again until the ledger has it.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use model::failure::chain;
use model::record::Record;

use crate::ledger::Ledger;

/// How long to wait before trying again to write to the ledger.
const RETRY: Duration = Duration::from_secs(1);

/// How long the station, when it ends, waits for a ledger that cannot be written.
const LAST_CHANCE: Duration = Duration::from_secs(5);

enum WriterMessage {
    Write(Box<Record>),
    /// Answer when everything queued before has been written.
    Tell(Sender<()>),
}

/// A thread that writes queued records to the ledger. Clones share the thread.
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
    /// If the system cannot create a thread.
    pub fn start(ledger: Ledger) -> std::io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        let work = move || {
            for message in messages {
                match message {
                    WriterMessage::Write(record) => keep(&ledger, &record),
                    // The caller of `finish` may have stopped waiting.
                    WriterMessage::Tell(done) => drop(done.send(())),
                }
            }
        };
        thread::Builder::new().name("records".into()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Queues a record.
    pub fn write(&self, record: Record) {
        // The thread runs as long as a sender exists, so sending cannot fail.
        let _ = self.0.send(WriterMessage::Write(Box::new(record)));
    }

    /// Waits until everything queued so far is in the ledger, for a few seconds at most.
    pub fn finish(&self) {
        let (done, told) = mpsc::channel();
        let _ = self.0.send(WriterMessage::Tell(done));
        if told.recv_timeout(LAST_CHANCE).is_err() {
            tracing::error!("records could not be written before the end; the log has them");
        }
    }
}

/// Writes a record that must not be lost. The caller waits until the ledger has it.
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
