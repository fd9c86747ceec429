//! Contexts and Dockerfiles that are not directories and files of this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::PathBuf;

use support::git::Git;
use support::process::Output;
use support::scripted::{Answer, Scripted};
use support::{Rbuild, Sandbox, listing};

/// Builds into a layout, in an empty working directory.
struct Site(Sandbox);

impl Site {
    fn new() -> Self {
        Self(Sandbox::new())
    }

    fn layout(&self) -> PathBuf {
        self.0.path("layout")
    }

    fn rbuild(&self, context: &str) -> Rbuild<'_> {
        Rbuild::bare(&self.0)
            .arg("--no-push")
            .arg("--oci-layout-path")
            .arg(self.layout())
            .arg(format!("--context={context}"))
    }

    fn lines(&self, output: Output) -> Vec<String> {
        let _built = output.success();
        listing::of_layout(&self.0, &self.layout())
    }
}

fn assert_lines(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:#?}");
    }
}

/// A tar of these files, the last 1,600,000,100 seconds after 1970.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (number, (name, content)) in files.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_600_000_100 - (files.len() - 1 - number) as u64);
        header.set_uid(1234);
        header.set_gid(1234);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn packed() -> Vec<u8> {
    archive(&[
        (".dockerignore", "kept\n"),
        ("Dockerfile", "FROM scratch\nCOPY . /d/\n"),
        ("sub/dockerfile", "FROM scratch\nCOPY inner /inner\n"),
        ("sub/inner", "inner"),
        ("kept", "kept"),
    ])
}

#[test]
fn root_l352_l360_a_repository_is_a_context() {
    let (site, git) = (Site::new(), Git::start());
    let repository = git.repository("r.git");
    repository.write("Dockerfile", "FROM scratch\nCOPY . /d/\n");
    repository.write(".dockerignore", "kept\n");
    repository.write("kept", "kept");
    repository.write("sub/Dockerfile", "FROM scratch\nCOPY inner /inner\n");
    repository.write("sub/inner", "inner");
    let commit = repository.commit("all");
    let address = format!("http://{}/r.git", git.http());
    let lines = site.lines(site.rbuild(&address).run());
    assert_lines(&lines, &["/d/kept file 0644 0:0 \"kept\""]);
    assert!(!lines.iter().any(|line| line.starts_with("/d/.git ")), "{lines:#?}");
    for context in [
        format!("{address}#main:sub"),
        format!("git://{}#refs/heads/main#{commit}", address.replace("http://", "")),
    ] {
        let rbuild = site.rbuild(&context).env("GIT_PULL_METHOD", "http");
        let rbuild = match context.ends_with(":sub") {
            true => rbuild,
            false => rbuild.arg("--context-sub-path=/sub"),
        };
        assert_lines(&site.lines(rbuild.run()), &["/inner file 0644 0:0 \"inner\""]);
    }
    // The kaniko executor's form keeps the repository.
    let kaniko = format!("git://{}/r.git", git.http());
    let rbuild = site
        .rbuild(&kaniko)
        .env("GIT_PULL_METHOD", "http")
        .arg("--git=branch=main");
    let lines = site.lines(rbuild.run());
    assert_lines(&lines, &[&format!("/d/.git/HEAD file 0644 0:0 \"{commit}\\n\"")]);
    git.demand("Basic dG9rZW46");
    let rbuild = site
        .rbuild(&kaniko)
        .env("GIT_PULL_METHOD", "http")
        .env("GIT_TOKEN", "token");
    assert_lines(&site.lines(rbuild.run()), &["/d/kept file 0644 0:0 \"kept\""]);
    let failed = site.rbuild(&format!("{address}#absent")).run();
    let _failed = failed.failure_with(&["401"]);
}

#[test]
fn root_l360_a_repository_with_its_past_may_be_wanted_outside_its_branches() {
    let (site, git) = (Site::new(), Git::start());
    let repository = git.repository("r.git");
    repository.write("Dockerfile", "FROM scratch\nCOPY . /d/\n");
    repository.write("file", "main");
    repository.commit("main");
    repository.git(&["checkout", "--quiet", "--detach"]);
    repository.write("file", "merged");
    let merged = repository.commit("merged");
    repository.git(&["push", "--quiet", "origin", "HEAD:refs/pull/7/merge"]);
    for wanted in ["refs/pull/7/merge".to_owned(), format!("refs/pull/7/merge#{merged}")] {
        let context = format!("git://{}/r.git#{wanted}", git.http());
        let lines = site.lines(site.rbuild(&context).env("GIT_PULL_METHOD", "http").run());
        assert_lines(
            &lines,
            &[
                "/d/file file 0644 0:0 \"merged\"",
                &format!("/d/.git/HEAD file 0644 0:0 \"{merged}\\n\""),
            ],
        );
        assert!(
            !lines.iter().any(|line| line.starts_with("/d/.git/shallow ")),
            "{lines:#?}"
        );
    }
    git.grow_old();
    let add = format!("http://{}/r.git#refs/pull/7/merge", git.http());
    let lines = site.lines(site.rbuild(&add).run());
    assert_lines(&lines, &["/d/file file 0644 0:0 \"merged\""]);
}

