//! Turns the names and numbers of USER and `--chown` into ids, by the rootfs's own `/etc/passwd` and
//! `/etc/group`.
//!
//! Pure functions over the bytes of the two files, which anybody may have written: a line that is not an
//! entry is skipped, never guessed at (reading a broken uid as 0 would make its user root).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// Who a process runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Every group, the primary one first.
    pub groups: Vec<u32>,
    /// Value for HOME when the environment has none.
    pub home: OsString,
}

/// Who a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ownership {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Why a user specification has no ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// The name as given.
        name: String,
        /// A name that exists and looks like it.
        suggestion: Option<String>,
    },
    /// No such group.
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// The name as given.
        name: String,
        /// A name that exists and looks like it.
        suggestion: Option<String>,
    },
    /// A name is to be looked up and the rootfs has no file to do it in.
    #[error("unable to find {name}: the rootfs has no {file}")]
    NoDatabase {
        /// The name as given.
        name: String,
        /// The missing file.
        file: &'static str,
    },
    /// More groups than a process can have.
    #[error("user {name} is in more than {MAX_GROUPS} groups")]
    TooManyGroups {
        /// The user.
        name: String,
    },
    /// A number that is no id.
    #[error("id {id} is out of range (0 to {max})")]
    OutOfRange {
        /// The number as given.
        id: String,
        /// The largest that is allowed.
        max: u32,
    },
}

impl UserError {
    /// What the user could try, if it is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownUser { suggestion, .. } | Self::UnknownGroup { suggestion, .. } => {
                suggestion.as_ref().map(|name| format!("did you mean {name}?"))
            }
            Self::NoDatabase { .. } => Some("give a number, which needs no lookup".to_owned()),
            Self::TooManyGroups { .. } | Self::OutOfRange { .. } => None,
        }
    }
}

/// Where the names are looked up, inside the rootfs.
pub const PASSWD: &str = "/etc/passwd";
/// Where group names are looked up, inside the rootfs.
pub const GROUP: &str = "/etc/group";

/// Largest id of USER; Docker's limit, which keeps -1 and its unsigned forms out.
const MAX_USER_ID: u32 = i32::MAX as u32;
/// Largest id a file can have: the one above means "leave it" to chown(2).
const MAX_FILE_ID: u32 = u32::MAX - 1;
/// `NGROUPS_MAX` of the kernel.
const MAX_GROUPS: usize = 65_536;

