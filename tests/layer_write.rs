//! Layers as they are written, read back by everybody else's tools.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use rbuild::cancel::Cancel;
use rbuild::layer::compress::{CompressError, Compressed, compress};
use rbuild::layer::{Encoding, LayerOptions, WriteError, WriteWarning, WrittenLayer, write};
use rbuild::oci::{Compression, DiffId, Digest};
use rbuild::rootfs::{Rootfs, RootfsPath};
use rbuild::snapshot::{ChangeSet, Fingerprint};
use tree::{Member, Scratch, members};

fn path(text: &str) -> RootfsPath {
    RootfsPath::parse(text.as_bytes()).unwrap()
}

/// `+path` and `-path` as a change set.
fn changes(texts: &[&str]) -> ChangeSet {
    let mut builder = ChangeSet::builder();
    for text in texts {
        match text.split_at(1) {
            ("+", text) => builder.upsert(path(text)),
            (_, text) => builder.delete(path(text)),
        };
    }
    builder.build()
}

/// Everything below the root.
fn all(scratch: &Scratch) -> ChangeSet {
    let mut builder = ChangeSet::builder();
    for path in tree::capture(&scratch.root()).keys() {
        builder.upsert(RootfsPath::parse(path).unwrap());
    }
    builder.build()
}

fn plain() -> LayerOptions {
    with_encoding(Compression::None, None)
}

fn with_encoding(compression: Compression, level: Option<i32>) -> LayerOptions {
    LayerOptions {
        encoding: Encoding::new(compression, level).unwrap(),
        ..LayerOptions::default()
    }
}

type Written = Result<(WrittenLayer, Vec<u8>, Vec<WriteWarning>), WriteError>;

fn try_write(scratch: &Scratch, changes: &ChangeSet, options: &LayerOptions) -> Written {
    let rootfs = Rootfs::open(&scratch.root()).unwrap();
    let (mut layer, mut warnings) = (Vec::new(), Vec::new());
    let warn = &mut |warning| warnings.push(warning);
    let written = write(changes, &rootfs, options, &mut layer, &Cancel::default(), warn, |_| ())?;
    Ok((written, layer, warnings))
}

fn layer(scratch: &Scratch, changes: &ChangeSet) -> Vec<u8> {
    try_write(scratch, changes, &plain()).unwrap().1
}

fn names(layer: &[u8]) -> Vec<String> {
    let text = |member: Member| member.path.escape_ascii().to_string();
    members(layer).into_iter().map(text).collect()
}

fn names_after(scratch: &Scratch, texts: &[&str]) -> Vec<String> {
    names(&layer(scratch, &changes(texts)))
}

/// A tree with something of everything that every user can make.
fn varied(order: impl Fn(Vec<usize>) -> Vec<usize>) -> Scratch {
    let scratch = Scratch::new();
    scratch.mkdir("d");
    for number in order((0..50).collect()) {
        scratch.write(&format!("d/file-{number}"), format!("content {number}").repeat(number));
        scratch.set_mtime(&format!("d/file-{number}"), 1_000_000 + number as i64);
    }
    scratch.write("d/sub/first", "linked");
    scratch.link("d/sub/first", "d/zzz");
    scratch.symlink("../../outside/../x", "d/link");
    scratch.write(&format!("{}/{}", "long".repeat(30), "name".repeat(40)), "deep");
    scratch.write("\u{fc}mlaut", "1");
    let status = Command::new("mkfifo").arg(scratch.path("fifo")).status().unwrap();
    assert!(status.success());
    for path in ["d/sub/first", "d/sub", "d", "fifo", "\u{fc}mlaut", &"long".repeat(30)] {
        scratch.set_mtime(path, 2_000_000);
    }
    scratch.set_mtime(&format!("{}/{}", "long".repeat(30), "name".repeat(40)), 5);
    tree::set_mtime(&scratch.path("d/link"), 7, 0);
    scratch
}

