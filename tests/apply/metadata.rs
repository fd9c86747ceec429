//! Modes, owners, times, attributes, and the records that carry them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rbuild::snapshot::Fingerprint;

use crate::tarball::{Tarball, dir, file, hard_link, member, pax_body, symlink, tarball};
use crate::tree::Tree;

/// `cap_net_raw=ep` in the second revision of the attribute, which every kernel reads.
const CAPABILITY_V2: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn h08_attribute_values_may_hold_anything() {
    let tree = Tree::new();
    let value = b"line\nline\0\n13 uid=4711\n\xff";
    let uid = u64::from(rustix::process::geteuid().as_raw());
    tree.apply(&tarball([
        file("f", "12345")
            .xattr("user.odd", value)
            .xattr("user.empty", "")
            .pax("uid", uid.to_string())
            .pax("size", "5")
            .owner(4711, 4711)
            .pax("gid", rustix::process::getegid().as_raw().to_string()),
        file("next", "next"),
    ]));
    assert_eq!(tree.xattr("f", "user.odd").unwrap(), value);
    assert_eq!(tree.xattr("f", "user.empty").unwrap(), b"");
    assert_eq!(u64::from(tree.stat("f").uid()), uid);
    assert_eq!((tree.read("f"), tree.read("next")), ("12345".into(), "next".into()));
}

#[test]
fn h09_last_record_wins_and_x_applies_to_the_real_entry() {
    let tree = Tree::new();
    let record = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let mtime = pax_body(&[
        record("mtime", "1"),
        record("mtime", "42"),
        record("path", "gone"),
        record("path", ""),
    ]);
    let layer = Tarball::default()
        .extended(b'x', &mtime)
        .long(b'L', b"from-long-name")
        .extended(b'g', &pax_body(&[record("mtime", "99")]))
        .add(file("header", "a"))
        .extended(b'x', &pax_body(&[record("path", "from-pax")]))
        .long(b'L', b"from-long-name-2")
        .add(file("header", "b"))
        .long(b'L', b"from-long-name-3")
        .extended(b'x', &pax_body(&[record("mtime", "43")]))
        .add(file("header", "c"))
        .end();
    tree.apply(&layer);
    assert_eq!(tree.names(), "from-long-name from-long-name-3 from-pax");
    assert_eq!(tree.stat("from-long-name").mtime(), 42);
    assert_eq!(tree.stat("from-long-name-3").mtime(), 43);
    let dangling = Tarball::default().extended(b'x', &mtime).end();
    assert!(
        Tree::new()
            .refuse(&dangling)
            .contains("an extended header without its entry")
    );
}

#[test]
fn h09_bad_records_fail_the_layer() {
    for (body, expected) in [
        (&b"12 path=abc\n6 \xff"[..], "record at byte 12 has no valid length"),
        (b"9 noequal\n", "record at byte 0 has no valid length"),
        (b"10 noequa\n", "record at byte 0 has no key"),
        (b"10 size=x\n", "size has the invalid value \"x\""),
        (b"15 mtime=never\n", "mtime has the invalid value \"never\""),
    ] {
        let layer = Tarball::default().extended(b'x', body).add(file("f", "")).end();
        let text = Tree::new().refuse(&layer);
        assert!(text.ends_with(expected), "{}: {text}", body.escape_ascii());
    }
    let huge = vec![b'a'; (1 << 20) + 1];
    let text = Tree::new().refuse(&Tarball::default().extended(b'x', &huge).end());
    assert!(text.contains("1048577 bytes (the limit is 1048576)"), "{text}");
}

#[test]
fn h10_framing_follows_the_pax_size() {
    // The header says 0: a reader that believes it takes the content for the next entries.
    let smuggled = tarball([file("smuggled", "evil")]);
    let tree = Tree::new();
    let mut outer = file("outer", &smuggled).size(0);
    outer = outer.pax("size", smuggled.len().to_string());
    tree.apply(&tarball([outer, file("after", "after")]));
    assert_eq!(tree.names(), "after outer");
    assert_eq!(tree.stat("outer").size(), smuggled.len() as u64);
}

#[test]
fn h11_long_names_and_large_numbers() {
    let long = [&b"d/".repeat(150)[..], b"name"].concat();
    let longer = [&b"directory/".repeat(399)[..], b"name"].concat();
    for path in [long, longer] {
        let tree = Tree::new();
        let tops = (1..path.len()).filter(|at| path[*at] == b'/');
        let layer = tops
            .fold(Tarball::default(), |tar, at| {
                tar.long(b'L', &path[..at]).add(dir("short"))
            })
            .long(b'L', &path)
            .add(file("short", "found").mtime(-5))
            .end();
        tree.apply(&layer);
        let deepest = tree.describe().into_iter().max_by_key(|(path, _)| path.len()).unwrap();
        assert_eq!(deepest.0.as_bytes(), path);
        assert!(deepest.1.contains(" -5.000000000 "), "{}", deepest.1);
    }
}

