//! Why a RUN cannot have the container's own `/`, or did not give it back.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::Diagnostic;
use crate::rootfs::RootfsPath;
use crate::store::StoreError;

/// What stands in the way of working in the container's own `/`.
#[derive(Debug, thiserror::Error)]
pub enum InPlaceError {
    /// The kernel refused something.
    #[error("{operation} {path}")]
    Io {
        /// The operation as a verb.
        operation: &'static str,
        /// To what.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error("open the state directory")]
    State {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Somebody without the power to change `/`.
    #[error("it takes user 0 to change the container's own files")]
    NotRoot,
    /// The machine itself.
    #[error("this is no container: its own files would be moved aside")]
    NotAContainer,
    /// The container runs an image with programs of its own, which others may be using.
    #[error("the container has a {path} of its own, which would be moved aside while a RUN works")]
    ForeignImage {
        /// The first that was found.
        path: &'static str,
    },
    /// What is on another filesystem cannot be renamed into `/`.
    #[error("the state directory {} is not on the container's own filesystem", path.display())]
    OtherFilesystem {
        /// Where it is.
        path: PathBuf,
    },
    /// The image has something where the executor works.
    #[error("the image has its own {}, where rbuild keeps its state", path.display_absolute())]
    StateInTheWay {
        /// Where.
        path: RootfsPath,
    },
    /// The image has a link or a file where the container has a directory that cannot be moved.
    #[error("the image's {} cannot take its place: in the container it is a directory in which something is mounted", path.display_absolute())]
    MountInTheWay {
        /// Where.
        path: RootfsPath,
    },
    /// The process would see what the container mounts, and not the image's files.
    #[error("the image's files in {} cannot be seen: the container has something mounted there", path.display_absolute())]
    Hidden {
        /// Where.
        path: RootfsPath,
    },
    /// A mount would be where the process cannot see it.
    #[error("nothing can be mounted at {}: the container has something mounted there, or rbuild itself", path.display())]
    Covered {
        /// Where.
        path: PathBuf,
    },
    /// The process has changed files that are not the image's.
    #[error("the process has changed {}, which is not in its image", path.display())]
    Outside {
        /// The first that was found.
        path: PathBuf,
    },
    /// Something that only a namespace can give.
    #[error("{0} cannot be had without namespaces")]
    Impossible(&'static str),
    /// What a killed build left cannot be put right.
    #[error("put back the container's own files, which a killed build has moved aside")]
    NotRecovered(#[source] Box<InPlaceError>),
    /// The container's own files are back, but what became of the image's is lost.
    #[error("put back the files of the image after the RUN")]
    ImageLost(#[source] Box<InPlaceError>),
}

/// Makes an error about `path` inside `/`.
pub(super) fn failed<'p>(operation: &'static str, path: &'p RootfsPath) -> impl FnOnce(io::Error) -> InPlaceError + 'p {
    move |source| InPlaceError::Io {
        operation,
        path: path.display_absolute(),
        source,
    }
}

/// The same for a path of the machine, or a description.
pub(super) fn failed_at(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> InPlaceError {
    let path = path.into();
    move |source| InPlaceError::Io {
        operation,
        path: path.display().to_string(),
        source,
    }
}

/// What lets a container have namespaces, which are better in every respect.
const NAMESPACES: &str = "let the container have user namespaces (securityContext.seccompProfile.type: Unconfined)";

/// What helps where nothing more is known.
pub(super) const REMEDY: &str = "run the executor's own image as user 0 with a root that can be written to, or let the container have user namespaces (securityContext.seccompProfile.type: Unconfined)";

impl InPlaceError {
    /// What to try.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot => "run the container as user 0 (securityContext.runAsUser: 0)".to_owned(),
            Self::NotAContainer => "use --isolation=namespaces".to_owned(),
            Self::ForeignImage { .. } => format!(
                "use the executor's own image, or {NAMESPACES}; --force moves them aside nevertheless, which breaks whatever else runs here meanwhile"
            ),
            Self::OtherFilesystem { .. } => "name a directory that is no volume: --store=/var/lib/rbuild".to_owned(),
            Self::StateInTheWay { .. } => {
                "name a directory that the image does not have: --store=/DIRECTORY".to_owned()
            }
            Self::MountInTheWay { .. } => format!("mount that elsewhere, or {NAMESPACES}"),
            Self::Hidden { .. } => format!(
                "mount that elsewhere, or {NAMESPACES}; --force runs the process nevertheless: what it writes there is not in the image"
            ),
            Self::Outside { .. } => format!(
                "a command that goes through all of / (find, chmod -R, chown -R) must leave out what the executor keeps there; or {NAMESPACES}"
            ),
            Self::Covered { .. } => format!("choose another target, or {NAMESPACES}"),
            Self::Impossible(_) => NAMESPACES.to_owned(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                format!(
                    "give the container a root that can be written to (securityContext.readOnlyRootFilesystem: false), or {NAMESPACES}"
                )
            }
            Self::NotRecovered(_) => {
                "start a new container; what was moved aside is in the directory in-place of the state directory"
                    .to_owned()
            }
            Self::Io { .. } | Self::State { .. } | Self::ImageLost(_) => return None,
        })
    }
}

impl Diagnostic for InPlaceError {
    fn hints(&self) -> Vec<String> {
        self.hint().into_iter().collect()
    }
}
