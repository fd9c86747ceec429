//! Every folder under `testdata/builds/` is built by `rbuild` and by `buildah`, and the images are compared.
//!
//! A case is found by listing. It consists of:
//!
//! - `Dockerfile`; the registry's address arrives as `--build-arg REGISTRY=…`, the base image is `$REGISTRY/small:1`.
//!   `@REGISTRY@` is replaced by the address beforehand, for where the language takes no variables;
//! - `context/`, where COPY and ADD read from; empty when missing;
//! - `archives/NAME/`, packed into the context as the archive `NAME`, compressed the way its ending says;
//! - `base.Dockerfile`, built first by the same tool and handed over as `--build-arg BASE=…`;
//! - `args`, more arguments for both tools, one a line; `@REGISTRY@` stands for the registry's address, `@CASE@` for the
//!   case's folder, `@LAYOUT@` for the small base as an OCI layout;
//! - `ignore`, accepted differences, each below a comment that gives the reason (in brackets if it comes and goes): a path
//!   and all below it, or the
//!   beginning of a line of imgdiff's output. One that no longer occurs is an error;
//! - `expect`, lines that the image's listing must hold (see `support/listing.rs`), `! text` for what no line may
//!   begin with;
//! - `unlike-buildah`, the reason why buildah is not the judge of this case; then there must be an `expect`;
//! - `run`, the lines that the image prints when a real runtime starts it.
//!
//! `RBUILD_CASE=text` selects the cases whose name contains the text.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::{Path, PathBuf};

use support::{Buildah, Rbuild, Registry, Sandbox, bases, imgdiff, listing, rbuild, runtime};

#[test]
fn root_every_build_case_gives_the_expected_image() {
    let registry = Registry::start();
    let sandbox = Sandbox::new();
    registry.push_base(&sandbox, "small");
    let cases = cases();
    if cases.iter().any(Case::needs_debian) {
        registry.push_base(&sandbox, "debian");
    }
    support::cases::check_all(&cases, |case| &case.name, |case| case.check(&registry));
}

#[test]
fn every_accepted_difference_has_a_reason() {
    for case in all_cases() {
        let text = case.read("ignore");
        let mut explained = false;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            explained |= line.starts_with('#');
            assert!(explained, "{}: no comment above {line:?}", case.name);
        }
        let judged = !case.has("unlike-buildah") || case.has("expect");
        assert!(judged, "{}: neither buildah nor an expectation judges it", case.name);
        assert!(
            !case.has("unlike-buildah") || !case.read("unlike-buildah").trim().is_empty(),
            "{}: no reason",
            case.name
        );
    }
}

/// The acceptance list calls for this many; a deleted folder must not go unnoticed.
#[test]
fn there_are_enough_cases() {
    assert!(all_cases().len() >= 120, "only {} cases", all_cases().len());
}

struct Case {
    name: String,
    directory: PathBuf,
}

