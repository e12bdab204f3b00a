//! Writes records that must not be lost: in order, and each again and again until the ledger has it. It is also the one
//! who finds out that the ledger cannot be used, and that it can be again.

use std::collections::VecDeque;
use std::mem::{self, Discriminant};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use model::code::ReasonCode;
use model::failure::{Refusal, chain};
use model::record::Record;
use model::verdict::Verdict;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::ledger::{Ledger, LedgerError};

/// How often the ledger is looked at, and how long to wait before trying again to write to it.
const RETRY: Duration = Duration::from_secs(1);

/// A write that takes longer than this waits for a file system that does not answer. Longer than SQLite waits for other
/// programs that write.
const SILENCE: Duration = Duration::from_secs(15);

/// How long the station, when it ends, waits for a ledger that cannot be written.
const LAST_CHANCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum WriterMessage {
    /// Write a record, and send it back as the ledger has it.
    Write(Box<Record>, Option<Sender<Record>>),
    /// Answer when everything queued before has been written.
    Tell(Sender<()>),
}

/// A thread that writes queued records to the ledger. Clones share the thread.
#[derive(Clone, Debug)]
pub struct RecordWriter(Sender<WriterMessage>);

/// Why the ledger cannot be used; `None` when it can.
pub type Trouble = Option<Refusal>;

