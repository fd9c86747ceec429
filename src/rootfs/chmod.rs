//! `--chmod`: octal, or symbolic as in chmod(1). The umask plays no part.

use std::fmt;

use super::Kind;

/// New permission bits, or how to compute them from the old ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chmod(Modes);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Modes {
    /// These bits for every entry.
    Octal(u32),
    /// Computed for each entry.
    Symbolic {
        /// As written.
        text: String,
        changes: Vec<Change>,
    },
}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChmodError {
    /// Begins with a digit and is no octal number up to 7777.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Octal(String),
    /// Is no symbolic mode.
    #[error("invalid chmod parameter: '{0}': invalid syntax")]
    Symbolic(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Change {
    who: Who,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Add,
    Remove,
    Set,
}

/// Bits that a change may touch: `u` is 0o4700, `g` 0o2070, `o` 0o1007.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Who(u32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Permissions {
    /// Bits for all classes at once, to be masked by who; and whether `X` is among them.
    Bits { bits: u32, conditional: Conditional },
    /// What another class has, by its distance from the lowest bit.
    CopyOf { shift: u32 },
}

/// `X`: execution for directories and for what somebody could execute before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Conditional {
    No,
    Execute,
}

const EXECUTE: u32 = 0o111;

impl Chmod {
    /// Parses `0755`, `u=rwX,go=rX`, `+x`, `g=u`.
    ///
    /// # Errors
    /// [`ChmodError`].
    pub fn parse(text: &str) -> Result<Self, ChmodError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = text
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| u32::from_str_radix(text, 8).ok());
            return match octal.flatten() {
                Some(mode @ 0..=0o7777) => Ok(Self(Modes::Octal(mode))),
                _ => Err(ChmodError::Octal(text.to_owned())),
            };
        }
        let changes = parse_symbolic(text.as_bytes()).ok_or_else(|| ChmodError::Symbolic(text.to_owned()))?;
        Ok(Self(Modes::Symbolic {
            text: text.to_owned(),
            changes,
        }))
    }

    /// The mode of an entry that had `mode` at its source.
    #[must_use]
    pub fn apply(&self, mode: u32, kind: Kind) -> u32 {
        match &self.0 {
            Modes::Octal(mode) => *mode,
            Modes::Symbolic { changes, .. } => changes.iter().fold(mode, |now, change| change.apply(now, mode, kind)),
        }
    }

    /// The mode of directories that a copy has to make. An octal mode is theirs too, as BuildKit does it;
    /// a symbolic one has no source mode to start from.
    #[must_use]
    pub const fn of_created_directories(&self) -> u32 {
        match self.0 {
            Modes::Octal(mode) => mode,
            Modes::Symbolic { .. } => 0o755,
        }
    }
}

impl fmt::Display for Chmod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Modes::Octal(mode) => write!(f, "{mode:04o}"),
            Modes::Symbolic { text, .. } => f.write_str(text),
        }
    }
}

impl Change {
    fn apply(&self, now: u32, original: u32, kind: Kind) -> u32 {
        let bits = match self.permissions {
            Permissions::Bits { bits, conditional } => {
                let execute = kind == Kind::Directory || original & EXECUTE != 0;
                match conditional {
                    Conditional::Execute if execute => bits | EXECUTE,
                    _ => bits,
                }
            }
            Permissions::CopyOf { shift } => (now >> shift & 0o7) * EXECUTE,
        };
        let bits = bits & self.who.0;
        match self.operator {
            Operator::Add => now | bits,
            Operator::Remove => now & !bits,
            Operator::Set => now & !self.who.0 | bits,
        }
    }
}

fn parse_symbolic(text: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    for clause in text.split(|byte| *byte == b',') {
        parse_clause(clause, &mut changes)?;
    }
    Some(changes)
}

/// `[ugoa]*([+-=]permissions)+`
fn parse_clause(clause: &[u8], changes: &mut Vec<Change>) -> Option<()> {
    let operators_at = clause.iter().position(|byte| !b"ugoa".contains(byte))?;
    let (classes, mut rest) = clause.split_at(operators_at);
    let who = Who::parse(classes);
    while let Some((operator, after)) = rest.split_first() {
        let operator = match operator {
            b'+' => Operator::Add,
            b'-' => Operator::Remove,
            b'=' => Operator::Set,
            _ => return None,
        };
        let end = after
            .iter()
            .position(|byte| b"+-=".contains(byte))
            .unwrap_or(after.len());
        let (permissions, remaining) = after.split_at(end);
        changes.push(Change {
            who,
            operator,
            permissions: Permissions::parse(permissions)?,
        });
        rest = remaining;
    }
    Some(())
}

