//! Makes an ordinary user root of a user namespace that holds a range of further IDs: the builder gives files to the
//! users that an image has.
//!
//! ```text
//! rbuild ── spawn ──▶ map                stays outside; waits
//!  │ unshare(CLONE_NEWUSER)
//!  │ byte ────────────▶ │ ── newuidmap, newgidmap: from /etc/subuid, /etc/subgid
//!  ◀─────── exit code ──
//!  │ exec rbuild, with a hidden argument before its own
//! ```
//!
//! The process stays the same, so terminal, signals and exit code need no help.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::io::Errno;

use super::enter::errno;
use super::remedy;
use crate::sys::{CallError, namespaces};

/// First hidden argument: run the commands that follow once a byte comes.
pub(super) const MAP: &str = "--rbuild-map";
/// First hidden argument: this is what the user with this ID started.
const MAPPED: &str = "--rbuild-mapped=";
/// Ends a command among the arguments of [`MAP`].
const END: &str = "--";
/// IDs that an image may use without thinking: 0 to 65,535, of which the first is the user himself.
const WANTED: u64 = 65_535;

/// Why an ordinary user cannot become root of a user namespace.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MappingError {
    /// Programs with the setuid bit do not get their privileges.
    #[error("this process may not gain privileges (no_new_privs), which newuidmap needs")]
    NoNewPrivileges,
    /// A program is missing.
    #[error("{0} is not installed")]
    NoHelper(&'static str),
    /// The file does not name the user.
    #[error("{file} has no range of IDs for user {user}")]
    NoRange {
        /// Which file.
        file: &'static str,
        /// Who.
        user: String,
    },
    /// The ranges are too small for an image.
    #[error("{file} has only {count} IDs for user {user}; {WANTED} are needed")]
    TooFew {
        /// Which file.
        file: &'static str,
        /// Who.
        user: String,
        /// How many IDs he has.
        count: u64,
    },
    /// The kernel refuses the namespace.
    #[error("enter a user namespace")]
    Namespace(#[from] CallError),
    /// A program did not do its work. The process is in a namespace without IDs then.
    #[error("newuidmap or newgidmap failed: {0}")]
    Helper(String),
    /// A program could not be started.
    #[error("start {program}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: Errno,
    },
}

impl MappingError {
    /// Whether this process cannot go on: it has left its old namespace already.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Helper(_) | Self::Start { .. })
    }

    /// What to try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoNewPrivileges => {
                "set securityContext.allowPrivilegeEscalation: true, or run rbuild as root; in a pod \
                                      with runAsUser: 0, which needs no newuidmap"
                    .to_owned()
            }
            Self::NoHelper(_) => {
                "install it (package uidmap in Debian and Ubuntu, shadow-utils elsewhere), or run rbuild \
                                  as root; in a pod with runAsUser: 0, which needs no newuidmap"
                    .to_owned()
            }
            Self::NoRange { user, .. } | Self::TooFew { user, .. } => format!(
                "give the user a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or run \
                 rbuild as root"
            ),
            Self::Namespace(call) => remedy::of_namespace_call(call),
            Self::Helper(_) | Self::Start { .. } => {
                "check that newuidmap and newgidmap are setuid root or have their capabilities, and the ranges in \
                 /etc/subuid and /etc/subgid; or run rbuild as root"
                    .to_owned()
            }
        }
    }
}

/// Starts this program again as root of a user namespace, with the arguments that it was started with. Must be called
/// before any thread exists. Returns only if that is impossible.
pub fn become_root() -> MappingError {
    match prepare().and_then(|maps| enter(&maps)) {
        Ok(()) => execute_again(),
        Err(error) => error,
    }
}

/// The user who started this program, if it is root of a namespace since [`become_root`].
pub fn user_before(line: impl IntoIterator<Item = OsString>) -> Option<u32> {
    let argument = line.into_iter().nth(1)?;
    argument.to_str()?.strip_prefix(MAPPED)?.parse().ok()
}

