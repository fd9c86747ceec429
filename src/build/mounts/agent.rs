//! `type=ssh`: a socket whose connections are handed on to an agent of the machine.
//!
//! The socket has the owner and mode that the step asks for; the agent's own stays as it is.

use std::fs::{self, File, Permissions};
use std::io::{self, PipeReader, PipeWriter};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::plan::Ownership;
use crate::run::{MountSource, SourceKind, SourcePlace};

const SOCKET: &str = "agent";
/// How long nobody is accepted after that failed.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How often a connection tries whether the agent has room in its queue.
const QUEUE_INTERVAL: Duration = Duration::from_millis(20);

/// A forwarded agent, as long as this value lives.
#[derive(Debug)]
pub(super) struct Agent {
    directory: tempfile::TempDir,
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// The streams of connections that are under way. Who hands on owns them: they are closed when both directions ended.
#[derive(Debug, Default)]
struct Streams(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    /// The step has ended.
    over: bool,
    open: Vec<Weak<UnixStream>>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shuts the stream down when the step ends; `None` if it has ended already.
    fn watch(&self, stream: UnixStream) -> Option<Arc<UnixStream>> {
        let mut watched = self.lock();
        if watched.over {
            return None;
        }
        watched.open.retain(|stream| stream.strong_count() > 0);
        let stream = Arc::new(stream);
        watched.open.push(Arc::downgrade(&stream));
        Some(stream)
    }

    fn is_over(&self) -> bool {
        self.lock().over
    }

    fn end(&self) {
        let mut watched = self.lock();
        watched.over = true;
        for stream in watched.open.drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

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
    let streams = Arc::new(Streams::default());
    while wait(&[stopped.as_fd(), listener.as_fd()], None) != Some(0) {
        match listener.accept() {
            Ok((client, _)) => begin(client, socket, &streams),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Most likely no descriptor is left; whoever waits still waits when there is one again.
            Err(_) => {
                if wait(&[stopped.as_fd()], Some(&PAUSE)).is_some() {
                    break;
                }
            }
        }
    }
    streams.end();
}

/// The index of the first that is ready; `None` when the time is over, or a signal came.
fn wait(descriptors: &[BorrowedFd<'_>], time: Option<&Timespec>) -> Option<usize> {
    let poll = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
    let mut poll: Vec<_> = descriptors.iter().copied().map(poll).collect();
    rustix::event::poll(&mut poll, time).ok()?;
    poll.iter().position(|descriptor| !descriptor.revents().is_empty())
}

/// The thread is not waited for: its end is sure, for its streams are shut down with the step's.
fn begin(client: UnixStream, socket: &Path, streams: &Arc<Streams>) {
    let (socket, streams) = (socket.to_owned(), Arc::clone(streams));
    let thread = thread::Builder::new().name("ssh-agent-stream".to_owned());
    // A client whose agent does not answer, or for whom there is no thread, sees its connection closed.
    let _ = thread.spawn(move || connect(client, &socket, &streams));
}

/// Hands on in both directions until both have ended.
fn connect(client: UnixStream, socket: &Path, streams: &Streams) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let Some(client) = streams.watch(client) else {
        return Ok(());
    };
    let Some(agent) = reach(socket, streams)?.and_then(|agent| streams.watch(agent)) else {
        return Ok(());
    };
    thread::scope(|scope| {
        let back = thread::Builder::new().name("ssh-agent-back".to_owned());
        back.spawn_scoped(scope, || hand_on(&agent, &client))?;
        hand_on(&client, &agent);
        Ok(())
    })
}

/// Connects to the agent, however long its queue is full; `None` when the step ends before that.
fn reach(socket: &Path, streams: &Streams) -> io::Result<Option<UnixStream>> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let agent = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    while !streams.is_over() {
        match rustix::net::connect(&agent, &address) {
            Ok(()) => {
                let agent = UnixStream::from(agent);
                agent.set_nonblocking(false)?;
                return Ok(Some(agent));
            }
            Err(Errno::AGAIN) => thread::sleep(QUEUE_INTERVAL),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

fn hand_on(mut from: &UnixStream, mut to: &UnixStream) {
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
    #[test]
    fn a_connection_that_ended_holds_no_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        let agent = agent(&real, 3);
        let streams = Streams::default();
        for _ in 0..3 {
            let (mut client, far) = UnixStream::pair().unwrap();
            client.write_all(b"word").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            connect(far, &real, &streams).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "wordword");
            assert!(streams.lock().open.iter().all(|stream| stream.strong_count() == 0));
        }
        assert!(streams.lock().open.len() <= 2, "the last connection's");
        agent.join().unwrap();
    }

    /// The step may end, and with it the build, while an agent that was stopped leaves its queue full.
    #[test]
    fn an_agent_that_accepts_nobody_is_not_waited_for_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        let listener = UnixListener::bind(&real).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _queued = UnixStream::connect(&real).unwrap();
        let streams = Arc::new(Streams::default());
        let (mut client, far) = UnixStream::pair().unwrap();
        let connection = {
            let streams = Arc::clone(&streams);
            thread::spawn(move || connect(far, &real, &streams))
        };
        while streams.lock().open.is_empty() {
            thread::yield_now();
        }
        streams.end();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        connection.join().unwrap().unwrap();
        drop(listener);
    }
}
