//! Owners, modes, times, attributes, hard links, and what the caller is told.

use rbuild::rootfs::xattr::Xattrs;
use rbuild::snapshot::Fingerprint;

use super::*;

#[test]
fn c01_existing_destinations_keep_mode_and_owner() {
    for (paths, destination) in [
        (&["f"][..], "/tmp/"),
        (&["f"], "/tmp"),
        (&["d"], "/tmp"),
        (&["d/."], "/tmp/"),
        (&["."], "/"),
    ] {
        for octal in [None, Some("700")] {
            let bench = Bench::new("f=1 d/tmp2/g=2", "tmp/");
            chmod(&bench.at("tmp"), 0o1777);
            chmod(&bench.rootfs(), 0o751);
            let mut copy = bench.copy(paths, destination);
            if let Some(octal) = octal {
                copy = copy.chmod(octal);
            }
            copy.run().unwrap();
            assert_eq!(
                (bench.mode("tmp"), bench.mode("/")),
                (0o1777, 0o751),
                "{paths:?} {destination}"
            );
        }
    }
}

#[test]
fn nested_directories_take_the_source_and_the_top_takes_its_time() {
    let bench = Bench::new("d/n/f=1", "x/n/ x/other/");
    chmod(&bench.in_source("d"), 0o700);
    chmod(&bench.in_source("d/n"), 0o750);
    chmod(&bench.in_source("d/n/f"), 0o4751);
    touch(&bench.in_source("d/n/f"), 1_000);
    touch(&bench.in_source("d/n"), 2_000);
    touch(&bench.in_source("d"), 3_000);
    for destination in ["/x", "/new"] {
        bench.copy(&["d"], destination).run().unwrap();
        let at = |name: &str| bench.meta(&format!("{destination}{name}"));
        assert_eq!(
            (at("").mode() & 0o7777, at("").mtime()),
            (0o755, 3_000),
            "{destination}"
        );
        assert_eq!(
            (at("/n").mode() & 0o7777, at("/n").mtime()),
            (0o750, 2_000),
            "{destination}"
        );
        assert_eq!(
            (at("/n/f").mode() & 0o7777, at("/n/f").mtime()),
            (0o4751, 1_000),
            "{destination}"
        );
    }
}

#[test]
fn c12_times_are_copied_to_the_nanosecond() {
    let bench = Bench::new("f=1 d/l->f d/g=2", "");
    let before = |name: &str| fs::symlink_metadata(bench.in_source(name)).unwrap();
    for from in [Kind::Context, Kind::Tree] {
        bench.copy(&["f", "d"], "/x/").from(from).run().unwrap();
        for (source, copied) in [("f", "x/f"), ("d/l", "x/l"), ("d/g", "x/g"), ("d", "x")] {
            let (a, b) = (before(source), bench.meta(copied));
            assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()), "{source}");
        }
    }
}

#[test]
fn c05_c07_octal_chmod_for_created_parents_and_copied_entries() {
    let bench = Bench::new("d/n/f=1 d/l->n", "old/kept=0");
    chmod(&bench.in_source("d/n/f"), 0o600);
    chmod(&bench.at("old/kept"), 0o640);
    chmod(&bench.at("old"), 0o711);
    bench.copy(&["d"], "/a/b").chmod("770").run().unwrap();
    for path in ["a", "a/b", "a/b/n", "a/b/n/f"] {
        assert_eq!(bench.mode(path), 0o770, "{path}");
    }
    assert_eq!(bench.mode("a/b/l"), 0o777);
    bench.copy(&["d"], "/old").chmod("0744").run().unwrap();
    for (path, mode) in [
        ("old", 0o711),
        ("old/kept", 0o640),
        ("old/n", 0o744),
        ("old/n/f", 0o744),
    ] {
        assert_eq!(bench.mode(path), mode, "{path}");
    }
}

#[test]
fn c06_unreadable_modes_do_not_stop_the_copy() {
    let bench = Bench::new("d/s/f=1 d/s/t/g=2 d/h=3", "");
    bench.copy(&["d"], "/a/b/").chmod("700").run().unwrap();
    let bench = Bench::new("d/s/f=1 d/s/t/g=2 d/h=3", "a/b/");
    bench.copy(&["d"], "/a/b").chmod("400").run().unwrap();
    for path in ["a/b/s", "a/b/h"] {
        assert_eq!(bench.mode(path), 0o400, "{path}");
    }
    chmod(&bench.at("a/b/s"), 0o700);
    assert_eq!((bench.mode("a/b/s/f"), bench.mode("a/b/s/t")), (0o400, 0o400));
    chmod(&bench.at("a/b/s/t"), 0o700);
}