/// The arguments as the user gave them.
pub fn without_marker(line: Vec<OsString>) -> Vec<OsString> {
    let is_marked = user_before(line.iter().cloned()).is_some();
    let marker = usize::from(is_marked);
    line.into_iter()
        .enumerate()
        .filter(|(index, _)| *index != marker || !is_marked)
        .map(|(_, argument)| argument)
        .collect()
}

/// The helper's program and its arguments.
type Map = Vec<OsString>;

fn prepare() -> Result<[Map; 2], MappingError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| {
        line.strip_prefix("NoNewPrivs:")
            .is_some_and(|value| value.trim() == "1")
    }) {
        return Err(MappingError::NoNewPrivileges);
    }
    let uid = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = name_of(uid, &passwd).unwrap_or_else(|| uid.to_string());
    Ok([
        map_with("newuidmap", "/etc/subuid", uid, (uid, &user))?,
        map_with(
            "newgidmap",
            "/etc/subgid",
            rustix::process::getegid().as_raw(),
            (uid, &user),
        )?,
    ])
}

/// `own` becomes 0 inside.
fn map_with(helper: &'static str, file: &'static str, own: u32, user: (u32, &str)) -> Result<Map, MappingError> {
    let program = find(helper).ok_or(MappingError::NoHelper(helper))?;
    let text = fs::read_to_string(file).unwrap_or_default();
    let ranges = ranges_of(user, &text);
    let count: u64 = ranges.iter().map(|(_, count)| u64::from(*count)).sum();
    let user = user.1.to_owned();
    match count {
        0 => return Err(MappingError::NoRange { file, user }),
        _ if count < WANTED => return Err(MappingError::TooFew { file, user, count }),
        _ => {}
    }
    let numbers = arguments(own, &ranges);
    let process = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut map = vec![program.into_os_string(), process.into()];
    map.extend(numbers.into_iter().map(|number| OsString::from(number.to_string())));
    Ok(map)
}

/// Where programs of the administrator are looked for when PATH does not lead there.
const FALLBACK: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    let fallback = FALLBACK.iter().map(PathBuf::from);
    let candidates = directories
        .into_iter()
        .chain(fallback)
        .map(|directory| directory.join(name));
    candidates
        .filter(|candidate| candidate.is_absolute())
        .find(|candidate| candidate.is_file())
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    let entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = entries.filter(|fields| fields.get(2) == Some(&uid.as_str()));
    own.next().map(|fields| fields[0].to_owned())
}

/// First ID and count of each of the user's ranges; subuid(5).
fn ranges_of((uid, name): (u32, &str), text: &str) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != name && owner != uid {
            return None;
        }
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

/// What the helpers take after the process: triples of inside, outside, count.
fn arguments(own: u32, ranges: &[(u32, u32)]) -> Vec<u32> {
    let mut numbers = vec![0, own, 1];
    let mut next: u32 = 1;
    for (first, count) in ranges {
        let count = (*count).min(u32::MAX - next);
        numbers.extend([next, *first, count]);
        next += count;
    }
    numbers
}

