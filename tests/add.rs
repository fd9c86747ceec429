//! ADD of what is elsewhere: downloads and repositories, from servers on this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use support::process::Output;
use support::scripted::{Answer, Request, Scripted, digest};
use support::{Rbuild, Sandbox, listing};

/// A build into a layout, with `SERVER` in the Dockerfile for the address.
struct Site {
    sandbox: Sandbox,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.directory("context");
        Self { sandbox }
    }

    fn layout(&self) -> PathBuf {
        self.sandbox.path("layout")
    }

    fn run(&self, server: &str, dockerfile: &str) -> Output {
        let dockerfile = dockerfile.replace("SERVER", server);
        Rbuild::build_text(&self.sandbox, &dockerfile)
            .arg("--no-push")
            .arg("--oci-layout-path")
            .arg(self.layout())
            .run()
    }

    /// The image's lines after a build that must succeed.
    fn build(&self, server: &str, dockerfile: &str) -> Vec<String> {
        let _built = self.run(server, dockerfile).success();
        listing::of_layout(&self.sandbox, &self.layout())
    }
}

fn assert_lines(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:#?}");
    }
}

/// Notes every request as `METHOD /path`.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    fn note(&self, request: &Request) {
        let line = format!("{} {}", request.method, request.path);
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn file(content: &str) -> Answer {
    Answer::body("application/octet-stream", content)
}

/// An archive with the file `inner`.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o640);
    header.set_mtime(1_600_000_000);
    header.set_uid(7);
    header.set_gid(8);
    builder.append_data(&mut header, "inner", &b"hi"[..]).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn root_l329_l330_downloads_have_the_name_mode_and_time_of_their_url() {
    let site = Site::new();
    let server = Scripted::start(|_, path| match path {
        "/dated" => file("dated").header("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT"),
        "/moved" => Answer::status(302).header("Location", "/elsewhere"),
        _ => file(path),
    });
    let text = "FROM scratch\nADD http://SERVER/foo http://SERVER/a/b%20c?x=/y http://SERVER/ /d/\nADD http://SERVER/foo /plain\n\
                ADD --chmod=755 --chown=3:4 http://SERVER/foo /x\nADD http://SERVER/dated http://SERVER/moved /d/\n";
    assert_lines(
        &site.build(&server.host(), text),
        &[
            "/d/foo file 0600 0:0 \"/foo\"",
            "/d/foo mtime 0",
            "/d/b c file 0600 0:0 \"/a/b%20c?x=/y\"",
            "/d/__unnamed__ file 0600 0:0 \"/\"",
            "/plain file 0600 0:0 \"/foo\"",
            "/x file 0755 3:4 \"/foo\"",
            "/d/dated file 0600 0:0 \"dated\"",
            "/d/dated mtime 1704164645",
            "/d/moved file 0600 0:0 \"/elsewhere\"",
        ],
    );
}

#[test]
fn root_sources_of_all_kinds_are_copied_in_the_order_of_the_line() {
    let site = Site::new();
    site.sandbox.write("context/local", "local");
    site.sandbox.write("context/last", "last");
    let server = Scripted::start(|_, path| file(path));
    let text = "FROM scratch\nADD local http://SERVER/remote last /one\nADD last local http://SERVER/remote /two\n";
    assert_lines(
        &site.build(&server.host(), text),
        &["/one file 0644 0:0 \"last\"", "/two file 0600 0:0 \"/remote\""],
    );
}

