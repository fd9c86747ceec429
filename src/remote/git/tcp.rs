//! `git://`: the daemon's own protocol over TCP.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;

use super::GitError;
use crate::cancel::Cancel;
use crate::remote::web::Web;

const PORT: u16 = 9418;

/// How often a silent server's client looks whether the build was interrupted.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// Connects to the daemon that has the repository.
pub(super) fn connect(web: &Arc<Web>, address: &gix::Url) -> Result<Connection<Patient, Patient>, GitError> {
    let host = address.host().unwrap_or_default().to_owned();
    let stream = open(web, &host, address.port.unwrap_or(PORT)).map_err(|source| GitError::Connect {
        host: host.clone(),
        source,
    })?;
    let writer = stream.try_clone().map_err(|source| GitError::Connect {
        host: host.clone(),
        source,
    })?;
    Ok(Connection::new(
        stream,
        writer,
        // Daemons that know no version 2 take the line for one of version 0.
        Protocol::V2,
        address.path.clone(),
        Some((host, address.port)),
        ConnectMode::Daemon,
        false,
    ))
}

fn open(web: &Web, host: &str, port: u16) -> io::Result<Patient> {
    let timeouts = web.timeouts();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeouts.connect) {
            Ok(stream) => {
                stream.set_read_timeout(Some(CANCEL_INTERVAL))?;
                stream.set_write_timeout(Some(timeouts.idle))?;
                return Ok(Patient {
                    stream,
                    idle: timeouts.idle,
                    cancel: web.cancel.clone(),
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection that waits for a slow server, but not for ever and not after the end of the build.
#[derive(Debug)]
pub(super) struct Patient {
    stream: TcpStream,
    idle: Duration,
    cancel: Cancel,
}

impl Patient {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            idle: self.idle,
            cancel: self.cancel.clone(),
        })
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if begun.elapsed() >= self.idle {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