#[test]
fn h33_same_tree_same_bytes() {
    let forwards = varied(|order| order);
    let backwards = varied(|order| order.into_iter().rev().collect());
    let one = layer(&forwards, &all(&forwards));
    assert_eq!(one, layer(&forwards, &all(&forwards)));
    assert_eq!(one, layer(&backwards, &all(&backwards)));
}

#[test]
fn h33_bytes_do_not_depend_on_the_number_of_threads() {
    for (compression, level) in [
        (Compression::Gzip, None),
        (Compression::Gzip, Some(6)),
        (Compression::Zstd, None),
        (Compression::None, None),
    ] {
        let digest = |threads| {
            pack(compression, level, NonZeroUsize::new(threads), &half_random(9 << 20))
                .0
                .digest
        };
        let one = digest(1);
        for threads in [2, 3, 7, 100] {
            assert_eq!(digest(threads), one, "{compression:?} with {threads} threads");
        }
    }
}

/// Half of it compresses well. The same every time.
fn half_random(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        for _ in 0..512 {
            bytes.extend_from_slice(&next().to_le_bytes());
        }
        let word = next() % 100;
        for line in 0..128 {
            bytes.extend_from_slice(format!("{word:4} some text {line:6} that repeats\n").as_bytes());
        }
    }
    bytes.truncate(size);
    bytes
}

fn pack(
    compression: Compression,
    level: Option<i32>,
    threads: Option<NonZeroUsize>,
    bytes: &[u8],
) -> (Compressed, Vec<u8>) {
    let mut packed = Vec::new();
    let encoding = Encoding::new(compression, level).unwrap();
    let produce = |input: &mut rbuild::layer::compress::Input| {
        // Odd pieces, so that blocks and writes do not coincide.
        bytes
            .chunks(99_991)
            .try_for_each(|piece| input.write_all(piece))
            .map_err(CompressError::Encode)
    };
    let ((), compressed) = compress(encoding, threads, &Cancel::default(), &mut packed, produce).unwrap();
    (compressed, packed)
}

#[test]
fn h45_digests_are_those_of_the_bytes() {
    for (compression, level) in [
        (Compression::None, None),
        (Compression::Gzip, None),
        (Compression::Gzip, Some(2)),
        (Compression::Gzip, Some(9)),
        (Compression::Zstd, None),
        (Compression::Zstd, Some(19)),
    ] {
        for size in [0, 1, 31, 32, 33, 40, 1000, (1 << 20) - 1, 1 << 20, (4 << 20) + 1] {
            let bytes = half_random(size);
            let (compressed, packed) = pack(compression, level, None, &bytes);
            let what = format!("{compression:?} {level:?} {size}");
            assert_eq!(unpack(compression, &packed), bytes, "{what}");
            assert_eq!(compressed.digest, Digest::of(&packed), "{what}");
            assert_eq!(compressed.diff_id, DiffId::new(Digest::of(&bytes)), "{what}");
            let sizes = (compressed.size, compressed.uncompressed_size);
            assert_eq!(sizes, (packed.len() as u64, size as u64), "{what}");
        }
    }
}

fn unpack(compression: Compression, packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match compression {
        Compression::None => bytes.extend_from_slice(packed),
        Compression::Gzip => {
            flate2::read::MultiGzDecoder::new(packed)
                .read_to_end(&mut bytes)
                .unwrap();
        }
        Compression::Zstd => zstd::stream::copy_decode(packed, &mut bytes).unwrap(),
    }
    bytes
}

#[test]
fn gzip_names_neither_time_nor_system() {
    for level in [1, 6] {
        let (_, packed) = pack(Compression::Gzip, Some(level), None, b"content");
        assert_eq!(packed[..4], [0x1f, 0x8b, 8, 0], "magic, deflate, no flags");
        assert_eq!(packed[4..8], [0; 4], "no time");
        assert_eq!(packed[9], 255, "unknown system");
    }
}

