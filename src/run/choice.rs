//! Which isolation a build uses.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::{Chroot, InPlace, Isolation, MappingError, Namespaces, RunError};

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

/// What a choice depends on besides the machine.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The directory below which every rootfs is made.
    pub state_dir: &'a Path,
    /// Whether the user has accepted that the container's own files are moved aside.
    pub force: bool,
    /// Why an ordinary user is not root of a user namespace, which he would be if that had worked.
    pub unmapped: Option<&'a Arc<MappingError>>,
}

/// The isolation of a build.
#[derive(Debug)]
pub struct Chosen {
    /// It works here.
    pub isolation: Box<dyn Isolation>,
    /// The stronger ones, the strongest first.
    pub refused: Vec<Refused>,
}

/// An isolation that does not work here.
#[derive(Debug)]
pub struct Refused {
    /// Its name.
    pub isolation: &'static str,
    /// The name with what matters to people besides.
    pub description: &'static str,
    /// What would make it work.
    pub remedy: String,
    /// The first thing that was refused.
    pub error: RunError,
}

impl fmt::Display for Refused {
    /// Cause and remedy, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} refused: {} ({})",
            self.description,
            innermost(&self.error),
            self.remedy
        )
    }
}

/// What was refused and what the kernel said; what is above says only that it happened on the way here.
fn innermost(error: &RunError) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        causes.push(error.to_string());
        next = error.source();
    }
    let from = causes.len().saturating_sub(2);
    causes[from..].join(": ")
}

impl Chosen {
    /// Which, and why no stronger one, in one line. Two kinds of one name are one to whoever reads this: if the
    /// weaker works, nothing is missed, and if neither does, the weaker's cause is the one that can be mended.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut summary = self.isolation.description().to_owned();
        for (index, refused) in self.refused.iter().enumerate() {
            let has_weaker_kind = self.refused[index + 1..]
                .iter()
                .any(|weaker| weaker.isolation == refused.isolation);
            if !has_weaker_kind && refused.isolation != self.isolation.name() {
                summary.push_str(&format!("; {refused}"));
            }
        }
        summary
    }
}

/// Finds the isolation to use by trying, in a child, everything it will have to do.
///
/// # Errors
/// [`RunError::Unavailable`], with the first thing that was refused and what would help.
pub fn choose(choice: IsolationChoice, site: Site<'_>) -> Result<Chosen, RunError> {
    let (candidates, refused) = candidates(choice, site);
    first_that_works(candidates, refused)
}

/// Isolations to try, and what need not be tried any more.
type Candidates = (Vec<Box<dyn Isolation>>, Vec<Refused>);

/// What `choice` allows, the strongest first.
fn candidates(choice: IsolationChoice, site: Site<'_>) -> Candidates {
    let (mut candidates, mut refused): Candidates = Default::default();
    if matches!(choice, IsolationChoice::Auto | IsolationChoice::Namespaces) {
        let namespaces = Namespaces::default();
        match site.unmapped {
            None => {
                candidates.push(Box::new(namespaces.clone()));
                candidates.push(Box::new(namespaces.in_user_namespace()));
            }
            Some(unmapped) => refused.push(Refused {
                isolation: namespaces.name(),
                description: namespaces.description(),
                remedy: unmapped.remedy(),
                error: RunError::Mapping(Arc::clone(unmapped)),
            }),
        }
    }
    if matches!(choice, IsolationChoice::Auto | IsolationChoice::InPlace) {
        candidates.push(Box::new(InPlace::new(site.state_dir, site.force)));
    }
    if matches!(choice, IsolationChoice::Auto | IsolationChoice::Chroot) {
        candidates.push(Box::new(Chroot::new(site.state_dir)));
    }
    (candidates, refused)
}

fn first_that_works(candidates: Vec<Box<dyn Isolation>>, mut refused: Vec<Refused>) -> Result<Chosen, RunError> {
    for isolation in candidates {
        match isolation.probe() {
            Ok(()) => return Ok(Chosen { isolation, refused }),
            Err(error) => refused.push(Refused {
                isolation: isolation.name(),
                description: isolation.description(),
                remedy: isolation.remedy(&error),
                error,
            }),
        }
    }
    Err(none_works(refused))
}