fn all_cases() -> Vec<Case> {
    let folder = support::repository().join("testdata/builds");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| Case {
            name: entry.file_name().into_string().unwrap(),
            directory: entry.path(),
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn cases() -> Vec<Case> {
    let selected = std::env::var("RBUILD_CASE").unwrap_or_default();
    let cases: Vec<_> = all_cases()
        .into_iter()
        .filter(|case| case.name.contains(&selected))
        .collect();
    assert!(!cases.is_empty(), "no case has {selected:?} in its name");
    cases
}

impl Case {
    fn has(&self, file: &str) -> bool {
        self.directory.join(file).exists()
    }

    /// The file's text, empty when the case has none.
    fn read(&self, file: &str) -> String {
        match std::fs::read_to_string(self.directory.join(file)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => panic!("{}/{file}: {error}", self.name),
        }
    }

    /// The lines that say something: neither blank nor comments.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = self.read(file);
        let lines = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    fn needs_debian(&self) -> bool {
        self.read("Dockerfile").contains("$REGISTRY/debian:1")
    }

    fn check(&self, registry: &Registry) -> Result<(), String> {
        let sandbox = Sandbox::new();
        let context = self.context(&sandbox);
        let ours = self.build(registry, &sandbox, &context, Tool::Rbuild)?;
        self.compare_with_expectation(registry, &sandbox, &ours)?;
        if !self.has("unlike-buildah") {
            let theirs = self.build(registry, &sandbox, &context, Tool::Buildah)?;
            self.compare_with_peer(&sandbox, &ours, &theirs)?;
        }
        self.compare_output(&sandbox, &ours)
    }

    /// The directory that COPY and ADD read from: the case's own, or a copy with the archives added.
    fn context(&self, sandbox: &Sandbox) -> PathBuf {
        let (kept, archives) = (self.directory.join("context"), self.directory.join("archives"));
        if kept.exists() && !archives.exists() {
            return kept;
        }
        let context = sandbox.directory("context");
        if kept.exists() {
            let mut copy = sandbox.command("cp");
            copy.arg("-a").arg(kept.join(".")).arg(&context);
            let _copied = sandbox.run(copy).success();
        }
        for archive in archives.read_dir().into_iter().flatten().map(|entry| entry.unwrap()) {
            let mut pack = sandbox.command("tar");
            pack.args([
                "--auto-compress",
                "--create",
                "--sort=name",
                "--owner=1000",
                "--group=50",
                "--mtime=@1600000000",
            ]);
            pack.arg("--file")
                .arg(context.join(archive.file_name()))
                .arg("--directory")
                .arg(archive.path())
                .arg(".");
            let _packed = sandbox.run(pack).success();
        }
        context
    }

    /// The Dockerfile with the registry's address filled in.
    fn dockerfile(&self, registry: &Registry, sandbox: &Sandbox, name: &str) -> PathBuf {
        let text = self.read(name);
        if !text.contains("@REGISTRY@") {
            return self.directory.join(name);
        }
        sandbox.write(name, text.replace("@REGISTRY@", &registry.host()))
    }

    /// An argument with the places of this machine filled in.
    fn filled_in(&self, arg: &str, registry: &Registry) -> String {
        let arg = arg.replace("@REGISTRY@", &registry.host());
        let arg = arg.replace("@CASE@", &self.directory.display().to_string());
        match arg.contains("@LAYOUT@") {
            true => arg.replace("@LAYOUT@", &bases::layout("small").display().to_string()),
            false => arg,
        }
    }

    /// Builds the case, and before it the base it asks for, and returns the reference it was pushed to.
    fn build(&self, registry: &Registry, sandbox: &Sandbox, context: &Path, tool: Tool) -> Result<String, String> {
        let mut args = vec!["--build-arg".to_owned(), format!("REGISTRY={}", registry.host())];
        args.extend(self.lines("args").iter().map(|arg| self.filled_in(arg, registry)));
        if self.has("base.Dockerfile") {
            let base = registry.reference(&format!("case/{}/base:{}", self.name, tool.tag()));
            tool.build(
                sandbox,
                &self.dockerfile(registry, sandbox, "base.Dockerfile"),
                context,
                &args,
                &base,
            )?;
            args.extend(["--build-arg".to_owned(), format!("BASE={base}")]);
        }
        let destination = registry.reference(&format!("case/{}:{}", self.name, tool.tag()));
        tool.build(
            sandbox,
            &self.dockerfile(registry, sandbox, "Dockerfile"),
            context,
            &args,
            &destination,
        )?;
        Ok(destination)
    }

    fn compare_with_expectation(&self, registry: &Registry, sandbox: &Sandbox, ours: &str) -> Result<(), String> {
        let expected = self.lines("expect");
        if expected.is_empty() {
            return Ok(());
        }
        let listing = listing::of_reference(sandbox, ours);
        let wrong: Vec<_> = expected.iter().filter(|line| !holds(&listing, line)).cloned().collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let base = listing::of_reference(sandbox, &registry.reference("small:1"));
        let own: Vec<_> = listing.into_iter().filter(|line| !base.contains(line)).collect();
        Err(format!(
            "not as expected:\n{}\nthe image, without what the small base holds:\n{}",
            wrong.join("\n"),
            own.join("\n")
        ))
    }

    fn compare_with_peer(&self, sandbox: &Sandbox, ours: &str, theirs: &str) -> Result<(), String> {
        let differences = imgdiff::differences(sandbox, ours, theirs)?;
        let rules = self.lines("ignore");
        // A rule in brackets covers what differs from day to day or from run to run, and so may not differ at all.
        let (volatile, accepted): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.starts_with('['));
        let volatile: Vec<_> = volatile.iter().map(|rule| rule.trim_matches(['[', ']'])).collect();
        let unaccepted: Vec<_> = differences
            .iter()
            .filter(|line| !accepted.iter().any(|rule| covers(rule, line)))
            .filter(|line| !volatile.iter().any(|rule| covers(rule, line)))
            .cloned()
            .collect();
        if !unaccepted.is_empty() {
            return Err(format!(
                "A is rbuild's image, B is buildah's:\n{}",
                unaccepted.join("\n")
            ));
        }
        let is_unused = |rule: &&String| !differences.iter().any(|line| covers(rule, line));
        match accepted.iter().find(is_unused) {
            // Where another program stands in for rbuild, our differences need not be its own.
            Some(rule) if !rbuild::is_stand_in() => Err(format!("accepted, but no longer different: {rule}")),
            _ => Ok(()),
        }
    }

    fn compare_output(&self, sandbox: &Sandbox, ours: &str) -> Result<(), String> {
        if !self.has("run") {
            return Ok(());
        }
        let output = runtime::run_image(sandbox, ours, &[]);
        if output.status.success() && output.stdout == self.read("run") {
            return Ok(());
        }
        Err(format!(
            "expected to run and print {:?}\n{}",
            self.read("run"),
            output.report()
        ))
    }
}

/// Whether an expectation holds: `! text` when no line begins with the text, otherwise when the line is there.
fn holds(listing: &[String], expectation: &str) -> bool {
    match expectation.strip_prefix("! ") {
        Some(text) => !listing.iter().any(|line| line.starts_with(text)),
        None => listing.iter().any(|line| line == expectation),
    }
}

/// Whether an accepted difference covers a line of imgdiff's: `PATH: …`, `only in A: PATH (…)`, or by its beginning.
fn covers(rule: &str, line: &str) -> bool {
    let path = line
        .strip_prefix("only in A: ")
        .or(line.strip_prefix("only in B: "))
        .unwrap_or(line);
    let below = path
        .strip_prefix(rule)
        .is_some_and(|rest| rest.starts_with(['/', ':', ' ']));
    line.starts_with(rule) || (rule.starts_with('/') && below)
}

#[derive(Clone, Copy)]
enum Tool {
    Rbuild,
    Buildah,
}

impl Tool {
    fn tag(self) -> &'static str {
        match self {
            Tool::Rbuild => "rbuild",
            Tool::Buildah => "buildah",
        }
    }

    fn build(
        self,
        sandbox: &Sandbox,
        dockerfile: &Path,
        context: &Path,
        args: &[String],
        destination: &str,
    ) -> Result<(), String> {
        match self {
            Tool::Buildah => Buildah::new(sandbox).build_and_push(dockerfile, context, args, destination),
            Tool::Rbuild => {
                let output = Rbuild::build(sandbox, dockerfile, context)
                    .args(args)
                    .destination(destination)
                    .run();
                if output.status.success() {
                    Ok(())
                } else {
                    Err(output.report())
                }
            }
        }
    }
}
