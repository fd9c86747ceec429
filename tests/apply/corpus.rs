//! Archives that want to reach outside. Made here, listed in `testdata/hostile/README.md`.

use crate::tarball::{Member, dir, file, hard_link, member, symlink, whiteout};

/// A name and the members of the archive.
pub(crate) fn hostile() -> Vec<(&'static str, Vec<Member>)> {
    let file = |path: &str| file(path, "evil").mode(0o777);
    let dir = |path: &str| dir(path).mode(0o777);
    vec![
        ("traversal", vec![file("../outside/canary")]),
        ("traversal-deep", vec![dir("a"), file("a/../../outside/canary")]),
        ("absolute", vec![file("/../outside/canary")]),
        ("symlink-to-root-then-child", vec![symlink("a", "/"), file("a/etc/x")]),
        ("symlink-to-host", vec![symlink("a", "../outside"), file("a/canary")]),
        ("symlink-absolute", vec![symlink("a", "/proc/self/cwd"), file("a/x")]),
        ("symlink-magic", vec![symlink("a", "/proc/self/root"), file("a/tmp/x")]),
        (
            "symlink-chain",
            vec![
                symlink("a", "b"),
                symlink("b", "c"),
                symlink("c", "../../outside"),
                file("a/canary"),
            ],
        ),
        ("symlink-loop", vec![symlink("a", "b"), symlink("b", "a"), file("a/x")]),
        (
            "symlink-as-target-dir",
            vec![symlink("d", "../outside/directory"), dir("d"), file("d/x")],
        ),
        (
            "file-through-symlink",
            vec![symlink("f", "../outside/canary"), file("f")],
        ),
        (
            "fifo-through-symlink",
            vec![symlink("f", "../outside/canary"), member(b'6', "f")],
        ),
        ("hardlink-outside", vec![hard_link("h", "../outside/canary"), file("h")]),
        ("hardlink-absolute", vec![hard_link("h", "/../../outside/canary")]),
        (
            "hardlink-through-symlink",
            vec![symlink("a", "../outside"), hard_link("h", "a/canary"), file("h")],
        ),
        (
            "hardlink-to-symlink",
            vec![symlink("s", "../outside/canary"), hard_link("h", "s"), file("h")],
        ),
        (
            "chmod-through-symlink",
            vec![
                symlink("s", "../outside/canary"),
                member(b'0', "s").mode(0),
                dir("s").mode(0),
            ],
        ),
        (
            "chmod-through-hardlink",
            vec![symlink("s", "../outside/canary"), hard_link("s", "s").mode(0o777)],
        ),
        ("root-as-symlink", vec![symlink(".", "../outside"), file("canary")]),
        ("root-as-file", vec![file("./")]),
        ("whiteout-dot-dot", vec![whiteout(".wh...")]),
        ("whiteout-dot", vec![whiteout(".wh..")]),
        ("whiteout-traversal", vec![whiteout("../.wh.outside")]),
        (
            "whiteout-through-symlink",
            vec![symlink("a", "../outside"), whiteout("a/.wh.canary")],
        ),
        (
            "whiteout-of-symlink",
            vec![symlink("a", "../outside"), whiteout(".wh.a")],
        ),
        (
            "opaque-through-symlink",
            vec![symlink("a", "../outside"), whiteout("a/.wh..wh..opq")],
        ),
        (
            "plnk-traversal",
            vec![hard_link("h", ".wh..wh.plnk/../../outside/canary")],
        ),
        (
            "plnk-as-symlink",
            vec![symlink(".wh..wh.plnk", "../outside"), file(".wh..wh.plnk/canary")],
        ),
        ("file-as-parent", vec![file("f"), file("f/../../outside/canary")]),
        (
            "sparse-name",
            vec![file("x").pax("GNU.sparse.name", "../outside/canary")],
        ),
        (
            "sparse-name-real",
            vec![
                file("x")
                    .pax("GNU.sparse.name", "../outside/canary")
                    .pax("GNU.sparse.map", "0,4")
                    .pax("GNU.sparse.size", "4"),
            ],
        ),
        ("pax-path", vec![file("x").pax("path", "../outside/canary")]),
        (
            "pax-linkpath",
            vec![symlink("x", "y").pax("linkpath", "../outside"), file("x/canary")],
        ),
        (
            "planted-helpers",
            vec![
                dir("usr"),
                dir("usr/bin"),
                crate::tarball::file("usr/bin/unpigz", "#!/bin/sh\ntouch /outside/hijacked\n").mode(0o755),
                crate::tarball::file("usr/bin/xz", "#!/bin/sh\ntouch /outside/hijacked\n").mode(0o755),
            ],
        ),
    ]
}