/// What is easiest to mend is the weakest kind of the strongest isolation.
fn none_works(mut refused: Vec<Refused>) -> RunError {
    let name = refused.first().map(|refused| refused.isolation);
    let Some(index) = refused.iter().rposition(|refused| Some(refused.isolation) == name) else {
        return RunError::NoProgram;
    };
    let first = refused.remove(index);
    let others = refused.iter().map(ToString::to_string).collect();
    RunError::Unavailable {
        isolation: first.isolation,
        remedy: first.remedy,
        others,
        source: Box::new(first.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::{Abilities, Company, Exit, MountSource, MountWay, Process, Stream};
    use crate::cancel::Cancel;
    use crate::sys::CallError;

    /// An isolation that works, or says which call was refused.
    #[derive(Debug)]
    struct Fake(&'static str, &'static str, Option<&'static str>);

    impl Isolation for Fake {
        fn name(&self) -> &'static str {
            self.0
        }

        fn description(&self) -> &'static str {
            self.1
        }

        fn abilities(&self) -> Abilities {
            Abilities {
                company: Company::Several,
                mounts: MountWay::Shown,
            }
        }

        fn probe(&self) -> Result<(), RunError> {
            match self.2 {
                None => Ok(()),
                Some(call) => Err(RunError::Setup(CallError {
                    call: call.to_owned(),
                    errno: rustix::io::Errno::PERM,
                })),
            }
        }

        fn remedy(&self, _refused: &RunError) -> String {
            format!("mend {}", self.1)
        }

        fn can_mount(&self, _source: &MountSource) -> bool {
            false
        }

        fn run(
            &self,
            _process: &Process<'_>,
            _output: &(dyn Fn(Stream, &[u8]) + Sync),
            _cancel: &Cancel,
        ) -> Result<Exit, RunError> {
            Err(RunError::NoProgram)
        }
    }

    fn chosen(fakes: [Fake; 4]) -> Result<Chosen, RunError> {
        let fakes = fakes.into_iter().map(|fake| Box::new(fake) as Box<dyn Isolation>);
        first_that_works(fakes.collect(), Vec::new())
    }

    fn fakes(refused: [Option<&'static str>; 4]) -> [Fake; 4] {
        let [strongest, user, in_place, chroot] = refused;
        [
            Fake("namespaces", "namespaces", strongest),
            Fake("namespaces", "namespaces (user)", user),
            Fake("in-place", "in-place", in_place),
            Fake("chroot", "chroot", chroot),
        ]
    }

    #[test]
    fn one_line_says_which_and_why_not_the_others() {
        for (refused, summary, count) in [
            ([None; 4], "namespaces", 0),
            ([Some("unshare"), None, None, None], "namespaces (user)", 1),
            (
                [Some("unshare"), Some("newuser"), None, None],
                "in-place; namespaces (user) refused: newuser: Operation not permitted (os error 1) (mend namespaces (user))",
                2,
            ),
        ] {
            let chosen = chosen(fakes(refused)).unwrap();
            assert_eq!((chosen.summary().as_str(), chosen.refused.len()), (summary, count));
        }
    }

    #[test]
    fn what_was_refused_and_what_would_help() {
        let error = chosen(fakes([Some("a"), Some("b"), Some("c"), Some("d")])).unwrap_err();
        assert_eq!(error.to_string(), "isolation \"namespaces\" is not available here");
        assert_eq!(error.hint().as_deref(), Some("mend namespaces (user)"));
        let RunError::Unavailable { source, others, .. } = error else {
            panic!("{error}");
        };
        assert!(matches!(*source, RunError::Setup(call) if call.call == "b"));
        assert_eq!(others.len(), 3, "{others:?}");
    }

    #[test]
    fn an_ordinary_user_hears_what_is_missing() {
        let unmapped = Arc::new(MappingError::NoHelper("newuidmap"));
        let site = Site {
            state_dir: Path::new("/nonexistent"),
            force: false,
            unmapped: Some(&unmapped),
        };
        let error = choose(IsolationChoice::Namespaces, site).unwrap_err();
        assert_eq!(error.hint(), Some(unmapped.remedy()));
        let RunError::Unavailable { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(
            innermost(&source),
            "become root of a user namespace: newuidmap is not installed"
        );
    }

    #[test]
    fn a_program_that_cannot_be_started_again() {
        let namespaces: Box<dyn Isolation> = Box::new(Namespaces::with_binary("/nonexistent".into()));
        let error = first_that_works(vec![namespaces], Vec::new()).unwrap_err();
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
