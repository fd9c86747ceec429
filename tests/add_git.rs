//! ADD of git repositories, from git's own servers on this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use support::git::Git;
use support::process::Output;
use support::{Rbuild, Sandbox, listing};

/// Servers, and builds into a layout. `HTTP` and `GIT` in a Dockerfile are the servers' addresses.
struct Site {
    sandbox: Sandbox,
    git: Git,
}

impl Site {
    fn new() -> Self {
        Self {
            sandbox: Sandbox::new(),
            git: Git::start(),
        }
    }

    fn layout(&self) -> PathBuf {
        self.sandbox.path("layout")
    }

    fn run(&self, lines: &str) -> Output {
        let lines = lines
            .replace("HTTP", &self.git.http())
            .replace("GIT", &self.git.daemon());
        Rbuild::build_text(&self.sandbox, &format!("FROM scratch\n{lines}"))
            .arg("--no-push")
            .arg("--oci-layout-path")
            .arg(self.layout())
            .run()
    }

    fn build(&self, lines: &str) -> Vec<String> {
        let _built = self.run(lines).success();
        listing::of_layout(&self.sandbox, &self.layout())
    }

    /// `r.git`: a tag `v1` (annotated), a branch `dev`, and on both a directory `sub`.
    fn with_repository() -> (Self, Commits) {
        let site = Self::new();
        let repository = site.git.repository("r.git");
        repository.write("file", "first");
        repository.write("sub/inner", "inner");
        repository.write("bin/tool", "#!/bin/sh");
        let tool = repository.work().join("bin/tool");
        std::fs::set_permissions(tool, std::fs::Permissions::from_mode(0o700)).unwrap();
        symlink("../file", repository.work().join("sub/link")).unwrap();
        let first = repository.commit("first");
        repository.git(&["tag", "-a", "-m", "one", "v1"]);
        repository.git(&["checkout", "--quiet", "-b", "dev"]);
        repository.write("file", "dev");
        let dev = repository.commit("dev");
        repository.git(&["checkout", "--quiet", "main"]);
        repository.write("file", "main");
        let main = repository.commit("main");
        drop(repository);
        (site, Commits { first, dev, main })
    }
}

struct Commits {
    first: String,
    dev: String,
    main: String,
}

fn assert_lines(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:#?}");
    }
}

fn assert_no_line(lines: &[String], beginning: &str) {
    let found = lines.iter().find(|line| line.starts_with(beginning));
    assert_eq!(found, None, "{lines:#?}");
}

#[test]
fn root_l336_l339_the_tree_of_a_commit_is_added() {
    let (site, _) = Site::with_repository();
    let lines = site.build(
        "ADD http://HTTP/r.git /all\nADD http://HTTP/r.git#v1:sub /sub\nADD --chown=3:4 git://GIT/r.git#dev /dev\n\
         ADD --chmod=600 http://HTTP/r.git#v1 /mode/\n",
    );
    assert_lines(
        &lines,
        &[
            "/all/file file 0644 0:0 \"main\"",
            "/all/bin/tool file 0755 0:0 \"#!/bin/sh\"",
            "/all/bin dir 0755 0:0",
            "/all/sub/link symlink -> ../file",
            "/sub/inner file 0644 0:0 \"inner\"",
            "/dev/file file 0644 3:4 \"dev\"",
            "/mode/file file 0600 0:0 \"first\"",
        ],
    );
    assert_no_line(&lines, "/all/.git");
    assert_no_line(&lines, "/sub/file");
}

