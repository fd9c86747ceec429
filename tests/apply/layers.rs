//! What entries and whiteouts do to the tree.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink as make_symlink};

use rbuild::layer::LayerKind;

use crate::tarball::{Tarball, checksum, dir, file, hard_link, member, symlink, tarball, whiteout};
use crate::tree::{Tree, render};

#[test]
fn root_h01_every_entry_type_is_restored() {
    let tree = Tree::new();
    tree.apply(&tarball([
        file("zero", "0"),
        {
            let mut old = file("nul", "nul");
            old = old.magic(&[0; 8]);
            old
        },
        member(0, "old-directory/").mode(0o755).magic(&[0; 8]),
        member(b'7', "contiguous"),
        hard_link("hard", "zero"),
        symlink("soft", "zero"),
        member(b'3', "char").device(1, 3).mode(0o666),
        member(b'4', "block").device(7, 200).mode(0o660),
        dir("directory/"),
        member(b'6', "fifo").mode(0o622),
    ]));
    assert_eq!(tree.read("zero"), "0");
    assert_eq!(tree.stat("hard").ino(), tree.stat("zero").ino());
    assert_eq!(fs::read_link(tree.path("soft")).unwrap().as_os_str(), "zero");
    let char = tree.stat("char");
    assert!(char.file_type().is_char_device());
    assert_eq!((rustix::fs::major(char.rdev()), rustix::fs::minor(char.rdev())), (1, 3));
    assert_eq!(tree.mode("char"), 0o666);
    let block = tree.stat("block");
    assert!(block.file_type().is_block_device());
    assert_eq!(
        (rustix::fs::major(block.rdev()), rustix::fs::minor(block.rdev())),
        (7, 200)
    );
    assert!(tree.stat("fifo").file_type().is_fifo());
    assert_eq!(tree.mode("fifo"), 0o622);
    assert!(tree.stat("directory").is_dir());
    assert!(tree.stat("old-directory").is_dir());
    assert!(tree.stat("contiguous").is_file());
    assert!(tree.warnings.borrow().is_empty());
}

#[test]
fn h01_unknown_types_name_path_and_byte() {
    for type_byte in [b'V', b'M', b'D', b'8', b'A', b'X', 0xff] {
        let text = Tree::new().refuse(&tarball([member(type_byte, "dir/odd")]));
        assert_eq!(
            text,
            format!("archive entry dir/odd has the unknown type {type_byte:#04x}")
        );
    }
}

#[test]
fn h02_spellings_of_a_path_are_one_file() {
    for path in ["d/x", "./d/x", "/d/x", "d//x", "d/./x", "d/x/", "//d/../d/x"] {
        let tree = Tree::new();
        tree.apply(&tarball([dir("d"), file(path, path)]));
        assert_eq!(tree.names(), "d d/x", "{path}");
        assert_eq!(tree.read("d/x"), path);
    }
}

#[test]
fn h03_dot_dot_stays_inside_or_fails() {
    let tree = Tree::new();
    tree.apply(&tarball([dir("a"), file("a/../b", "b")]));
    assert_eq!(tree.read("b"), "b");
    for path in ["../b", "/../b", "a/../../b", "..", "../outside/canary"] {
        let tree = Tree::new();
        let text = tree.refuse(&tarball([dir("a"), file(path, "evil")]));
        assert_eq!(
            text,
            format!("archive entry cannot be unpacked: path {path:?} climbs above the root")
        );
        assert_eq!(tree.names(), "a", "{path}");
    }
}

#[test]
fn h04_root_entry_is_a_directory() {
    for path in [".", "./", "/", "", "a/.."] {
        let tree = Tree::new();
        tree.apply(&tarball([dir(path).mode(0o711).mtime(77), file("f", "")]));
        let stat = fs::metadata(tree.root()).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o711, 77), "{path:?}");
        for entry in [
            symlink(path, "/etc"),
            file(path, ""),
            hard_link(path, "f"),
            member(b'6', path),
        ] {
            let text = Tree::new().refuse(&tarball([entry]));
            assert!(text.contains("would replace the root"), "{path:?}: {text}");
        }
    }
}

