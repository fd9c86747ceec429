//! Build checks on the way of a build: what they find is told before anything is built.

use super::error::{BuildError, Problem};
use super::input::Input;
use super::request::BuildRequest;
use super::session::Session;
use crate::check::{self, BUILD_ARGUMENT, Finding, Options, Subject, Violation};
use crate::dockerfile::{self, Dockerfile};
use crate::plan::{Outline, PlanOptions, Scope};
use crate::progress::{Event, Progress};

/// The checks that are in force for a file, and what they found so far.
#[derive(Debug)]
pub(crate) struct Checks {
    options: Options,
    found: Vec<Finding>,
}

/// Parses the Dockerfile. What can be found before a mistake is told before the mistake is.
pub(crate) fn read(
    request: &BuildRequest,
    input: &Input,
    plan_options: &PlanOptions,
    progress: &dyn Progress,
) -> Result<(Dockerfile, Checks), BuildError> {
    let path = &input.dockerfile;
    let text = std::fs::read(path).map_err(|source| Problem::ReadDockerfile {
        path: path.clone(),
        source,
    })?;
    let syntax = request.build_args.get("BUILDKIT_SYNTAX").map(String::as_str);
    dockerfile::check_frontend(&input.dockerfile_name, &text, syntax)?;
    let attempt = dockerfile::attempt(&input.dockerfile_name, &text);
    let argument = request.build_args.get(BUILD_ARGUMENT).map(String::as_str);
    let mut checks = Checks {
        options: Options::of(&attempt.directives, &attempt.source, argument)?.under(request.lint),
        found: Vec::new(),
    };
    checks.tell(check::written(&attempt, &checks.options), progress);
    let file = attempt.complete()?;
    checks.tell(check::file(&file, plan_options, &checks.options), progress);
    Ok((file, checks))
}

impl Checks {
    /// Looks at the stages that are needed for each platform; what holds for several is told once.
    ///
    /// # Errors
    /// There are findings, and they count as errors.
    pub(crate) fn of_stages(
        mut self,
        file: &Dockerfile,
        outlines: &[Outline],
        session: &Session,
    ) -> Result<(), BuildError> {
        let ignore = session.context.as_ref().and_then(|context| context.ignore());
        for outline in outlines {
            let subject = Subject {
                file,
                outline,
                configs: session.images.configs(),
                ignore: ignore.map(|file| &file.patterns),
            };
            let mut found = check::stages(&subject, Scope::Target, &self.options)?;
            found.retain(|finding| !self.found.contains(finding));
            self.tell(found, &*session.progress);
        }
        match Violation::of(&self.found).filter(|_| self.options.error) {
            Some(violation) => Err(violation.into()),
            None => Ok(()),
        }
    }

    fn tell(&mut self, found: Vec<Finding>, progress: &dyn Progress) {
        for finding in &found {
            progress.event(Event::Finding(finding));
        }
        self.found.extend(found);
    }
}
