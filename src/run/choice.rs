//! Which isolation a build uses.

use std::str::FromStr;

use super::{Isolation, Namespaces, RunError};

/// What the user asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IsolationChoice {
    /// The strongest that works here.
    #[default]
    Auto,
    /// A private root in namespaces of its own, or nothing.
    Namespaces,
    /// A private root without namespaces.
    Chroot,
    /// The container's own `/`.
    InPlace,
}

impl FromStr for IsolationChoice {
    type Err = RunError;

    fn from_str(text: &str) -> Result<Self, RunError> {
        match text {
            "auto" => Ok(Self::Auto),
            "namespaces" => Ok(Self::Namespaces),
            "chroot" => Ok(Self::Chroot),
            "in-place" => Ok(Self::InPlace),
            _ => Err(RunError::UnknownIsolation(text.to_owned())),
        }
    }
}

/// What makes namespaces available.
const NAMESPACES_REMEDY: &str = "run rbuild as root on the host or in a VM, or in a container with CAP_SYS_ADMIN that may mount (docker run --privileged)";

/// Finds the isolation to use by trying, in a child, everything it will have to do.
///
/// # Errors
/// [`RunError::Unavailable`], with the first thing that was refused and what would help.
pub fn choose(choice: IsolationChoice) -> Result<Box<dyn Isolation>, RunError> {
    match choice {
        IsolationChoice::Auto | IsolationChoice::Namespaces => Ok(Box::new(probed(Namespaces::default())?)),
        IsolationChoice::Chroot => Err(RunError::NotImplemented("chroot")),
        IsolationChoice::InPlace => Err(RunError::NotImplemented("in-place")),
    }
}

fn probed(namespaces: Namespaces) -> Result<Namespaces, RunError> {
    match namespaces.probe() {
        Ok(()) => Ok(namespaces),
        Err(error) => Err(RunError::Unavailable {
            isolation: namespaces.name(),
            remedy: NAMESPACES_REMEDY,
            source: Box::new(error),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_and_what_would_help() {
        let error = probed(Namespaces::with_binary("/nonexistent".into())).unwrap_err();
        assert_eq!(error.to_string(), "isolation \"namespaces\" is not available here");
        assert_eq!(error.hint(), Some(NAMESPACES_REMEDY));
        assert!(matches!(error, RunError::Unavailable { source, .. } if matches!(*source, RunError::Start { .. })));
    }

    #[test]
    fn names_of_the_option() {
        assert_eq!("auto".parse::<IsolationChoice>().unwrap(), IsolationChoice::Auto);
        assert_eq!(
            "namespaces".parse::<IsolationChoice>().unwrap(),
            IsolationChoice::Namespaces
        );
        for text in ["", "Auto", "docker"] {
            assert!(
                matches!(text.parse::<IsolationChoice>(), Err(RunError::UnknownIsolation(_))),
                "{text:?}"
            );
        }
    }
}
