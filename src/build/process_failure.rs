//! A process of a RUN that ended badly, with what is known about why.

use super::mounts::Absent;
use crate::memory::Shortage;
use crate::run::Exit;

/// How much of a command line is shown: a script may be long, and is shown with its lines anyway.
const SHOWN: usize = 160;
/// What a shell exits with when the kernel's SIGKILL ended its last command.
const SHELL_KILLED: u8 = 128 + 9;

/// A process that ended badly. The words are BuildKit's, since people search for them.
#[derive(Debug, thiserror::Error)]
#[error("process {:?} did not complete successfully: {exit}", shorten(process))]
pub struct ProcessFailure {
    /// Program and arguments.
    pub process: String,
    /// How it ended.
    pub exit: Exit,
    /// What it would have liked to have.
    pub absent: Vec<Absent>,
    /// Whether it had too little memory.
    pub shortage: Shortage,
}

impl ProcessFailure {
    /// A process about which nothing else is known.
    pub(crate) const fn new(process: String, exit: Exit) -> Self {
        Self {
            process,
            exit,
            absent: Vec::new(),
            shortage: Shortage::None,
        }
    }

    /// What to try.
    pub(crate) fn hints(&self) -> Vec<String> {
        let memory = self.hint_of_memory();
        let program = match self.exit {
            Exit::Code(127) => {
                Some("the image lacks a program that the instruction calls; install it in an earlier RUN")
            }
            Exit::Code(126) => Some("the program is there but cannot be executed; check its mode and its #! line"),
            Exit::Code(_) | Exit::Signal(_) => None,
        };
        let absent = self.absent.iter().map(Absent::hint);
        memory
            .into_iter()
            .chain(program.map(str::to_owned))
            .chain(absent)
            .collect()
    }

    fn hint_of_memory(&self) -> Option<String> {
        let was_killed = matches!(self.exit, Exit::Signal(9) | Exit::Code(SHELL_KILLED));
        match self.shortage {
            Shortage::Hit(limit) => Some(limit.to_string()),
            Shortage::Unknown if was_killed => Some(
                "the kernel may have ended it for want of memory, which cannot be seen here; if so, raise the memory limit of the \
                 container, or let the step use less"
                    .to_owned(),
            ),
            Shortage::None | Shortage::Unknown => None,
        }
    }
}

fn shorten(process: &str) -> String {
    match process.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &process[..end]),
        None => process.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(exit: Exit, shortage: Shortage, absent: Vec<Absent>) -> Vec<String> {
        let failure = ProcessFailure {
            absent,
            shortage,
            ..ProcessFailure::new("x".to_owned(), exit)
        };
        failure.hints()
    }

    #[test]
    fn memory_is_suspected_only_where_it_cannot_be_known() {
        for (exit, shortage, is_suspected) in [
            (Exit::Signal(9), Shortage::Unknown, true),
            (Exit::Code(137), Shortage::Unknown, true),
            (Exit::Code(1), Shortage::Unknown, false),
            (Exit::Signal(9), Shortage::None, false),
        ] {
            let hints = hints(exit, shortage, Vec::new());
            assert_eq!(!hints.is_empty(), is_suspected, "{exit} {shortage:?} {hints:?}");
        }
    }

    #[test]
    fn what_was_not_handed_in_is_said() {
        let absent = vec![Absent::Secret("token".to_owned()), Absent::Agent("default".to_owned())];
        let hints = hints(Exit::Code(127), Shortage::None, absent);
        assert_eq!(hints.len(), 3);
        assert!(hints[1].contains("--secret=id=token,src=FILE"), "{hints:?}");
        assert!(hints[2].contains("--ssh=default"), "{hints:?}");
    }
}