#[test]
fn everybody_reads_many_members() {
    let scratch = Scratch::new();
    let bytes = half_random(3 << 20);
    let readers: [(Compression, &[&str]); 5] = [
        (Compression::Gzip, &["gzip", "-dc"]),
        (Compression::Gzip, &["busybox", "gunzip", "-c"]),
        (
            Compression::Gzip,
            &[
                "python3",
                "-c",
                "import gzip,sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())",
            ],
        ),
        (Compression::Gzip, &["bsdcat"]),
        (Compression::Zstd, &["zstd", "-dc"]),
    ];
    for (compression, command) in readers {
        let name = if compression == Compression::Gzip {
            "packed.gz"
        } else {
            "packed.zst"
        };
        let file = scratch.beside().join(name);
        fs::write(&file, pack(compression, None, None, &bytes).1).unwrap();
        let output = Command::new(command[0])
            .args(&command[1..])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout == bytes, "{command:?}");
    }
}

#[test]
fn levels_are_checked() {
    for (compression, level, valid) in [
        (Compression::Gzip, 0, false),
        (Compression::Gzip, 1, true),
        (Compression::Gzip, 9, true),
        (Compression::Gzip, 10, false),
        (Compression::Zstd, 22, true),
        (Compression::Zstd, 23, false),
        (Compression::None, 1, false),
    ] {
        assert_eq!(
            Encoding::new(compression, Some(level)).is_ok(),
            valid,
            "{compression:?} {level}"
        );
    }
    let smaller = |level| {
        pack(Compression::Gzip, Some(level), None, &half_random(2 << 20))
            .1
            .len()
    };
    assert!(smaller(9) < smaller(1));
}

#[test]
fn a_sink_that_fails_ends_everything() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let scratch = Scratch::new();
    scratch.write("file", half_random(40 << 20));
    let rootfs = Rootfs::open(&scratch.root()).unwrap();
    let options = LayerOptions::default();
    let error = write(
        &all(&scratch),
        &rootfs,
        &options,
        Full(3 << 20),
        &Cancel::default(),
        &mut |_| {},
        |_| (),
    )
    .unwrap_err();
    let WriteError::Compress(CompressError::Sink(source)) = error else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn cancelling_ends_everything() {
    let scratch = Scratch::new();
    scratch.write("file", "content");
    let cancel = Cancel::default();
    cancel.by_signal(15);
    let rootfs = Rootfs::open(&scratch.root()).unwrap();
    let result = write(
        &all(&scratch),
        &rootfs,
        &plain(),
        io::sink(),
        &cancel,
        &mut |_| {},
        |_| (),
    );
    assert!(matches!(result, Err(WriteError::Cancelled(_))));
}

