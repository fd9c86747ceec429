//! Operands of COPY and ADD after expansion: owners, modes, destinations, kinds of sources.

use super::error::PlanProblem;

/// `--chown`, or the USER for WORKDIR. Names are looked up in the rootfs by whoever executes the step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Before the colon.
    pub user: Principal,
    /// After it; without one, the primary group of a named user, or the same number as a numeric user.
    pub group: Option<Principal>,
}

/// A user or a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// A number; `root` is 0 without a lookup.
    Id(u32),
    /// A name in the rootfs's passwd or group file.
    Name(String),
}

impl Owner {
    /// Parses `user[:group]`; `None` if the text is empty, which means the default.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Some(Self {
            user: Principal::parse(user),
            group: group.map(Principal::parse),
        })
    }
}

impl Principal {
    /// An empty part is 0, as in BuildKit (`--chown=1000:`).
    fn parse(text: &str) -> Self {
        match text {
            "" | "root" => Self::Id(0),
            text => match text.parse() {
                Ok(id) => Self::Id(id),
                Err(_) => Self::Name(text.to_owned()),
            },
        }
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.user)?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

/// `--chmod`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chmod {
    /// The mode itself, at most 07777; also given to created parents.
    Octal(u32),
    /// Changes computed from each entry's own mode; not given to created parents.
    Symbolic(Vec<ModeChange>),
}

/// One operator and its permissions, for some classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModeChange {
    /// Bits the change may touch: 04700 for `u`, 02070 for `g`, 01007 for `o`.
    pub who: u32,
    /// What happens to them.
    pub operator: ModeOperator,
    /// Right side.
    pub permissions: Permissions,
}

/// What a symbolic mode does with the permissions it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeOperator {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `=`
    Set,
}

/// The right side of a symbolic mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permissions {
    /// Bits in all classes: `r` is 0444, `s` is 06000.
    Bits {
        /// Those of `r`, `w`, `x`, `s`, `t`.
        mask: u32,
        /// `X`: execute, for directories and for what somebody may execute already.
        conditional_execute: bool,
    },
    /// `u`, `g` or `o`: what that class has. The number is its distance from the lowest bits.
    CopyOf(u32),
}

/// What a mode is computed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeOf {
    /// A directory.
    Directory,
    /// A file of any other kind.
    File,
}

impl Chmod {
    /// Parses the operand; `None` if it is empty, which keeps modes.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, PlanProblem> {
        match text.chars().next() {
            None => Ok(None),
            Some(c) if c.is_ascii_digit() => {
                let mode = || text.to_owned();
                match u32::from_str_radix(text, 8) {
                    Ok(bits) if bits <= 0o7777 => Ok(Some(Self::Octal(bits))),
                    Ok(_) | Err(_) => Err(PlanProblem::OctalMode { mode: mode() }),
                }
            }
            Some(_) => {
                let mut changes = Vec::new();
                for clause in text.split(',') {
                    parse_clause(clause, &mut changes)
                        .ok_or_else(|| PlanProblem::SymbolicMode { mode: text.to_owned() })?;
                }
                Ok(Some(Self::Symbolic(changes)))
            }
        }
    }

    /// The mode an entry gets that had `mode` (permission bits only).
    #[must_use]
    pub fn apply(&self, mode: u32, of: ModeOf) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => changes.iter().fold(mode, |mode, change| change.apply(mode, of)),
        }
    }
}

impl ModeChange {
    fn apply(self, mode: u32, of: ModeOf) -> u32 {
        let bits = match self.permissions {
            Permissions::CopyOf(shift) => (mode >> shift & 0o7) * 0o111,
            Permissions::Bits {
                mask,
                conditional_execute,
            } => match conditional_execute && (of == ModeOf::Directory || mode & 0o111 != 0) {
                true => mask | 0o111,
                false => mask,
            },
        };
        match self.operator {
            ModeOperator::Add => mode | bits & self.who,
            ModeOperator::Remove => mode & !(bits & self.who),
            ModeOperator::Set => mode & !self.who | bits & self.who,
        }
    }
}

