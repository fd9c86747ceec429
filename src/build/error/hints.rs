//! What to try against what went wrong.

use std::io;

use super::{BuildError, Problem};
use crate::diagnostic::Diagnostic as _;
use crate::layer::ApplyError;
use crate::oci::Platform;

impl BuildError {
    /// What to try against the problem, if it is known.
    pub(super) fn hints_of_problem(&self) -> Vec<String> {
        match &*self.problem {
            Problem::Parse(error) => error.hint.iter().map(ToString::to_string).collect(),
            Problem::Plan(error) => error.hint.iter().map(ToString::to_string).collect(),
            Problem::CheckOptions(error) => error.hints(),
            Problem::Violation(error) => error.hints(),
            Problem::Resolve { hint, source, .. } => {
                let similar = hint.iter().map(ToString::to_string);
                similar.chain(source.hint()).collect()
            }
            Problem::Destination { source, .. } | Problem::Manifest { source, .. } | Problem::Client(source) => {
                source.hint().into_iter().collect()
            }
            Problem::Saved { source, .. } => source.hint().map(str::to_owned).into_iter().collect(),
            Problem::Upload(error) => error.source.hint().into_iter().collect(),
            Problem::Run(error) => error.hint().into_iter().collect(),
            Problem::Remote(error) => error.hint().into_iter().collect(),
            Problem::Copy(error) => error.hint().into_iter().collect(),
            Problem::User(error) => error.hint().into_iter().collect(),
            Problem::NoStandardInput | Problem::EmptyStandardInput => {
                vec!["send an archive, `tar -cz . | rbuild --context tar://stdin …`".to_owned()]
            }
            Problem::EmptyContext { .. } => vec!["did the step before this one write it?".to_owned()],
            Problem::NoSubPath { .. } => {
                vec!["--context-sub-path, and the directory in a git address, start at the root of the context".to_owned()]
            }
            Problem::ReadContext { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                vec!["--context names it; a relative path starts at the working directory".to_owned()]
            }
            Problem::ContextArchive {
                source:
                    ApplyError::Decompress(_)
                    | ApplyError::Tar(_)
                    | ApplyError::Path(_)
                    | ApplyError::LinkPath { .. }
                    | ApplyError::LinkTargetMissing { .. },
                ..
            } => vec![
                "the archive of --context is damaged, cut short or made for another place; pack the directory itself, `tar -C \
                 DIR -cz .`"
                    .to_owned(),
            ],
            Problem::NoDockerfile { .. } => vec!["name it with --dockerfile".to_owned()],
            Problem::NotAnArchive { .. } => {
                vec!["a context is a tar archive, plain or compressed with gzip, bzip2, xz or zstd".to_owned()]
            }
            Problem::Mount(error) => error.hint().into_iter().collect(),
            Problem::Foreign { platform, .. } => vec![emulator_hint(platform)],
            Problem::Process(failure) => failure.hints(),
            Problem::State { .. } => self.hint_of_state().map(str::to_owned).into_iter().collect(),
            Problem::Unpack { .. } if self.is_for(io::ErrorKind::PermissionDenied) => vec![
                "the files of an image belong to many users: that takes the capabilities CHOWN, DAC_OVERRIDE, FOWNER, SETGID and \
                 SETUID, which root has in a container unless securityContext.capabilities drops them"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    /// What to try when a disk is full: everything is written to the state directory's, except what is asked for
    /// elsewhere.
    pub(super) fn hint_of_disk(&self) -> Option<&'static str> {
        match &*self.problem {
            Problem::WriteImage(_) | Problem::WriteFile { .. } if self.is_out_of_space() => {
                Some("that disk is full; free some space, or write to another one")
            }
            Problem::Process(_) if self.details.iter().any(|line| line.contains("No space left on device")) => Some(
                "the files of a RUN are on the disk of the state directory; if that is full, free some space, or choose another one with --store",
            ),
            _ if self.is_out_of_space() => {
                Some("the disk of the state directory is full; free some space, or choose another one with --store")
            }
            _ => None,
        }
    }

    fn hint_of_state(&self) -> Option<&'static str> {
        if self.is_for(io::ErrorKind::ReadOnlyFilesystem) {
            return Some(
                "choose a directory that can be written with --store; where the container's root is read-only \
                 (readOnlyRootFilesystem, --read-only), one on a volume such as an emptyDir",
            );
        }
        let hint = "choose a directory that this user may write with --store";
        self.is_for(io::ErrorKind::PermissionDenied).then_some(hint)
    }

    fn is_out_of_space(&self) -> bool {
        self.is_for(io::ErrorKind::StorageFull)
    }

    /// Whether such an answer of the system is among the causes.
    fn is_for(&self, kind: io::ErrorKind) -> bool {
        self.chain().any(|error| {
            let error = error.downcast_ref::<io::Error>();
            error.is_some_and(|error| error.kind() == kind)
        })
    }
}

/// How an emulator comes to the machine. The flag F makes the kernel open it at once, outside the image.
fn emulator_hint(platform: &Platform) -> String {
    format!(
        "register an emulator with the flag F on this machine: apt-get install qemu-user-static binfmt-support, or docker \
         run --privileged --rm tonistiigi/binfmt --install {}; or let the stage run on the machine's own platform (FROM \
         --platform=$BUILDPLATFORM)",
        platform.architecture
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::build::process_failure::ProcessFailure;
    use crate::copy::CopyError;
    use crate::rootfs::{RootfsError, RootfsPath};
    use crate::run::Exit;
    use crate::store::StoreError;

    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    fn not_stored(source: io::Error) -> StoreError {
        StoreError::Io {
            operation: "write",
            path: PathBuf::from("/x"),
            source,
        }
    }

    #[test]
    fn the_disk_that_is_full_is_named() {
        const STORE: &str = "the disk of the state directory is full";
        const OTHER: &str = "that disk is full";
        let path = PathBuf::from("/x");
        let copied = RootfsError::new("write", &RootfsPath::parse_clamped(b"/b").unwrap(), full());
        for (problem, expected) in [
            (Problem::Store(not_stored(full())), STORE),
            (Problem::Copy(CopyError::Write(copied)), STORE),
            (Problem::WriteImage(not_stored(full())), OTHER),
            (Problem::WriteFile { path, source: full() }, OTHER),
        ] {
            let hints = BuildError::new(problem).hints();
            assert!(
                matches!(hints.as_slice(), [hint] if hint.starts_with(expected)),
                "{hints:?}"
            );
        }
        let other = not_stored(io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            BuildError::new(Problem::WriteImage(other)).hints(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_a_container_denies_is_named() {
        let read_only = BuildError::new(Problem::State {
            path: PathBuf::from("/var/lib/rbuild"),
            source: not_stored(io::ErrorKind::ReadOnlyFilesystem.into()),
        });
        let hints = read_only.hints();
        assert!(
            matches!(hints.as_slice(), [hint] if hint.contains("emptyDir") && hint.contains("--store")),
            "{hints:?}"
        );
        let full = BuildError::new(Problem::State {
            path: PathBuf::from("/x"),
            source: not_stored(full()),
        });
        assert!(
            full.hints().iter().all(|hint| hint.contains("full")),
            "{:?}",
            full.hints()
        );
    }

    #[test]
    fn a_run_that_says_so_has_filled_the_disk() {
        let ended = |exit, words: &str| {
            let error = BuildError::new(ProcessFailure::new("dd".to_owned(), exit));
            error.with_details(vec![words.to_owned()]).hints()
        };
        let hints = ended(Exit::Code(1), "dd: error writing '/big': No space left on device");
        assert!(
            matches!(hints.as_slice(), [hint] if hint.contains("--store")),
            "{hints:?}"
        );
        assert_eq!(ended(Exit::Code(1), "dd: bad operand"), Vec::<String>::new());
    }
}
