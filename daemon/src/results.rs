//! The folder of results: a JSON file for each closed record, by a rename, for whoever takes them away. A folder that is full
//! or gone loses nothing: what is due stays so in the ledger until it is written.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use model::failure::chain;
use record::ledger::{Ledger, LedgerError};
use record::results::Due;

/// How often it is looked whether there is something to write.
const ROUND: Duration = Duration::from_millis(500);

/// Why a result cannot be handed on.
#[derive(Debug, thiserror::Error)]
enum ResultError {
    #[error("{path}: cannot be written")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Hands results on, on a thread of its own, until `report` returns `false`. `report` is called with what is wrong, and with
/// nothing when that is over.
///
/// # Errors
/// If the system cannot create a thread.
pub(crate) fn start(
    ledger: Ledger,
    folder: PathBuf,
    report: impl Fn(Option<String>) -> bool + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let mut trouble: Option<String> = None;
        loop {
            let now = hand_on(&ledger, &folder).err().map(|error| chain(&error));
            if now != trouble {
                if let Some(now) = &now {
                    tracing::error!("results: {now}; they are kept until they can be written");
                }
                if !report(now.clone()) {
                    return;
                }
                trouble = now;
            }
            thread::sleep(ROUND);
        }
    };
    thread::Builder::new().name("results".into()).spawn(work).map(|_| ())
}

/// Writes everything that is due.
fn hand_on(ledger: &Ledger, folder: &Path) -> Result<(), ResultError> {
    loop {
        let due = ledger.results_due()?;
        if due.is_empty() {
            return Ok(());
        }
        for one in due {
            write(ledger, folder, one)?;
            ledger.result_done(one)?;
        }
    }
}

fn write(ledger: &Ledger, folder: &Path, due: Due) -> Result<(), ResultError> {
    // What cannot be read is named by `records`; it must not hold up the others.
    let Ok(Some(record)) = ledger.of_job(due.job) else { return Ok(()) };
    if record.verdict.is_none() {
        return Ok(());
    }
    let mut result = serde_json::to_value(&record).unwrap_or_default();
    // What others keep of the log shows what is missing from it later.
    if let (Some(fields), Some(checkpoint)) = (result.as_object_mut(), ledger.checkpoint()) {
        fields.insert("checkpoint".into(), checkpoint.into());
    }
    let text = serde_json::to_vec_pretty(&result).unwrap_or_default();
    let path = folder.join(format!("{}.json", record.job));
    put(folder, &path, &text).map_err(|source| ResultError::Write { path, source })
}

/// Makes the file whole, or not at all.
fn put(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = folder.join(".result.new");
    let made = || {
        let mut file = parcel::fresh_file(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(folder)?.sync_all()
    };
    made().inspect_err(|_| drop(fs::remove_file(&fresh)))
}