/// `who` and at least one operator with permissions. No `who` means everybody: there is no umask.
fn parse_clause(clause: &str, changes: &mut Vec<ModeChange>) -> Option<()> {
    let operators = ['+', '-', '='];
    let (classes, mut rest) = clause.split_at(clause.find(operators)?);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let who = if classes.is_empty() { 0o7777 } else { who };
    while let Some(operator) = rest.chars().next() {
        let operator = match operator {
            '+' => ModeOperator::Add,
            '-' => ModeOperator::Remove,
            _ => ModeOperator::Set,
        };
        let end = rest[1..].find(operators).map_or(rest.len(), |at| at + 1);
        let permissions = parse_permissions(&rest[1..end])?;
        changes.push(ModeChange {
            who,
            operator,
            permissions,
        });
        rest = &rest[end..];
    }
    Some(())
}

fn parse_permissions(text: &str) -> Option<Permissions> {
    match text {
        "u" => return Some(Permissions::CopyOf(6)),
        "g" => return Some(Permissions::CopyOf(3)),
        "o" => return Some(Permissions::CopyOf(0)),
        _ => {}
    }
    let (mut mask, mut conditional_execute) = (0, false);
    for permission in text.chars() {
        match permission {
            'r' => mask |= 0o444,
            'w' => mask |= 0o222,
            'x' => mask |= 0o111,
            's' => mask |= 0o6000,
            't' => mask |= 0o1000,
            'X' => conditional_execute = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits {
        mask,
        conditional_execute,
    })
}

impl std::fmt::Display for Chmod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Octal(mode) => write!(f, "{mode:04o}"),
            Self::Symbolic(changes) => {
                for (i, change) in changes.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{change}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::fmt::Display for ModeChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let classes = [(0o700, 'u'), (0o070, 'g'), (0o007, 'o')];
        let who = classes.iter().filter(|(bits, _)| self.who & bits != 0);
        let who: String = who.map(|(_, class)| class).collect();
        let operator = match self.operator {
            ModeOperator::Add => '+',
            ModeOperator::Remove => '-',
            ModeOperator::Set => '=',
        };
        let permissions: String = match self.permissions {
            Permissions::CopyOf(shift) => classes
                .iter()
                .filter(|(bits, _)| *bits == 0o7 << shift)
                .map(|c| c.1)
                .collect(),
            Permissions::Bits {
                mask,
                conditional_execute,
            } => [(0o444, 'r'), (0o222, 'w'), (0o111, 'x'), (0o6000, 's'), (0o1000, 't')]
                .iter()
                .filter(|(bits, _)| mask & bits != 0)
                .map(|(_, permission)| *permission)
                .chain(conditional_execute.then_some('X'))
                .collect(),
        };
        write!(f, "{who}{operator}{permissions}")
    }
}

/// The absolute destination: relative ones start at `cwd`; a trailing `/` says that it is a directory.
pub(super) fn destination(cwd: &str, written: &str) -> String {
    let directory = matches!(written, "" | "." | "..") || written.ends_with('/') || written.ends_with("/.");
    let mut path = resolve_path(cwd, written);
    if directory && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// Joins `path` to `cwd` unless it is absolute, and removes `.`, `..` and empty components.
pub(super) fn resolve_path(cwd: &str, path: &str) -> String {
    let start = if path.starts_with('/') { "" } else { cwd };
    let mut components = Vec::new();
    for component in start.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    format!("/{}", components.join("/"))
}

/// What a source of ADD names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SourceKind {
    Path,
    Url,
    Git,
}

/// Tells URLs and git repositories from paths.
pub(super) fn source_kind(source: &str) -> SourceKind {
    let lower = source.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        let path = source.split(['?', '#']).next().unwrap_or_default();
        return match path.ends_with(".git") {
            true => SourceKind::Git,
            false => SourceKind::Url,
        };
    }
    match lower.starts_with("git://") || lower.starts_with("ssh://") || is_scp_style(source) {
        true => SourceKind::Git,
        false => SourceKind::Path,
    }
}

