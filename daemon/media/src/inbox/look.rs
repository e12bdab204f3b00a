//! Looking at files that may not answer: a link in the inbox may lead to a file system that hangs, and so may the inbox.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::lease::leave_descriptors;

/// So many threads may wait for files that do not answer. With more, nothing new is looked at until one of them does.
const MOST_SILENT: usize = 8;

/// Looks at files on a thread of its own. A thread that waits for a file in the kernel is left behind and replaced; it
/// ends when the file answers.
#[derive(Debug)]
pub(super) struct Looker {
    patience: Duration,
    /// The files that do not answer, since when.
    silent: Arc<Mutex<BTreeMap<PathBuf, Timestamp>>>,
}

impl Looker {
    /// One that waits so long for a file.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, silent: Arc::default() }
    }

    /// The files that do not answer, since when.
    pub(super) fn silent(&self) -> BTreeMap<PathBuf, Timestamp> {
        self.silent.lock().clone()
    }

    /// What `look` finds at a path; `None` if that does not answer, or has not answered before and still does not.
    pub(super) fn at<T: Send + 'static>(
        &self,
        path: &Path,
        look: impl Fn(&Path) -> T + Send + Clone + 'static,
    ) -> Option<T> {
        self.all(vec![path.to_owned()], look).into_iter().find_map(|(_, seen)| seen)
    }

    /// What `look` finds at each of these paths, as [`Looker::at`] does. The thread that looks runs ahead, so that many
    /// files do not take as many turns of two threads.
    pub(super) fn all<T: Send + 'static>(
        &self,
        paths: Vec<PathBuf>,
        look: impl Fn(&Path) -> T + Send + Clone + 'static,
    ) -> Vec<(PathBuf, Option<T>)> {
        let (known, left): (Vec<_>, Vec<_>) = {
            let silent = self.silent.lock();
            paths.into_iter().partition(|path| silent.contains_key(path))
        };
        let mut left = VecDeque::from(left);
        let mut all: Vec<(PathBuf, Option<T>)> =
            known.into_iter().map(|path| (path, None)).collect();
        while !left.is_empty() {
            if self.silent.lock().len() >= MOST_SILENT {
                all.extend(left.drain(..).map(|path| (path, None)));
                break;
            }
            let seen = self.start(left.iter().cloned().collect(), look.clone());
            while let Some(path) = left.pop_front() {
                let Some(found) = self.wait(&seen, &path) else {
                    all.push((path, None));
                    break;
                };
                all.push((path, Some(found)));
            }
        }
        all
    }

    /// Starts a thread that looks at one path after the other, until nobody waits for what it finds.
    fn start<T: Send + 'static>(
        &self,
        paths: Vec<PathBuf>,
        look: impl Fn(&Path) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (found, seen) = channel();
        let silent = Arc::clone(&self.silent);
        let work = move || {
            leave_descriptors();
            for path in paths {
                let what = look(&path);
                // Both under one lock: whoever gives up looks once more for an answer before it calls a file silent.
                let mut silent = silent.lock();
                silent.remove(&path);
                if found.send(what).is_err() {
                    return;
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("inbox/look".into()).spawn(work) {
            tracing::warn!("cannot start a thread to look at files: {error}");
        }
        seen
    }

    /// What was found at the next path, if that answers.
    fn wait<T>(&self, seen: &Receiver<T>, path: &Path) -> Option<T> {
        if let Ok(found) = seen.recv_timeout(self.patience) {
            return Some(found);
        }
        let mut silent = self.silent.lock();
        if let Ok(found) = seen.try_recv() {
            return Some(found);
        }
        silent.insert(path.to_owned(), Timestamp::now());
        drop(silent);
        let path = path.display();
        tracing::warn!(%path, "{path} does not answer; the other files are looked at without it");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_answer_holds_up_no_other() {
        let looker = Looker::new(Duration::from_millis(200));
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let look = move |path: &Path| {
            if path.ends_with("stuck") {
                assert!(gate.lock().recv().is_err());
            }
            path.to_string_lossy().into_owned()
        };
        let paths = ["/a", "/stuck", "/b"].map(PathBuf::from).to_vec();
        let found = |looker: &Looker| {
            let mut all = looker.all(paths.clone(), look.clone());
            all.sort();
            all.into_iter().filter_map(|(_, seen)| seen).collect::<Vec<_>>()
        };
        assert_eq!(found(&looker), ["/a", "/b"]);
        assert!(looker.silent().contains_key(Path::new("/stuck")));
        assert_eq!(found(&looker), ["/a", "/b"], "not waited for again");
        drop(open);
        while !looker.silent().is_empty() {
            thread::yield_now();
        }
        assert_eq!(found(&looker), ["/a", "/b", "/stuck"]);
    }

    #[test]
    fn no_more_threads_wait_than_allowed() {
        let looker = Looker::new(Duration::from_millis(1));
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let hang = move |_: &Path| gate.lock().recv().is_err();
        let paths = (0..2 * MOST_SILENT).map(|number| PathBuf::from(format!("/{number}")));
        let seen = looker.all(paths.collect(), hang);
        assert!(seen.len() == 2 * MOST_SILENT && seen.iter().all(|(_, seen)| seen.is_none()));
        assert_eq!(looker.silent().len(), MOST_SILENT);
        drop(open);
    }
}
