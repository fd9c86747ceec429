//! Contexts and Dockerfiles that are not directories and files of this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "remote_contexts/clouds.rs"]
mod clouds;
mod support;

use std::path::PathBuf;

use support::git::Git;
use support::process::Output;
use support::rbuild::{program, store};
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
    // The kaniko executor's form keeps the repository, and the ignore file counts.
    let kaniko = format!("git://{}/r.git", git.http());
    let rbuild = |context: &str| site.rbuild(context).env("GIT_PULL_METHOD", "http");
    let lines = site.lines(rbuild(&kaniko).arg("--git=branch=main").run());
    assert_lines(&lines, &[&format!("/d/.git/HEAD file 0644 0:0 \"{commit}\\n\"")]);
    assert!(!lines.iter().any(|line| line.starts_with("/d/kept ")), "{lines:#?}");
    let failed = rbuild(&kaniko).arg("--git=branch=absent").run();
    let _failed = failed.failure_with(&["repository does not contain ref absent"]);
    let failed = rbuild(&kaniko).arg("--git=brunch=main").run();
    let _failed = failed.failure_with(&["--git has no option \"brunch\"", "did you mean branch?"]);

    git.demand("Basic dG9rZW46");
    let _built = rbuild(&kaniko).env("GIT_TOKEN", "token").run().success();
    let in_address = kaniko.replace("git://", "git://token:@");
    let _built = rbuild(&in_address).run().success();
    let failed = rbuild(&kaniko).env("GIT_TOKEN", "wr0ng").run();
    let output = failed.failure_with(&["401", "does not give it to this user", "GIT_TOKEN, GIT_USERNAME and"]);
    assert!(!output.stderr.contains("wr0ng"), "{}", output.report());
    let failed = site.rbuild(&format!("{address}#absent")).run();
    let _failed = failed.failure_with(&["401", "somebody without credentials", "GIT_TOKEN, or GIT_USERNAME"]);
    git.demand("Basic dXNlcjp3MHJk");
    let rbuild = rbuild(&kaniko).env("GIT_USERNAME", "user").env("GIT_PASSWORD", "w0rd");
    let _built = rbuild.run().success();
}

#[test]
fn root_l360_how_much_of_the_past_comes_along() {
    let (site, git) = (Site::new(), Git::start());
    let repository = git.repository("r.git");
    repository.write("file", "first");
    let first = repository.commit("first");
    repository.git(&["checkout", "--quiet", "-b", "other"]);
    repository.write("file", "other");
    let other = repository.commit("other");
    repository.git(&["checkout", "--quiet", "main"]);
    repository.write("file", "main");
    repository.commit("main");
    let context = format!("git://{}/r.git", git.http());
    repository.write("Dockerfile", "FROM scratch\nCOPY .git /git/\n");
    repository.commit("everything");
    let has = |options: &[&str], commit: &str| {
        let rbuild = site.rbuild(&context).env("GIT_PULL_METHOD", "http");
        let _built = rbuild.args(options).destination("r:latest").run().success();
        let tree = site.0.path("tree");
        let _gone = std::fs::remove_dir_all(&tree);
        let mut umoci = site.0.command("umoci");
        let image = format!("{}:latest", site.layout().display());
        umoci.args(["raw", "unpack", "--image", &image]).arg(&tree);
        let _unpacked = site.0.run(umoci).success();
        let mut git = site.0.command("git");
        git.arg("--git-dir")
            .arg(tree.join("git"))
            .args(["cat-file", "-e", commit]);
        git.env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*");
        site.0.run(git).status.success()
    };
    for (options, expected) in [
        (&[][..], [true, true]),
        (&["--git=single-branch=true"][..], [true, false]),
        (&["--git=depth=2"][..], [false, false]),
    ] {
        assert_eq!([has(options, &first), has(options, &other)], expected, "{options:?}");
    }
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
    // The kaniko executor's forms heed the ignore file, BuildKit's do not.
    let kept = "/d/kept file 0644 0:0 \"kept\"";
    for (context, input, is_kept) in [
        ("tar://plain.tar.gz", &plain, false),
        ("tar://plain.tar", &plain, false),
        ("tar://stdin", &zipped, false),
        ("tar://-", &plain, false),
        ("-", &plain, true),
    ] {
        let lines = site.lines(site.rbuild(context).stdin(input).run());
        assert_lines(
            &lines,
            &["/d/Dockerfile file 0644 0:0 \"FROM scratch\\nCOPY . /d/\\n\""],
        );
        assert_eq!(lines.iter().any(|line| line == kept), is_kept, "{context} {lines:#?}");
    }
    let sub_path = ["--context-sub-path=sub", "--context-sub-path=/sub/"];
    for argument in sub_path {
        let lines = site.lines(site.rbuild("tar://plain.tar").arg(argument).run());
        assert_lines(&lines, &["/inner file 0644 0:0 \"inner\""]);
    }
    // A symlink of the context's cannot make a file of the machine the ignore file.
    let secret = site.0.write("secret", "[hunter2");
    let link = linked("Dockerfile.dockerignore", &secret.display().to_string());
    site.0.write("linked.tar", link);
    let _built = site.rbuild("tar://linked.tar").run().success();
    let text = site.0.write("text", "FROM scratch\nCOPY <<EOF /from\nstdin\nEOF\n");
    let lines = site.lines(site.rbuild("-").stdin(&text).run());
    assert_lines(&lines, &["/from file 0644 0:0 \"stdin\\n\""]);
    for (context, error) in [
        ("tar://stdin", "the build context from standard input is no tar archive"),
        ("tar://text", "text is no tar archive"),
        ("tar://absent", "read the build context from"),
    ] {
        let _failed = site.rbuild(context).stdin(&text).run().failure_with(&[error]);
    }
    let empty = site.0.write("empty", "");
    let nothing = site.rbuild("tar://stdin").stdin(&empty).run();
    let _failed = nothing.failure_with(&["standard input, which is empty", "tar -cz ."]);
    // A terminal is nothing to read from.
    let mut script = site.0.command("script");
    let rbuild = format!(
        "{} --store {} --no-push -c tar://stdin",
        program().display(),
        store(&site.0).display()
    );
    script.args(["--quiet", "--return", "--command", &rbuild, "/dev/null"]);
    let output = site.0.run(script).code(1);
    assert!(output.stdout.contains("which is a terminal"), "{}", output.report());
}