#[test]
fn root_l328_l331_downloaded_archives_are_extracted_on_request() {
    let site = Site::new();
    let server = Scripted::start(|_, path| match path {
        "/plain" => file("plain"),
        _ => Answer::body("application/x-tar", archive()),
    });
    let text = "FROM scratch\nADD http://SERVER/x.tar /kept\nADD --unpack http://SERVER/x.tar /out\n\
                ADD --unpack --chown=1:2 http://SERVER/x.tar /owned\nADD --unpack http://SERVER/plain /plain\n\
                ADD --unpack=false http://SERVER/x.tar /verbatim\n";
    let lines = site.build(&server.host(), text);
    assert_lines(
        &lines,
        &[
            "/out/inner file 0640 7:8 \"hi\"",
            "/out/inner mtime 1600000000",
            "/owned/inner file 0640 1:2 \"hi\"",
            "/plain file 0600 0:0 \"plain\"",
        ],
    );
    for path in ["/kept file 0600", "/verbatim file 0600"] {
        assert!(lines.iter().any(|line| line.starts_with(path)), "{path}: {lines:#?}");
    }
}

#[test]
fn root_l332_an_error_status_ends_the_build() {
    let site = Site::new();
    let server = Scripted::start(|_, path| match path {
        "/forbidden" => Answer::status(403),
        _ => Answer::status(404),
    });
    for (path, status) in [("absent?token=hidden", "404"), ("forbidden", "403")] {
        let output = site.run(&server.host(), &format!("FROM scratch\nADD http://SERVER/{path} /d"));
        let invalid = format!("invalid response status {status}");
        let _failed = output.failure_with(&[&invalid, "Dockerfile:2", "hint: "]);
    }
}

#[test]
fn root_l333_the_checksum_must_match() {
    let site = Site::new();
    let server = Scripted::start(|_, path| file(path));
    let right = digest(b"/f");
    let text = format!("FROM scratch\nADD --checksum={right} http://SERVER/f /f\n");
    assert_lines(&site.build(&server.host(), &text), &["/f file 0600 0:0 \"/f\""]);
    let wrong = digest(b"else");
    let text = format!("FROM scratch\nADD --checksum={wrong} http://SERVER/f /f\n");
    let output = site.run(&server.host(), &text);
    let mismatch = format!("digest mismatch {right}: {wrong}");
    let _failed = output.failure_with(&[&mismatch, "Dockerfile:2"]);
}

#[test]
fn root_l335_what_has_not_changed_is_not_downloaded_again() {
    let site = Site::new();
    let (requests, content) = (Requests::default(), Arc::new(Mutex::new("one")));
    let (noted, current) = (requests.clone(), Arc::clone(&content));
    let server = Scripted::start_with_headers(move |request| {
        noted.note(request);
        let content = *current.lock().unwrap();
        let etag = format!("\"{content}\"");
        match request.header("if-none-match") == Some(&etag) {
            true => Answer::status(304).header("ETag", &etag),
            false => file(content)
                .header("ETag", &etag)
                .header("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT"),
        }
    });
    let text = "FROM scratch\nADD http://SERVER/f /a\nADD http://SERVER/f /b\n";
    let build = || site.build(&server.host(), text);
    for path in ["/a", "/b"] {
        let expected = [
            format!("{path} file 0600 0:0 \"one\""),
            format!("{path} mtime 1704164645"),
        ];
        assert_lines(&build(), &expected.each_ref().map(String::as_str));
    }
    assert_eq!(
        requests.take(),
        ["GET /f", "HEAD /f"],
        "one GET, and one question for the second build"
    );
    *content.lock().unwrap() = "two";
    assert_lines(&build(), &["/a file 0600 0:0 \"two\""]);
    assert_eq!(requests.take(), ["HEAD /f", "GET /f"]);
    // A checksum says all there is to know.
    let text = format!("FROM scratch\nADD --checksum={} http://SERVER/f /a\n", digest(b"two"));
    site.build(&server.host(), &text);
    assert_eq!(requests.take(), Vec::<String>::new());
}

#[test]
fn root_a_download_that_breaks_off_is_tried_again() {
    let site = Site::new();
    let tries = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&tries);
    let server = Scripted::start(move |_, _| {
        let mut tries = counted.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => Answer::status(503),
            2 => file("whole").cut_at(3),
            _ => file("whole"),
        }
    });
    assert_lines(
        &site.build(&server.host(), "FROM scratch\nADD http://SERVER/f /f"),
        &["/f file 0600 0:0 \"whole\""],
    );
    assert_eq!(*tries.lock().unwrap(), 3);
}