#[test]
fn h05_symlink_targets_are_kept_byte_for_byte() {
    let long = [b'l'; 4095];
    let targets: [&[u8]; 8] = [
        b"/etc/passwd",
        b"../../../../../../../../../../etc/pki/java/cacerts",
        b"./a//b/../c/",
        b"caf\xe9 latin1\n",
        b".",
        b"/",
        b"/proc/self/root",
        &long,
    ];
    for target in targets {
        let tree = Tree::new();
        let layer = if target.len() > 100 {
            Tarball::default()
                .long(b'K', target)
                .add(symlink("link", "short"))
                .end()
        } else {
            tarball([symlink("link", target)])
        };
        tree.apply(&layer);
        assert_eq!(fs::read_link(tree.path("link")).unwrap().as_os_str().as_bytes(), target);
    }
    for (layer, length) in [
        (tarball([symlink("link", "")]), 0),
        (
            Tarball::default()
                .long(b'K', &[b'l'; 4096])
                .add(symlink("link", ""))
                .end(),
            4096,
        ),
        (tarball([symlink("link", "x").pax("linkpath", b"a\0b")]), 3),
    ] {
        let text = Tree::new().refuse(&layer);
        assert!(
            text.starts_with(&format!("symlink /link has a target of {length} bytes")),
            "{text}"
        );
    }
}

#[test]
fn h06_hard_links_within_and_across_layers() {
    let tree = Tree::new();
    tree.apply(&tarball([
        dir("d"),
        file("d/lower", "lower"),
        symlink("soft", "d/lower"),
        symlink("e", "/d"),
    ]));
    tree.apply(&tarball([
        file("same", "same"),
        hard_link("same-plain", "same"),
        hard_link("same-slash", "/same"),
        hard_link("same-dot", "./same"),
        hard_link("cross-layer", "d/lower"),
        hard_link("through-symlink", "e/lower"),
        hard_link("of-symlink", "soft"),
    ]));
    for name in ["same-plain", "same-slash", "same-dot"] {
        assert_eq!(tree.stat(name).ino(), tree.stat("same").ino(), "{name}");
    }
    for name in ["cross-layer", "through-symlink"] {
        assert_eq!(tree.stat(name).ino(), tree.stat("d/lower").ino(), "{name}");
    }
    assert_eq!(tree.stat("of-symlink").ino(), tree.stat("soft").ino());
    for (target, expected) in [
        ("d", "hard link /link has a directory as its target: /d"),
        ("/", "hard link /link has a directory as its target: /"),
        ("none", "hard link /link has no target /none in this layer or below it"),
        (
            "none/deep",
            "hard link /link has no target /none/deep in this layer or below it",
        ),
        (
            "../outside/canary",
            "hard link /link cannot be unpacked: path \"../outside/canary\" climbs above the root",
        ),
    ] {
        assert_eq!(tree.refuse(&tarball([hard_link("link", target)])), expected);
    }
}

#[test]
fn root_h06_hard_link_to_a_device() {
    let tree = Tree::new();
    tree.apply(&tarball([
        member(b'3', "null").device(1, 3),
        hard_link("zilch", "null"),
    ]));
    assert_eq!(tree.stat("null").ino(), tree.stat("zilch").ino());
}

#[test]
fn h07_hard_link_replaces_and_is_idempotent() {
    let tree = Tree::new();
    tree.apply(&tarball([file("a", "a"), file("b", "b"), dir("c"), file("c/x", "")]));
    tree.apply(&tarball([
        hard_link("b", "a"),
        hard_link("c", "a"),
        hard_link("a", "a"),
        hard_link("b", "a"),
    ]));
    assert_eq!(tree.names(), "a b c");
    assert_eq!(tree.stat("a").nlink(), 3);
    assert_eq!(tree.read("c"), "a");
}

#[test]
fn h13_global_headers_leave_nothing() {
    let tree = Tree::new();
    let layer = Tarball::default()
        .extended(b'g', b"52 comment=0123456789012345678901234567890123456789\n")
        .extended(b'g', b"12 uid=4711\n")
        .add(file("f", "f"))
        .end();
    tree.apply(&layer);
    assert_eq!(tree.names(), "f");
    let broken = Tarball::default().extended(b'g', b"13 uid=4711\n").end();
    assert!(
        Tree::new()
            .refuse(&broken)
            .contains("record at byte 0 has no valid length")
    );
}

