//! Operands of COPY and ADD after expansion: owners, modes, destinations.

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

impl Owner {
    /// A name that has to be looked up.
    pub(super) fn name(&self) -> Option<&str> {
        [Some(&self.user), self.group.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|principal| match principal {
                Principal::Name(name) => Some(name.as_str()),
                Principal::Id(_) => None,
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
}
