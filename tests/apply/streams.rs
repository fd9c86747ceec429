//! Compression, framing, the end of streams, sparse files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use rbuild::layer::decompress::Format;
use rbuild::layer::{LayerKind, Limits};
use rbuild::oci::{DiffId, Digest};
use rbuild::snapshot::Fingerprint;

use crate::tarball::{Tarball, checksum, dir, file, hard_link, member, symlink, tarball};
use crate::tree::{Dribble, Tree, render};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&[0x5a, 0x2a, 0x4d, 0x18][..], &length, bytes].concat()
}

fn sample() -> Vec<u8> {
    let noise: Vec<u8> = (0..300_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    tarball([dir("d"), file("d/a", "a"), file("d/noise", noise), symlink("s", "d")])
}

#[test]
fn h12_sparse_files_of_every_format() {
    // Pieces at 1 MiB and 3 MiB of a file of 4 MiB; holes before, between and behind.
    let (first, second) = ([b'1'; 512], [b'2'; 700]);
    let (at_first, at_second, size) = (1u64 << 20, 3u64 << 20, 4u64 << 20);
    let stored = [&first[..], &second[..]].concat();
    let mut expected = vec![0; 4 << 20];
    expected[1 << 20..][..512].copy_from_slice(&first);
    expected[3 << 20..][..700].copy_from_slice(&second);

    let mut old = member(b'S', "sparse").magic(b"ustar  \0").size(1212).header();
    let put = |block: &mut [u8; 512], at: usize, value: u64| {
        block[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    };
    put(&mut old, 386, at_first);
    put(&mut old, 398, 512);
    old[482] = 1;
    put(&mut old, 483, size);
    checksum(&mut old);
    let mut extension = [0; 512];
    put(&mut extension, 0, at_second);
    put(&mut extension, 12, 700);
    let old_gnu = Tarball::default().raw(&old).raw(&extension).content(&stored);

    let sizes = |entry: crate::tarball::Member| entry.pax("GNU.sparse.size", size.to_string());
    let v00 = sizes(file("sparse", &stored))
        .pax("GNU.sparse.numblocks", "2")
        .pax("GNU.sparse.offset", at_first.to_string())
        .pax("GNU.sparse.numbytes", "512")
        .pax("GNU.sparse.offset", at_second.to_string())
        .pax("GNU.sparse.numbytes", "700");
    let v01 = sizes(file("GNUSparseFile.0/sparse", &stored))
        .pax("GNU.sparse.name", "sparse")
        .pax("GNU.sparse.map", format!("{at_first},512,{at_second},700"));
    let map = format!("2\n{at_first}\n512\n{at_second}\n700\n");
    let with_map = [map.as_bytes(), &vec![0; 512 - map.len()], &stored].concat();
    let v10 = file("GNUSparseFile.0/sparse", with_map)
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "sparse")
        .pax("GNU.sparse.realsize", size.to_string());

    for (format, archive) in [
        ("old GNU", old_gnu),
        ("0.0", Tarball::default().add(v00)),
        ("0.1", Tarball::default().add(v01)),
        ("1.0", Tarball::default().add(v10)),
    ] {
        let tree = Tree::new();
        tree.apply(&archive.add(file("after", "after")).end());
        assert_eq!(tree.names(), "after sparse", "{format}");
        assert!(fs::read(tree.path("sparse")).unwrap() == expected, "{format}");
        let stat = tree.stat("sparse");
        assert!(stat.blocks() * 512 < 64 << 10, "{format} has {} blocks", stat.blocks());
        let fingerprint = tree.fingerprints.borrow().get(stat.ino()).unwrap();
        assert_eq!(fingerprint, Fingerprint::of(&expected, &Default::default()), "{format}");
    }
}

#[test]
fn h12_wrong_sparse_maps_fail() {
    for (map, size, expected) in [
        ("10,5,0,5", "100", "pieces overlap"),
        ("0,5,95,6", "100", "pieces overlap"),
        ("0,5,10,4", "100", "pieces have 9 bytes, the archive has 10"),
        ("0,5,10", "100", "the map is not a list of decimal numbers"),
        ("18446744073709551615,10", "100", "pieces overlap"),
    ] {
        let entry = file("s", [1; 10])
            .pax("GNU.sparse.map", map)
            .pax("GNU.sparse.size", size);
        let text = Tree::new().refuse(&tarball([entry]));
        assert!(text.contains(expected), "{map}: {text}");
    }
    for content in ["x\n", "1\n0\n", "99999999\n", "1\n0\n99999999999999999999999\n"] {
        let padded = [content.as_bytes(), &vec![0; 512 - content.len()]].concat();
        let entry = file("s", padded)
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.minor", "0");
        let text = Tree::new().refuse(&tarball([entry]));
        assert!(
            text.starts_with("sparse map of archive entry s is wrong"),
            "{content:?}: {text}"
        );
    }
}

#[test]
fn h14_truncation_is_found_everywhere() {
    let members = [
        file("a", [1; 1500]),
        dir("d"),
        file("d/x", "x").xattr("user.a", "1"),
        hard_link("h", "a"),
        file("empty", ""),
    ];
    let mut archive = Tarball::default();
    let mut complete = vec![0];
    for member in members {
        archive = archive.add(member);
        complete.push(archive.bytes().len());
    }
    for cut in (0..=archive.bytes().len()).step_by(512) {
        let tree = Tree::new();
        let answer = tree.try_apply(&archive.bytes()[..cut], LayerKind::Plain);
        assert_eq!(answer.is_ok(), complete.contains(&cut), "cut at {cut}: {answer:?}");
        if let Err(error) = answer {
            assert!(
                render(&error).starts_with("archive ends too early, at byte"),
                "{}",
                render(&error)
            );
        }
        // One byte more is always half a block.
        if cut < archive.bytes().len() {
            assert!(
                Tree::new()
                    .try_apply(&archive.bytes()[..=cut], LayerKind::Plain)
                    .is_err(),
                "cut at {cut} + 1"
            );
        }
    }
}

#[test]
fn h14_truncated_compression_is_found() {
    let tar = sample();
    for (name, blob) in [("gzip", gzip(&tar)), ("zstd", zstd(&tar))] {
        for cut in [6, 11, blob.len() / 2, blob.len() - 5, blob.len() - 1] {
            let text = Tree::new().refuse(&blob[..cut]);
            assert_eq!(text, format!("{name} data ends too early"), "cut at {cut}");
        }
        let mut damaged = blob.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        let text = Tree::new().refuse(&damaged);
        // Damage may show in the tar first; then in the checksum, if nowhere else.
        assert!(text.contains("cannot be decompressed"), "{name}: {text}");
    }
}

#[test]
fn h15_what_follows_the_end_is_read_and_hashed() {
    let mut tar = tarball([file("f", "f")]);
    tar.extend_from_slice(&[0; 10 << 10]);
    tar.extend_from_slice(&tarball([file("behind-the-end", "")]));
    tar.extend_from_slice(b"junk that fills no block");
    for (what, mut blob) in [("plain", tar.clone()), ("gzip", gzip(&tar)), ("zstd", zstd(&tar))] {
        if what != "plain" {
            blob.extend_from_slice(&[0; 300_000]);
            blob.extend_from_slice(b"trailing");
        }
        let tree = Tree::new();
        let mut reader = &blob[..];
        let applied = tree.try_apply(reader.by_ref(), LayerKind::Plain).unwrap();
        assert!(reader.is_empty(), "{what}: the blob was not read to its end");
        assert_eq!(applied.diff_id, DiffId::new(Digest::of(&tar)), "{what}");
        assert_eq!(
            (applied.bytes, applied.compressed_bytes),
            (tar.len() as u64, blob.len() as u64),
            "{what}"
        );
        assert_eq!((tree.names().as_str(), applied.entries), ("f", 1), "{what}");
    }
    // One zero block is an end too.
    let one = [Tarball::default().add(file("f", "")).bytes(), &[0; 512]].concat();
    assert_eq!(Tree::new().apply(&one).entries, 1);
}

#[test]
fn h16_members_frames_and_plain_tars() {
    let tar = sample();
    let alone = Tree::new();
    let diff_id = alone.apply(&tar).diff_id;
    let pieces = || tar.chunks(70_000);
    let named = {
        let mut encoder = flate2::GzBuilder::new()
            .filename("layer.tar")
            .comment("c")
            .extra(vec![7; 40_000])
            .write(Vec::new(), flate2::Compression::best());
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    let zstd_frames = [
        &skippable(b"first")[..],
        &pieces().map(zstd).collect::<Vec<_>>().concat(),
        &skippable(&[1; 999]),
    ];
    for (what, blob, format) in [
        ("plain", tar.clone(), Format::Plain),
        ("gzip", gzip(&tar), Format::Gzip),
        ("gzip with name", named, Format::Gzip),
        (
            "gzip members",
            pieces().map(gzip).collect::<Vec<_>>().concat(),
            Format::Gzip,
        ),
        (
            "gzip with an empty member",
            [gzip(b""), gzip(&tar), gzip(b"")].concat(),
            Format::Gzip,
        ),
        ("zstd", zstd(&tar), Format::Zstd),
        ("zstd frames", zstd_frames.concat(), Format::Zstd),
        ("bzip2", bzip2_of(&tar), Format::Bzip2),
        ("xz", xz_of(&tar), Format::Xz),
    ] {
        for pieces in [usize::MAX, 1] {
            let tree = Tree::new();
            let reader: Box<dyn Read + Send> = match pieces {
                1 => Box::new(Dribble(&blob, 0)),
                _ => Box::new(&blob[..]),
            };
            let applied = tree
                .try_apply(reader, LayerKind::Plain)
                .unwrap_or_else(|e| panic!("{what}: {}", render(&e)));
            assert_eq!((applied.format, applied.diff_id), (format, diff_id), "{what}");
            assert_eq!(tree.describe(), alone.describe(), "{what}");
        }
    }
}

pub(crate) fn bzip2_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An xz stream with one LZMA2 chunk that is not compressed; the decoder crate has no encoder here.
pub(crate) fn xz_of(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("xz")
        .args(["-c", "-0"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the tests need xz");
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

#[test]
fn h17_empty_blobs_and_repeated_layers() {
    // The empty layer that old versions of Docker put into every image.
    const CANONICAL: [u8; 32] = [
        31, 139, 8, 0, 0, 9, 110, 136, 0, 255, 98, 24, 5, 163, 96, 20, 140, 88, 0, 8, 0, 0, 255, 255, 46, 175, 181,
        239, 0, 4, 0, 0,
    ];
    assert_eq!(
        Digest::of(&CANONICAL).to_string(),
        "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
    );
    let tree = Tree::new();
    tree.apply(&tarball([file("f", "f")]));
    let before = tree.describe();
    for blob in [&CANONICAL[..], b"", &gzip(b""), &[0; 512], &[0; 1024]] {
        assert_eq!(tree.apply(blob).entries, 0);
        assert_eq!(tree.describe(), before);
    }
    let layer = tarball([file("g", "1")]);
    tree.apply(&layer);
    fs::write(tree.path("g"), "changed between").unwrap();
    tree.apply(&layer);
    assert_eq!(tree.read("g"), "1");
}

#[test]
fn h18_lazy_pulling_formats_unpack_like_their_plain_twins() {
    let plain = Tree::new();
    plain.apply(&tarball([
        dir("d"),
        file("d/a", "a"),
        file("stargz.index.json.txt", ""),
    ]));
    let toc = [
        file(".no.prefetch.landmark", "\x0f"),
        file(".prefetch.landmark", "\x0f"),
        dir("d"),
        file("d/a", "a"),
        file("stargz.index.json.txt", ""),
        file("stargz.index.json", "{}"),
    ];
    let footer = [
        &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0][..],
        b"0000000000000400STARGZ",
    ];
    let footer = [&footer.concat()[..], &[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let members: Vec<u8> = tarball(toc.clone()).chunks(512).flat_map(gzip).chain(footer).collect();
    let tree = Tree::new();
    tree.try_apply(&members[..], LayerKind::Estargz).unwrap();
    assert_eq!(tree.describe(), plain.describe());
    // Without the annotation they are files like any other.
    let other = Tree::new();
    other.apply(&members);
    assert!(other.exists("stargz.index.json"));

    let frames = tarball(toc[2..5].to_vec())
        .chunks(512)
        .flat_map(zstd)
        .chain(skippable(b"manifest"))
        .collect::<Vec<_>>();
    let tree = Tree::new();
    tree.apply(&frames);
    assert_eq!(tree.describe(), plain.describe());
}

#[test]
fn h49_bombs_stop_at_limits() {
    let gzip_bomb = || {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder
            .write_all(&member(b'0', "zeros").size(150 << 20).header())
            .unwrap();
        std::io::copy(&mut std::io::repeat(0).take(150 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let zstd_window = {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(&vec![1; 1 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let small = Limits {
        bytes: 10 << 10,
        entries: 5,
        ..Limits::default()
    };
    for (what, limits, blob, expected) in [
        (
            "gzip bomb",
            Limits::default(),
            gzip_bomb(),
            "become more than 1000 times as many",
        ),
        (
            "large",
            small,
            gzip(&vec![0; 11 << 10]),
            "more than 10240 bytes after decompression",
        ),
        (
            "zstd window",
            Limits::default(),
            zstd_window,
            "requires too much memory",
        ),
        (
            "entries",
            small,
            gzip(&tarball((0..6).map(|i| file(format!("{i}"), "")))),
            "more than 5 entries",
        ),
    ] {
        let mut tree = Tree::new();
        tree.limits = limits;
        let text = tree.refuse(&blob);
        assert!(text.contains(expected), "{what}: {text}");
    }
}

#[test]
fn h49_a_sparse_bomb_takes_no_space() {
    let tree = Tree::new();
    let size = 2u64 << 40;
    let entry = file("lastlog", "x")
        .pax("GNU.sparse.map", format!("{},1", size - 1))
        .pax("GNU.sparse.size", size.to_string());
    tree.apply(&tarball([entry]));
    let stat = tree.stat("lastlog");
    assert_eq!(stat.size(), size);
    assert!(stat.blocks() * 512 < 64 << 10);
    // Hashing two TiB of nothing is not worth it; the snapshot takes it for changed if in doubt.
    assert_eq!(tree.fingerprints.borrow().get(stat.ino()), None);
    let entry = file("x", "")
        .pax("GNU.sparse.map", "0,0")
        .pax("GNU.sparse.size", "18446744073709551615");
    assert_eq!(
        Tree::new().refuse(&tarball([entry])),
        "archive entry x has an invalid size"
    );
}

#[test]
fn h49_deep_directories_need_no_deep_stack() {
    let tree = Tree::new();
    let path = b"d/".repeat(2047);
    let layer = (2..path.len())
        .step_by(2)
        .fold(Tarball::default(), |tar, at| {
            tar.long(b'L', &path[..at]).add(dir("short"))
        })
        .end();
    assert_eq!(tree.apply(&gzip(&layer)).entries, 2046);
    let mut depth = 0;
    let mut directory = tree.root();
    // Paths of the whole depth are longer than the kernel takes.
    while let Some(Ok(next)) = fs::read_dir(&directory).ok().and_then(|mut entries| entries.next()) {
        depth += 1;
        directory = next.path();
        if depth == 1000 {
            break;
        }
    }
    assert_eq!(depth, 1000);
    assert!(
        std::process::Command::new("rm")
            .arg("-rf")
            .arg(tree.path("d"))
            .status()
            .unwrap()
            .success()
    );
}