#[test]
fn h19_whiteouts_remove_what_lower_layers_have() {
    let tree = Tree::new();
    tree.apply(&tarball([
        file("file", ""),
        dir("tree"),
        dir("tree/deep"),
        file("tree/deep/x", ""),
        file("target", "kept"),
        symlink("link", "target"),
        symlink("dangling", "/none"),
        dir("kept"),
        file("kept/a", "a"),
        file("kept/b", "b"),
        symlink("way", "kept"),
    ]));
    tree.apply(&tarball([
        whiteout(".wh.file"),
        whiteout(".wh.tree"),
        whiteout("./.wh.link"),
        whiteout("/.wh.dangling"),
        whiteout("way/.wh.a"),
    ]));
    assert_eq!(tree.names(), "kept kept/b target way");
    assert_eq!(tree.read("target"), "kept");
    assert!(tree.warnings.borrow().is_empty());
}

#[test]
fn h19_odd_whiteouts_warn() {
    let tree = Tree::new();
    tree.apply(&tarball([file("a", ""), file("b", "")]));
    tree.apply(&tarball([dir(".wh.a"), file(".wh.b", "text")]));
    assert_eq!(tree.names(), "");
    assert_eq!(tree.warnings.borrow().len(), 2);
}

#[test]
fn root_h19_whiteouts_spare_mounts() {
    let tree = Tree::new();
    tree.apply(&tarball([dir("d"), dir("d/mnt")]));
    fs::write(tree.outside().join("directory/inside-mount"), "").unwrap();
    let mount = tree.path("d/mnt");
    rustix::mount::mount_bind(tree.outside().join("directory"), &mount).unwrap();
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tree.try_apply(&tarball([whiteout(".wh.d")])[..], LayerKind::Plain)
    }));
    let survived = mount.join("inside-mount").exists();
    rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(survived);
    // The canary directory was given a file by this test, hence the panic that is looked into.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_err()));
}

#[test]
fn root_h20_opaque_markers_act_whatever_their_place() {
    let upper = [
        dir("d"),
        file("d/new", "new"),
        dir("d/sub"),
        file("d/sub/new", "new"),
        file("d/deep/new", ""),
    ];
    for at in 0..=upper.len() {
        let tree = Tree::new();
        tree.apply(&tarball([
            dir("d"),
            file("d/old", ""),
            file("d/new", "lower"),
            dir("d/sub"),
            file("d/sub/old", ""),
            dir("d/deep"),
            dir("d/deep/old"),
            file("d/deep/old/x", ""),
            symlink("d/link", "/elsewhere"),
            dir("elsewhere"),
            file("elsewhere/kept", ""),
        ]));
        let mut members = upper.to_vec();
        members.insert(at, whiteout("d/.wh..wh..opq"));
        tree.apply(&tarball(members));
        assert_eq!(
            tree.names(),
            "d d/deep d/deep/new d/new d/sub d/sub/new elsewhere elsewhere/kept",
            "marker at {at}"
        );
        assert_eq!(tree.read("d/new"), "new");
    }
    let tree = Tree::new();
    tree.apply(&tarball([file("old", "")]));
    tree.apply(&tarball([
        file("new", ""),
        whiteout(".wh..wh..opq"),
        whiteout("absent/.wh..wh..opq"),
    ]));
    assert_eq!(tree.names(), "new");
}

#[test]
fn h21_a_layers_own_entries_survive_its_whiteouts() {
    for marker_first in [true, false] {
        let tree = Tree::new();
        tree.apply(&tarball([
            file("f", "lower"),
            dir("d"),
            file("d/lower", ""),
            symlink("s", "d"),
        ]));
        let mut members = vec![file("f", "upper"), dir("d"), file("d/upper", ""), file("s", "upper")];
        let markers = [whiteout(".wh.f"), whiteout(".wh.d"), whiteout(".wh.s")];
        if marker_first {
            members.splice(0..0, markers);
        } else {
            members.extend(markers);
        }
        tree.apply(&tarball(members));
        assert_eq!(tree.names(), "d d/upper f s", "marker first: {marker_first}");
        assert_eq!((tree.read("f"), tree.read("s")), ("upper".into(), "upper".into()));
    }
}