#[test]
fn h34_everybody_lists_the_same() {
    let scratch = varied(|order| order);
    let file = scratch.beside().join("layer.tar");
    let bytes = layer(&scratch, &all(&scratch));
    fs::write(&file, &bytes).unwrap();
    let expected: Vec<String> = members(&bytes)
        .into_iter()
        .map(|member| String::from_utf8(member.path).unwrap().trim_end_matches('/').to_owned())
        .collect();
    let python = "import tarfile,sys\nfor m in tarfile.open(sys.argv[1]): print(m.name)";
    let readers: [&[&str]; 4] = [
        &["tar", "--quoting-style=literal", "-tf"],
        &["bsdtar", "-tf"],
        &["busybox", "tar", "-tf"],
        &["python3", "-c", python],
    ];
    for command in readers {
        let output = Command::new(command[0])
            .args(&command[1..])
            .arg(&file)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let listed: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|name| name.trim_end_matches('/').to_owned())
            .collect();
        assert_eq!(
            listed,
            expected,
            "{command:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.stderr.is_empty(),
            "{command:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn root_h34_gnu_tar_makes_the_same_tree() {
    let scratch = varied(|order| order);
    chown(&scratch, "d/file-3", 5_000_000, 70_000);
    let value = b"1\n2\0";
    rustix::fs::lsetxattr(
        scratch.path("d/file-4"),
        "user.x",
        value,
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(scratch.path("d/file-5"), "security.capability", &capability, flags).unwrap();
    scratch.chmod("d/file-6", 0o6755);
    scratch.set_mtime("d/file-7", -5);
    let file = scratch.beside().join("layer.tar");
    fs::write(&file, layer(&scratch, &all(&scratch))).unwrap();
    let other = scratch.beside().join("other");
    fs::create_dir(&other).unwrap();
    let status = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .args([&file, Path::new("-C"), &other])
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        tree::portable(&tree::capture(&other)),
        tree::portable(&tree::capture(&scratch.root()))
    );
}

#[test]
fn root_h44_umoci_unpacks_the_same() {
    let scratch = varied(|order| order);
    chown(&scratch, "d/file-3", 5000, 70_000);
    // The umoci of Debian 13 knows no zstd.
    for level in [1, 6] {
        let options = with_encoding(Compression::Gzip, Some(level));
        let (written, bytes, _) = try_write(&scratch, &all(&scratch), &options).unwrap();
        let layout = scratch.beside().join(format!("layout-{level}"));
        make_layout(&layout, &written, &bytes);
        let bundle = scratch.beside().join(format!("bundle-{level}"));
        let image = format!("{}:test", layout.display());
        let output = Command::new("umoci")
            .args(["unpack", "--image", &image])
            .arg(&bundle)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found = tree::portable(&tree::capture(&bundle.join("rootfs")));
        assert_eq!(found, tree::portable(&tree::capture(&scratch.root())), "level {level}");
    }
}

/// An image of one layer, by hand.
fn make_layout(layout: &Path, written: &WrittenLayer, layer: &[u8]) {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        format!(r#""digest":"{digest}","size":{}"#, bytes.len())
    };
    let diff_id = &written.diff_id;
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let (config, layer) = (put(config.as_bytes()), put(layer));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{config}}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",{layer}}}]}}"#
    );
    let manifest = put(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",{manifest},
        "annotations":{{"org.opencontainers.image.ref.name":"test"}}}}]}}"#
    );
    fs::write(layout.join("index.json"), index).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn h35_one_dialect() {
    let scratch = varied(|order| order);
    let bytes = layer(&scratch, &all(&scratch));
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut pax = 0;
    for entry in archive.entries().unwrap().raw(true) {
        let entry = entry.unwrap();
        let header = entry.header().as_bytes();
        assert_eq!(&header[257..265], b"ustar\x0000");
        assert!(
            header[..512].iter().all(|_| true) && header[265..329] == [0; 64],
            "no user or group names"
        );
        for field in [100..108, 108..116, 116..124, 124..136, 136..148] {
            assert!(header[field][0] < 0x80, "base-256");
        }
        assert!(b"0125x6".contains(&header[156]), "type {}", header[156] as char);
        pax += usize::from(header[156] == b'x');
    }
    assert_eq!(
        pax, 3,
        "the name that is not ASCII, the long one, and its long directory"
    );
    assert!(bytes.len().is_multiple_of(512) && bytes.ends_with(&[0; 1024]));
}

#[test]
fn root_h36_large_owners() {
    let scratch = Scratch::new();
    for uid in [2_097_151_u32, 2_097_152, 4_294_967_294] {
        scratch.write(&format!("f{uid}"), "");
        chown(&scratch, &format!("f{uid}"), uid, 0);
    }
    for member in members(&layer(&scratch, &all(&scratch))) {
        let name = String::from_utf8(member.path.clone()).unwrap();
        let uid: u32 = name[1..].parse().unwrap();
        assert_eq!(member.owner().0, uid);
        assert_eq!(member.pax.contains_key(b"uid".as_slice()), uid > 2_097_151);
    }
}

