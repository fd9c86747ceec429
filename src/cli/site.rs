//! A place for tests to convert command lines in.

use std::fs;
use std::path::PathBuf;

use super::args;
use super::environment::Environment;
use super::options::convert;
use super::problem::Problems;
use crate::build::request::BuildRequest;

/// A context with a Dockerfile, and an environment whose working directory it is.
pub(super) struct Site {
    dir: tempfile::TempDir,
    pub(super) environment: Environment,
}

impl Site {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("context/sub")).unwrap();
        fs::write(dir.path().join("context/Dockerfile"), "FROM scratch\n").unwrap();
        let mut environment = Environment::default();
        environment.working_directory = dir.path().to_owned();
        environment.is_root = true;
        Self { dir, environment }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment = self.environment.with(name, value);
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Converts a line that has a context and a destination already.
    pub(super) fn convert(&self, line: &[&str]) -> Result<BuildRequest, Vec<String>> {
        self.convert_bare(&[&["--context=context", "--destination=r.example/app"], line].concat())
    }

    pub(super) fn convert_bare(&self, line: &[&str]) -> Result<BuildRequest, Vec<String>> {
        let cli = args::parse(["rbuild"].iter().chain(line)).unwrap();
        convert(&cli, &self.environment).map_err(|Problems(problems)| {
            let texts = problems.iter().map(ToString::to_string);
            texts
                .map(|text| text.replace(&self.dir.path().display().to_string(), "DIR"))
                .collect()
        })
    }
}