impl RecordWriter {
    /// Starts the thread. It calls `report` whenever the ledger has become unusable or usable, and when it is usable
    /// although a drive was refused because it was not.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start(
        ledger: Ledger,
        report: impl Fn(Trouble) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        let (report, since) = (Arc::new(report), Arc::new(Mutex::new(None)));
        let watched = (ledger.clone(), Arc::downgrade(&report), Arc::clone(&since));
        let queue = VecDeque::new();
        // Whoever opened it has said so; its end is this thread's to tell, however soon that is.
        let trouble = ledger.distrust().as_ref().map(mem::discriminant);
        let told = Vec::new();
        let writer = Writer { ledger, since, report, queue, trouble, told, owes: false };
        thread::Builder::new().name("records".into()).spawn(move || writer.run(&messages))?;
        let (ledger, report, since) = watched;
        let watch = move || watch(&ledger, &report, &since);
        thread::Builder::new().name("records/watch".into()).spawn(watch)?;
        Ok(Self(sender))
    }

    /// Queues a record.
    pub fn write(&self, record: Record) {
        // The thread runs as long as a sender exists, so sending cannot fail.
        let _ = self.0.send(WriterMessage::Write(Box::new(record), None));
    }

    /// Writes a record and waits until the ledger has it. Returns it as it is there: a verdict that is there already is not
    /// changed.
    pub fn keep(&self, record: Record) -> Record {
        let (done, told) = mpsc::channel();
        let _ = self.0.send(WriterMessage::Write(Box::new(record.clone()), Some(done)));
        told.recv().unwrap_or(record)
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

/// Since when the writer has been waiting for the ledger.
type Since = Mutex<Option<Instant>>;

/// Says so when the ledger does not answer the writer, which cannot say anything then; ends with the writer.
fn watch<F: Fn(Trouble)>(ledger: &Ledger, report: &Weak<F>, since: &Since) {
    loop {
        thread::sleep(RETRY);
        let Some(report) = report.upgrade() else { return };
        let waits = since.lock().is_some_and(|since| since.elapsed() > SILENCE);
        if waits
            && ledger.fall_silent(true)
            && let Some(error) = ledger.silence()
        {
            tracing::error!("{}; no drive is touched until it answers", chain(&error));
            report(Some(Refusal::of(error.code(), &error).with_hint_of(&error)));
        }
    }
}

struct Writer<F> {
    ledger: Ledger,
    since: Arc<Since>,
    report: Arc<F>,
    queue: VecDeque<WriterMessage>,
    /// Why the ledger could not be used when it was last tried, by its kind.
    trouble: Option<Discriminant<LedgerError>>,
    /// Of which records it was said, since the trouble began, that they wait.
    told: Vec<(Uuid, Option<Verdict>)>,
    /// A drive was refused because the ledger could not be used, and has not been told that it can.
    owes: bool,
}

impl<F: Fn(Trouble)> Writer<F> {
    fn run(mut self, messages: &Receiver<WriterMessage>) {
        loop {
            match messages.recv_timeout(RETRY) {
                Ok(message) => {
                    self.queue.push_back(message);
                    // While there is trouble, the queue waits for the clock.
                    if self.trouble.is_some() && self.queue.len() > 1 {
                        continue;
                    }
                    self.work();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Asks the ledger for something, which the watch sees.
    fn ask<T>(&mut self, question: impl FnOnce(&Ledger) -> T) -> T {
        *self.since.lock() = Some(Instant::now());
        let answer = question(&self.ledger);
        *self.since.lock() = None;
        // Whoever was told of the silence is told of its end.
        self.owes |= !self.ledger.fall_silent(false);
        answer
    }

    /// Looks at the ledger, and goes on writing if it can be used.
    fn look(&mut self) {
        match self.ask(Ledger::check) {
            Ok(()) => self.work(),
            Err(error) => return self.fail(&error),
        }
        if !self.queue.is_empty() {
            return;
        }
        // That the small record of a refusal fits does not say that the next drive's will. A drive that was told so would be
        // begun and refused again and again.
        match self.ask(Ledger::check_room) {
            Ok(()) if self.trouble.is_some() || self.owes => {
                if self.trouble.is_some() {
                    tracing::info!("ledger {}: can be used again", self.ledger.path().display());
                }
                (self.trouble, self.owes) = (None, false);
                (self.report)(None);
            }
            Ok(()) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Writes what is queued, until the ledger takes no more.
    fn work(&mut self) {
        while let Some(message) = self.queue.pop_front() {
            let (record, done) = match message {
                WriterMessage::Write(record, done) => (record, done),
                WriterMessage::Tell(done) => {
                    // The caller of `finish` may have stopped waiting.
                    let _ = done.send(());
                    continue;
                }
            };
            match self.put(*record) {
                Ok(record) => {
                    let code = record.reason.as_ref().map(|reason| reason.code);
                    self.owes |= matches!(
                        code,
                        Some(ReasonCode::LedgerUnavailable | ReasonCode::LedgerTampered)
                    );
                    if let Some(done) = done {
                        let _ = done.send(record);
                    }
                }
                Err((record, error)) => {
                    self.queue.push_front(WriterMessage::Write(record, done));
                    return self.fail(&error);
                }
            }
        }
    }

    /// Writes a record; returns it as the ledger has it.
    fn put(&mut self, record: Record) -> Result<Record, (Box<Record>, LedgerError)> {
        match self.ask(|ledger| ledger.put(&record)) {
            Ok(()) => Ok(record),
            Err(error @ LedgerError::Closed { .. }) => {
                let sentence = record.sentence();
                tracing::error!("{}; not changed to: {sentence}", chain(&error));
                match self.ask(|ledger| ledger.of_job(record.job)) {
                    Ok(Some(kept)) => Ok(kept),
                    Ok(None) => Err((Box::new(record), error)),
                    Err(error) => Err((Box::new(record), error)),
                }
            }
            Err(error) => Err((Box::new(record), error)),
        }
    }

    /// Says once for each reason that the ledger cannot be used, and once of each record that it waits for it.
    fn fail(&mut self, error: &LedgerError) {
        let detail = chain(error);
        let refusal = Refusal::of(error.code(), error).with_hint_of(error);
        let kind = mem::discriminant(error);
        let is_new = self.trouble.replace(kind) != Some(kind);
        if is_new {
            self.told.clear();
            let hint = &refusal.hint;
            tracing::error!(hint, "{detail}; no drive is touched until it can be used");
        }
        for message in &self.queue {
            if let WriterMessage::Write(record, _) = message {
                let one = (record.job, record.verdict);
                if self.told.contains(&one) {
                    continue;
                }
                self.told.push(one);
                let sentence = record.sentence();
                tracing::error!(
                    "{detail}; this record is kept until it can be written: {sentence}"
                );
            }
        }
        if is_new {
            (self.report)(Some(refusal));
        }
    }
}