#[test]
fn root_bad_archives_are_refused_whole() {
    let site = Site::new();
    let packed = packed();
    let mut cut = packed.clone();
    cut.truncate(packed.len() / 2 - 100);
    let file = |name: &str| archive(&[("Dockerfile", "FROM scratch\nCOPY . /\n"), (name, "x")]);
    for (name, content, errors) in [
        ("empty", Vec::new(), &["empty is empty"][..]),
        (
            "text",
            b"FROM scratch\n".to_vec(),
            &["text is no tar archive", "plain or compressed with gzip"],
        ),
        ("cut", cut, &["unpack the build context from", "cut"]),
        (
            "above",
            raw_name(&file("AA/passwd"), b"../"),
            &["climbs above the root", "../passwd"],
        ),
        (
            "deep",
            raw_name(&file("AA/passwd"), b"a/../../"),
            &["climbs above the root"],
        ),
        (
            "hard",
            hard_link("l", "../../etc/passwd"),
            &["hard link /l cannot be unpacked", "climbs above the root"],
        ),
        ("hard2", hard_link("l", "/etc/passwd"), &["hard link", "has no target"]),
    ] {
        site.0.write(name, content);
        let output = site.rbuild(&format!("tar://{name}")).run();
        let _failed = output.failure_with(errors);
    }
    // What kaniko takes we take: from the root of the context, wherever that is.
    site.0.write("absolute", raw_name(&file("AA/passwd"), b"/"));
    let lines = site.lines(site.rbuild("tar://absolute").run());
    assert_lines(&lines, &["/passwd file 0644 0:0 \"x\""]);
    site.0.write("plain", packed);
    let output = site.rbuild("tar://plain").arg("--context-sub-path=absent").run();
    let _failed = output.failure_with(&["plain has no directory \"absent\"", "--context-sub-path"]);
    let output = site.rbuild("s4://bucket").run();
    let _failed = output.failure_with(&["please use one of the following: gs://, dir://", "did you mean s3://?"]);
}

/// `tar` with `AA/` in front of its last name replaced by what no builder of archives would write.
fn raw_name(tar: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let at = tar.windows(3).position(|window| window == b"AA/").unwrap();
    let header = at;
    let name: Vec<u8> = [prefix, b"passwd"].concat();
    tar[header..header + 100].fill(0);
    tar[header..header + name.len()].copy_from_slice(&name);
    tar[header + 148..header + 156].fill(b' ');
    let sum: u32 = tar[header..header + 512].iter().map(|&byte| u32::from(byte)).sum();
    tar[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

fn hard_link(name: &str, target: &str) -> Vec<u8> {
    with_link(tar::EntryType::Link, name, target)
}

fn linked(name: &str, target: &str) -> Vec<u8> {
    with_link(tar::EntryType::Symlink, name, target)
}

fn with_link(kind: tar::EntryType, name: &str, target: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let text = "FROM scratch\nCOPY . /\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "Dockerfile", text.as_bytes()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
    builder.append_data(&mut header, name, &[][..]).unwrap();
    builder.into_inner().unwrap()
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
