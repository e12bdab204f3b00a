//! Looking at files that may not answer: a link in the inbox may lead to a file system that hangs, and so may the inbox.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

/// A look at one file.
type Look = Box<dyn FnOnce() + Send>;

/// So many threads may wait for files that do not answer. With more, nothing new is looked at until one of them does.
const MOST_SILENT: usize = 8;

/// Looks at files on a thread of its own. A thread that waits for a file in the kernel is left behind and replaced; it
/// ends when the file answers.
#[derive(Debug)]
pub(super) struct Looker {
    patience: Duration,
    helper: Option<Sender<Look>>,
    /// The files that do not answer, since when.
    silent: Arc<Mutex<BTreeMap<PathBuf, Timestamp>>>,
}

impl Looker {
    /// One that waits so long for a file.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, helper: None, silent: Arc::default() }
    }

    /// The files that do not answer, since when.
    pub(super) fn silent(&self) -> BTreeMap<PathBuf, Timestamp> {
        self.silent.lock().clone()
    }

    /// What `look` finds at a path; `None` if that does not answer, or has not answered before and still does not.
    pub(super) fn at<T: Send + 'static>(
        &mut self,
        path: &Path,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        {
            let silent = self.silent.lock();
            if silent.contains_key(path) || silent.len() >= MOST_SILENT {
                return None;
            }
        }
        let (found, answer) = channel();
        let (silent, key) = (Arc::clone(&self.silent), path.to_owned());
        let work: Look = Box::new(move || {
            let seen = look();
            // Both under one lock: whoever gives up looks once more for an answer before it calls the file silent.
            let mut silent = silent.lock();
            silent.remove(&key);
            let _ = found.send(seen);
        });
        self.helper()?.send(work).ok()?;
        if let Ok(seen) = answer.recv_timeout(self.patience) {
            return Some(seen);
        }
        let mut silent = self.silent.lock();
        if let Ok(seen) = answer.try_recv() {
            return Some(seen);
        }
        silent.insert(path.to_owned(), Timestamp::now());
        self.helper = None;
        drop(silent);
        let path = path.display();
        tracing::warn!(%path, "{path} does not answer; the other files are looked at without it");
        None
    }

    fn helper(&mut self) -> Option<&Sender<Look>> {
        if self.helper.is_none() {
            let (sender, looks) = channel::<Look>();
            let work = move || looks.into_iter().for_each(|look| look());
            match thread::Builder::new().name("inbox/look".into()).spawn(work) {
                Ok(_) => self.helper = Some(sender),
                Err(error) => tracing::warn!("cannot start a thread to look at files: {error}"),
            }
        }
        self.helper.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_answer_holds_up_no_other() {
        let mut looker = Looker::new(Duration::from_millis(50));
        let (open, gate) = channel::<()>();
        assert_eq!(looker.at(Path::new("/good"), || 1), Some(1));
        let hang = move || gate.recv().is_err();
        assert!(looker.at(Path::new("/stuck"), hang).is_none());
        assert!(looker.silent().contains_key(Path::new("/stuck")));
        assert_eq!(looker.at(Path::new("/good"), || 2), Some(2));
        assert_eq!(looker.at(Path::new("/stuck"), || 3), None, "not waited for again");
        drop(open);
        while !looker.silent().is_empty() {
            thread::yield_now();
        }
        assert_eq!(looker.at(Path::new("/stuck"), || 4), Some(4));
    }

    #[test]
    fn no_more_threads_wait_than_allowed() {
        let mut looker = Looker::new(Duration::from_millis(1));
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for number in 0..2 * MOST_SILENT {
            let gate = Arc::clone(&gate);
            let hang = move || gate.lock().recv().is_err();
            assert!(looker.at(&PathBuf::from(format!("/{number}")), hang).is_none());
        }
        assert_eq!(looker.silent().len(), MOST_SILENT);
        drop(open);
    }
}