impl Identity {
    /// Resolves a USER value, `None` or empty when there is none, as BuildKit does:
    ///
    /// - `uid:gid`, both numbers or `root`, is taken as it is, with no further group;
    /// - a user alone gets the primary group and all groups the files give it; a number that
    ///   `/etc/passwd` does not know gets group 0;
    /// - with an explicit group there are no further ones;
    /// - no USER at all is user 0, looked up, and works without files.
    ///
    /// # Errors
    /// [`UserError`] for an unknown name, or a number above 2147483647.
    pub fn resolve(spec: Option<&str>, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<Self, UserError> {
        let (user_part, group_part) = split(spec.unwrap_or_default());
        if let (Some(uid), Some(gid)) = (exact_id(user_part)?, group_part.map_or(Ok(None), exact_id)?) {
            let home = users(passwd).find(|user| user.uid == uid).map(|user| user.home);
            return Ok(Self::new(uid, gid, HashSet::new(), home));
        }
        let (uid, entry) = find_user(user_part, passwd)?;
        let home = entry.as_ref().map(|user| user.home);
        match group_part.filter(|group| !group.is_empty()) {
            Some(name) => Ok(Self::new(
                uid,
                find_group(name, group, MAX_USER_ID)?,
                HashSet::new(),
                home,
            )),
            None => {
                let further = entry
                    .as_ref()
                    .map_or(Ok(HashSet::new()), |user| groups_of(user.name, group))?;
                Ok(Self::new(uid, entry.map_or(0, |user| user.gid), further, home))
            }
        }
    }

    fn new(uid: u32, gid: u32, mut further: HashSet<u32>, home: Option<&[u8]>) -> Self {
        further.remove(&gid);
        let mut groups: Vec<u32> = further.into_iter().collect();
        groups.sort_unstable();
        groups.insert(0, gid);
        let home = home.filter(|home| !home.is_empty()).unwrap_or(b"/");
        Self {
            uid,
            gid,
            groups,
            home: OsStr::from_bytes(home).to_owned(),
        }
    }
}

impl Ownership {
    /// Resolves a `--chown` value, `user[:group]`.
    ///
    /// Numbers and `root` are taken as they are; a number alone is the group too. A name alone brings its
    /// primary group. An empty group after the colon is group 0, as in BuildKit.
    ///
    /// # Errors
    /// [`UserError`] for an unknown name (BuildKit silently takes 0, against its own manual), or a number
    /// above 4294967294.
    pub fn resolve(spec: &str, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<Self, UserError> {
        let (user_part, group_part) = split(spec);
        let owner = match number(user_part, MAX_FILE_ID)? {
            Some(id) => Self { uid: id, gid: id },
            None if user_part.is_empty() || user_part == ROOT => Self::default(),
            None => named_user(user_part, passwd).map(|user| Self {
                uid: user.uid,
                gid: user.gid,
            })?,
        };
        Ok(match group_part {
            None => owner,
            Some("") => Self { gid: 0, ..owner },
            Some(name) => Self {
                gid: find_group(name, group, MAX_FILE_ID)?,
                ..owner
            },
        })
    }
}

const ROOT: &str = "root";

fn split(spec: &str) -> (&str, Option<&str>) {
    spec.split_once(':')
        .map_or((spec, None), |(user, group)| (user, Some(group)))
}

/// An id that needs no file.
fn exact_id(text: &str) -> Result<Option<u32>, UserError> {
    if text == ROOT {
        Ok(Some(0))
    } else {
        number(text, MAX_USER_ID)
    }
}

/// `None` when `text` is a name. A negative number is one, not a name.
fn number(text: &str, max: u32) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= max => Ok(Some(id)),
        _ => Err(UserError::OutOfRange {
            id: text.to_owned(),
            max,
        }),
    }
}

/// The uid for the user part of USER, and its entry if there is one.
fn find_user<'a>(text: &str, passwd: Option<&'a [u8]>) -> Result<(u32, Option<User<'a>>), UserError> {
    let id = if text.is_empty() {
        Some(0)
    } else {
        number(text, MAX_USER_ID)?
    };
    match id {
        Some(id) => Ok((id, users(passwd).find(|user| user.uid == id))),
        None => named_user(text, passwd).map(|user| (user.uid, Some(user))),
    }
}

fn named_user<'a>(name: &str, passwd: Option<&'a [u8]>) -> Result<User<'a>, UserError> {
    if passwd.is_none() {
        return Err(UserError::NoDatabase {
            name: name.to_owned(),
            file: PASSWD,
        });
    }
    users(passwd)
        .find(|user| user.name == name.as_bytes())
        .ok_or_else(|| UserError::UnknownUser {
            name: name.to_owned(),
            suggestion: closest(name, users(passwd).map(|user| user.name)),
        })
}

fn find_group(text: &str, group: Option<&[u8]>, max: u32) -> Result<u32, UserError> {
    if let Some(id) = number(text, max)? {
        return Ok(id);
    }
    // `root` needs no file in any position.
    match (groups(group).find(|entry| entry.name == text.as_bytes()), group) {
        (Some(entry), _) => Ok(entry.gid),
        (None, _) if text == ROOT => Ok(0),
        (None, None) => Err(UserError::NoDatabase {
            name: text.to_owned(),
            file: GROUP,
        }),
        (None, Some(_)) => Err(UserError::UnknownGroup {
            name: text.to_owned(),
            suggestion: closest(text, groups(group).map(|entry| entry.name)),
        }),
    }
}

fn groups_of(name: &[u8], group: Option<&[u8]>) -> Result<HashSet<u32>, UserError> {
    let member_of =
        groups(group).filter(|entry| entry.members.split(|byte| *byte == b',').any(|member| member == name));
    let ids: HashSet<u32> = member_of.map(|entry| entry.gid).collect();
    if ids.len() >= MAX_GROUPS {
        return Err(UserError::TooManyGroups {
            name: String::from_utf8_lossy(name).into_owned(),
        });
    }
    Ok(ids)
}