#[test]
fn root_h26_missing_parents_are_0755_root() {
    let tree = Tree::new();
    tree.apply(&tarball([file("a/b/c", "").mtime(1234).owner(5, 6)]));
    for path in ["a", "a/b"] {
        let stat = tree.stat(path);
        assert_eq!(
            (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime()),
            (0o755, 0, 0, 1234),
            "{path}"
        );
    }
}

#[test]
fn root_h26_untouched_directories_keep_their_time() {
    let tree = Tree::new();
    tree.apply(&tarball([
        dir("a").mtime(1),
        dir("a/b").mtime(2),
        dir("a/b/c").mtime(3),
        file("a/b/c/old", ""),
        dir("target").mtime(4),
        symlink("link", "target"),
        symlink("dangling", "a/made"),
        dir(".").mtime(5),
    ]));
    tree.apply(&tarball([
        file("a/b/c/new", ""),
        file("a/b/.wh.none", ""),
        file("link/x", ""),
        file("dangling/y", "").mtime(6),
        file("a/b/d/e/f", "").mtime(7),
        file("top", ""),
    ]));
    for (path, mtime) in [
        ("a", 1),
        ("a/b", 2),
        ("a/b/c", 3),
        ("target", 4),
        ("", 5),
        ("a/made", 6),
        ("a/b/d", 7),
        ("a/b/d/e", 7),
    ] {
        assert_eq!(tree.stat(path).mtime(), mtime, "{path}");
    }
    tree.apply(&tarball([file("a/b/c/.wh.new", ""), file("a/b/.wh.c", "")]));
    assert_eq!((tree.stat("a").mtime(), tree.stat("a/b").mtime()), (1, 2));
}

#[test]
fn root_h27_set_id_bits_and_capabilities_survive() {
    let tree = Tree::new();
    tree.apply(&tarball([
        file("suid", "x").mode(0o4755).owner(1000, 1000),
        file("sgid", "x").mode(0o2755).owner(1000, 50),
        file("both", "x").mode(0o6711).owner(0, 0),
        dir("sticky").mode(0o1777),
        dir("setgid").mode(0o2775).owner(0, 50),
        file("setgid/plain", "x").mode(0o644).owner(0, 0),
        dir("setgid/dir").mode(0o755).owner(0, 0),
        symlink("setgid/link", "plain").owner(0, 0),
        file("ping", "x")
            .mode(0o755)
            .owner(1000, 1000)
            .xattr("security.capability", CAPABILITY_V2),
    ]));
    for (path, mode, uid, gid) in [
        ("suid", 0o4755, 1000, 1000),
        ("sgid", 0o2755, 1000, 50),
        ("both", 0o6711, 0, 0),
        ("sticky", 0o1777, 0, 0),
        ("setgid", 0o2775, 0, 50),
        ("setgid/plain", 0o644, 0, 0),
        ("setgid/dir", 0o755, 0, 0),
        ("setgid/link", 0o777, 0, 0),
        ("ping", 0o755, 1000, 1000),
    ] {
        let stat = tree.stat(path);
        assert_eq!(
            (stat.mode() & 0o7777, stat.uid(), stat.gid()),
            (mode, uid, gid),
            "{path}"
        );
    }
    assert_eq!(tree.xattr("ping", "security.capability").unwrap(), CAPABILITY_V2);
}

