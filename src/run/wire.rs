//! What the builder and its children say to each other: JSON in frames with a four-byte length.

use std::ffi::OsString;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::DeviceNode;
use super::attach::Mount;
use super::error::ExecFailure;
use crate::plan::Ulimit;
use crate::secret::SecretValue;
use crate::sys::CallError;

/// No frame is larger: the kernel takes at most 6 MiB of arguments and environment, JSON is at most some
/// four times that.
const MAX_FRAME: u32 = 64 << 20;

/// From the builder to `init`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Request {
    pub(super) root: Root,
    pub(super) hostname: OsString,
    /// Content for `/etc/resolv.conf` and `/etc/hosts`; `None` leaves the image's own.
    pub(super) resolv_conf: Option<Vec<u8>>,
    pub(super) hosts: Option<Vec<u8>>,
    /// Path below `/dev` and content of a program to put there.
    pub(super) script: Option<(OsString, Vec<u8>)>,
    /// Mounts besides those that every process finds, in this order.
    pub(super) mounts: Vec<Mount>,
    /// Whether it sees a network of its own, with nothing in it but the loopback.
    pub(super) private_network: bool,
    /// Whether `/proc` and `/sys` show and do everything.
    pub(super) unmasked: bool,
    /// Bytes that `/dev/shm` may hold.
    pub(super) shm_size: u64,
    /// Devices besides those that every process finds.
    pub(super) devices: Vec<DeviceNode>,
    /// `None`: set everything up and stop there.
    pub(super) command: Option<Command>,
}

/// What becomes `/`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) enum Root {
    /// This directory of the host.
    Directory(OsString),
    /// This directory of the host, in which everything that the process is to find has been placed: no namespace is
    /// entered and nothing is mounted.
    Prepared(OsString),
    /// An empty filesystem in memory, to try the isolation on.
    Empty,
}

/// The process to start.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Command {
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    /// Over those of `env`.
    pub(super) secret_env: Vec<(OsString, SecretValue)>,
    pub(super) limits: Vec<Ulimit>,
    pub(super) cwd: OsString,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) capabilities: u64,
}

/// From the children to the builder: exactly one, after [`Report::Unmapped`] if that comes.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// `enter` is in a user namespace of its own and waits for its maps.
    Unmapped,
    /// Everything is set up and there was no command.
    Ready,
    /// The command exited.
    Exited(u8),
    /// A signal killed the command.
    Killed(i32),
    /// A call was refused.
    Setup { call: String, errno: i32 },
    /// The working directory cannot be entered.
    WorkingDirectory { errno: i32 },
    /// The command cannot be executed.
    Exec { failure: ExecFailure, errno: i32 },
}

impl From<CallError> for Report {
    fn from(error: CallError) -> Self {
        Self::Setup {
            call: error.call,
            errno: error.errno.raw_os_error(),
        }
    }
}

/// Asks `init` to end the command. Any byte would do.
pub(super) const TERMINATE: u8 = b'T';

/// Tells `enter` that its maps are written.
pub(super) const MAPPED: u8 = b'M';

pub(super) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4)
        .ok()
        .filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&frame)
}

pub(super) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let mut body = Vec::new();
    from.take(length.into()).read_to_end(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let reports = [
            Report::Ready,
            Report::Exited(3),
            Report::Killed(9),
            Report::Setup {
                call: "mount \"\u{1}\" on /x".to_owned(),
                errno: 1,
            },
            Report::WorkingDirectory { errno: 2 },
            Report::Exec {
                failure: ExecFailure::NotFound,
                errno: 2,
            },
        ];
        let mut bytes = Vec::new();
        for report in &reports {
            send(&mut bytes, report).unwrap();
        }
        let mut from = bytes.as_slice();
        for report in &reports {
            assert_eq!(&receive::<Report>(&mut from).unwrap(), report);
        }
        assert_eq!(
            receive::<Report>(&mut from).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let odd = OsString::from_vec(b"a\xff\n\x01".to_vec());
        let command = Command {
            argv: vec![odd.clone()],
            env: vec![(odd.clone(), odd.clone())],
            secret_env: vec![(odd.clone(), SecretValue::new(b"\xff".to_vec()))],
            limits: Vec::new(),
            cwd: odd.clone(),
            uid: u32::MAX,
            gid: 0,
            groups: vec![1, 2],
            capabilities: u64::MAX,
        };
        let request = Request {
            root: Root::Directory(odd.clone()),
            hostname: odd.clone(),
            resolv_conf: Some(b"\0\xff".to_vec()),
            hosts: None,
            script: None,
            mounts: Vec::new(),
            private_network: true,
            unmasked: false,
            shm_size: 1,
            devices: Vec::new(),
            command: Some(command),
        };
        let mut bytes = Vec::new();
        send(&mut bytes, &request).unwrap();
        let received: Request = receive(bytes.as_slice()).unwrap();
        assert_eq!(format!("{received:?}"), format!("{request:?}"));
    }

    #[test]
    fn broken_frames_are_errors() {
        for bytes in [&b"\x05\0\0\0\"Re"[..], b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x01"] {
            assert!(receive::<Report>(bytes).is_err(), "{bytes:?}");
        }
    }
}
