//! Our listing against those of GNU tar and Python, of archives that GNU tar, bsdtar and Python made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rbuild::layer::entry::{Entry, EntryKind};
use rbuild::layer::read::TarReader;

use crate::tarball::{Tarball, file, hard_link, pax_body, tarball};

/// A tree with what archives find hard.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/file"), "content").unwrap();
    fs::write(root.join("d/empty"), "").unwrap();
    fs::write(root.join("d/large"), vec![7; 100_000]).unwrap();
    fs::hard_link(root.join("d/file"), root.join("d/hard")).unwrap();
    symlink("../d/file", root.join("d/soft")).unwrap();
    symlink("t".repeat(150), root.join("d/long-target")).unwrap();
    fs::write(root.join("d").join("n".repeat(90)), "").unwrap();
    fs::create_dir(root.join("d").join("m".repeat(60))).unwrap();
    fs::write(root.join("d").join("m".repeat(60)).join("o".repeat(60)), "split").unwrap();
    fs::write(root.join("d/sp ace"), "").unwrap();
    let times = fs::FileTimes::new();
    let past = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_234_567_890_500_000_000);
    fs::File::open(root.join("d/file"))
        .unwrap()
        .set_times(times.set_modified(past))
        .unwrap();
}

/// Names that the old formats refuse.
fn long_names(root: &Path) {
    let name = "l".repeat(200);
    fs::write(root.join("d").join(&name), "long").unwrap();
    let deep = root.join("d").join("deep/".repeat(25));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("ünï"), "deep").unwrap();
    let sparse = fs::File::create(root.join("d/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[9; 4096], 1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[9; 4096], 5 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
}

fn archives(root: &Path, out: &Path) -> Vec<(String, std::path::PathBuf)> {
    let mut made = Vec::new();
    let mut make = |name: &str, program: &str, arguments: &[&str]| {
        let path = out.join(name);
        let mut command = Command::new(program);
        command
            .arg("-cf")
            .arg(&path)
            .args(arguments)
            .arg("-C")
            .arg(root)
            .arg("d");
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("needs {program}: {error}"));
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        made.push((name.to_owned(), path));
    };
    tree(root);
    // 90 bytes are the longest name of v7; the directory and file of 60 bytes are for the prefix of ustar.
    make("ustar", "tar", &["--format=ustar", "--exclude=long-target"]);
    make("bsdtar-ustar", "bsdtar", &["--format=ustar", "--exclude=long-target"]);
    make("v7", "tar", &["--format=v7", "--exclude=mmm*", "--exclude=long-target"]);
    long_names(root);
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        make(format, "tar", &[&format!("--format={format}")]);
        make(
            &format!("{format}-sparse"),
            "tar",
            &[&format!("--format={format}"), "--sparse"],
        );
    }
    for version in ["0.0", "0.1", "1.0"] {
        make(
            &format!("sparse-{version}"),
            "tar",
            &["--format=pax", "--sparse", &format!("--sparse-version={version}")],
        );
    }
    make("xattrs", "tar", &["--format=pax", "--xattrs", "--acls"]);
    make("bsdtar-pax", "bsdtar", &["--format=pax"]);
    make("bsdtar-gnutar", "bsdtar", &["--format=gnutar"]);
    made
}

