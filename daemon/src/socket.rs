//! The control socket in the file system: made without taking the place of anything but a dead socket of our own, and
//! removed only while it is still the one that was made.
//!
//! The socket is bound beside its place, under a hidden name, gets group and mode there, and is put into its place by
//! one rename that replaces nothing, or that swaps it with a dead socket. What was swapped out is looked at again, so
//! that nothing which came between the look and the swap is lost.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::hint::Hint;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// A control socket that cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("another prestaged answers on {0}")]
    InUse(PathBuf),
    #[error("control.socket {path}: there is {found}, which prestaged did not make")]
    InTheWay { path: PathBuf, found: &'static str },
    #[error("control.socket {path}: cannot {doing}")]
    Io {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Hint for SocketError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse(_) => {
                Some(
                "end the other one; a second station beside it needs a socket, a store, a ledger and bays of its own"
                    .into(),
            )
            }
            Self::InTheWay { .. } => Some(
                "it was left as it is; remove it if nobody needs it, or name another place (control.socket)"
                    .into(),
            ),
            Self::Io { .. } => None,
        }
    }
}

/// How long a socket may answer although its station was killed. What the station was about to start has all of its
/// descriptors until it becomes another program: its sockets, and its locks on ledger and store.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file's device and inode.
type FileId = (u64, u64);

/// Device and inode of what stands at a path itself, where a link leads nowhere; `None` if nothing does.
fn identity(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The control socket, in its place.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    made: FileId,
}

impl ControlSocket {
    /// Makes the socket, for members of `group` if there is one, with these permissions. Its folder exists.
    ///
    /// # Errors
    /// [`SocketError`]; whatever stands in the socket's place is left as it is.
    pub(crate) async fn make(
        path: &Path,
        group: Option<u32>,
        mode: u32,
    ) -> Result<(Self, UnixListener), SocketError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |source| SocketError::Io { path, doing, source }
        };
        let dead = dead_socket(path).await?;
        let aside = path.with_file_name(format!(".p{}", std::process::id()));
        // Left by a station with this process number that was killed in this moment. Nobody else uses such names.
        if fs::symlink_metadata(&aside).is_ok_and(|meta| meta.file_type().is_socket()) {
            fs::remove_file(&aside).map_err(failed("replace an earlier one"))?;
        }
        let listener = UnixListener::bind(&aside).map_err(failed("listen there"))?;
        let placed = Self::put(path, &aside, group, mode, dead).await;
        if placed.is_err() {
            let _ = fs::remove_file(&aside);
        }
        Ok((placed?, listener))
    }

    /// Puts the socket that was bound at `aside` into its place.
    async fn put(
        path: &Path,
        aside: &Path,
        group: Option<u32>,
        mode: u32,
        dead: Option<FileId>,
    ) -> Result<Self, SocketError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |source| SocketError::Io { path, doing, source }
        };
        chown(aside, None, group).map_err(failed("give it to its group (control.group)"))?;
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(aside, mode).map_err(failed("set its mode"))?;
        let made = identity(aside).ok_or(io::ErrorKind::NotFound.into());
        let made = made.map_err(failed("look at it"))?;
        match dead {
            None => place(path, aside).await?,
            Some(dead) => swap(path, aside, dead).await?,
        }
        Ok(Self { path: path.to_owned(), made })
    }

    /// Removes the socket, if it still stands in its place.
    pub(crate) fn remove(self) {
        if identity(&self.path) == Some(self.made) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Fails if a station answers on a socket, and goes on doing so for [`PATIENCE`].
///
/// # Errors
/// [`SocketError::InUse`].
pub(crate) async fn refuse_second(path: &Path) -> Result<(), SocketError> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(()),
        }
        if start.elapsed() >= PATIENCE {
            return Err(SocketError::InUse(path.to_owned()));
        }
        sleep(PATIENCE / 40).await;
    }
}

/// The socket at a path, if it is one that a station like this has left: nobody answers there, and it belongs to the
/// station's user. `None` if there is nothing at all.
async fn dead_socket(path: &Path) -> Result<Option<FileId>, SocketError> {
    let in_the_way = |found| Err(SocketError::InTheWay { path: path.to_owned(), found });
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SocketError::Io { path: path.to_owned(), doing: "look at it", source });
        }
    };
    let kind = meta.file_type();
    if !kind.is_socket() {
        return in_the_way(match () {
            () if kind.is_symlink() => "a link",
            () if kind.is_dir() => "a folder",
            () if kind.is_file() => "a file",
            () => "no socket",
        });
    }
    // This does not wait: where the queue of one that takes no connections at the moment is full, it says so.
    match UnixStream::connect(path).await {
        Ok(_) => return Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(SocketError::InUse(path.to_owned()));
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        // A socket of another type: somebody is there.
        Err(_) => return in_the_way("a socket of another program"),
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return in_the_way("a socket of another user");
    }
    Ok(Some((meta.dev(), meta.ino())))
}