#[test]
fn c08_symbolic_chmod_starts_from_each_entry() {
    let bench = Bench::new("d/plain=1 d/tool=2 d/s/", "");
    for (path, mode) in [("d/plain", 0o600), ("d/tool", 0o700), ("d/s", 0o700)] {
        chmod(&bench.in_source(path), mode);
    }
    bench.copy(&["d"], "/a/b").chmod("u=rwX,go=rX").run().unwrap();
    for (path, mode) in [
        ("a", 0o755),
        ("a/b", 0o755),
        ("a/b/plain", 0o644),
        ("a/b/tool", 0o755),
        ("a/b/s", 0o755),
    ] {
        assert_eq!(bench.mode(path), mode, "{path}");
    }
}

#[test]
fn c10_hard_links_stay_hard_links() {
    for from in [Kind::Context, Kind::Tree] {
        let bench = Bench::new("d/a=1 d/s/ alone=2", "");
        fs::hard_link(bench.in_source("d/a"), bench.in_source("d/s/b")).unwrap();
        fs::hard_link(bench.in_source("d/a"), bench.in_source("c")).unwrap();
        let copied = bench.copy(&["d", "c", "alone"], "/x/").from(from).run().unwrap();
        let inodes: Vec<_> = ["x/a", "x/s/b", "x/c"]
            .iter()
            .map(|path| bench.meta(path).ino())
            .collect();
        assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
        assert_eq!((bench.meta("x/a").nlink(), bench.meta("x/alone").nlink()), (3, 1));
        assert_eq!(
            absolute(&copied.written),
            ["/x", "/x/a", "/x/alone", "/x/c", "/x/s", "/x/s/b"]
        );
        // And once more over what is there.
        bench.copy(&["d", "c"], "/x/").from(from).run().unwrap();
        assert_eq!(bench.meta("x/a").nlink(), 3);
        // Two names of one file, copied to one place.
        bench.copy(&["d/a", "c"], "/y").from(from).run().unwrap();
        assert_eq!(
            (
                fs::read_to_string(bench.at("y")).unwrap().as_str(),
                bench.meta("y").nlink()
            ),
            ("1", 1)
        );
    }
}

#[test]
fn a_replaced_first_name_is_no_link_target() {
    let bench = Bench::new("d1/a=1 d2/a=2 d2/b=unused", "");
    fs::remove_file(bench.in_source("d2/b")).unwrap();
    fs::hard_link(bench.in_source("d1/a"), bench.in_source("d2/b")).unwrap();
    bench.copy(&["d1", "d2"], "/").run().unwrap();
    assert_eq!(list(&bench.rootfs()), "a=2 b=1");
}

#[test]
fn fingerprints_are_those_of_the_copies() {
    let bench = Bench::new("d/f=content d/l->f d/n/", "");
    let mut fingerprints = Fingerprints::default();
    bench.copy(&["d"], "/x").run_with(&mut fingerprints).unwrap();
    let none = Xattrs::new();
    for (path, content) in [("x/f", &b"content"[..]), ("x/l", b"f"), ("x/n", b"")] {
        let taken = fingerprints.get(bench.meta(path).ino());
        assert_eq!(taken, Some(Fingerprint::of(content, &none)), "{path}");
    }
    // A large file has none, and not that of the file that had its inode before.
    let large = vec![b'x'; 3 << 20];
    fs::write(bench.in_source("large"), &large).unwrap();
    for inode in 0..200_000 {
        fingerprints.insert(inode, Fingerprint::of(b"stale", &none));
    }
    bench.copy(&["large"], "/").run_with(&mut fingerprints).unwrap();
    assert_eq!(fs::read(bench.at("large")).unwrap(), large);
    fingerprints.insert(bench.meta("large").ino(), Fingerprint::of(b"stale", &none));
    fs::remove_file(bench.at("large")).unwrap();
    bench.copy(&["large"], "/").run_with(&mut fingerprints).unwrap();
    assert_eq!(fingerprints.get(bench.meta("large").ino()), None);
}

#[test]
fn made_directories_take_the_given_time() {
    let bench = Bench::new("d/f=1 g=2", "old/");
    touch(&bench.in_source("d"), 5);
    let copy = |paths: &[&str], destination: &'static str| Copy {
        created_mtime: Some(Timestamp::from_seconds(9)),
        ..bench.copy(paths, destination)
    };
    copy(&["g"], "/a/b/").file("h", "3").run().unwrap();
    copy(&["d"], "/c/d").run().unwrap();
    for (path, mtime) in [("a", 9), ("a/b", 9), ("a/b/h", 9), ("c", 9), ("c/d", 5)] {
        assert_eq!(bench.meta(path).mtime(), mtime, "{path}");
    }
}