/// `user@host:path`
fn is_scp_style(source: &str) -> bool {
    let word = |text: &str, extra: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c))
    };
    let Some((user, rest)) = source.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    word(user, &['-', '_']) && word(host, &['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        let id = Principal::Id;
        let name = |name: &str| Principal::Name(name.to_owned());
        for (text, user, group) in [
            ("5", id(5), None),
            ("1:2", id(1), Some(id(2))),
            ("root", id(0), None),
            ("daemon", name("daemon"), None),
            ("1000:nobody", id(1000), Some(name("nobody"))),
            ("name:7", name("name"), Some(id(7))),
            ("user:", name("user"), Some(id(0))),
            (":5", id(0), Some(id(5))),
            ("4294967296", name("4294967296"), None),
        ] {
            assert_eq!(Owner::parse(text), Some(Owner { user, group }), "{text}");
        }
        assert_eq!(Owner::parse(""), None);
    }

    #[test]
    fn modes() {
        use ModeOf::{Directory, File};
        for (text, mode, of, expected) in [
            ("755", 0o600, File, 0o755),
            ("0755", 0o600, File, 0o755),
            ("4755", 0o600, File, 0o4755),
            ("0", 0o600, File, 0),
            ("u=rwX,go=rX", 0o640, File, 0o644),
            ("u=rwX,go=rX", 0o740, File, 0o755),
            ("u=rwX,go=rX", 0o700, Directory, 0o755),
            ("go=u", 0o640, File, 0o666),
            ("a-w", 0o666, File, 0o444),
            ("+x", 0o644, File, 0o755),
            ("g=u", 0o640, File, 0o660),
            ("u+s", 0o755, File, 0o4755),
            ("g+s", 0o755, File, 0o2755),
            ("+t", 0o755, Directory, 0o1755),
            ("u=rw-w", 0o777, File, 0o477),
            ("o=", 0o777, File, 0o770),
        ] {
            let chmod = Chmod::parse(text).unwrap().unwrap();
            assert_eq!(chmod.apply(mode, of), expected, "{text} on {mode:o}");
            assert_eq!(Chmod::parse(&chmod.to_string()).unwrap(), Some(chmod), "{text}");
        }
        assert_eq!(Chmod::parse("").unwrap(), None);
        for (text, octal) in [
            ("64a", true),
            ("10000", true),
            ("888", true),
            ("zz", false),
            ("u", false),
            ("u+q", false),
            ("u+x,", false),
            ("+ug", false),
        ] {
            let error = Chmod::parse(text).unwrap_err().to_string();
            assert_eq!(error.contains("octal"), octal, "{error}");
            assert_eq!(error.contains("invalid syntax"), !octal, "{error}");
        }
    }

    #[test]
    fn destinations() {
        for (cwd, written, expected) in [
            ("/w", "d", "/w/d"),
            ("/w", "d/", "/w/d/"),
            ("/w", "d/.", "/w/d/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "", "/w/"),
            ("/w", "..", "/"),
            ("/w", "/d", "/d"),
            ("/w", "/", "/"),
            ("/w", "/a/../b//c", "/b/c"),
            ("/w", "../../x", "/x"),
            ("/", "x", "/x"),
        ] {
            assert_eq!(destination(cwd, written), expected, "{cwd} {written}");
        }
    }

    #[test]
    fn kinds_of_sources() {
        for (source, kind) in [
            ("a/b", SourceKind::Path),
            ("github.com/o/r", SourceKind::Path),
            ("a@b", SourceKind::Path),
            ("x/y@z:1", SourceKind::Path),
            ("http://h/f", SourceKind::Url),
            ("https://h/f.git/x", SourceKind::Url),
            ("https://h/f.git", SourceKind::Git),
            ("https://h/f.git#main:dir", SourceKind::Git),
            ("https://h/f.git?tag=v1", SourceKind::Git),
            ("git://h/f", SourceKind::Git),
            ("ssh://h/f", SourceKind::Git),
            ("git@github.com:o/r", SourceKind::Git),
        ] {
            assert_eq!(source_kind(source), kind, "{source}");
        }
    }
}
