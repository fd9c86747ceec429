//! Real applications from `testdata/applications/`, built end to end with real packages; what was built is started and
//! has to answer. The folder's README says what a case consists of.
//!
//! All share one store, so that downloads of packages in cache mounts are shared as well.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::{Path, PathBuf};

use support::runtime::{self, Container};
use support::{Rbuild, Registry, Sandbox, cases, registry};

/// The machine's certificate authorities, where Debian keeps them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

#[test]
fn root_applications_are_built_and_answer() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "debian");
    let folders = cases::selected(&support::repository().join("testdata/applications"));
    let applications: Vec<_> = folders.into_iter().map(Application::read).collect();
    cases::check_all(&applications, Application::name, |application| {
        let image = application.build(&sandbox, &registry);
        let answer = application.ask(&image);
        application.judge(&answer)
    });
}

struct Application {
    folder: PathBuf,
    question: Question,
    expected: Vec<String>,
}

enum Question {
    /// The image prints something and ends.
    Print,
    /// The image serves this path over HTTP.
    Get(String),
}

impl Application {
    fn read(folder: PathBuf) -> Self {
        let text = std::fs::read_to_string(folder.join("expect")).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        let first = lines.next().unwrap();
        let question = match first.strip_prefix("GET ") {
            Some(path) => Question::Get(path.to_owned()),
            None if first == "PRINT" => Question::Print,
            None => panic!("{}: neither GET nor PRINT: {first:?}", folder.display()),
        };
        let expected: Vec<_> = lines.collect();
        assert!(!expected.is_empty(), "{}: nothing is expected", folder.display());
        Self {
            folder,
            question,
            expected,
        }
    }

    fn name(&self) -> &str {
        cases::name(&self.folder)
    }

    fn build(&self, sandbox: &Sandbox, registry: &Registry) -> String {
        let image = registry.reference(&format!("{}:1", self.name()));
        let build = Rbuild::build(sandbox, &self.folder.join("Dockerfile"), &self.folder)
            .arg(format!("--build-arg=BASE={}", registry.reference("debian:1")))
            .arg(format!("--secret=id=ca,src={AUTHORITIES}"))
            .destination(&image);
        let _built = build.run().success();
        image
    }

    fn ask(&self, image: &str) -> String {
        let sandbox = Sandbox::new();
        match &self.question {
            Question::Print => runtime::run_image(&sandbox, image, &[]).success().stdout,
            Question::Get(path) => {
                let port = registry::free_port();
                let mut container = Container::start(&sandbox, image, &[("PORT", &port.to_string())]);
                let answer = container.get(port, path);
                let output = container.stop();
                answer.unwrap_or_else(|problem| panic!("{problem}\n{}", output.report()))
            }
        }
    }

    fn judge(&self, answer: &str) -> Result<(), String> {
        let absent: Vec<_> = self
            .expected
            .iter()
            .filter(|text| !answer.contains(text.as_str()))
            .collect();
        if absent.is_empty() {
            return Ok(());
        }
        Err(format!("{absent:?} not in the answer:\n{answer}"))
    }
}

/// A deleted folder must not go unnoticed.
#[test]
fn there_are_ten_applications() {
    let folder: &Path = &support::repository().join("testdata/applications");
    let dockerfiles = std::fs::read_dir(folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().join("Dockerfile").exists());
    assert!(dockerfiles.count() >= 10);
}