#[test]
fn root_c02_the_context_is_owned_by_root_in_the_image() {
    let bench = Bench::new("f=1 d/s/g=2 d/l->g", "d/s/");
    for path in ["f", "d", "d/s", "d/s/g", "d/l"] {
        give(&bench.in_source(path), 1000, 1001);
    }
    give(&bench.at("d/s"), 7, 7);
    bench.copy(&["f"], "/new/").chown(None).file("h", "x").run().unwrap();
    bench.copy(&["d"], "/d").chown(None).run().unwrap();
    for path in ["new", "new/f", "new/h", "d/s", "d/s/g", "d/l"] {
        assert_eq!(owner(&bench, path), (0, 0), "{path}");
    }
}

#[test]
fn root_c03_stages_keep_owner_mode_and_attributes() {
    let bench = Bench::new("d/s/f=1 d/s/l->f", "");
    for (path, uid) in [("d", 10), ("d/s", 11), ("d/s/f", 12), ("d/s/l", 13)] {
        give(&bench.in_source(path), uid, uid + 100);
    }
    chmod(&bench.in_source("d/s/f"), 0o6755);
    chmod(&bench.in_source("d/s"), 0o3775);
    chmod(&bench.in_source("d"), 0o700);
    bench.copy(&["d"], "/a/b").from(Kind::Tree).chown(None).run().unwrap();
    for (path, expected) in [("a", 0), ("a/b", 0), ("a/b/s", 11), ("a/b/s/f", 12), ("a/b/s/l", 13)] {
        let gid = if expected == 0 { 0 } else { expected + 100 };
        assert_eq!(owner(&bench, path), (expected, gid), "{path}");
    }
    assert_eq!(
        (bench.mode("a/b"), bench.mode("a/b/s"), bench.mode("a/b/s/f")),
        (0o755, 0o3775, 0o6755)
    );
}

#[test]
fn root_c04_chown_gives_away_what_it_makes_and_nothing_else() {
    let bench = Bench::new("d/s/f=1 d/l->s", "old/kept=0");
    give(&bench.at("old"), 5, 5);
    let owner_of_copy = Some(Owner { uid: 1, gid: 2 });
    for from in [Kind::Context, Kind::Tree] {
        bench
            .copy(&["d"], "/old/new/deep")
            .from(from)
            .chown(owner_of_copy)
            .run()
            .unwrap();
        bench
            .copy(&["d"], "/old")
            .from(from)
            .chown(owner_of_copy)
            .file("h", "x")
            .run()
            .unwrap();
        for path in [
            "old/new",
            "old/new/deep",
            "old/new/deep/s/f",
            "old/s",
            "old/s/f",
            "old/l",
            "old/h",
        ] {
            assert_eq!(owner(&bench, path), (1, 2), "{path}");
        }
        assert_eq!((owner(&bench, "old"), owner(&bench, "old/kept")), ((5, 5), (0, 0)));
    }
}

#[test]
fn root_c09_attributes_and_capabilities_survive_from_stages_only() {
    let bench = Bench::new("d/f=1 d/s/", "");
    // Version 2, cap_net_raw permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let source = Rootfs::open(&bench.in_source("d")).unwrap();
    source
        .root()
        .set_xattr(Some(b"f"), b"security.capability", &capability)
        .unwrap();
    source.root().set_xattr(Some(b"s"), b"user.note", b"kept").unwrap();
    give(&bench.in_source("d/s"), 3, 3);
    let xattrs = |at: &str, name: &[u8]| Rootfs::open(&bench.at(at)).unwrap().root().xattrs(Some(name)).unwrap();
    let mut fingerprints = Fingerprints::default();
    bench
        .copy(&["d"], "/x")
        .from(Kind::Tree)
        .chown(Some(Owner { uid: 9, gid: 9 }))
        .run_with(&mut fingerprints)
        .unwrap();
    assert_eq!(
        xattrs("x", b"f").get(&b"security.capability"[..]).map(Vec::as_slice),
        Some(&capability[..])
    );
    assert_eq!(
        xattrs("x", b"s").get(&b"user.note"[..]).map(Vec::as_slice),
        Some(&b"kept"[..])
    );
    let expected = Fingerprint::of(b"1", &xattrs("x", b"f"));
    assert_eq!(fingerprints.get(bench.meta("x/f").ino()), Some(expected));
    bench.copy(&["d"], "/y").chown(None).run().unwrap();
    assert!(xattrs("y", b"f").is_empty() && xattrs("y", b"s").is_empty());
}

#[test]
fn root_c23_a_replaced_file_loses_its_owner() {
    let bench = Bench::new("f=1 g=2", "f=0 g=0");
    give(&bench.at("f"), 33, 0);
    give(&bench.at("g"), 0, 33);
    bench.copy(&["f", "g"], "/").chown(None).run().unwrap();
    assert_eq!((owner(&bench, "f"), owner(&bench, "g")), ((0, 0), (0, 0)));
}