#[test]
fn h36_long_paths() {
    for length in [100, 101, 255, 256, 1000, 3900] {
        let scratch = Scratch::new();
        // Components of 50 bytes and one with the rest.
        let mut name = "d".repeat(49) + "/";
        name = name.repeat(length / 50 - usize::from(length % 50 == 0));
        name += &"f".repeat(length - name.len());
        make_deep(&scratch.root(), &name);
        let listed = names(&layer(&scratch, &changes(&[&format!("+{name}")])));
        assert_eq!(listed.last().unwrap(), &name, "{length}");
    }
}

/// Makes a file by steps: the whole path may be longer than the kernel takes at once.
fn make_deep(root: &Path, path: &str) {
    let rootfs = Rootfs::open(root).unwrap();
    let mut dir = rootfs.root().try_clone().unwrap();
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    for name in parents.split('/').filter(|name| !name.is_empty()) {
        dir.create_dir(name.as_bytes(), 0o755).unwrap();
        dir = dir.open_dir(name.as_bytes()).unwrap();
    }
    dir.create_file(name.as_bytes(), 0o644).unwrap();
}

#[test]
fn h37_names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = Scratch::new();
    let name = b"caf\xe9 \xff\n";
    fs::write(scratch.root().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    let bytes = layer(&scratch, &all(&scratch));
    assert_eq!(members(&bytes)[0].path, name);
    let file = scratch.beside().join("layer.tar");
    fs::write(&file, bytes).unwrap();
    let other = scratch.beside().join("other");
    for command in [&["tar", "-xf"][..], &["bsdtar", "-xf"], &["busybox", "tar", "-xf"]] {
        fs::create_dir(&other).unwrap();
        let output = Command::new(command[0])
            .args(&command[1..])
            .args([&file, Path::new("-C"), &other])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let found = fs::read_dir(&other).unwrap().next().unwrap().unwrap().file_name();
        assert_eq!(
            found.as_bytes(),
            name,
            "{command:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::remove_dir_all(&other).unwrap();
    }
}

#[test]
fn h38_parents_first_and_nothing_twice() {
    let scratch = Scratch::new();
    scratch.write("a/b/c", "1");
    scratch.write("a/b-c", "1");
    scratch.write("a-b", "1");
    let found = names_after(&scratch, &["+a-b", "+a/b/c", "+a/b-c", "-a/b/gone", "-a/zone", "-x"]);
    let expected = [
        ".wh.x",
        "a/",
        "a/.wh.zone",
        "a/b/",
        "a/b/.wh.gone",
        "a/b/c",
        "a/b-c",
        "a-b",
    ];
    assert_eq!(found, expected);
}

#[test]
fn h38_the_root_only_when_it_changed() {
    let scratch = Scratch::new();
    scratch.write("f", "1");
    assert_eq!(names_after(&scratch, &["+", "+f"]), ["./", "f"]);
    assert_eq!(names_after(&scratch, &["+f"]), ["f"]);
    assert_eq!(names_after(&scratch, &[]), [""; 0]);
}

#[test]
fn h39_a_removed_tree_is_one_whiteout() {
    let scratch = Scratch::new();
    scratch.mkdir("usr/share");
    assert_eq!(
        names_after(&scratch, &["-usr/share/doc"]),
        ["usr/", "usr/share/", "usr/share/.wh.doc"]
    );
    let bytes = layer(&scratch, &changes(&["-usr/share/doc"]));
    let whiteout = members(&bytes).pop().unwrap();
    assert_eq!(whiteout.header.entry_type(), tar::EntryType::Regular);
    assert_eq!(
        (whiteout.header.mode().unwrap(), whiteout.owner(), whiteout.mtime()),
        (0, (0, 0), 0)
    );
    assert_eq!(whiteout.header.size().unwrap(), 0);
}

#[test]
fn h40_type_changes() {
    let scratch = Scratch::new();
    scratch.symlink("elsewhere", "was-dir");
    scratch.write("again/kept", "1");
    let found = names_after(&scratch, &["+was-dir", "+again", "-again/lost", "+again/kept"]);
    assert_eq!(found, ["again/", "again/.wh.lost", "again/kept", "was-dir"]);
    let bytes = layer(&scratch, &changes(&["+was-dir"]));
    let link = members(&bytes).pop().unwrap();
    assert_eq!(
        (link.link.as_slice(), link.header.size().unwrap()),
        (b"elsewhere".as_slice(), 0)
    );
    assert_eq!(link.header.mode().unwrap(), 0o777);
}

#[test]
fn h41_hard_links() {
    let scratch = Scratch::new();
    scratch.write("z/content", "content");
    scratch.chmod("z/content", 0o640);
    scratch.link("z/content", "b");
    scratch.link("z/content", "elsewhere");
    scratch.symlink("x", "s1");
    scratch.link("s1", "s2");
    let bytes = layer(&scratch, &changes(&["+z/content", "+b", "+s1", "+s2"]));
    let found: Vec<_> = members(&bytes)
        .into_iter()
        .map(|m| {
            (
                String::from_utf8(m.path).unwrap(),
                m.header.entry_type(),
                String::from_utf8(m.link).unwrap(),
            )
        })
        .collect();
    let entry = |path: &str, kind, link: &str| (path.to_owned(), kind, link.to_owned());
    use tar::EntryType as T;
    let expected = [
        entry("b", T::Regular, ""),
        entry("s1", T::Symlink, "x"),
        entry("s2", T::Link, "s1"),
        entry("z/", T::Directory, ""),
        entry("z/content", T::Link, "b"),
    ];
    assert_eq!(found, expected);
    let link = members(&bytes).pop().unwrap();
    let inode = fs::metadata(scratch.path("b")).unwrap();
    assert_eq!((link.header.mode().unwrap(), link.mtime()), (0o640, inode.mtime()));
    assert_eq!(link.header.size().unwrap(), 0);
}

#[test]
fn h42_sockets_and_reserved_names() {
    let scratch = Scratch::new();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.path("socket")).unwrap();
    scratch.write("file", "1");
    let (_, bytes, warnings) = try_write(&scratch, &all(&scratch), &plain()).unwrap();
    assert_eq!(names(&bytes), ["file"]);
    assert_eq!(warnings, [WriteWarning::Socket(path("socket"))]);
    for (made, changed) in [
        (".wh.foo", "+.wh.foo"),
        ("d/.wh.foo", "+d/.wh.foo"),
        (".wh.d/f", "+.wh.d/f"),
    ] {
        scratch.write(made, "1");
        let error = try_write(&scratch, &changes(&[changed]), &plain()).unwrap_err();
        assert!(matches!(error, WriteError::ReservedName { .. }), "{made}: {error:?}");
    }
    // Only the prefix of a whole name is reserved.
    scratch.write("x.wh.y", "1");
    scratch.write(".wh", "1");
    assert!(try_write(&scratch, &changes(&["+x.wh.y", "+.wh"]), &plain()).is_ok());
}