fn enter(maps: &[Map; 2]) -> Result<(), MappingError> {
    let start = |source| MappingError::Start {
        program: "rbuild again".to_owned(),
        source: errno(source),
    };
    let mut mapper = Command::new("/proc/self/exe")
        .arg0("rbuild")
        .arg(MAP)
        .args(maps[0].iter())
        .arg(END)
        .args(maps[1].iter())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let mut signal = mapper.stdin.take();
    let entered = namespaces::enter_user_namespace();
    if let (Ok(()), Some(signal)) = (&entered, &mut signal) {
        // If it is gone, its exit code says so.
        let _ = signal.write_all(b"M");
    }
    // Without the byte it ends when it is hung up on.
    drop(signal);
    let output = mapper.wait_with_output().map_err(start)?;
    entered?;
    match output.status.success() {
        true => Ok(()),
        false => Err(MappingError::Helper(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

/// The process outside: runs one command after the other.
pub(super) fn map_main(arguments: Vec<OsString>) -> ExitCode {
    if io::stdin().read_exact(&mut [0]).is_err() {
        return ExitCode::FAILURE;
    }
    for command in arguments.split(|argument| argument == END) {
        let Some((program, arguments)) = command.split_first() else {
            continue;
        };
        match Command::new(program).args(arguments).stdin(Stdio::null()).status() {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                let _ = writeln!(io::stderr(), "{}: {error}", Path::new(program).display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn execute_again() -> MappingError {
    let mut line = std::env::args_os();
    let name = line.next().unwrap_or_else(|| OsStr::new("rbuild").to_owned());
    // Inside it is 0 by now.
    let uid = outside_of_root(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default());
    let source = Command::new("/proc/self/exe")
        .arg0(name)
        .arg(format!("{MAPPED}{uid}"))
        .args(line)
        .exec();
    MappingError::Start {
        program: "rbuild again".to_owned(),
        source: errno(source),
    }
}

/// The ID outside that is 0 inside.
fn outside_of_root(map: &str) -> u32 {
    let numbers = |line: &str| -> Option<(u32, u32)> {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let ranges = map.lines().filter_map(numbers);
    ranges
        .filter(|(inside, _)| *inside == 0)
        .map(|(_, outside)| outside)
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "other:100000:65536\nann:200000:60000\n# comment\n1000:300000:5536\nann:x:1\n\n";

    #[test]
    fn ranges_belong_to_names_and_numbers() {
        assert_eq!(ranges_of((1000, "ann"), SUBUID), [(200_000, 60_000), (300_000, 5536)]);
        assert_eq!(ranges_of((7, "nobody"), SUBUID), []);
        assert_eq!(
            name_of(1000, "root:x:0:0::/root:\nann:x:1000:1000::/:\n").as_deref(),
            Some("ann")
        );
        assert_eq!(name_of(5, "root:x:0:0::/root:\nbroken\n"), None);
    }

    #[test]
    fn the_user_is_root_and_the_ranges_follow() {
        let expected = [0, 1000, 1, 1, 200_000, 60_000, 60_001, 300_000, 5536];
        assert_eq!(arguments(1000, &[(200_000, 60_000), (300_000, 5536)]), expected);
        assert_eq!(
            outside_of_root("         0       1000          1\n 1 200000 65536\n"),
            1000
        );
    }

    #[test]
    fn too_small_ranges_say_how_small() {
        let missing = MappingError::NoRange {
            file: "/etc/subuid",
            user: "ann".to_owned(),
        };
        assert_eq!(missing.to_string(), "/etc/subuid has no range of IDs for user ann");
        let few = MappingError::TooFew {
            file: "/etc/subgid",
            user: "ann".to_owned(),
            count: 10,
        };
        assert_eq!(
            few.to_string(),
            "/etc/subgid has only 10 IDs for user ann; 65535 are needed"
        );
        for error in [missing, few] {
            assert!(
                error.remedy().contains("usermod --add-subuids 100000-165535"),
                "{error}"
            );
            assert!(!error.is_final());
        }
        assert!(MappingError::NoHelper("newuidmap").remedy().contains("package uidmap"));
        assert!(
            MappingError::NoNewPrivileges
                .remedy()
                .contains("allowPrivilegeEscalation")
        );
        assert!(MappingError::Helper(String::new()).is_final());
    }

    #[test]
    fn the_marker_is_taken_away() {
        let line = |line: &[&str]| line.iter().map(OsString::from).collect::<Vec<_>>();
        let marked = line(&["rbuild", "--rbuild-mapped=1000", "-c", "."]);
        assert_eq!(user_before(marked.clone()), Some(1000));
        assert_eq!(without_marker(marked), line(&["rbuild", "-c", "."]));
        for plain in [line(&["rbuild", "-c"]), line(&["rbuild"]), line(&[])] {
            assert_eq!(user_before(plain.clone()), None);
            assert_eq!(without_marker(plain.clone()), plain);
        }
    }
}