#[test]
fn h22_whiteouts_of_nothing_and_invalid_ones() {
    let tree = Tree::new();
    tree.apply(&tarball([file("f", "")]));
    tree.apply(&tarball([
        whiteout(".wh.none"),
        whiteout("no/parent/.wh.x"),
        whiteout("f/.wh.x"),
    ]));
    assert_eq!(tree.names(), "f");
    for path in [
        ".wh.",
        ".wh..",
        ".wh...",
        "d/.wh.",
        "d/.wh..",
        "d/.wh...",
        ".wh.d/below",
    ] {
        let text = Tree::new().refuse(&tarball([whiteout(path)]));
        assert_eq!(text, format!("/{path} is no valid whiteout (expected .wh.<name>)"));
    }
}

#[test]
fn h23_aufs_metadata_vanishes_but_its_links_resolve() {
    let tree = Tree::new();
    tree.apply(&tarball([
        whiteout(".wh..wh.aufs"),
        dir(".wh..wh.orph"),
        dir(".wh..wh.plnk"),
        file(".wh..wh.plnk/104.1", "shared").mode(0o751),
        file(".wh..wh.orph/x", "orphan"),
        hard_link("a", ".wh..wh.plnk/104.1"),
        hard_link("b", "/.wh..wh.plnk/104.1"),
    ]));
    assert_eq!(tree.names(), "a b");
    assert_eq!(
        (tree.stat("a").nlink(), tree.mode("a"), tree.read("b")),
        (2, 0o751, "shared".into())
    );
    let text = tree.refuse(&tarball([hard_link("c", ".wh..wh.plnk/104.1")]));
    assert!(
        text.contains("has no target"),
        "the directory outlived its layer: {text}"
    );
}

#[test]
fn h24_types_change_over_layers() {
    let lower = [
        ("file", vec![file("p", "lower")]),
        ("dir", vec![dir("p"), file("p/x", "x"), dir("p/y"), file("p/y/z", "")]),
        (
            "symlink",
            vec![symlink("p", "elsewhere"), dir("elsewhere"), file("elsewhere/kept", "")],
        ),
        ("fifo", vec![member(b'6', "p")]),
    ];
    let upper = [
        ("file", file("p", "upper")),
        ("dir", dir("p").mode(0o700)),
        ("symlink", symlink("p", "/new")),
        ("fifo", member(b'6', "p").mode(0o600)),
    ];
    for (from, lower) in &lower {
        for (to, upper) in &upper {
            let tree = Tree::new();
            tree.apply(&tarball(lower.clone()));
            tree.apply(&tarball([upper.clone()]));
            let alone = Tree::new();
            alone.apply(&tarball([upper.clone()]));
            assert_eq!(tree.describe()["p"], alone.describe()["p"], "{from} → {to}");
            assert_eq!(tree.exists("p/x"), (*from, *to) == ("dir", "dir"), "{from} → {to}");
            assert_eq!(tree.exists("elsewhere/kept"), *from == "symlink", "{from} → {to}");
        }
    }
}

#[test]
fn h24_merged_directories_drop_stale_attributes() {
    let tree = Tree::new();
    tree.apply(&tarball([
        dir("d").xattr("user.stale", "s").xattr("user.both", "old").mode(0o700),
        file("d/kept", ""),
    ]));
    tree.apply(&tarball([dir("d").xattr("user.both", "new").mode(0o755).mtime(5)]));
    assert_eq!(tree.xattr("d", "user.stale"), None);
    assert_eq!(tree.xattr("d", "user.both").unwrap(), b"new");
    assert_eq!((tree.mode("d"), tree.stat("d").mtime()), (0o755, 5));
    assert!(tree.exists("d/kept"));
}

#[test]
fn root_h25_parents_through_symlinks_and_over_files() {
    for tree in [Tree::new(), Tree::walked()] {
        tree.apply(&tarball([
            dir("opt"),
            dir("opt/real"),
            symlink("absolute", "/opt/real"),
            symlink("relative", "opt/real"),
            symlink("over-long", "../../../../opt/real"),
            symlink("chain", "relative"),
            dir("var"),
            symlink("var/run", "/run"),
            file("plain", ""),
        ]));
        tree.apply(&tarball([
            file("absolute/a", "a"),
            file("relative/b", "b"),
            file("over-long/c", "c"),
            file("chain/d", "d"),
            file("var/run/lock/e", "e"),
            file("plain/f", "f"),
        ]));
        for (path, content) in [
            ("opt/real/a", "a"),
            ("opt/real/b", "b"),
            ("opt/real/c", "c"),
            ("opt/real/d", "d"),
            ("run/lock/e", "e"),
            ("plain/f", "f"),
        ] {
            assert_eq!(tree.read(path), content);
        }
        assert_eq!(fs::read_link(tree.path("var/run")).unwrap().as_os_str(), "/run");
    }
}

