//! The names that the program goes by.

use std::ffi::OsString;
use std::path::Path;

/// What the program was called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Anything but the others.
    Rbuild,
    /// As the kaniko executor; everything is the same but the version's form, which scripts cut to pieces.
    Executor,
    /// As kaniko's warmer: `rbuild warm`.
    Warmer,
}

/// Tells the name from the first word of a command line, and gives the line that rbuild understands.
pub(super) fn of(line: impl Iterator<Item = OsString>) -> (Name, Vec<OsString>) {
    let mut line: Vec<_> = line.collect();
    let program = line.first().map(Path::new).and_then(Path::file_name);
    let name = match program.and_then(|name| name.to_str()) {
        Some("executor") => Name::Executor,
        Some("warmer") => Name::Warmer,
        _ => Name::Rbuild,
    };
    if name == Name::Warmer {
        line.insert(1, "warm".into());
    }
    (name, line)
}

impl Name {
    /// The line that says which version this is.
    pub(super) const fn version(self) -> &'static str {
        match self {
            Self::Rbuild | Self::Warmer => concat!("rbuild ", env!("CARGO_PKG_VERSION"), "\n"),
            // The kaniko executor's form, two spaces included.
            Self::Executor => concat!("Kaniko version :  v", env!("CARGO_PKG_VERSION"), "-rbuild\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_tells() {
        for (line, name, understood) in [
            (&["rbuild", "version"][..], Name::Rbuild, &["rbuild", "version"][..]),
            (
                &["/kaniko/executor", "-d", "x"],
                Name::Executor,
                &["/kaniko/executor", "-d", "x"],
            ),
            (
                &["/kaniko/warmer", "-i", "x"],
                Name::Warmer,
                &["/kaniko/warmer", "warm", "-i", "x"],
            ),
            (&["warmer"], Name::Warmer, &["warmer", "warm"]),
            (&["executor-2"], Name::Rbuild, &["executor-2"]),
            (&[], Name::Rbuild, &[]),
        ] {
            let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
            assert_eq!(of(words(line).into_iter()), (name, words(understood)));
        }
    }
}
