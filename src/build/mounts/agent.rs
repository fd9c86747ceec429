//! `type=ssh`: a socket whose connections are handed on to an agent of the machine.
//!
//! The socket has the owner and mode that the step asks for; the agent's own stays as it is.

use std::fs::{self, File, Permissions};
use std::io::{self, PipeReader, PipeWriter};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags};

use crate::plan::Ownership;
use crate::run::{MountSource, SourceKind, SourcePlace};

const SOCKET: &str = "agent";

/// A forwarded agent, as long as this value lives.
#[derive(Debug)]
pub(super) struct Agent {
    directory: tempfile::TempDir,
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// Streams that are open, to be shut down when the step has ended.
type Open = Arc<Mutex<Vec<UnixStream>>>;

impl Agent {
    /// Listens in a new directory below `parent`, and connects whoever comes to the agent at `socket`.
    pub(super) fn forward(socket: &Path, parent: &Path, ownership: Ownership) -> io::Result<Self> {
        let directory = tempfile::tempdir_in(parent)?;
        let listener = listen(directory.path(), ownership)?;
        let (stopped, stop) = io::pipe()?;
        let socket = socket.to_owned();
        let thread = thread::Builder::new()
            .name("ssh-agent".to_owned())
            .spawn(move || serve(&listener, &stopped, &socket))?;
        Ok(Self {
            directory,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The socket to mount.
    pub(super) fn source(&self) -> MountSource {
        MountSource::Tree {
            place: SourcePlace {
                root: self.directory.path().into(),
                path: SOCKET.into(),
            },
            kind: SourceKind::File,
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, nobody is connected any more.
            let _ = thread.join();
        }
    }
}

fn listen(directory: &Path, ownership: Ownership) -> io::Result<UnixListener> {
    // The address of a socket is at most 107 bytes long; the state directory's path may be longer.
    let open = File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd()));
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    chown(&path, Some(ownership.uid), Some(ownership.gid))?;
    fs::set_permissions(&path, Permissions::from_mode(ownership.mode))?;
    Ok(listener)
}

fn serve(listener: &UnixListener, stopped: &PipeReader, socket: &Path) {
    let open = Open::default();
    let mut connections = Vec::new();
    loop {
        let mut poll = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        if rustix::event::poll(&mut poll, None).is_err() {
            continue;
        }
        if !poll[1].revents().is_empty() {
            break;
        }
        if let Ok((client, _)) = listener.accept() {
            // A client whose agent does not answer sees its connection closed.
            connections.extend(connect(client, socket, &open).ok().into_iter().flatten());
        }
    }
    for stream in &*open.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for connection in connections {
        let _ = connection.join();
    }
}

/// One thread for each direction.
fn connect(client: UnixStream, socket: &Path, open: &Open) -> io::Result<[JoinHandle<()>; 2]> {
    client.set_nonblocking(false)?;
    let agent = UnixStream::connect(socket)?;
    let both = [
        (client.try_clone()?, agent.try_clone()?),
        (agent.try_clone()?, client.try_clone()?),
    ];
    open.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend([client, agent]);
    let [there, back] = both.map(|(from, to)| {
        thread::Builder::new()
            .name("ssh-agent-stream".to_owned())
            .spawn(move || hand_on(from, to))
    });
    Ok([there?, back?])
}

fn hand_on(mut from: UnixStream, mut to: UnixStream) {
    // However it ends, there is nothing more to hand on.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// An agent that says everything twice, to `connections` clients.
    fn agent(path: &Path, connections: usize) -> JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for _ in 0..connections {
                let (mut client, _) = listener.accept().unwrap();
                let mut said = String::new();
                client.read_to_string(&mut said).unwrap();
                client.write_all(said.repeat(2).as_bytes()).unwrap();
            }
        })
    }

    fn socket_of(agent: &Agent) -> PathBuf {
        agent.directory.path().join(SOCKET)
    }

    #[test]
    fn l225_connections_reach_the_agent() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        let thread = agent(&real, 2);
        let ownership = Ownership {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            mode: 0o640,
        };
        // A path longer than an address of a socket may be.
        let parent = directory.path().join("x".repeat(120));
        fs::create_dir(&parent).unwrap();
        let forwarded = Agent::forward(&real, &parent, ownership).unwrap();
        let open = File::open(forwarded.directory.path()).unwrap();
        let metadata = fs::metadata(socket_of(&forwarded)).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o640, ownership.uid));
        for word in ["one", "two"] {
            let path = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
            let mut client = UnixStream::connect(path).unwrap();
            client.write_all(word.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, word.repeat(2));
        }
        thread.join().unwrap();
    }

    /// A client that never hangs up must not keep the build waiting.
    #[test]
    fn the_end_of_the_step_ends_its_connections() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        let listener = UnixListener::bind(&real).unwrap();
        let ownership = Ownership {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            mode: 0o600,
        };
        let forwarded = Agent::forward(&real, directory.path(), ownership).unwrap();
        let mut client = UnixStream::connect(socket_of(&forwarded)).unwrap();
        let (_held, _) = listener.accept().unwrap();
        drop(forwarded);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
