//! `ledger backup`: a copy of the ledger, made while the daemon uses it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use http_body_util::BodyExt as _;
use model::failure::chain;
use model::units::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::json;

use super::client::Client;
use super::output::Output;
use super::progress::Progress;
use super::{ClientError, CommandError, exit};

#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// Copy the ledger as it is at this moment to a new file, readable to you alone.
    Backup {
        /// File to be made; there must be none yet.
        file: PathBuf,
    },
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    path: &Path,
) -> Result<u8, CommandError> {
    let failed = |doing: &str, error: &io::Error| {
        let text = format!("cannot {doing} {}: {}", path.display(), chain(error));
        CommandError::new(exit::FAILED, text)
    };
    if fs::symlink_metadata(path).is_ok() {
        let text = format!("{} is there already; nothing was written", path.display());
        let error = CommandError::new(exit::REFUSED, text);
        return Err(error.with_hint("name another file, or remove that one"));
    }
    let mut response = client.post_raw("/v1/ledger/backup", &json!({})).await?;
    let length = response.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0_u64);
    let fresh = Fresh::create(path).map_err(|error| failed("make", &error))?;
    let bar = Progress::new("backup", !out.json);
    let mut come = 0_u64;
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(ClientError::from)?;
        let Ok(data) = frame.into_data() else { continue };
        (&fresh.file).write_all(&data).map_err(|error| failed("write", &error))?;
        come += Bytes::of(data.len()).0;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        bar.set(come as f64 * 100.0 / length.max(1) as f64, Bytes(come).to_string());
    }
    if come != length || length == 0 {
        let text = format!("the backup broke off after {} of {}", Bytes(come), Bytes(length));
        return Err(CommandError::new(exit::FAILED, text));
    }
    fresh.take(path).map_err(|error| failed("make", &error))?;
    drop(bar);
    out.done(&format!("{} is a whole copy of the ledger, {}", path.display(), Bytes(length)))
}

/// The file while it is written. What is not finished goes when this is dropped.
struct Fresh {
    path: PathBuf,
    file: File,
}

impl Fresh {
    #[expect(clippy::disallowed_methods, reason = "a file that the user names")]
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let path = PathBuf::from(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }

    /// Gives it its name, which nothing has taken meanwhile.
    fn take(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            // A file system that cannot promise that.
            Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(path).is_err() => {
                fs::rename(&self.path, path)?;
            }
            renamed => renamed?,
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // It is gone when it was given its name.
        let _ = fs::remove_file(&self.path);
    }
}
