//! Archives as `ADD` extracts them.

use std::os::unix::fs::MetadataExt;

use rbuild::layer::{Extracted, Owner};
use rbuild::rootfs::RootfsPath;

use crate::streams::{bzip2_of, gzip, xz_of, zstd};
use crate::tarball::{dir, file, hard_link, member, symlink, tarball, whiteout};
use crate::tree::{Tree, render};

#[track_caller]
fn extract(tree: &Tree, archive: &[u8], target: &str, owner: Owner) -> Extracted {
    tree.try_extract(archive, target, owner)
        .unwrap_or_else(|error| panic!("{}", render(&error)))
}

fn created(extracted: &Extracted) -> Vec<String> {
    extracted.created.iter().map(RootfsPath::display_absolute).collect()
}

#[test]
fn whiteout_names_are_files() {
    let tree = Tree::new();
    let extracted = extract(
        &tree,
        &tarball([
            file(".wh.a", "text"),
            whiteout(".wh..wh..opq"),
            whiteout(".wh."),
            dir("d"),
        ]),
        "",
        Owner::Archive,
    );
    assert_eq!(tree.names(), ".wh. .wh..wh..opq .wh.a d");
    assert_eq!(created(&extracted), ["/.wh.", "/.wh..wh..opq", "/.wh.a", "/d"]);
    assert_eq!(extracted.entries, 4);
}

#[test]
fn every_compression_is_extracted() {
    let tar = tarball([file("f", "content")]);
    for (what, archive) in [
        ("none", tar.clone()),
        ("gzip", gzip(&tar)),
        ("zstd", zstd(&tar)),
        ("bzip2", bzip2_of(&tar)),
        ("xz", xz_of(&tar)),
    ] {
        let tree = Tree::new();
        extract(&tree, &archive, "", Owner::Archive);
        assert_eq!(tree.read("f"), "content", "{what}");
    }
}

#[test]
fn root_the_target_is_made_and_its_attributes_are_its_own() {
    let tree = Tree::new();
    let archive = tarball([
        dir("./").mode(0o700).mtime(1),
        file("./f", "").owner(7, 8),
        dir("empty").owner(7, 8),
    ]);
    let fixed = Owner::Fixed { uid: 1000, gid: 1001 };
    let extracted = extract(&tree, &archive, "opt/app", fixed);
    assert_eq!(
        created(&extracted),
        ["/opt", "/opt/app", "/opt/app/empty", "/opt/app/f"]
    );
    let owner = |path| (tree.stat(path).uid(), tree.stat(path).gid());
    assert_eq!(owner("opt"), (0, 0));
    assert_eq!((tree.mode("opt/app"), owner("opt/app")), (0o755, (1000, 1001)));
    assert_eq!(
        (owner("opt/app/f"), owner("opt/app/empty")),
        ((1000, 1001), (1000, 1001))
    );
    let existing = Tree::new();
    existing.apply(&tarball([dir("opt").mode(0o711).mtime(5)]));
    extract(&existing, &archive, "opt", Owner::Archive);
    let stat = existing.stat("opt");
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.mtime()), (0o711, 0, 5));
    assert_eq!((existing.stat("opt/f").uid(), existing.stat("opt/f").gid()), (7, 8));
}

#[test]
fn root_missing_parents_belong_to_root() {
    let tree = Tree::new();
    let extracted = extract(
        &tree,
        &tarball([file("a/b/c", "")]),
        "",
        Owner::Fixed { uid: 9, gid: 9 },
    );
    assert_eq!(created(&extracted), ["/a", "/a/b", "/a/b/c"]);
    assert_eq!(
        (tree.stat("a/b").uid(), tree.mode("a/b"), tree.stat("a/b/c").uid()),
        (0, 0o755, 9)
    );
}

#[test]
fn conflicts_replace_and_directories_merge() {
    let tree = Tree::new();
    tree.apply(&tarball([
        dir("t"),
        dir("t/tree"),
        file("t/tree/x", ""),
        file("t/file", ""),
        symlink("t/link", "/kept"),
        dir("kept"),
        file("kept/x", ""),
        dir("t/both").mode(0o700),
        file("t/both/old", ""),
        symlink("t/way", "/kept"),
    ]));
    extract(
        &tree,
        &tarball([
            file("tree", "now a file"),
            dir("file"),
            dir("link"),
            dir("both").mode(0o750),
            file("both/new", ""),
            file("way/through", ""),
            hard_link("hard", "tree"),
        ]),
        "t",
        Owner::Archive,
    );
    assert_eq!(
        tree.names(),
        "kept kept/through kept/x t t/both t/both/new t/both/old t/file t/hard t/link t/tree t/way"
    );
    assert_eq!((tree.mode("t/both"), tree.read("t/hard")), (0o750, "now a file".into()));
    assert!(tree.stat("t/link").is_dir());
}

#[test]
fn members_above_the_target_are_refused() {
    let tree = Tree::new();
    tree.apply(&tarball([dir("t"), file("secret", "lower")]));
    for entry in [
        file("../secret", "evil"),
        hard_link("h", "../secret"),
        file("a/../../secret", "evil"),
    ] {
        let error = tree.try_extract(&tarball([entry]), "t", Owner::Archive).unwrap_err();
        assert!(render(&error).contains("climbs above the root"), "{}", render(&error));
    }
    assert_eq!(tree.read("secret"), "lower");
    // A target that is a file is not replaced; `ADD` says where it wants a directory.
    let error = tree
        .try_extract(&tarball([file("x", "")]), "secret", Owner::Archive)
        .unwrap_err();
    assert!(
        render(&error).starts_with("open directory /secret: Not a directory"),
        "{}",
        render(&error)
    );
}

#[test]
fn global_headers_and_unknown_types() {
    let tree = Tree::new();
    let archive = crate::tarball::Tarball::default()
        .extended(b'g', b"52 comment=0123456789012345678901234567890123456789\n")
        .add(file("f", ""))
        .end();
    extract(&tree, &archive, "", Owner::Archive);
    assert_eq!(tree.names(), "f");
    let error = tree
        .try_extract(&tarball([member(b'V', "label")]), "", Owner::Archive)
        .unwrap_err();
    assert_eq!(render(&error), "archive entry label has the unknown type 0x56");
}
