//! `--link`: a copy that does not depend on what it is laid upon.

use rbuild::layer::{LayerOptions, write};
use rbuild::snapshot::{ChangeSet, Fingerprint};

use super::*;

/// Every row is a rootfs before, a request of the tree `f=1 d/s/g=2 d/l->s`, and the rootfs afterwards.
#[test]
fn l293_what_is_in_the_way_of_a_linked_copy_is_replaced() {
    let source = "f=1 d/s/g=2 d/l->s";
    for (rootfs, paths, destination, outcome) in [
        ("", "f", "/a/b/", "a/b/f=1"),
        ("", "f", "/a/b", "a/b=1"),
        ("a/kept=0", "f", "/a/", "a/kept=0 a/f=1"),
        // A directory upon the rootfs does not make the destination one.
        ("a/b/old=0", "f", "/a/b", "a/b=1"),
        ("a=file", "f", "/a/b", "a/b=1"),
        ("link->real real/kept=0", "f", "/link/", "link/f=1 real/kept=0"),
        ("link->real real/kept=0", "f", "/link/x/y", "link/x/y=1 real/kept=0"),
        (
            "link->real real/kept=0",
            "d",
            "/link",
            "link/l->s link/s/g=2 real/kept=0",
        ),
        ("link->real real=0", "f", "/link", "link=1 real=0"),
        ("gone->/no/where", "f", "/gone/", "gone/f=1"),
        (
            "x/link->/x/real x/real/kept=0",
            "f",
            "/x/link/",
            "x/link/f=1 x/real/kept=0",
        ),
        ("s->real real/kept=0", "d", "/", "s/g=2 l->s real/kept=0"),
        ("s=file l/n/deep=0", "d", "/", "s/g=2 l->s"),
        ("s/kept=0 l->elsewhere", "d", "/", "s/g=2 s/kept=0 l->s"),
        ("outside->../outside", "f", "/outside/canary", "outside/canary=1"),
        ("kept=0", "no*", "/a/", "kept=0"),
    ] {
        for from in [Kind::Context, Kind::Tree] {
            let bench = Bench::new(source, rootfs);
            let copy = bench.copy(&words(paths), destination).from(from);
            let result = copy.link(&mut Fingerprints::default());
            bench.expect(result, source, outcome, &format!("{rootfs} {paths} {destination}"));
        }
    }
}

#[test]
fn l293_directories_on_the_way_are_made_anew() {
    let bench = Bench::new("f=1 d/s/g=2", "tmp/old/kept=0 root/");
    touch(&bench.in_source("f"), 77);
    for (path, mode, time) in [("d/s/g", 0o640, 5), ("d/s", 0o711, 6), ("d", 0o700, 7)] {
        chmod(&bench.in_source(path), mode);
        touch(&bench.in_source(path), time);
    }
    chmod(&bench.at("tmp/old"), 0o700);
    chmod(&bench.at("tmp"), 0o1777);
    chmod(&bench.rootfs(), 0o751);
    touch(&bench.rootfs(), 99);
    bench
        .copy(&["f"], "/tmp/new/")
        .link(&mut Fingerprints::default())
        .unwrap();
    bench.copy(&["d"], "/x/y").link(&mut Fingerprints::default()).unwrap();
    for (path, mode, time) in [
        ("tmp", 0o755, 77),
        ("tmp/new", 0o755, 77),
        ("tmp/new/f", 0o644, 77),
        ("x", 0o755, 7),
        ("x/y", 0o755, 7),
        ("x/y/s", 0o711, 6),
        ("x/y/s/g", 0o640, 5),
        ("", 0o751, 99),
    ] {
        let meta = bench.meta(path);
        assert_eq!((meta.mode() & 0o7777, meta.mtime()), (mode, time), "{path}");
    }
    assert_eq!(bench.mode("tmp/old"), 0o700);
    // A build that has a time of its own gives it to what it makes.
    let copy = Copy {
        created_mtime: Some(Timestamp::from_seconds(9)),
        ..bench.copy(&["f"], "/z/")
    };
    copy.file("h", "x").link(&mut Fingerprints::default()).unwrap();
    assert_eq!((bench.meta("z").mtime(), bench.meta("z/h").mtime()), (9, 9));
}