#[test]
fn h28_read_only_directories_get_children() {
    let tree = Tree::new();
    tree.apply(&tarball([
        dir("ro").mode(0o555),
        file("ro/same", ""),
        dir("ro/sub").mode(0),
        file("ro/sub/x", ""),
    ]));
    assert_eq!((tree.mode("ro"), tree.mode("ro/sub")), (0o555, 0));
    if rustix::process::geteuid().is_root() {
        tree.apply(&tarball([file("ro/later", "")]));
        assert_eq!((tree.mode("ro"), tree.exists("ro/later")), (0o555, true));
    }
    // So that an ordinary user can remove the tree.
    for path in ["ro", "ro/sub"] {
        fs::set_permissions(tree.path(path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn root_h29_owners_are_32_bits() {
    let tree = Tree::new();
    tree.apply(&tarball([
        file("half", "").owner(1 << 31, 1 << 31).names(b"nobody", b"nogroup"),
        file("largest", "").owner((1 << 32) - 2, (1 << 32) - 2),
        file("pax", "").pax("uid", "4294967294").pax("gid", "2097152"),
    ]));
    let owner = |path| (tree.stat(path).uid(), tree.stat(path).gid());
    assert_eq!(owner("half"), (1 << 31, 1 << 31));
    assert_eq!(owner("largest"), (u32::MAX - 1, u32::MAX - 1));
    assert_eq!(owner("pax"), (u32::MAX - 1, 2_097_152));
    for (entry, field) in [
        (file("f", "").owner(u64::from(u32::MAX), 0), "uid"),
        (file("f", "").owner(0, 1 << 32), "gid"),
        (file("f", "").pax("uid", "4294967295"), "uid"),
        (file("f", "").owner((-1i64).cast_unsigned(), 0), "uid"),
    ] {
        assert_eq!(
            Tree::new().refuse(&tarball([entry])),
            format!("archive entry f has an invalid {field}")
        );
    }
}

#[test]
fn h30_times_are_restored_or_clamped_with_a_warning() {
    for (value, expected, warnings) in [
        ("0", (0, 0), 0),
        ("1700000000.123456789", (1_700_000_000, 123_456_789), 0),
        ("-1.5", (-2, 500_000_000), 0),
        ("-2147483648", (-2_147_483_648, 0), 0),
        ("-2147483649", (0, 0), 1),
        ("-99999999999999999999", (0, 0), 1),
        ("99999999999999999999", (0, 0), 1),
    ] {
        let tree = Tree::new();
        tree.apply(&tarball([
            file("f", "").pax("mtime", value),
            symlink("s", "x").pax("mtime", value),
        ]));
        for path in ["f", "s"] {
            let stat = tree.stat(path);
            assert_eq!((stat.mtime(), stat.mtime_nsec()), expected, "{path} {value}");
        }
        let given = tree
            .warnings
            .borrow()
            .iter()
            .filter(|text| text.contains("f has the time"))
            .count();
        assert_eq!(given > 0, warnings > 0, "{value}");
    }
    // Beyond what ext4 holds, within what tmpfs and XFS do.
    let tree = Tree::new();
    tree.apply(&tarball([file("f", "").mtime(16_725_225_600)]));
    let kept = tree.stat("f").mtime() == 16_725_225_600;
    assert_eq!(kept, tree.warnings.borrow().is_empty());
}

#[test]
fn h31_attributes_of_the_host_are_not_set() {
    let tree = Tree::new();
    tree.apply(&tarball([
        file("f", "")
            .xattr("user.kept", "1")
            .xattr("security.selinux", "system_u:object_r:etc_t:s0")
            .xattr("trusted.overlay.opaque", "y")
            .xattr("trusted.other", "y")
            .xattr("user.overlay.whiteout", "y")
            .xattr("security.evm", "x")
            .xattr("btrfs.compression", "zstd"),
        dir("d").xattr("user.overlay.opaque", "y"),
    ]));
    let attributes = |path| {
        let mut names = vec![0; 4096];
        let size = rustix::fs::llistxattr(tree.path(path), names.as_mut_slice()).unwrap();
        names.truncate(size);
        String::from_utf8(names).unwrap()
    };
    let own = |list: String| {
        list.split('\0')
            .filter(|n| !n.is_empty() && *n != "security.selinux")
            .collect::<String>()
    };
    assert_eq!(own(attributes("f")), "user.kept");
    assert_eq!(own(attributes("d")), "");
    assert!(tree.warnings.borrow().is_empty());
}

#[test]
fn h31_user_attributes_on_symlinks_warn() {
    let tree = Tree::new();
    tree.apply(&tarball([
        symlink("s", "x").xattr("user.a", "1"),
        member(b'6', "fifo").xattr("user.a", "1"),
    ]));
    let warnings = tree.warnings.borrow();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(
        warnings[0],
        "extended attribute user.a of s may not be set; it is dropped"
    );
    assert!(tree.exists("s") && tree.exists("fifo"));
}

#[test]
fn root_h31_a_filesystem_without_attributes_warns_once() {
    let tree = Tree::new();
    // Of the filesystems that can be mounted everywhere, ramfs has no attributes.
    let mounted = rustix::mount::mount("ramfs", tree.root(), "ramfs", rustix::mount::MountFlags::empty(), None);
    mounted.expect("mounting needs privilege");
    let inner = Tree::on(&tree);
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        inner.apply(&tarball([
            file("a", "").xattr("user.a", "1"),
            dir("b").xattr("user.a", "1"),
            file("c", "").xattr("security.capability", CAPABILITY_V2),
        ]));
        inner.warnings.borrow().clone()
    }));
    rustix::mount::unmount(tree.root(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(
        answer.unwrap(),
        ["the filesystem has no extended attributes; those of the image are dropped"]
    );
}

#[test]
fn root_h32_third_revision_of_capabilities_reads_back_as_second() {
    // Revision 3 with rootid 0 means what revision 2 means; the kernel gives it back as that.
    let v3 = [&[1, 0, 0, 3][..], &CAPABILITY_V2[4..], &[0; 4]].concat();
    let tree = Tree::new();
    tree.apply(&tarball([file("f", "").xattr("security.capability", v3)]));
    assert_eq!(tree.xattr("f", "security.capability").unwrap(), CAPABILITY_V2);
}

#[test]
fn fingerprints_are_those_of_the_files() {
    let tree = Tree::new();
    let content = vec![7; 700_000];
    tree.apply(&tarball([
        file("f", &content).xattr("user.a", "1").xattr("trusted.b", "2"),
        hard_link("g", "f"),
        file("empty", ""),
    ]));
    let fingerprints = tree.fingerprints.borrow();
    let of = |path| fingerprints.get(tree.stat(path).ino()).unwrap();
    let attributes = [(b"user.a".to_vec(), b"1".to_vec())].into_iter().collect();
    assert_eq!(of("f"), Fingerprint::of(&content, &attributes));
    assert_eq!(of("g"), of("f"));
    assert_eq!(of("empty"), Fingerprint::of(b"", &Default::default()));
}