#[test]
fn root_passwords_in_a_url_reach_their_server_and_nobody_else() {
    let site = Site::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (there, elsewhere) = (Arc::clone(&seen), Arc::clone(&seen));
    let other = Scripted::start_with_headers(move |request| {
        elsewhere
            .lock()
            .unwrap()
            .push(request.header("authorization").map(str::to_owned));
        file("content")
    });
    let target = format!("http://{}/f", other.host());
    let server = Scripted::start_with_headers(move |request| {
        there
            .lock()
            .unwrap()
            .push(request.header("authorization").map(str::to_owned));
        match request.path.as_str() {
            "/absent" => Answer::status(404),
            _ => Answer::status(307).header("Location", &target),
        }
    });
    let address = format!("me:hush@{}", server.host());
    let lines = site.build("", &format!("FROM scratch\nADD http://{address}/f /f"));
    let basic = Some("Basic bWU6aHVzaA==".to_owned());
    assert_eq!(*seen.lock().unwrap(), [basic, None]);
    assert_lines(&lines, &["/f file 0600 0:0 \"content\""]);
    assert!(!lines.iter().any(|line| line.contains("hush")), "{lines:#?}");
    let failed = site.run("", &format!("FROM scratch\nADD http://{address}/absent /f"));
    assert!(!failed.report().contains("hush"), "{}", failed.report());
}

/// An archive in the making.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_mtime(1_600_000_000);
        header.set_uid(1000);
        header.set_gid(50);
        header.set_username("root").unwrap();
        header.set_groupname("root").unwrap();
        header
    }

    fn file(mut self, path: &str, mode: u32, content: &str) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, mode, content.len());
        self.0.append_data(&mut header, path, content.as_bytes()).unwrap();
        self
    }

    fn directory(mut self, path: &str, mode: u32) -> Self {
        let mut header = Self::header(tar::EntryType::Directory, mode, 0);
        self.0.append_data(&mut header, path, std::io::empty()).unwrap();
        self
    }

    fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = Self::header(kind, 0o777, 0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    /// A record for the next entry, or with `g` for all.
    fn record(mut self, kind: u8, key: &str, value: &str) -> Self {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 2..)
            .find(|length| length.to_string().len() + rest == *length)
            .unwrap();
        let record = format!("{length} {key}={value}\n");
        let mut header = Self::header(tar::EntryType::new(kind), 0o644, record.len());
        self.0.append_data(&mut header, "pax", record.as_bytes()).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

#[test]
fn root_l313_l320_archives_keep_what_they_say_of_their_files() {
    let site = Site::new();
    let rich = Archive::new()
        .record(b'g', "comment", "for all")
        .file("plain", 0o640, "plain")
        .file("tool", 0o4755, "tool")
        .record(b'x', "SCHILY.xattr.user.note", "kept")
        .file("noted", 0o600, "noted")
        .file("deep/er/file", 0o644, "deep")
        .bytes();
    site.sandbox.write("context/rich", &rich);
    site.sandbox
        .write("context/a.tar", Archive::new().file("a", 0o644, "a").bytes());
    site.sandbox
        .write("context/b.tar", Archive::new().file("b", 0o644, "b").bytes());
    site.sandbox
        .write("context/dir/inner.tar", Archive::new().file("c", 0o644, "c").bytes());
    site.sandbox.write("context/empty.tar.gz", "");
    site.sandbox.write("context/text.tar.gz", "no archive");
    let text = "FROM scratch\nADD rich /d\nADD rich /e/\nADD *.tar /all\nADD dir /copied\nCOPY a.tar /kept.tar\n\
                ADD --chown=7:8 rich /owned\nADD --chmod=777 --exclude=plain rich /modes\nADD empty.tar.gz text.tar.gz /f/\n\
                ADD --unpack=false a.tar /verbatim\n";
    let lines = site.build("", text);
    assert_lines(
        &lines,
        &[
            "/d/plain file 0640 1000:50 \"plain\"",
            "/d/plain mtime 1600000000",
            "/d/tool file 4755 1000:50 \"tool\"",
            "/d/deep dir 0755 0:0",
            "/d/deep/er dir 0755 0:0",
            "/e/plain file 0640 1000:50 \"plain\"",
            "/all/a file 0644 1000:50 \"a\"",
            "/all/b file 0644 1000:50 \"b\"",
            "/owned dir 0755 7:8",
            "/owned/plain file 0640 7:8 \"plain\"",
            "/owned/tool file 4755 7:8 \"tool\"",
            "/owned/deep dir 0755 0:0",
            "/modes/plain file 0640 1000:50 \"plain\"",
            "/f/empty.tar.gz file 0644 0:0 \"\"",
            "/f/text.tar.gz file 0644 0:0 \"no archive\"",
        ],
    );
    for path in ["/copied/inner.tar file ", "/kept.tar file ", "/verbatim file "] {
        assert!(lines.iter().any(|line| line.starts_with(path)), "{path}: {lines:#?}");
    }
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("/copied/c") || line.contains("pax")),
        "{lines:#?}"
    );
}