#[test]
fn what_a_linked_copy_wrote_is_told_without_the_root() {
    let bench = Bench::new("f=1 d/s/g=2", "link->real real/ s/kept=0");
    let written = |copy: Copy<'_>| absolute(&copy.link(&mut Fingerprints::default()).unwrap().written);
    assert_eq!(written(bench.copy(&["f"], "/link/")), ["/link", "/link/f"]);
    assert_eq!(written(bench.copy(&["d"], "/")), ["/s", "/s/g"]);
    assert_eq!(written(bench.copy(&["f"], "/")), ["/f"]);
    assert_eq!(written(bench.copy(&["no*"], "/n/")), [""; 0]);
    assert_eq!(
        written(bench.copy(&["d/s/g"], "/p/").parents()),
        ["/p", "/p/d", "/p/d/s", "/p/d/s/g"]
    );
}

#[test]
fn l294_linked_layers_are_the_same_on_every_base() {
    let layer = |rootfs: &str, destination: &str| {
        let bench = Bench::new("f=1 d/s/g=2 d/l->s", rootfs);
        fs::hard_link(bench.in_source("f"), bench.in_source("d/h")).unwrap();
        for (path, time) in [("f", 11), ("d/s/g", 12), ("d/s", 13), ("d", 14)] {
            touch(&bench.in_source(path), time);
        }
        let time = rustix::fs::Timespec { tv_sec: 15, tv_nsec: 0 };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        let link = bench.in_source("d/l");
        rustix::fs::utimensat(rustix::fs::CWD, &link, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        chmod(&bench.rootfs(), if rootfs.is_empty() { 0o755 } else { 0o700 });
        let copied = bench
            .copy(&["f", "d"], destination)
            .link(&mut Fingerprints::default())
            .unwrap();
        let mut changes = ChangeSet::builder();
        for path in copied.written {
            changes.upsert(path);
        }
        let root = Rootfs::open(&bench.rootfs()).unwrap();
        let (options, cancel) = (LayerOptions::default(), Cancel::default());
        let (mut sink, mut warn) = (Vec::new(), |_| ());
        write(&changes.build(), &root, &options, &mut sink, &cancel, &mut warn, drop)
            .unwrap()
            .digest
    };
    for destination in ["/opt/app/", "/"] {
        let bare = layer("", destination);
        for rootfs in ["opt->usr usr/app/x=0", "opt/app/s=0", "opt=0 f/x=0", "d->x s->y x/ y/"] {
            assert_eq!(layer(rootfs, destination), bare, "{rootfs} {destination}");
        }
    }
    assert_ne!(layer("", "/a/"), layer("", "/b/"));
}

#[test]
fn fingerprints_of_a_linked_copy_are_those_of_what_arrived() {
    let bench = Bench::new("d/s/g=content d/n/", "x/s/kept=0");
    let mut fingerprints = Fingerprints::default();
    let copied = bench.copy(&["d"], "/x").link(&mut fingerprints).unwrap();
    assert_eq!(absolute(&copied.written), ["/x", "/x/n", "/x/s", "/x/s/g"]);
    let taken = |path: &str| fingerprints.get(bench.meta(path).ino());
    let none = Default::default();
    assert_eq!(taken("x/s/g"), Some(Fingerprint::of(b"content", &none)));
    assert_eq!(taken("x/n"), Some(Fingerprint::of(b"", &none)));
    assert_eq!(taken("x/s"), None);
}

#[test]
fn root_linked_copies_override_owners_and_attributes() {
    let bench = Bench::new("d/s/f=1", "x/s/kept=0");
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    rootfs.root().set_xattr(Some(b"x"), b"user.old", b"1").unwrap();
    for path in ["x", "x/s", "x/s/kept"] {
        give(&bench.at(path), 5, 5);
    }
    give(&bench.in_source("d/s"), 7, 8);
    let copy = bench.copy(&["d"], "/x").from(Kind::Tree).chown(None);
    copy.link(&mut Fingerprints::default()).unwrap();
    for (path, expected) in [("x", (0, 0)), ("x/s", (7, 8)), ("x/s/f", (0, 0)), ("x/s/kept", (5, 5))] {
        assert_eq!(owner(&bench, path), expected, "{path}");
    }
    assert!(rootfs.root().xattrs(Some(b"x")).unwrap().is_empty());
    let given = Some(Owner { uid: 1, gid: 2 });
    bench
        .copy(&["d"], "/x")
        .chown(given)
        .link(&mut Fingerprints::default())
        .unwrap();
    for (path, expected) in [("x", (1, 2)), ("x/s", (1, 2)), ("x/s/f", (1, 2)), ("x/s/kept", (5, 5))] {
        assert_eq!(owner(&bench, path), expected, "{path}");
    }
}

/// ADD copies its given and its fetched sources one after another.
#[test]
fn several_copies_are_laid_upon_the_rootfs_together() {
    let bench = Bench::new("f=1 g=2 d/h=3", "x->real real/");
    for (path, time) in [("f", 10), ("g", 20), ("d", 30)] {
        touch(&bench.in_source(path), time);
    }
    let apart = bench.temp.path().join("apart");
    fs::create_dir(&apart).unwrap();
    let (apart, cancel) = (Rootfs::open(&apart).unwrap(), Cancel::default());
    let mut fingerprints = Fingerprints::default();
    let mut linked = LinkedCopy::new(&apart);
    for (path, destination) in [("f", "/x/y/"), ("d", "/x/d"), ("g", "/x/z/"), ("g", "/x/y/")] {
        let copy = bench.copy(&[path], destination);
        let copied = copy.execute(|request, _, warn| linked.copy(request, &mut fingerprints, &cancel, warn));
        assert!(copied.unwrap().removed.is_empty());
    }
    assert_eq!(list(&bench.rootfs()), "real/ x->real");
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    linked.lay_upon(&rootfs, &mut fingerprints, &cancel).unwrap();
    assert_eq!(list(&bench.rootfs()), sorted("real/ x/y/f=1 x/y/g=2 x/z/g=2 x/d/h=3"));
    let time = |path: &str| bench.meta(path).mtime();
    assert_eq!((time("x"), time("x/y"), time("x/d"), time("x/z")), (30, 20, 30, 20));
}

/// What a later source makes in a directory must not leave the time of the build on it.
#[test]
fn a_directory_that_was_merged_keeps_its_time_when_more_is_put_into_it() {
    let bench = Bench::new("f=1 g=2 d/h=3", "");
    for (path, time) in [("f", 10), ("g", 20), ("d", 30)] {
        touch(&bench.in_source(path), time);
    }
    let copy = bench.copy(&["d", "f"], "/one/");
    copy.link(&mut Fingerprints::default()).unwrap();
    bench.copy(&["d", "f"], "/two/").run().unwrap();
    let apart = bench.temp.path().join("apart");
    fs::create_dir(&apart).unwrap();
    let (apart, cancel) = (Rootfs::open(&apart).unwrap(), Cancel::default());
    let mut fingerprints = Fingerprints::default();
    let mut linked = LinkedCopy::new(&apart);
    for path in ["d", "g"] {
        let copy = bench.copy(&[path], "/three/");
        let copied = copy.execute(|request, _, warn| linked.copy(request, &mut fingerprints, &cancel, warn));
        copied.unwrap();
    }
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    linked.lay_upon(&rootfs, &mut fingerprints, &cancel).unwrap();
    for path in ["one", "two", "three"] {
        assert_eq!(bench.meta(path).mtime(), 30, "{path}");
    }
}
