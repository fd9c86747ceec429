//! Both resolvers against trees of symlinks, with a canary outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> RootfsPath {
    RootfsPath::parse_clamped(text.as_bytes()).unwrap()
}

/// A root beside a directory that must never be reached.
fn tree() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    fs::write(temp.path().join("outside/canary"), "untouched").unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("usr/bin/tool"), "inside").unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("/usr", root.join("absolute")).unwrap();
    symlink("../../../outside", root.join("escape")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/nowhere/deep", root.join("dangling")).unwrap();
    symlink("../../../../../usr", root.join("usr/bin/over-long")).unwrap();
    (temp, root)
}

fn both(root: &Path) -> [Rootfs; 2] {
    [
        Rootfs::open(root).unwrap(),
        Rootfs::open(root).unwrap().without_openat2(),
    ]
}

#[test]
fn symlinks_resolve_inside() {
    let (_temp, root) = tree();
    for rootfs in both(&root) {
        for (text, canonical) in [
            ("bin/tool", "/usr/bin/tool"),
            ("absolute/bin/tool", "/usr/bin/tool"),
            ("bin/over-long/bin/tool", "/usr/bin/tool"),
            ("bin/../bin", "/usr/bin"),
            ("", "/"),
        ] {
            assert_eq!(
                rootfs.canonicalize(&path(text)).unwrap().display_absolute(),
                canonical,
                "{text}"
            );
        }
        let mut content = String::new();
        rootfs
            .open_file(&path("absolute/bin/tool"))
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "inside");
        assert!(rootfs.open_dir(&path("escape")).unwrap_err().is_not_found());
        assert_eq!(
            rootfs.open_dir(&path("loop")).unwrap_err().source.raw_os_error(),
            Some(Errno::LOOP.raw_os_error())
        );
        assert!(rootfs.open_file(&path("usr")).is_err());
        assert_eq!(rootfs.read_small(&path("none"), 10).unwrap(), None);
        assert!(rootfs.read_small(&path("bin/tool"), 3).is_err());
    }
}

#[test]
fn missing_directories_are_made_inside() {
    let (temp, root) = tree();
    let rootfs = Rootfs::open(&root).unwrap();
    let own = fs::metadata(&root).unwrap();
    let attributes = NewDir {
        mode: 0o750,
        uid: own.uid(),
        gid: own.gid(),
        mtime: Some(Timestamp::from_seconds(7)),
    };
    let make = |text: &str, obstacle| rootfs.resolve_dir(&path(text), Missing::Create(&attributes), obstacle);
    assert_eq!(
        make("dangling/x", Obstacle::Fail).unwrap().path.display_absolute(),
        "/nowhere/deep/x"
    );
    assert_eq!(
        make("escape/x", Obstacle::Fail).unwrap().path.display_absolute(),
        "/outside/x"
    );
    let made = make("bin/a/b", Obstacle::Fail).unwrap();
    let created: Vec<_> = made.created.iter().map(RootfsPath::display_absolute).collect();
    assert_eq!(created, ["/usr/bin/a", "/usr/bin/a/b"]);
    let meta = fs::metadata(root.join("usr/bin/a/b")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o750, 7));
    assert!(make("bin/tool/x", Obstacle::Fail).is_err());
    assert!(make("bin/tool/x", Obstacle::Replace).is_ok());
    assert_eq!(fs::read_dir(temp.path().join("outside")).unwrap().count(), 1);
}

#[test]
fn remove_all_spares_what_links_point_to() {
    let (temp, root) = tree();
    fs::create_dir(root.join("victim")).unwrap();
    symlink(temp.path().join("outside"), root.join("victim/link")).unwrap();
    let rootfs = Rootfs::open(&root).unwrap();
    rootfs.root().remove_all(b"victim").unwrap();
    rootfs.root().remove_all(b"absent").unwrap();
    assert!(!root.join("victim").exists());
    assert_eq!(
        fs::read_to_string(temp.path().join("outside/canary")).unwrap(),
        "untouched"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The walk finds what `openat2` finds, on trees of random symlinks.
    #[test]
    fn both_resolvers_agree(
        links in prop::collection::vec(("[abc](/[abc]){0,2}", "(/|\\.\\./|\\./)?[abc](/([abc]|\\.\\.)){0,3}"), 0..8),
        query in "[abc](/[abc]){0,4}",
    ) {
        let temp = tempfile::tempdir().unwrap();
        for (at, target) in &links {
            let at = temp.path().join(at);
            // Some collide with one another, and a parent that is a symlink leads out; what could be made is the tree.
            let mut above = at.ancestors().skip(1).take_while(|above| *above != temp.path());
            let plain = above.all(|above| fs::symlink_metadata(above).map_or(true, |meta| meta.is_dir()));
            if plain && at.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
                let _ = symlink(target, at);
            }
        }
        let [kernel, walked] = both(temp.path());
        let inode = |rootfs: &Rootfs| rootfs.open_existing(&path(&query), OFlags::PATH)
            .map(|fd| rustix::fs::fstat(fd).unwrap().st_ino);
        prop_assert_eq!(inode(&kernel), inode(&walked), "{:?} of {:?}", query, links);
    }
}

#[test]
fn attributes_that_were_set_are_read_back() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("f"), "").unwrap();
    let rootfs = Rootfs::open(temp.path()).unwrap();
    assert!(rootfs.root().xattrs(Some(b"f")).unwrap().is_empty());
    for attribute in [&b"user.one"[..], b"user.two"] {
        rootfs.root().set_xattr(Some(b"f"), attribute, b"value").unwrap();
    }
    let names: Vec<_> = rootfs.root().xattrs(Some(b"f")).unwrap().into_keys().collect();
    assert_eq!(names, [b"user.one", b"user.two"]);
}
