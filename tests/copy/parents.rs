//! `--parents`: which paths come along, and what the directories that lead there look like.

use super::*;

/// The tree of BuildKit's documentation and tests.
const TREE: &str = "a/b/c/d/foo=1 a/b/c/d/e/bay=2 a/b2/c/d/e/bar=3 a/b/c2/d/e/baz=4 a/b/c2/d/e2/baz=5";

/// Copies the paths with their parents from a context and from a stage.
fn expect_parents(rows: &[(&str, &str, &str, &str)]) {
    for (source, paths, destination, outcome) in rows {
        for from in [Kind::Context, Kind::Tree] {
            let bench = Bench::new(source, "");
            let result = bench.copy(&words(paths), destination).parents().from(from).run();
            bench.expect(result, source, outcome, &format!("{from:?} {paths}"));
        }
    }
}

#[test]
fn l302_l305_l307_parents_are_recreated_below_the_destination() {
    expect_parents(&[
        (TREE, "a/b/c/d/foo", "/out/", "out/a/b/c/d/foo=1"),
        // The destination is a directory, whatever it looks like.
        (TREE, "a/b/c/d/foo", "/out", "out/a/b/c/d/foo=1"),
        (TREE, "/a/b/c", "/out/", "out/a/b/c/d/foo=1 out/a/b/c/d/e/bay=2"),
        (TREE, "/a/b/c/", "/out/", "out/a/b/c/d/foo=1 out/a/b/c/d/e/bay=2"),
        (TREE, "/a/b/c/.", "/out/", "out/a/b/c/d/foo=1 out/a/b/c/d/e/bay=2"),
        (TREE, "./a/b2", "/out/", "out/a/b2/c/d/e/bar=3"),
        (TREE, "../a/b2", "/", "a/b2/c/d/e/bar=3"),
        (TREE, "a/b*/c/d/e", "/", "a/b/c/d/e/bay=2 a/b2/c/d/e/bar=3"),
        (TREE, "a/b2 a/b/c/d/foo", "/", "a/b2/c/d/e/bar=3 a/b/c/d/foo=1"),
        ("f=1 d/g=2", "f d/g", "/x/", "x/f=1 x/d/g=2"),
        ("f=1 d/g=2", ".", "/x/", "x/f=1 x/d/g=2"),
        ("e/ f=1", "e", "/", "e/"),
        (
            "d/l->f d/f=1 d/gone->nowhere",
            "d/l d/gone",
            "/",
            "d/l->f d/gone->nowhere",
        ),
        ("ü/+%=1 ü/x=2", "ü/+%", "/", "ü/+%=1"),
        ("d/a*b=1 d/axb=2", "d/a\\*b", "/", "d/a*b=1"),
    ]);
}

#[test]
fn l303_l305_a_pivot_cuts_what_stands_before_it() {
    expect_parents(&[
        (TREE, "/a/b/./c/d", "/out/", "out/c/d/foo=1 out/c/d/e/bay=2"),
        (TREE, "/a/./b/./c", "/out/", "out/b/c/d/foo=1 out/b/c/d/e/bay=2"),
        (TREE, "a/./b2", "/", "b2/c/d/e/bar=3"),
        (TREE, "/a/./*/c", "/", "b/c/d/foo=1 b/c/d/e/bay=2 b2/c/d/e/bar=3"),
        (TREE, "/a/b*/./c/**/e", "/", "c/d/e/bay=2 c/d/e/bar=3"),
        (
            TREE,
            "/a/b/c*/./d/**/baz /a/b*/./c/**/bar",
            "/out/",
            "out/d/e/baz=4 out/d/e2/baz=5 out/c/d/e/bar=3",
        ),
        ("x/y/1.txt=1 x/y/2.md=2 x/3.txt=3", "x/./y/*.txt", "/d/", "d/y/1.txt=1"),
        ("x/y/f=1", "x/./", "/d/", "d/y/f=1"),
        ("l->x x/y/f=1", "l/./y", "/d/", "d/y/f=1"),
        // A file has nothing after a pivot.
        ("x1=1 x2/y=2", "x*/./y", "/d/", "d/x1=1 d/y=2"),
    ]);
}

#[test]
fn l304_two_stars_span_directories_after_the_pivot() {
    let tree = "src/a.txt=1 src/n/b.txt=2 src/n/m/c.txt=3 src/n/d.md=4 e.txt=5";
    expect_parents(&[
        (
            tree,
            "./src/**/*.txt",
            "/d/",
            "d/src/a.txt=1 d/src/n/b.txt=2 d/src/n/m/c.txt=3",
        ),
        (tree, "src/./**/*.md", "/d/", "d/n/d.md=4"),
        (
            tree,
            "**/*.txt",
            "/",
            "src/a.txt=1 src/n/b.txt=2 src/n/m/c.txt=3 e.txt=5",
        ),
        (tree, "*.txt", "/", "e.txt=5"),
        (
            tree,
            "src/*",
            "/",
            "src/a.txt=1 src/n/b.txt=2 src/n/m/c.txt=3 src/n/d.md=4",
        ),
        (tree, "src/n/**", "/", "src/n/b.txt=2 src/n/m/c.txt=3 src/n/d.md=4"),
    ]);
}