impl Who {
    fn parse(classes: &[u8]) -> Self {
        let bits = |class: &u8| match class {
            b'u' => 0o4700,
            b'g' => 0o2070,
            b'o' => 0o1007,
            _ => 0o7777,
        };
        match classes {
            [] => Self(0o7777),
            _ => Self(classes.iter().map(bits).fold(0, |all, one| all | one)),
        }
    }
}

impl Permissions {
    fn parse(letters: &[u8]) -> Option<Self> {
        match letters {
            b"u" => return Some(Self::CopyOf { shift: 6 }),
            b"g" => return Some(Self::CopyOf { shift: 3 }),
            b"o" => return Some(Self::CopyOf { shift: 0 }),
            _ => {}
        }
        let mut bits = 0;
        let mut conditional = Conditional::No;
        for letter in letters {
            bits |= match letter {
                b'r' => 0o444,
                b'w' => 0o222,
                b'x' => EXECUTE,
                b's' => 0o6000,
                b't' => 0o1000,
                b'X' => {
                    conditional = Conditional::Execute;
                    0
                }
                _ => return None,
            };
        }
        Some(Self::Bits { bits, conditional })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal() {
        for (text, mode) in [
            ("0", 0),
            ("755", 0o755),
            ("0755", 0o755),
            ("4755", 0o4755),
            ("07777", 0o7777),
            ("00644", 0o644),
        ] {
            assert_eq!(Chmod::parse(text), Ok(Chmod(Modes::Octal(mode))), "{text}");
        }
        for text in ["64a", "10000", "888", "0o755", "755 ", "99999999999999"] {
            assert_eq!(Chmod::parse(text), Err(ChmodError::Octal(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn malformed_symbolic() {
        for text in [
            "", "zz", "u", "u+z", "u=r,", ",u=r", "u=ur", "+755", "-1", "u rwx", "x+u", "=é",
        ] {
            assert_eq!(Chmod::parse(text), Err(ChmodError::Symbolic(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn symbolic_modes_start_from_the_source() {
        for (text, mode, file, directory) in [
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("u=rwX,go=rX", 0o700, 0o755, 0o755),
            ("+x", 0o644, 0o755, 0o755),
            ("a-w", 0o666, 0o444, 0o444),
            ("g=u", 0o640, 0o660, 0o660),
            ("go=u", 0o750, 0o777, 0o777),
            ("o=g", 0o750, 0o755, 0o755),
            ("u+s", 0o755, 0o4755, 0o4755),
            ("g+s", 0o755, 0o2755, 0o2755),
            ("o+s", 0o755, 0o755, 0o755),
            ("+t", 0o755, 0o1755, 0o1755),
            ("+X", 0o644, 0o644, 0o755),
            ("+X", 0o645, 0o755, 0o755),
            ("u=", 0o4755, 0o055, 0o055),
            ("a=rx", 0o7777, 0o555, 0o555),
            ("u=rw,u+x", 0o000, 0o700, 0o700),
            ("u=rw+x-w", 0o000, 0o500, 0o500),
            ("ug+w,o-r", 0o644, 0o660, 0o660),
            ("-x,+X", 0o755, 0o755, 0o755),
            ("=", 0o755, 0, 0),
        ] {
            let chmod = Chmod::parse(text).unwrap();
            assert_eq!(chmod.apply(mode, Kind::File), file, "{text} on the file {mode:o}");
            assert_eq!(
                chmod.apply(mode, Kind::Directory),
                directory,
                "{text} on the directory {mode:o}"
            );
        }
    }

    #[test]
    fn created_directories_take_octal_modes_only() {
        assert_eq!(Chmod::parse("770").unwrap().of_created_directories(), 0o770);
        assert_eq!(Chmod::parse("u=rwx,go=").unwrap().of_created_directories(), 0o755);
    }
}