#[test]
fn root_l336_the_git_directory_is_kept_on_request() {
    let (site, commits) = Site::with_repository();
    let lines =
        site.build("ADD --keep-git-dir http://HTTP/r.git#v1 /a\nADD http://HTTP/r.git?keep-git-dir=true&ref=dev /b\n");
    let head = |commit: &str| format!("\"{commit}\\n\"");
    assert_lines(
        &lines,
        &[
            &format!("/a/.git/HEAD file 0644 0:0 {}", head(&commits.first)),
            &format!("/b/.git/HEAD file 0644 0:0 {}", head(&commits.dev)),
        ],
    );
    // Git itself takes it for a clone with nothing changed in it.
    let root = site.sandbox.directory("root");
    let mut umoci = site.sandbox.command("umoci");
    umoci
        .args(["raw", "unpack", "--image"])
        .arg(format!("{}:latest", site.layout().display()))
        .arg(&root);
    let mut tag = site.sandbox.command("skopeo");
    tag.args(["copy", "--quiet"])
        .arg(format!("oci:{}", site.layout().display()))
        .arg(format!("oci:{}:latest", site.layout().display()));
    let _tagged = site.sandbox.run(tag).success();
    let _unpacked = site.sandbox.run(umoci).success();
    let git = |arguments: &[&str]| {
        let mut git = site.sandbox.command("git");
        git.arg("-C").arg(root.join("a")).args(arguments);
        site.sandbox.run(git).success().stdout
    };
    assert_eq!(git(&["describe", "--tags"]), "v1\n");
    assert_eq!(git(&["status", "--porcelain"]), "");
}

#[test]
fn root_l337_a_checksum_is_the_commit_or_its_beginning() {
    let (site, Commits { first, dev, main }) = Site::with_repository();
    let add = |flags: &str, rest: &str| format!("ADD {flags} http://HTTP/r.git{rest} /d\n");
    for (flags, rest, content) in [
        (format!("--checksum={main}"), String::new(), "main"),
        (format!("--checksum={}", &main[..8]), "#main".to_owned(), "main"),
        (format!("--checksum={}", &main[..8]), String::new(), "main"),
        (format!("--checksum={first}"), "#v1".to_owned(), "first"),
        (String::new(), format!("?ref=dev&checksum={}", &dev[..7]), "dev"),
        (String::new(), format!("?commit={first}"), "first"),
        (String::new(), format!("#{dev}"), "dev"),
        (
            String::new(),
            format!("?ref=main&commit={first}&fetch-by-commit"),
            "first",
        ),
    ] {
        let lines = site.build(&add(&flags, &rest));
        assert_lines(&lines, &[&format!("/d/file file 0644 0:0 \"{content}\"")]);
    }
    let output = site.run(&add(&format!("--checksum={first}"), "#main"));
    let mismatch = format!("expected checksum to match {first}, got {main}");
    let _failed = output.failure_with(&[&mismatch, "Dockerfile:2", "hint: "]);
    let output = site.run(&add("--checksum=zzz", ""));
    let _failed = output.failure_with(&["invalid checksum"]);
}

#[test]
fn root_l338_queries_choose_what_is_added() {
    let (site, Commits { first, .. }) = Site::with_repository();
    for (query, content) in [
        ("?ref=v1".to_owned(), "first"),
        ("?tag=v1".to_owned(), "first"),
        ("?branch=dev".to_owned(), "dev"),
        ("?ref=refs/heads/dev".to_owned(), "dev"),
        (format!("?commit={first}&mtime=commit"), "first"),
    ] {
        let lines = site.build(&format!("ADD http://HTTP/r.git{query} /d"));
        assert_lines(&lines, &[&format!("/d/file file 0644 0:0 \"{content}\"")]);
        if query.contains("mtime") {
            assert_lines(&lines, &["/d/file mtime 1600000000"]);
        }
    }
    let lines = site.build("ADD http://HTTP/r.git?subdir=sub /d");
    assert_lines(&lines, &["/d/inner file 0644 0:0 \"inner\""]);
    for (address, error) in [
        (
            "http://HTTP/r.git?branch=v1",
            "repository does not contain ref refs/heads/v1",
        ),
        ("http://HTTP/r.git#absent", "repository does not contain ref absent"),
        ("http://HTTP/absent.git", "invalid response status 404"),
        ("http://HTTP/r.git#main:absent", "\"/absent\": not found"),
        ("http://HTTP/r.git?color=red", "unexpected query \"color\""),
        ("git://127.0.0.1:1/r", "connect to 127.0.0.1"),
    ] {
        let _failed = site
            .run(&format!("ADD {address} /d"))
            .failure_with(&[error, "Dockerfile:2"]);
    }
}

