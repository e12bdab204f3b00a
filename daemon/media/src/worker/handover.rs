//! How a task comes to its worker: over a socket that is the worker's standard input, together with the open files that
//! the task needs. What a worker gets open it need not be allowed to open.

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// How many files a task may bring.
const FILES: usize = 4;

/// Sends a task and its files, and then the end of the stream.
///
/// # Errors
/// If the worker does not take them.
pub(super) async fn send(
    mut socket: UnixStream,
    request: &[u8],
    files: &[OwnedFd],
) -> io::Result<()> {
    let files: Vec<_> = files.iter().map(OwnedFd::as_fd).collect();
    let with_files = || -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let part = IoSlice::new(request);
        Ok(sendmsg(&socket, &[part], &mut control, SendFlags::NOSIGNAL)?)
    };
    let sent = socket.async_io(Interest::WRITABLE, with_files).await?;
    socket.write_all(&request[sent..]).await?;
    socket.shutdown().await
}

/// Receives a task and its files from standard input. A task that a person writes by hand comes through a pipe.
///
/// # Errors
/// If standard input cannot be read.
pub fn receive() -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let stdin = io::stdin();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut request = vec![0; 64 << 10];
    let part = IoSliceMut::new(&mut request);
    let count = match recvmsg(&stdin, &mut [part], &mut control, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) => message.bytes,
        Err(Errno::NOTSOCK) => 0,
        Err(error) => return Err(error.into()),
    };
    request.truncate(count);
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    stdin.lock().read_to_end(&mut request)?;
    Ok((request, files))
}