#[test]
fn h43_only_newer_times_are_clamped() {
    let scratch = Scratch::new();
    for (name, mtime) in [("old", 500), ("new", 2000), ("negative", -1)] {
        scratch.write(name, "1");
        scratch.set_mtime(name, mtime);
    }
    tree::set_mtime(&scratch.path("old"), 500, 999_999_999);
    let options = LayerOptions {
        clamp_mtime: Some(1000),
        ..plain()
    };
    let set = changes(&["+old", "+new", "+negative", "-gone"]);
    let (_, bytes, _) = try_write(&scratch, &set, &options).unwrap();
    let times: BTreeMap<_, _> = members(&bytes)
        .into_iter()
        .map(|member| (String::from_utf8(member.path.clone()).unwrap(), member.mtime()))
        .collect();
    let expected = [("old", 500), ("new", 1000), ("negative", -1), (".wh.gone", 0)];
    assert_eq!(times, expected.map(|(name, time)| (name.to_owned(), time)).into());
}

#[test]
fn a_missing_path_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let error = try_write(&scratch, &changes(&["+no/such"]), &plain()).unwrap_err();
    assert_eq!(error.to_string(), "stat /no");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    // The kernel's own files have no size in advance: they "grow" as soon as they are read.
    let rootfs = Rootfs::open(Path::new("/proc/self")).unwrap();
    let result = write(
        &changes(&["+status"]),
        &rootfs,
        &plain(),
        io::sink(),
        &Cancel::default(),
        &mut |_| {},
        |_| (),
    );
    assert!(matches!(result, Err(WriteError::Grew { expected: 0, .. })));
    // Those of sysfs are shorter than the page that they claim.
    let rootfs = Rootfs::open(Path::new("/sys/kernel")).unwrap();
    let set = changes(&["+uevent_seqnum"]);
    let result = write(
        &set,
        &rootfs,
        &plain(),
        io::sink(),
        &Cancel::default(),
        &mut |_| {},
        |_| (),
    );
    assert!(
        matches!(result, Err(WriteError::Shrank { expected: 4096, .. })),
        "{result:?}"
    );
}