#[test]
fn root_only_the_wanted_commit_is_fetched_whatever_the_server_moved() {
    let (site, _) = Site::with_repository();
    let lines = site.build("ADD --keep-git-dir http://HTTP/moved/r.git /d\n");
    let shallow = lines.iter().find(|line| line.starts_with("/d/.git/shallow file "));
    assert!(shallow.is_some(), "{lines:#?}");
    let requests = site.git.take_requests();
    assert!(
        requests.contains(&"POST /r.git/git-upload-pack".to_owned()),
        "{requests:?}"
    );
    assert!(
        !requests.iter().any(|line| line.starts_with("POST /moved")),
        "{requests:?}"
    );
}

#[test]
fn root_l339_submodules_come_along_unless_they_shall_not() {
    let site = Site::new();
    let deepest = site.git.repository("deepest.git");
    deepest.write("deep", "deep");
    deepest.commit("deepest");
    let library = site.git.repository("lib.git");
    library.write("code", "old");
    let submodule = |work: &support::git::Repository<'_>, url: &str, path: &str, commit: &str| {
        let text = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
        work.write(".gitmodules", &text);
        work.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{commit},{path}"),
        ]);
        work.git(&["add", ".gitmodules"]);
        work.git(&["commit", "--quiet", "-m", "submodule"]);
        work.push();
        work.git(&["rev-parse", "HEAD"])
    };
    let deep = deepest.git(&["rev-parse", "HEAD"]);
    library.commit("old");
    let old = submodule(&library, "../deepest.git", "in/deep", &deep);
    library.git(&["rm", "--quiet", "-r", "--cached", "in"]);
    library.write("code", "new");
    library.commit("new");
    let main = site.git.repository("main.git");
    main.write("top", "top");
    main.commit("top");
    submodule(&main, &format!("http://{}/lib.git", site.git.http()), "lib", &old);
    let lines = site.build("ADD http://HTTP/main.git /with\nADD http://HTTP/main.git?submodules=false /without\n");
    assert_lines(
        &lines,
        &[
            "/with/top file 0644 0:0 \"top\"",
            "/with/lib/code file 0644 0:0 \"old\"",
            "/with/lib/in/deep/deep file 0644 0:0 \"deep\"",
            "/without/top file 0644 0:0 \"top\"",
        ],
    );
    assert_no_line(&lines, "/with/lib/.git ");
    assert_no_line(&lines, "/without/lib/code");
    submodule(&main, "/etc", "lib", &old);
    let failed = site
        .run("ADD http://HTTP/main.git /d")
        .failure_with(&["the submodule address \"/etc\" leads to no server"]);
    assert!(failed.report().contains("submodules=false"));
}

#[test]
fn root_a_token_in_the_address_reaches_the_server_and_nobody_else() {
    let (site, _) = Site::with_repository();
    // user "token", password "hush"
    site.git.demand("Basic dG9rZW46aHVzaA==");
    let lines = site.build("ADD --keep-git-dir http://token:hush@HTTP/r.git /d");
    assert_lines(&lines, &["/d/file file 0644 0:0 \"main\""]);
    assert!(!lines.iter().any(|line| line.contains("hush")), "{lines:#?}");
    let failed = site.run("ADD http://token:wrong-hush@HTTP/r.git /d");
    let failed = failed.failure_with(&["invalid response status 401", "hint: "]);
    assert!(!failed.report().contains("hush@"), "{}", failed.report());
    let failed = site
        .run("ADD ssh://git@127.0.0.1:1/r.git /d")
        .failure_with(&["Dockerfile:2"]);
    drop(failed);
}

#[test]
fn root_a_server_that_hands_out_only_branches_is_asked_for_all_of_them() {
    let site = Site::new();
    let repository = site.git.repository("r.git");
    repository.write("file", "one");
    let one = repository.commit("one");
    repository.write("file", "two");
    repository.commit("two");
    site.git.grow_old();
    let lines = site.build(&format!(
        "ADD http://HTTP/r.git /two\nADD http://HTTP/r.git?commit={one} /one\n"
    ));
    assert_lines(
        &lines,
        &["/one/file file 0644 0:0 \"one\"", "/two/file file 0644 0:0 \"two\""],
    );
    let absent = "0123456789".repeat(4);
    let failed = site.run(&format!("ADD http://HTTP/r.git#{absent} /d"));
    let error = format!("repository does not contain ref {absent}");
    let _failed = failed.failure_with(&[&error, "hint: "]);
}