/// Archives whose headers disagree; readers must not.
fn crafted(out: &Path) -> Vec<(String, std::path::PathBuf)> {
    let record = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let inner = tarball([file("smuggled", "evil")]);
    [
        (
            "pax-size-over-header",
            tarball([
                file("outer", &inner).size(0).pax("size", inner.len().to_string()),
                file("after", ""),
            ]),
        ),
        (
            "x-before-L",
            Tarball::default()
                .extended(b'x', &pax_body(&[record("mtime", "42")]))
                .long(b'L', b"long")
                .add(file("short", ""))
                .end(),
        ),
        (
            "last-record-wins",
            tarball([file("f", "").pax("path", "a").pax("path", "b")]),
        ),
        (
            "hard-link-with-size",
            tarball([file("a", "a"), hard_link("b", "a").size(0), file("c", "c")]),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| {
        let path = out.join(name);
        fs::write(&path, bytes).unwrap();
        (name.to_owned(), path)
    })
    .collect()
}

const PYTHON: &str = "
import sys, tarfile
kinds = {b'0': 'File', b'\\0': 'File', b'7': 'File', b'S': 'File', b'1': 'HardLink', b'2': 'Symlink', b'5': 'Directory', b'6': 'Fifo'}
with tarfile.open(sys.argv[1], errors='surrogateescape', encoding='utf-8') as tar:
    for m in tar:
        kind = kinds[m.type]
        size = m.size if kind == 'File' else 0
        line = '\\t'.join([m.name, kind, m.linkname if m.islnk() or m.issym() else '', str(size), oct(m.mode & 0o7777), str(m.uid), str(m.gid), str(int(m.mtime // 1))])
        sys.stdout.buffer.write(line.encode('utf-8', 'surrogateescape') + b'\\n')
";

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("needs {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn ours(path: &Path) -> Vec<Entry> {
    let bytes = fs::read(path).unwrap();
    let mut tar = TarReader::new(&bytes[..]);
    let mut entries = Vec::new();
    while let Some(entry) = tar
        .next_entry()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    {
        entries.push(entry);
    }
    entries
}

fn as_python(entry: &Entry) -> String {
    let name = String::from_utf8_lossy(&entry.path);
    let link = match entry.kind {
        EntryKind::HardLink | EntryKind::Symlink => String::from_utf8_lossy(&entry.link).into_owned(),
        _ => String::new(),
    };
    format!(
        "{}\t{:?}\t{link}\t{}\t0o{:o}\t{}\t{}\t{}",
        name.trim_end_matches('/'),
        entry.kind,
        entry.size,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime.seconds
    )
}

fn as_gnu(entry: &Entry) -> String {
    let name = String::from_utf8_lossy(&entry.path);
    match entry.kind {
        EntryKind::HardLink => format!(
            "0 {} {name} link to {}",
            entry.mtime.seconds,
            String::from_utf8_lossy(&entry.link)
        ),
        EntryKind::Symlink => format!(
            "0 {} {name} -> {}",
            entry.mtime.seconds,
            String::from_utf8_lossy(&entry.link)
        ),
        _ => format!("{} {} {name}", entry.size, entry.mtime.seconds),
    }
}

/// `-rw-r--r-- 0/0 7 2009-02-13 23:31:30 d/file` without what the Python listing has compared.
fn gnu_line(line: &str) -> String {
    let mut rest = line;
    let mut fields = Vec::new();
    for _ in 0..5 {
        let (field, after) = rest.trim_start().split_once(' ').unwrap_or_else(|| panic!("{line}"));
        fields.push(field);
        rest = after;
    }
    let when = format!("{}T{}Z", fields[3], fields[4].split('.').next().unwrap());
    let seconds = when.parse::<jiff::Timestamp>().unwrap().as_second();
    format!("{} {seconds} {}", fields[2], rest.trim_start())
}

#[track_caller]
fn assert_same(ours: &[String], theirs: impl Iterator<Item = String>, what: &str) {
    let theirs: Vec<_> = theirs.collect();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
}

#[test]
fn tools_h10_listings_equal_those_of_other_readers() {
    let temp = tempfile::tempdir().unwrap();
    let (root, out) = (temp.path().join("tree"), temp.path().join("archives"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir_all(&out).unwrap();
    for (name, path) in archives(&root, &out).into_iter().chain(crafted(&out)) {
        let entries = ours(&path);
        assert!(!entries.is_empty(), "{name}");
        let python = output(Command::new("python3").arg("-c").arg(PYTHON).arg(&path));
        let mine: Vec<_> = entries.iter().map(as_python).collect();
        assert_same(
            &mine,
            python.lines().map(str::to_owned),
            &format!("{name} against Python"),
        );
        let gnu = output(Command::new("tar").env("TZ", "UTC").env("LC_ALL", "C.UTF-8").args([
            "--numeric-owner",
            "--full-time",
            "--quoting-style=literal",
            "-tvf",
            path.to_str().unwrap(),
        ]));
        let mine: Vec<_> = entries.iter().map(as_gnu).collect();
        assert_eq!(
            mine,
            gnu.lines().map(gnu_line).collect::<Vec<_>>(),
            "{name} against GNU tar"
        );
    }
}