#[test]
fn fingerprints_come_with_the_layer() {
    let scratch = Scratch::new();
    scratch.write("file", "content");
    let rootfs = Rootfs::open(&scratch.root()).unwrap();
    let mut fingerprints = None;
    let read = |taken| fingerprints = Some(taken);
    write(
        &all(&scratch),
        &rootfs,
        &plain(),
        io::sink(),
        &Cancel::default(),
        &mut |_| {},
        read,
    )
    .unwrap();
    let inode = fs::metadata(scratch.path("file")).unwrap().ino();
    let expected = Fingerprint::of(b"content", &rbuild::rootfs::xattr::Xattrs::new());
    assert_eq!(fingerprints.unwrap().get(inode), Some(expected));
}

#[test]
fn a_layer_of_known_files_has_a_known_digest() {
    let scratch = Scratch::new();
    scratch.write("etc/motd", "hello\n");
    scratch.chmod("etc", 0o755);
    scratch.chmod("etc/motd", 0o644);
    scratch.symlink("motd", "etc/link");
    for path in ["etc/motd", "etc/link", "etc"] {
        scratch.set_mtime(path, 1_700_000_000);
    }
    let owner = fs::metadata(scratch.root()).unwrap();
    let bytes = layer(&scratch, &changes(&["+etc/motd", "+etc/link", "-etc/issue"]));
    // The owner is whoever runs the test; everything else is fixed.
    if (owner.uid(), owner.gid()) == (0, 0) {
        assert_eq!(Digest::of(&bytes).to_string(), PINNED);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn known_bytes_have_a_known_compressed_digest() {
    let bytes = half_random(3 << 20);
    for (compression, level, expected) in [
        (
            Compression::Gzip,
            1,
            "sha256:2da4da00372a50c70b6d0c090ab0734ef37026216ae81c3ddfe1a9e3f9af1cc1",
        ),
        (
            Compression::Gzip,
            6,
            "sha256:b80d5c3cd93de3e4e50e5fa0bf68824fd235f8304750fa1308bb09d7c94ff162",
        ),
        (
            Compression::Zstd,
            3,
            "sha256:895ac5709661d32260c141e9bef1bd77115f25617caa411c6e940a936912acb2",
        ),
    ] {
        let digest = pack(compression, Some(level), None, &bytes).0.digest;
        assert_eq!(
            digest.to_string(),
            expected,
            "{compression:?} {level}: did an encoder change?"
        );
    }
}

/// Changes when the dialect does: a decision, never an accident.
const PINNED: &str = "sha256:0f08f8d773d353606ebcfce6eabff2438d459118f47319a2813fca86e16d3340";

fn chown(tree: &Scratch, path: &str, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(tree.path(path), Some(uid), Some(gid)).unwrap();
}
