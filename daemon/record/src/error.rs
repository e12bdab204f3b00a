//! A ledger that cannot be used, and what would make it right.

use std::io;
use std::path::{Path, PathBuf};

use model::code::{DenialCode, ReasonCode};
use model::failure::{Denial, Refusal};
use model::hint::Hint;
use model::units::Bytes;
use model::verdict::Verdict;
use rusqlite::ErrorCode;

use crate::ledger::VERSION;
use crate::log::LogError;

/// A ledger that cannot be used. Every message begins with the ledger's file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LedgerError {
    /// The file cannot be opened or is not a ledger.
    #[error("ledger {path}: cannot open it")]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error(
        "ledger {path}: written by a newer prestaged (schema {found}, this one knows {})",
        VERSION
    )]
    Newer { path: PathBuf, found: i64 },
    #[error("ledger {path}: another prestaged uses it")]
    Locked { path: PathBuf },
    #[error("ledger {path}: it is not a file")]
    NotAFile { path: PathBuf },
    /// What writes to the ledger has been waiting in the kernel for a long time.
    #[error(
        "ledger {path}: what is written to it has not got there for a long time; its file system, or that of the store, \
         does not answer"
    )]
    Silent { path: PathBuf },
    /// The file is a database of another program.
    #[error("ledger {path}: it is another program's database")]
    Foreign { path: PathBuf },
    /// The ledger's file, or a file or folder beside it.
    #[error("ledger {path}: cannot {doing}")]
    File {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("ledger {path}: cannot {doing}")]
    Query {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    /// Where a ledger should be, there is none, or an empty one.
    #[error(
        "ledger {path}: it is missing or empty, but this station has written {rows} records to it, the last one of job {last}"
    )]
    Missing { path: PathBuf, rows: u64, last: String },
    /// The file lacks the last record that the station has written.
    #[error(
        "ledger {path}: it is older than the station's last record, of job {last}: it has {found} records, the station has written {rows}"
    )]
    Older { path: PathBuf, found: u64, rows: u64, last: String },
    /// What is left of its file system is kept for drives that are being imaged.
    #[error(
        "ledger {path}: its file system is full: {left} are left, and a drive is begun only with {least}"
    )]
    Full { path: PathBuf, left: Bytes, least: Bytes },
    /// The file at the path is gone, and still exists elsewhere.
    #[error("ledger {path}: it was moved away, or its file system was, while the station used it")]
    Moved { path: PathBuf },
    /// Another program has written into the file, past SQLite.
    #[error(
        "ledger {path}: another program has overwritten it while the station used it ({damage})"
    )]
    Overwritten { path: PathBuf, damage: String },
    /// The job's record has another verdict already, which nothing changes.
    #[error("ledger {path}: the record of job {job} is closed as {verdict}")]
    Closed { path: PathBuf, job: String, verdict: Verdict },
    /// Somebody has changed it. It is not built upon until a person has looked at that.
    #[error("ledger {path}: {found}")]
    Tampered { path: PathBuf, found: String },
    /// A long log takes a while after the start.
    #[error("ledger {path}: its log is being verified; no drive is touched until that is done")]
    Verifying { path: PathBuf },
    /// Somebody has changed its tables, so that it cannot even be read.
    #[error("ledger {path}: somebody has changed it: {found}")]
    Changed { path: PathBuf, found: String },
    #[error("ledger {path}: cannot {doing}")]
    Log {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: LogError,
    },
    /// The drive's order has no place for it.
    #[error("{}", refusal.detail)]
    Order { refusal: Box<Refusal> },
    /// A row does not hold a record, or a record cannot be made into a row.
    #[error("ledger {path}: the record of job {job} cannot be read")]
    Row {
        path: PathBuf,
        job: String,
        #[source]
        source: serde_json::Error,
    },
}