/// An entry of `/etc/passwd`, passwd(5).
struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// An entry of `/etc/group`, group(5).
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

fn users(passwd: Option<&[u8]>) -> impl Iterator<Item = User<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(User {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

fn groups(group: Option<&[u8]>) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

fn lines(file: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    file.unwrap_or_default()
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
}

fn id(field: &[u8]) -> Option<u32> {
    // `parse` would take a sign.
    let digits = field.iter().all(u8::is_ascii_digit).then_some(field)?;
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|id| *id <= MAX_FILE_ID)
}

/// Names longer than this are not typed by hand.
const MAX_SUGGESTION: usize = 32;

/// The name nearest to `wanted`, if it is at most two edits away and shares something with it.
fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    if wanted.len() > MAX_SUGGESTION {
        return None;
    }
    let limit = 2.min(wanted.len().saturating_sub(1));
    names
        .filter(|name| name.len() <= MAX_SUGGESTION)
        .map(|name| (distance(wanted.as_bytes(), name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| String::from_utf8_lossy(name).into_owned())
}

/// Levenshtein distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_FILE: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        broken:x:zero:0::/:\n\
        minus:x:-1:0::/:\n\
        everyone:x:4294967295:0::/:\n\
        :x:0:0::/:\n\
        short:x\n\
        \xff\xfe:x:9:9::/:\n\
        app:x:1000:50:App,,,:/srv/app:/bin/sh\r\n\
        twin:x:1000:51::/srv/twin:/bin/sh\n\
        homeless:x:1001:1001\n\
        tail:x:1002:1002::/t:/bin/sh";
    const GROUP_FILE: &[u8] = b"root:x:0:\n\
        daemon:x:1:\n\
        staff:x:50:app\n\
        audio:x:29:games,app,root\n\
        again:x:29:app\n\
        wheel:x:10:root,app\n\
        broken:x::app\n\
        short\n";

    fn identity(uid: u32, groups: &[u32], home: &str) -> Identity {
        Identity {
            uid,
            gid: groups[0],
            groups: groups.to_vec(),
            home: home.into(),
        }
    }

    #[test]
    fn user_becomes_an_identity() {
        for (spec, expected) in [
            (None, identity(0, &[0, 10, 29], "/root")),
            (Some(""), identity(0, &[0, 10, 29], "/root")),
            (Some("root"), identity(0, &[0, 10, 29], "/root")),
            (Some("0"), identity(0, &[0, 10, 29], "/root")),
            (Some("root:root"), identity(0, &[0], "/root")),
            (Some("app"), identity(1000, &[50, 10, 29], "/srv/app")),
            (Some("app:"), identity(1000, &[50, 10, 29], "/srv/app")),
            (Some("1000"), identity(1000, &[50, 10, 29], "/srv/app")),
            (Some("twin"), identity(1000, &[51], "/srv/twin")),
            (Some("app:audio"), identity(1000, &[29], "/srv/app")),
            (Some("app:7"), identity(1000, &[7], "/srv/app")),
            (Some("1000:7"), identity(1000, &[7], "/srv/app")),
            (Some("1234:audio"), identity(1234, &[29], "/")),
            (Some("1234"), identity(1234, &[0], "/")),
            (Some("1:2"), identity(1, &[2], "/usr/sbin")),
            (Some("1234:5678"), identity(1234, &[5678], "/")),
            (
                Some("2147483647:2147483647"),
                identity(2_147_483_647, &[2_147_483_647], "/"),
            ),
            (Some(":audio"), identity(0, &[29], "/root")),
            (Some("homeless"), identity(1001, &[1001], "/")),
            (Some("tail"), identity(1002, &[1002], "/t")),
        ] {
            let found = Identity::resolve(spec, Some(PASSWD_FILE), Some(GROUP_FILE));
            assert_eq!(found, Ok(expected), "{spec:?}");
        }
    }

    #[test]
    fn user_without_files() {
        for (spec, expected) in [
            (None, Ok(identity(0, &[0], "/"))),
            (Some("0"), Ok(identity(0, &[0], "/"))),
            (Some("1000"), Ok(identity(1000, &[0], "/"))),
            (Some("root:root"), Ok(identity(0, &[0], "/"))),
            (
                Some("root"),
                Err(UserError::NoDatabase {
                    name: "root".to_owned(),
                    file: PASSWD,
                }),
            ),
            (
                Some("1:staff"),
                Err(UserError::NoDatabase {
                    name: "staff".to_owned(),
                    file: GROUP,
                }),
            ),
        ] {
            assert_eq!(Identity::resolve(spec, None, None), expected, "{spec:?}");
        }
    }

    #[test]
    fn user_that_cannot_be() {
        for (spec, message) in [
            ("ap", "unable to find user ap: no matching entries in passwd file"),
            (
                "broken",
                "unable to find user broken: no matching entries in passwd file",
            ),
            ("minus", "unable to find user minus: no matching entries in passwd file"),
            (
                "everyone",
                "unable to find user everyone: no matching entries in passwd file",
            ),
            ("+1", "unable to find user +1: no matching entries in passwd file"),
            (
                "app:nogroup",
                "unable to find group nogroup: no matching entries in group file",
            ),
            (
                "app:broken",
                "unable to find group broken: no matching entries in group file",
            ),
            ("-1", "id -1 is out of range (0 to 2147483647)"),
            ("2147483648", "id 2147483648 is out of range (0 to 2147483647)"),
            ("4294967295:0", "id 4294967295 is out of range (0 to 2147483647)"),
            ("0:4294967295", "id 4294967295 is out of range (0 to 2147483647)"),
            (
                "app:99999999999999999999",
                "id 99999999999999999999 is out of range (0 to 2147483647)",
            ),
        ] {
            let error = Identity::resolve(Some(spec), Some(PASSWD_FILE), Some(GROUP_FILE)).unwrap_err();
            assert_eq!(error.to_string(), message, "{spec:?}");
        }
    }

    #[test]
    fn too_many_groups() {
        let mut group = Vec::new();
        for gid in 0..=MAX_GROUPS {
            group.extend_from_slice(format!("g{gid}:x:{gid}:app\n").as_bytes());
        }
        let found = Identity::resolve(Some("app"), Some(PASSWD_FILE), Some(&group));
        assert_eq!(found, Err(UserError::TooManyGroups { name: "app".to_owned() }));
    }

    #[test]
    fn chown_becomes_an_ownership() {
        for (spec, uid, gid) in [
            ("5", 5, 5),
            ("1", 1, 1),
            ("1000", 1000, 1000),
            ("1:2", 1, 2),
            ("root", 0, 0),
            ("daemon", 1, 1),
            ("app", 1000, 50),
            ("app:audio", 1000, 29),
            ("app:7", 1000, 7),
            ("1000:audio", 1000, 29),
            ("app:", 1000, 0),
            (":audio", 0, 29),
            ("1:root", 1, 0),
            ("4294967294", 4_294_967_294, 4_294_967_294),
        ] {
            let found = Ownership::resolve(spec, Some(PASSWD_FILE), Some(GROUP_FILE));
            assert_eq!(found, Ok(Ownership { uid, gid }), "{spec:?}");
        }
        assert_eq!(Ownership::resolve("root:root", None, None), Ok(Ownership::default()));
    }

    #[test]
    fn chown_that_cannot_be() {
        for spec in ["nobody", "app:nogroup", "4294967295", "-1", "1:-1", "99999999999"] {
            assert!(
                Ownership::resolve(spec, Some(PASSWD_FILE), Some(GROUP_FILE)).is_err(),
                "{spec:?}"
            );
        }
        let error = Ownership::resolve("app", None, None).unwrap_err();
        assert_eq!(
            error,
            UserError::NoDatabase {
                name: "app".to_owned(),
                file: PASSWD
            }
        );
    }

    #[test]
    fn near_misses_are_suggested() {
        for (name, suggestion) in [
            ("deamon", Some("daemon")),
            ("apps", Some("app")),
            ("ap", Some("app")),
            ("x", None),
            ("postgres", None),
            (&"a".repeat(1000), None),
        ] {
            let error = Ownership::resolve(name, Some(PASSWD_FILE), None).unwrap_err();
            let expected = UserError::UnknownUser {
                name: name.to_owned(),
                suggestion: suggestion.map(str::to_owned),
            };
            assert_eq!(error, expected);
        }
    }
}