#[test]
fn root_l352_l360_what_a_server_has_is_a_context_or_the_dockerfile() {
    let site = Site::new();
    let server = Scripted::start(|_, path| match path {
        "/ctx.tar" => Answer::body("application/x-tar", packed()),
        "/Dockerfile" => Answer::body("text/plain", "FROM scratch\nCOPY <<EOF /from\ndockerfile\nEOF\n"),
        _ => Answer::status(404),
    });
    let url = |path: &str| format!("http://{}{path}", server.host());
    let lines = site.lines(site.rbuild(&url("/ctx.tar")).run());
    assert_lines(&lines, &["/d/kept file 0644 0:0 \"kept\"", "/d/kept mtime 1600000100"]);
    let lines = site.lines(site.rbuild(&url("/ctx.tar")).arg("--context-sub-path=sub").run());
    assert_lines(&lines, &["/inner file 0644 0:0 \"inner\""]);
    let lines = site.lines(site.rbuild(&url("/Dockerfile")).run());
    assert_lines(&lines, &["/from file 0644 0:0 \"dockerfile\\n\""]);
    // A Dockerfile behind a URL for a directory of ours.
    site.0.directory("context");
    let lines = site.lines(site.rbuild("context").arg("-f").arg(url("/Dockerfile")).run());
    assert_lines(&lines, &["/from file 0644 0:0 \"dockerfile\\n\""]);
    for (context, file, error) in [
        (url("/absent"), "Dockerfile", "invalid response status 404"),
        (
            url("/ctx.tar"),
            "absent",
            "the build context has no Dockerfile (looked for absent)",
        ),
    ] {
        let _failed = site.rbuild(&context).arg("-f").arg(file).run().failure_with(&[error]);
    }
}

#[test]
fn root_l360_archives_of_this_machine_and_of_standard_input() {
    let site = Site::new();
    let plain = site.0.write("plain.tar", packed());
    let mut gzip = site.0.command("gzip");
    gzip.arg("--keep").arg(&plain);
    let _packed = site.0.run(gzip).success();
    let zipped = site.0.path("plain.tar.gz");
    let kept = ["/d/kept file 0644 0:0 \"kept\""];
    assert_lines(&site.lines(site.rbuild("tar://plain.tar.gz").run()), &kept);
    for (context, input) in [("tar://stdin", &zipped), ("-", &plain), ("tar://-", &plain)] {
        assert_lines(&site.lines(site.rbuild(context).stdin(input).run()), &kept);
    }
    let text = site.0.write("text", "FROM scratch\nCOPY <<EOF /from\nstdin\nEOF\n");
    let lines = site.lines(site.rbuild("-").stdin(&text).run());
    assert_lines(&lines, &["/from file 0644 0:0 \"stdin\\n\""]);
    for (context, error) in [
        ("tar://stdin", "the build context from standard input is no tar archive"),
        ("tar://text", "text is no tar archive"),
        ("tar://absent", "read the build context from"),
        ("s3://bucket/key", "is not supported yet"),
    ] {
        let _failed = site.rbuild(context).stdin(&text).run().failure_with(&[error]);
    }
    let empty = site.0.write("empty", "");
    let nothing = site.rbuild("tar://stdin").stdin(&empty).run();
    let _failed = nothing.failure_with(&["standard input, which is empty", "tar -cz ."]);
}

#[test]
fn root_named_contexts_may_be_elsewhere() {
    let (site, git) = (Site::new(), Git::start());
    let repository = git.repository("r.git");
    repository.write("sub/inner", "of git");
    repository.commit("all");
    let server = Scripted::start(|_, path| match path {
        "/x.tar" => Answer::body("application/x-tar", packed()),
        _ => Answer::body("text/plain", "single"),
    });
    site.0.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY --from=g inner /g\nCOPY --from=t kept /t\nCOPY --from=f single /f\n",
    );
    let rbuild = site
        .rbuild("context")
        .arg(format!("--build-context=g=http://{}/r.git#main:sub", git.http()))
        .arg(format!("--build-context=t=http://{}/x.tar", server.host()))
        .arg(format!("--build-context=f=http://{}/single", server.host()))
        .arg("--build-context=unused=http://127.0.0.1:1/");
    assert_lines(
        &site.lines(rbuild.run()),
        &[
            "/g file 0644 0:0 \"of git\"",
            "/t file 0644 0:0 \"kept\"",
            "/f file 0600 0:0 \"single\"",
        ],
    );
}

#[test]
fn root_l404_l405_the_age_of_what_was_fetched_is_the_epoch() {
    let (site, git) = (Site::new(), Git::start());
    let repository = git.repository("r.git");
    repository.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /d\n");
    repository.commit("all");
    let server = Scripted::start(|_, path| match path {
        "/dated.tar" => {
            Answer::body("application/x-tar", packed()).header("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT")
        }
        _ => Answer::body("application/x-tar", packed()),
    });
    let (git, http) = (git.http(), server.host());
    let created = |rbuild: Rbuild<'_>| {
        let lines = site.lines(rbuild.run());
        let created = lines
            .iter()
            .find(|line| line.starts_with("config created ") || line.starts_with("created "));
        created.cloned().unwrap_or_else(|| panic!("{lines:#?}"))
    };
    let of_context = |context: String| created(site.rbuild(&context).arg("--build-arg=SOURCE_DATE_EPOCH=context"));
    assert!(of_context(format!("http://{git}/r.git")).contains("2020-09-13T12:26:40Z"));
    assert!(of_context(format!("http://{http}/dated.tar")).contains("2024-01-02T03:04:05Z"));
    assert!(of_context(format!("http://{http}/x.tar")).contains("2020-09-13T12:28:20Z"));
    let text = format!("FROM scratch AS age\nADD http://{http}/dated.tar /\nFROM scratch\nCOPY Dockerfile /d\n");
    site.0.write("context/Dockerfile", text);
    let of_stage = created(site.rbuild("context").arg("--build-arg=SOURCE_DATE_EPOCH=age"));
    assert!(of_stage.contains("2024-01-02T03:04:05Z"), "{of_stage}");
}
