//! Why a RUN could not be run to its end.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chroot::ChrootError;
use super::in_place::InPlaceError;
use super::ordinary_user::MappingError;
use super::placed::PlaceError;
use super::stubs::{Kind, StubError};
use crate::cancel::Cancelled;
use crate::sys::CallError;

/// Why a RUN could not be run to its end. That it ended badly is an [`Exit`](super::Exit) instead.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The machine does not let us isolate a process this way.
    #[error("isolation {isolation:?} is not available here")]
    Unavailable {
        /// Which one.
        isolation: &'static str,
        /// What would make it available.
        remedy: String,
        /// What else was tried, and why that was refused.
        others: Vec<String>,
        /// The first thing that was refused.
        #[source]
        source: Box<RunError>,
    },
    /// An ordinary user stayed one.
    #[error("become root of a user namespace")]
    Mapping(#[source] Arc<MappingError>),
    /// There is no isolation of that name.
    #[error("unknown isolation {0:?} (auto, namespaces, in-place and chroot are known)")]
    UnknownIsolation(String),
    /// Nothing to run.
    #[error("no program to run")]
    NoProgram,
    /// The rootfs cannot be opened.
    #[error("open rootfs {path:?}")]
    Rootfs {
        /// Path on the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A mount point could not be made in the rootfs, or not be removed afterwards.
    #[error(transparent)]
    Stubs(#[from] StubError),
    /// The container's own `/` cannot be used, or was not given back.
    #[error(transparent)]
    InPlace(#[from] InPlaceError),
    /// A chroot does not do.
    #[error(transparent)]
    Chroot(#[from] ChrootError),
    /// What the process is to find could not be put into the rootfs, or not be taken out.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Our own binary could not be started again.
    #[error("start {binary:?}")]
    Start {
        /// The binary.
        binary: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A step of entering the isolation did not work.
    #[error("prepare the isolation")]
    Setup(#[from] CallError),
    /// The working directory cannot be entered.
    #[error("working directory {path:?} in the rootfs")]
    WorkingDirectory {
        /// The directory, inside the rootfs.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("exec {program:?}: {failure}")]
    Exec {
        /// The program as given.
        program: String,
        /// In which way.
        failure: ExecFailure,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The children ended without saying how the process did; somebody killed them.
    #[error("the isolated process was lost: {0}")]
    Lost(String),
    /// The build was interrupted.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

/// In which way a program cannot be executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExecFailure {
    /// No such file.
    NotFound,
    /// The file is there, but the interpreter in its first line, or its dynamic loader, is not.
    NoInterpreter,
    /// No permission, or a directory.
    Denied,
    /// Not a program for this machine.
    Format,
    /// Anything else the kernel says.
    Other,
}

impl fmt::Display for ExecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "no such file or directory in the rootfs",
            Self::NoInterpreter => "its interpreter or dynamic loader does not exist in the rootfs",
            Self::Denied => "permission denied",
            Self::Format => "not a program for this machine",
            Self::Other => "cannot be executed",
        })
    }
}

impl RunError {
    /// The exit code a shell would give for it: 127 when there is no such program, 126 when it cannot be
    /// executed.
    #[must_use]
    pub const fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Exec {
                failure: ExecFailure::NotFound | ExecFailure::NoInterpreter,
                ..
            } => Some(127),
            Self::Exec { .. } => Some(126),
            _ => None,
        }
    }

    /// What to try.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unavailable { remedy, .. } => return Some(remedy.clone()),
            Self::Chroot(error) => return error.hint().map(str::to_owned),
            Self::InPlace(error) => return error.hint(),
            Self::Exec {
                failure: ExecFailure::NotFound,
                program,
                ..
            } if program.ends_with("/sh") => {
                "the image has no shell (scratch has none): use the exec form, or a base image with one"
            }
            Self::Exec {
                failure: ExecFailure::NotFound,
                ..
            } => "install the program in an earlier step, or give its full path",
            Self::Exec {
                failure: ExecFailure::NoInterpreter,
                ..
            } => "the program needs a shell or a C library that the image does not have",
            Self::Exec {
                failure: ExecFailure::Denied,
                ..
            } => "make it executable (COPY --chmod=755) and check USER",
            Self::Exec {
                failure: ExecFailure::Format,
                ..
            } => "the program is for another architecture, or a script without a #! line",
            Self::WorkingDirectory { .. } => "create it with WORKDIR",
            Self::Stubs(StubError::Kind {
                wanted: Kind::Directory,
                ..
            }) => "let source= name one file of the directory, or target= a directory or a path that does not exist",
            Self::Stubs(StubError::Kind {
                wanted: Kind::File,
                path,
                ..
            }) => {
                return Some(format!("let target= name the file: {}", path.join("NAME").display()));
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// What else was tried before this was said.
    #[must_use]
    pub fn others(&self) -> &[String] {
        match self {
            Self::Unavailable { others, .. } => others,
            _ => &[],
        }
    }
}