/// Puts the socket into its place, where nothing is.
async fn place(path: &Path, aside: &Path) -> Result<(), SocketError> {
    let placed = match renameat_with(CWD, aside, CWD, path, RenameFlags::NOREPLACE) {
        // Not every file system knows how; a link replaces nothing either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(aside, path).and_then(|()| fs::remove_file(aside))
        }
        other => other.map_err(Into::into),
    };
    match placed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(came_meanwhile(path).await)
        }
        Err(source) => {
            Err(SocketError::Io { path: path.to_owned(), doing: "put it there", source })
        }
    }
}

/// Puts the socket into the place of a dead one.
async fn swap(path: &Path, aside: &Path, dead: FileId) -> Result<(), SocketError> {
    let exchange = || renameat_with(CWD, aside, CWD, path, RenameFlags::EXCHANGE);
    match exchange() {
        Ok(()) if identity(aside) == Some(dead) => {
            let _ = fs::remove_file(aside);
            Ok(())
        }
        Ok(()) => {
            // Somebody has put something else there since; it gets its place back.
            let _ = exchange();
            Err(came_meanwhile(path).await)
        }
        // The dead one is gone.
        Err(Errno::NOENT) => place(path, aside).await,
        Err(Errno::INVAL | Errno::NOSYS) => Err(SocketError::InTheWay {
            path: path.to_owned(),
            found: "a socket nobody listens on",
        }),
        Err(error) => {
            let (path, doing) = (path.to_owned(), "put it there");
            Err(SocketError::Io { path, doing, source: error.into() })
        }
    }
}

/// What to say of something that was not there a moment ago: most likely a station that starts at the same time.
async fn came_meanwhile(path: &Path) -> SocketError {
    match dead_socket(path).await {
        Err(error) => error,
        Ok(_) => SocketError::InUse(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    async fn make(path: &Path) -> Result<(ControlSocket, UnixListener), SocketError> {
        ControlSocket::make(path, None, 0o600).await
    }

    fn left(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn only_a_dead_socket_of_ours_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (socket, _listener) = make(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(make(&path).await, Err(SocketError::InUse(_))));
        socket.remove();
        assert_eq!(left(folder.path()), [""; 0]);
        drop(StdListener::bind(&path).unwrap());
        let (socket, _listener) = make(&path).await.unwrap();
        assert_eq!(left(folder.path()), ["s"]);
        // Somebody has replaced it: then it is not ours to remove.
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        socket.remove();
        assert_eq!(left(folder.path()), ["s"]);
    }

    #[tokio::test]
    async fn what_a_killed_station_has_left_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        refuse_second(&path).await.unwrap();
        let held = StdListener::bind(&path).unwrap();
        assert!(matches!(refuse_second(&path).await, Err(SocketError::InUse(_))));
        let (answer, ()) = tokio::join!(refuse_second(&path), async {
            sleep(PATIENCE / 10).await;
            drop(held);
        });
        answer.unwrap();
    }

    #[tokio::test]
    async fn what_is_in_the_way_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, inner) = ("file", "link", "inner");
        let at = |name: &str| folder.path().join(name);
        #[expect(clippy::disallowed_methods, reason = "a file of the test")]
        fs::write(at(file), "precious").unwrap();
        std::os::unix::fs::symlink(at("gone"), at(link)).unwrap();
        fs::create_dir(at(inner)).unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::bind(at("datagrams")).unwrap();
        for name in [file, link, inner, "datagrams"] {
            let before = identity(&at(name));
            assert!(matches!(make(&at(name)).await, Err(SocketError::InTheWay { .. })), "{name}");
            assert_eq!(identity(&at(name)), before);
        }
        assert_eq!(left(folder.path()).len(), 4, "nothing is left beside them");
        drop(datagrams);
    }

    #[tokio::test]
    async fn what_comes_between_look_and_swap_gets_its_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("s"), folder.path().join("aside"));
        let _other = StdListener::bind(&path).unwrap();
        let _own = StdListener::bind(&aside).unwrap();
        let (theirs, ours) = (identity(&path), identity(&aside));
        assert!(matches!(swap(&path, &aside, (0, 0)).await, Err(SocketError::InUse(_))));
        assert_eq!((identity(&path), identity(&aside)), (theirs, ours));
        assert!(matches!(place(&path, &aside).await, Err(SocketError::InUse(_))));
        assert_eq!(identity(&path), theirs);
    }
}