#[test]
fn h25_symlink_loops_are_errors() {
    for tree in [Tree::new(), Tree::walked()] {
        let text = tree.refuse(&tarball([symlink("a", "b"), symlink("b", "a"), file("a/x", "")]));
        assert!(text.starts_with("open directory /a: "), "{text}");
    }
}

#[test]
fn h25_a_parent_that_changes_within_a_layer() {
    let tree = Tree::new();
    tree.apply(&tarball([
        dir("one"),
        dir("two"),
        symlink("way", "one"),
        file("way/first", ""),
        symlink("way", "two"),
        file("way/second", ""),
        dir("way"),
        file("way/third", ""),
        dir("gone"),
        file("gone/x", ""),
        file("gone", ""),
        dir("gone"),
        file("gone/y", ""),
    ]));
    assert_eq!(tree.names(), "gone gone/y one one/first two two/second way way/third");
}

#[test]
fn duplicate_members_leave_the_last_one() {
    let tree = Tree::new();
    tree.apply(&tarball([
        file("a", "1"),
        symlink("a", "x"),
        dir("a"),
        file("a/b", ""),
        file("a", "2"),
    ]));
    assert_eq!(tree.names(), "a");
    assert_eq!(tree.read("a"), "2");
}

#[test]
fn names_of_any_bytes_come_back() {
    let names: [&[u8]; 6] = [
        b"sp ace",
        b"new\nline",
        b"back\\slash",
        b"latin1-\xe9",
        "ünï".as_bytes(),
        &[b'n'; 255],
    ];
    for name in names {
        let tree = Tree::new();
        let layer = Tarball::default().long(b'L', name).add(file("short", "x")).end();
        tree.apply(&layer);
        let found = fs::read_dir(tree.root()).unwrap().next().unwrap().unwrap().file_name();
        assert_eq!(found.as_bytes(), name);
    }
    for (path, expected) in [
        (vec![b'n'; 256], "component of 256 bytes (the limit is 255)"),
        (b"d/".repeat(2100), "has 4200 bytes (the limit is 4096)"),
    ] {
        let layer = Tarball::default().long(b'L', &path).add(file("short", "x")).end();
        let text = Tree::new().refuse(&layer);
        assert!(text.contains(expected), "{text}");
    }
    let text = Tree::new().refuse(&tarball([file("x", "").pax("path", b"a\0")]));
    assert!(text.contains("contains a zero byte"), "{text}");
}

#[test]
fn headers_that_lie_are_refused() {
    let mut bad_sum = file("f", "").header();
    bad_sum[0] = b'g';
    let mut bad_number = file("f", "").header();
    bad_number[100] = b'9';
    checksum(&mut bad_number);
    for (block, expected) in [
        (bad_sum, "bad tar header at byte 0: checksum is wrong"),
        (bad_number, "archive entry f has an invalid mode"),
    ] {
        assert_eq!(Tree::new().refuse(&Tarball::default().raw(&block).end()), expected);
    }
    let negative = Tarball::default().add(file("f", "").size(u64::MAX)).end();
    assert_eq!(Tree::new().refuse(&negative), "archive entry f has an invalid size");
}

#[test]
fn errors_of_the_blob_are_the_ones_reported() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("digest mismatch"))
        }
    }
    let tree = Tree::new();
    let half = tarball([file("f", [7; 4000])]);
    let error = tree
        .try_apply(std::io::Read::chain(&half[..1000], Broken), LayerKind::Plain)
        .unwrap_err();
    assert_eq!(render(&error), "cannot read the compressed data: digest mismatch");
}

#[test]
fn an_existing_tree_of_the_host_can_be_the_lower_layer() {
    let tree = Tree::new();
    make_symlink("nowhere", tree.path("made-here")).unwrap();
    tree.apply(&tarball([whiteout(".wh.made-here")]));
    assert_eq!(tree.names(), "");
}