impl LedgerError {
    /// Why a drive is refused that needs the ledger.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Tampered { .. } | Self::Changed { .. } => ReasonCode::LedgerTampered,
            Self::Order { refusal } => refusal.code,
            _ => ReasonCode::LedgerUnavailable,
        }
    }

    /// The answer to a request that needs the ledger.
    pub fn denial(&self) -> Denial {
        let code = match self {
            Self::Tampered { .. } | Self::Changed { .. } => DenialCode::LedgerTampered,
            _ => DenialCode::LedgerUnavailable,
        };
        Denial::of(code, self).with_hint_of(self)
    }

    /// Whether it may be over by itself: another program keeps the ledger locked.
    pub fn is_passing(&self) -> bool {
        let (Self::Open { source, .. } | Self::Query { source, .. }) = self else { return false };
        let code = source.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// The file, if SQLite says that it is damaged.
    fn damage(&self) -> Option<&PathBuf> {
        let (Self::Open { path, source } | Self::Query { path, source, .. }) = self else {
            return None;
        };
        is_damage(source).then_some(path)
    }
}

/// Whether SQLite says that the file itself is damaged.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// How to get at the records of a damaged ledger.
fn recovery(path: &Path) -> String {
    let path = path.display();
    // Debian's sqlite3 is built without what `.recover` needs, and `.dump` leaves the version out.
    format!(
        "check that ledger.path is right; then stop the station, keep a copy of {path}*, and put a backup in its place, or \
         what `{{ sqlite3 {path} .dump | sed 's/^ROLLBACK.*/COMMIT;/'; echo 'PRAGMA user_version = {VERSION};'; }} | \
         sqlite3 NEW` saves, and say `prestaged --ledger found`; or begin a new one with `prestaged --ledger new`, which \
         sets it aside"
    )
}

impl Hint for LedgerError {
    fn hint(&self) -> Option<String> {
        if let Some(path) = self.damage() {
            return Some(recovery(path));
        }
        if self.is_passing() {
            return Some("end the program that keeps it locked, which `fuser` names".into());
        }
        let hint = match self {
            Self::Open { .. } | Self::File { .. } => {
                "check ledger.path, its folder, its permissions and free space".into()
            }
            Self::Newer { .. } => "install the prestaged that wrote it, or a newer one".into(),
            Self::Locked { .. } => {
                "end the other one; a second station beside it needs a socket, a store, a ledger and bays of its own"
                    .into()
            }
            Self::Silent { .. } => {
                "see what their disks wait for; the station goes on by itself when they answer".into()
            }
            Self::Foreign { .. } => "correct ledger.path, or move that file away; nothing was changed there".into(),
            Self::NotAFile { .. } => "ledger.path names the ledger's file itself".into(),
            Self::Tampered { .. } => "keep a copy and find out who has changed it; then `prestagectl log acknowledge --reason TEXT`".into(),
            Self::Changed { .. } => {
                "keep a copy and find out who has changed it; then stop the station, put a backup in its place and say \
                 `prestaged --ledger found`, or begin a new one with `prestaged --ledger new`, which sets it aside"
                    .into()
            }
            Self::Verifying { .. } => "wait; the station goes on by itself".into(),
            Self::Full { .. } => "make room there (ledger.path); the station goes on by itself".into(),
            Self::Log { .. } | Self::Query { .. } => {
                "check that the ledger's file system is there, writable and not full".into()
            }
            Self::Missing { .. } => {
                "put it back, from a backup if need be (ledger.path); or begin a new one with `prestaged --ledger new`"
                    .into()
            }
            Self::Older { .. } => {
                "put the newest copy there; or, if this is the newest, end the station and take it with `prestaged --ledger found`".into()
            }
            Self::Moved { path } => format!("put it back to {}; the station goes on by itself", path.display()),
            Self::Overwritten { path, .. } => recovery(path),
            Self::Closed { .. } => return None,
            Self::Order { refusal } => return refusal.hint.clone(),
            Self::Row { path, job, .. } => format!(
                "see `sqlite3 {} \"SELECT record FROM records WHERE job = '{job}'\"`",
                path.display()
            ),
        };
        Some(hint)
    }
}
