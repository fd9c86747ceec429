//! Hostile archives, races, and arbitrary bytes.

use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use rbuild::layer::read::TarReader;
use rbuild::layer::{LayerKind, Owner, detect_archive};
use rustix::fs::{CWD, RenameFlags};

use crate::corpus::hostile;
use crate::streams::{bzip2_of, gzip, xz_of, zstd};
use crate::tarball::{Tarball, dir, file, hard_link, symlink, tarball, whiteout};
use crate::tree::{Tree, render};

/// What each archive does to a layer's tree: an error, or the names it leaves inside.
#[test]
fn root_h46_hostile_archives_never_reach_outside() {
    for (name, members) in hostile() {
        let archive = tarball(members);
        for tree in [Tree::new(), Tree::walked()] {
            // `Tree` compares everything outside after each call.
            let layered = tree.try_apply(&archive[..], LayerKind::Plain);
            let must_fail = [
                "traversal",
                "root-as",
                "whiteout-dot",
                "hardlink-outside",
                "loop",
                "plnk-traversal",
            ];
            if must_fail.iter().any(|part| name.contains(part)) {
                assert!(layered.is_err(), "{name} was applied");
            }
            if name == "symlink-to-root-then-child" {
                assert_eq!(tree.read("etc/x"), "evil");
            }
            let tree = Tree::new();
            let _ = tree.try_extract(&archive, "some/where", Owner::Archive);
            assert!(
                tree.names()
                    .split(' ')
                    .all(|path| path.is_empty() || path.starts_with("some")
                // Symlinks are followed as if the rootfs were `/`.
                || !path.contains("some")),
                "{name}"
            );
        }
    }
}

#[test]
fn the_corpus_is_listed() {
    let list = include_str!("../../testdata/hostile/README.md");
    let listed: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split('`').next())
        .collect();
    let made: Vec<_> = hostile().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, made);
}

/// CVE-2018-15664 and CVE-2025-47290: a parent that is a symlink at one moment and a directory at the next.
#[test]
fn h48_swapped_parents_never_lead_outside() {
    let tree = Tree::new();
    fs::create_dir(tree.path("d")).unwrap();
    std::os::unix::fs::symlink(tree.outside(), tree.path("link")).unwrap();
    let names: Vec<_> = (0..40)
        .flat_map(|i| {
            [
                file(format!("d/{i}"), "evil"),
                hard_link(format!("d/h{i}"), format!("d/{i}")),
            ]
        })
        .collect();
    let layers = [
        tarball(names),
        tarball([
            file("d/canary", "evil"),
            whiteout("d/.wh.canary"),
            dir("d/directory").mode(0o700),
        ]),
        tarball([whiteout("d/.wh..wh..opq")]),
    ];
    let stop = AtomicBool::new(false);
    let (one, other) = (tree.path("d"), tree.path("link"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Fails while the layer has removed one of them.
                let _ = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        for round in 0..60 {
            // An error is fine, a change outside is what `Tree` looks for.
            let _ = tree.try_apply(&layers[round % 3][..], LayerKind::Plain);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn h52_files_beside_the_rootfs_are_out_of_reach() {
    let tree = Tree::new();
    let beside = tree.outside().join("canary").to_str().unwrap().to_owned();
    for members in [
        vec![symlink("tool", &beside), file("tool", "evil")],
        vec![
            symlink("tool", &beside),
            hard_link("copy", "tool"),
            file("copy", "evil"),
        ],
        vec![
            symlink("way", tree.outside().to_str().unwrap()),
            file("way/canary", "evil"),
            whiteout("way/.wh.canary"),
        ],
    ] {
        let _ = tree.try_apply(&tarball(members)[..], LayerKind::Plain);
    }
    assert_eq!(fs::read_to_string(beside).unwrap(), "untouched");
}

#[test]
fn archives_are_told_by_their_bytes() {
    let tar = tarball([file("f", "f")]);
    let pax = tarball([file("f", "f").pax("path", "g")]);
    for (what, bytes, expected) in [
        ("tar", tar.clone(), true),
        ("pax", pax, true),
        ("gzip", gzip(&tar), true),
        ("zstd", zstd(&tar), true),
        ("bzip2", bzip2_of(&tar), true),
        ("xz", xz_of(&tar), true),
        ("empty", vec![], false),
        ("zeros", vec![0; 1024], false),
        ("text", b"hello".repeat(200), false),
        ("compressed text", gzip(&b"hello".repeat(200)), false),
        ("compressed short text", gzip(b"hello"), false),
        ("damaged", gzip(&tar)[..20].to_vec(), false),
        ("half a header", tar[..300].to_vec(), false),
    ] {
        let mut file = std::io::Cursor::new(bytes.clone());
        assert_eq!(detect_archive(&mut file).unwrap(), expected, "{what}");
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        assert!(rest == bytes, "{what}: the position moved");
    }
}

fn read_all(bytes: &[u8]) {
    let mut tar = TarReader::new(bytes);
    while let Ok(Some(_)) = tar.next_entry() {
        while let Ok(Some(_)) = tar.next_piece() {}
    }
}

fn valid() -> Vec<u8> {
    Tarball::default()
        .long(b'L', &[b'p'; 200])
        .add(file("a", [9; 700]).xattr("user.a", "b\nc"))
        .add(
            file("s", "1234")
                .pax("GNU.sparse.map", "0,2,9,2")
                .pax("GNU.sparse.size", "20"),
        )
        .add(symlink("l", "a"))
        .add(dir("d"))
        .add(hard_link("d/h", "a"))
        .add(whiteout("d/.wh.x"))
        .end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn h54_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        read_all(&bytes);
        let _ = detect_archive(&mut std::io::Cursor::new(&bytes));
    }

    /// Headers with a right checksum and arbitrary fields.
    #[test]
    fn h54_arbitrary_headers_never_panic(
        fields in prop::collection::vec((0usize..512, any::<u8>()), 0..40),
        body in prop::collection::vec(any::<u8>(), 0..2000),
        kind in prop::sample::select(b"0xgLKS1257\0".to_vec()),
    ) {
        let mut block = file("x", &body).header();
        block[156] = kind;
        for (at, byte) in fields {
            block[at] = byte;
        }
        crate::tarball::checksum(&mut block);
        read_all(&Tarball::default().raw(&block).content(&body).add(file("y", "")).end());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn h54_mutated_layers_never_panic_or_escape(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), compression in 0..4,
    ) {
        let mut bytes = valid();
        for (at, byte) in changes {
            // Sums are repaired, or hardly a change would get past them.
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let block: &mut [u8] = &mut bytes[at / 512 * 512..][..512];
            if block[257..262] == *b"ustar" {
                crate::tarball::checksum(block.try_into().unwrap());
            }
        }
        let mut blob = match compression {
            0 => bytes,
            1 => gzip(&bytes),
            2 => zstd(&bytes),
            _ => { let mut blob = gzip(&bytes); let at = cut.index(blob.len()); blob[at] ^= 0x55; blob }
        };
        if compression == 0 {
            blob.truncate(cut.index(blob.len() * 2).min(blob.len()));
        }
        let tree = Tree::new();
        if let Err(error) = tree.try_apply(&blob[..], LayerKind::Plain) {
            prop_assert!(!render(&error).is_empty());
        }
    }
}