#[test]
fn root_l321_l326_archives_meet_what_is_there() {
    let site = Site::new();
    let base = Archive::new()
        .directory("real", 0o711)
        .link(tar::EntryType::Symlink, "relative", "real")
        .link(tar::EntryType::Symlink, "absolute", "/w/real")
        .link(tar::EntryType::Symlink, "replaced", "real")
        .directory("tree/sub", 0o755)
        .file("tree/sub/file", 0o644, "old")
        .file("flat", 0o644, "old")
        .bytes();
    let over = Archive::new()
        .directory(".", 0o700)
        .directory("replaced", 0o750)
        .file("tree", 0o644, "now a file")
        .directory("flat", 0o751)
        .file("relative/one", 0o644, "one")
        .file("absolute/two", 0o644, "two")
        .link(tar::EntryType::Link, "absolute/three", "relative/one")
        .file("new/parents/file", 0o644, "new")
        .bytes();
    site.sandbox.write("context/base", base);
    site.sandbox.write("context/over", over);
    let lines = site.build("", "FROM scratch\nADD base /w/\nADD over /w/\n");
    assert_lines(
        &lines,
        &[
            "/w dir 0755 0:0",
            "/w/replaced dir 0750 1000:50",
            "/w/tree file 0644 1000:50 \"now a file\"",
            "/w/flat dir 0751 1000:50",
            "/w/real dir 0711 1000:50",
            "/w/relative symlink -> real",
            "/w/absolute symlink -> /w/real",
            "/w/real/two file 0644 1000:50 \"two\"",
            "/w/new dir 0755 0:0",
            "/w/new/parents dir 0755 0:0",
        ],
    );
    let same = |one: &str, other: &str| {
        lines
            .iter()
            .any(|line| *line == format!("/w/real/{one} same file as /w/real/{other}"))
    };
    assert!(same("three", "one") || same("one", "three"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("/w/tree/sub")), "{lines:#?}");
    let mut out = tar::Builder::new(Vec::new());
    let mut header = Archive::header(tar::EntryType::Regular, 0o644, 1);
    header.as_gnu_mut().unwrap().name[..4].copy_from_slice(b"../x");
    header.set_cksum();
    out.append(&header, &b"x"[..]).unwrap();
    site.sandbox.write("context/out", out.into_inner().unwrap());
    let failed = site.run("", "FROM scratch\nADD out /w/\n");
    let _failed = failed.failure_with(&["../x", "Dockerfile:2"]);
}
