//! The law of copying: a copy equals its source, seen by an independent walk.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;
use rbuild::copy::copy_tree;
use rbuild::rootfs::xattr::Xattrs;
use rbuild::snapshot::Fingerprint;

use super::*;

/// What a copy keeps of one object. Its inode number is the first name that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Features {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    content: Vec<u8>,
    first_name: Vec<u8>,
}

/// All objects of a tree by an independent walk.
fn portrait(root: &Path) -> BTreeMap<Vec<u8>, Features> {
    let mut first_names = BTreeMap::new();
    let mut portrait = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let name = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let content = match meta.file_type() {
            kind if kind.is_file() => fs::read(entry.path()).unwrap(),
            kind if kind.is_symlink() => fs::read_link(entry.path()).unwrap().as_os_str().as_bytes().to_vec(),
            _ => format!("{:?}", meta.rdev()).into_bytes(),
        };
        let first = first_names.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
        let features = Features {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            content,
            first_name: first,
        };
        portrait.insert(name, features);
    }
    portrait
}

#[derive(Clone, Debug)]
enum Node {
    Directory(u32),
    File(Vec<u8>, u32),
    Symlink(String),
    HardLink(usize),
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        (0o700..0o1000_u32).prop_map(|mode| Node::Directory(mode | 0o700)),
        (prop::collection::vec(any::<u8>(), 0..2000), 0o400..0o10000_u32)
            .prop_map(|(content, mode)| Node::File(content, mode | 0o400)),
        "[a-c./]{1,8}".prop_map(Node::Symlink),
        (0..12_usize).prop_map(Node::HardLink),
    ]
}

/// Whether `dir` is below `root` by directories alone, as far as it exists: a generated symlink leads anywhere.
fn is_plain(root: &Path, dir: &Path) -> bool {
    let above = dir.ancestors().take_while(|above| *above != root);
    above
        .into_iter()
        .all(|above| fs::symlink_metadata(above).map_or(true, |meta| meta.is_dir()))
}

/// Makes what can be made; what collides is left out.
fn grow(root: &Path, nodes: &[(Vec<u8>, Node)]) {
    let mut files = Vec::new();
    let mut modes = Vec::new();
    for (name, node) in nodes {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        if !is_plain(root, path.parent().unwrap()) || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        parents(&path);
        match node {
            Node::Directory(mode) => {
                fs::create_dir(&path).unwrap();
                modes.push((path, *mode));
            }
            Node::File(content, mode) => {
                fs::write(&path, content).unwrap();
                modes.push((path.clone(), *mode));
                files.push(path);
            }
            Node::Symlink(target) => symlink(target, &path).unwrap(),
            Node::HardLink(number) if !files.is_empty() => {
                fs::hard_link(&files[number % files.len()], &path).unwrap();
            }
            Node::HardLink(_) => {}
        }
    }
    for (path, mode) in modes.into_iter().rev() {
        chmod(&path, mode);
        touch(&path, i64::from(mode) * 1_000);
    }
}

/// Names with bytes that are no UTF-8, and with what patterns and shells find special.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let component = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"c",
        b"-",
        b"*",
        b"\xff\xfe",
        b".wh.a",
        b" ",
        b"\n",
    ]);
    prop::collection::vec(component, 1..6).prop_map(|components| components.join(&b'/'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, fork: false, ..ProptestConfig::default() })]

    #[test]
    fn copies_equal_their_sources(nodes in prop::collection::vec((name(), node()), 0..25)) {
        let bench = Bench::new("", "");
        grow(&bench.source(), &nodes);
        let source = portrait(&bench.source());

        let copied = bench.copy(&["."], "/").from(Kind::Tree).chown(None).run().unwrap();
        let mut copy = portrait(&bench.rootfs());
        // The top keeps a mode of its own.
        copy.get_mut(&b""[..]).unwrap().mode = source[&b""[..]].mode;
        prop_assert_eq!(&copy, &source);
        prop_assert_eq!(copied.written.len(), source.len());

        let whole = bench.temp.path().join("whole");
        let ends = (Rootfs::open(&bench.source()).unwrap(), Rootfs::create(&whole).unwrap());
        let mut fingerprints = Fingerprints::default();
        let from = (&ends.0, &Fingerprints::default());
        copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
        prop_assert_eq!(portrait(&whole), source);
    }
}

#[test]
fn c10_hard_links_between_directories_that_different_threads_copy() {
    let bench = Bench::new("", "");
    for number in 0..40 {
        let first = format!("a/b/c{number}/d/first");
        plant(&bench.source(), &format!("{first}={number}"));
        for other in 0..4 {
            let other = bench.in_source(&format!("x/y/z{other}/w/{number}"));
            parents(&other);
            fs::hard_link(bench.in_source(&first), other).unwrap();
        }
    }
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&bench.rootfs()).unwrap(),
    );
    let mut fingerprints = Fingerprints::default();
    let from = (&ends.0, &Fingerprints::default());
    copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
    assert_eq!(portrait(&bench.rootfs()), portrait(&bench.source()));
    let inode = bench.meta("x/y/z3/w/7").ino();
    let none = Xattrs::new();
    assert_eq!(fingerprints.get(inode), Some(Fingerprint::of(b"7", &none)));
}

#[test]
fn copy_tree_takes_over_fingerprints() {
    let bench = Bench::new("f=1 d/g=2", "");
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&bench.rootfs()).unwrap(),
    );
    let marker = Fingerprint::of(b"taken earlier", &Xattrs::new());
    let mut known = Fingerprints::default();
    known.insert(fs::metadata(bench.in_source("f")).unwrap().ino(), marker);
    let mut fingerprints = Fingerprints::default();
    copy_tree(
        (&ends.0, &known),
        (&ends.1, &mut fingerprints),
        &Cancel::default(),
        &|_| (),
    )
    .unwrap();
    assert_eq!(list(&bench.rootfs()), list(&bench.source()));
    assert_eq!(fingerprints.get(bench.meta("f").ino()), Some(marker));
    let taken = Fingerprint::of(b"2", &Xattrs::new());
    assert_eq!(fingerprints.get(bench.meta("d/g").ino()), Some(taken));
}

#[test]
fn root_copy_tree_keeps_everything() {
    let bench = Bench::new("d/f=1 d/l->f e/", "");
    fs::hard_link(bench.in_source("d/f"), bench.in_source("e/again")).unwrap();
    fs::write(bench.in_source("large"), vec![7; 2 << 20]).unwrap();
    let device = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, bench.in_source("null"), kind, 0o666.into(), device).unwrap();
    for (path, uid) in [("", 4), ("d", 5), ("d/f", 6), ("d/l", 7), ("null", 8)] {
        give(&bench.in_source(path), uid, uid + 1);
    }
    chmod(&bench.in_source("d/f"), 0o4711);
    chmod(&bench.source(), 0o711);
    touch(&bench.source(), 77);
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&bench.rootfs()).unwrap(),
    );
    ends.0.root().set_xattr(Some(b"d"), b"user.note", b"kept").unwrap();
    let mut fingerprints = Fingerprints::default();
    let from = (&ends.0, &Fingerprints::default());
    copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
    assert_eq!(portrait(&bench.rootfs()), portrait(&bench.source()));
    assert_eq!(
        ends.1.root().xattrs(Some(b"d")).unwrap(),
        ends.0.root().xattrs(Some(b"d")).unwrap()
    );
}