#[test]
fn l306_only_wildcards_may_find_nothing() {
    let bench = Bench::new("a/f=1 l->a", "");
    for (path, expected) in [
        ("missing", "\"/missing\": not found in the build context"),
        ("a/missing", "\"/a/missing\": not found"),
        ("a/./missing", "\"/a/missing\": not found"),
        ("missing/./f", "\"/missing/f\": not found"),
        ("missing/./f*", "\"/missing\": not found"),
        ("a/f/x", "\"/a/f/x\": not found"),
        ("a/f/./x", "\"/a/f/x\": not found"),
        ("a[", "source \"a[\": syntax error in pattern"),
    ] {
        let error = bench.copy(&[path], "/d/").parents().run().unwrap_err();
        assert!(story(&error).starts_with(expected), "{path}: {}", story(&error));
    }
    let hint = |path: &str| bench.copy(&[path], "/d/").parents().run().unwrap_err().hint();
    assert_eq!(hint("a/g").as_deref(), Some("did you mean \"/a/f\"?"));
    let error = bench.copy(&["a/f"], "/d/").parents().ignore("a\n").run().unwrap_err();
    assert_eq!(
        story(&error),
        "\"/a/f\": not found in the build context: excluded by .dockerignore, line 1: a"
    );
    assert!(list(&bench.rootfs()).is_empty());
    for path in ["miss*", "a/./miss*", "miss*/./x"] {
        bench.copy(&[path], "/").parents().run().unwrap();
    }
    bench.copy(&["l/f"], "/").parents().run().unwrap();
    assert!(list(&bench.rootfs()).is_empty());
    let warnings = bench.warnings.borrow();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(
        warnings[3],
        "\"l/f\" matches nothing (--parents follows no symlinks), so nothing is copied for it"
    );
}

#[test]
fn l302_recreated_parents_look_like_those_of_the_source() {
    for from in [Kind::Context, Kind::Tree] {
        let bench = Bench::new("a/b/f=1 a/b/g=2", "d/a/kept=0");
        for (path, mode, time) in [("a/b/f", 0o640, 10), ("a/b", 0o1750, 20), ("a", 0o711, 30)] {
            chmod(&bench.in_source(path), mode);
            touch(&bench.in_source(path), time);
        }
        chmod(&bench.at("d"), 0o700);
        bench.copy(&["a/b/f"], "/d").parents().from(from).run().unwrap();
        bench.copy(&["a/b/f"], "/new").parents().from(from).run().unwrap();
        for (path, mode) in [("d", 0o700), ("new", 0o755)] {
            assert_eq!(bench.mode(path), mode, "{path}");
        }
        for destination in ["d", "new"] {
            for (path, mode, time) in [("a/b/f", 0o640, 10), ("a/b", 0o1750, 20), ("a", 0o711, 30)] {
                let meta = bench.meta(&format!("{destination}/{path}"));
                assert_eq!(
                    (meta.mode() & 0o7777, meta.mtime()),
                    (mode, time),
                    "{destination}/{path}"
                );
            }
        }
        assert_eq!(list(&bench.rootfs()), sorted("d/a/b/f=1 d/a/kept=0 new/a/b/f=1"));
    }
}

#[test]
fn exclude_and_the_ignore_file_limit_parents_too() {
    for (exclude, ignore, paths, expected) in [
        // From the root, since that is what is copied from.
        ("*.md", "", "a/b", "a/b/f=1 a/b/n.md=2"),
        ("**/*.md", "", "a/b", "a/b/f=1"),
        ("*.md", "", "a/b/./**", "f=1"),
        ("", "**/*.md", "a/b", "a/b/f=1"),
        ("", "a\n!a/b/f", "a/b", "a/b/f=1"),
        ("a/b/f", "", "a/b/f", ""),
    ] {
        let bench = Bench::new("a/b/f=1 a/b/n.md=2", "");
        let mut copy = bench.copy(&[paths], "/").parents().ignore(ignore);
        if !exclude.is_empty() {
            copy = copy.exclude(&[exclude]);
        }
        copy.run().unwrap();
        assert_eq!(
            list(&bench.rootfs()),
            sorted(expected),
            "{exclude:?} {ignore:?} {paths}"
        );
    }
}

#[test]
fn what_is_written_with_parents_is_told() {
    let bench = Bench::new("a/b/f=1 a/g=2", "link->real real/");
    let copied = bench.copy(&["a/b/f"], "/link/d").parents().run().unwrap();
    assert_eq!(
        absolute(&copied.written),
        ["/real/d", "/real/d/a", "/real/d/a/b", "/real/d/a/b/f"]
    );
    // A link where a parent should be is in the way.
    let bench = Bench::new("a/f=1", "a->real real/");
    let error = bench.copy(&["a/f"], "/").parents().run().unwrap_err();
    assert_eq!(story(&error), "cannot copy to non-directory: /a");
}

#[test]
fn root_l302_parents_keep_their_owners() {
    let bench = Bench::new("a/b/f=1", "");
    give(&bench.in_source("a"), 5, 6);
    give(&bench.in_source("a/b"), 7, 8);
    bench
        .copy(&["a/b/f"], "/kept")
        .parents()
        .from(Kind::Tree)
        .chown(None)
        .run()
        .unwrap();
    let given = Some(Owner { uid: 1, gid: 2 });
    bench
        .copy(&["a/b/f"], "/given")
        .parents()
        .from(Kind::Tree)
        .chown(given)
        .run()
        .unwrap();
    bench.copy(&["a/b/f"], "/context").parents().chown(None).run().unwrap();
    for (path, expected) in [
        ("kept", (0, 0)),
        ("kept/a", (5, 6)),
        ("kept/a/b", (7, 8)),
        ("given", (1, 2)),
        ("given/a", (1, 2)),
        ("context/a/b", (0, 0)),
    ] {
        assert_eq!(owner(&bench, path), expected, "{path}");
    }
}
