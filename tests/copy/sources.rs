//! What is found in a source: wildcards, ignore rules, symlinks, and what is not there.

use super::*;

#[test]
fn wildcards_match_in_lexical_order_below_their_prefix() {
    expect(&[
        "a.go=1 b.go=2 c.rs=3 | | *.go | /g/ | g/a.go=1 g/b.go=2",
        "f1.go=1 foo2.go=2 | | f?.go | /x | x=1",
        "b=2 a=1 c=3 | | ? | /x | x=3",
        "s/1/x/foo=1 s/2/x/foo=2 s/x/foo=3 | | s/*/x/foo | /d/ | d/foo=2",
        "s/1/foo=1 s/t/u/foo=2 foo=3 | | **/foo | /d/ | ",
        "s/foo=1 s/t/foo=2 foo=3 | | **/foo | /d/ | d/foo=1",
        ".dot=1 f=2 | | * | /d/ | d/.dot=1 d/f=2",
        "arr[0].txt=1 arr0.txt=2 | | arr[[]0].txt | /d/ | d/arr[0].txt=1",
        "a*b=1 axb=2 | | a\\*b | /d/ | d/a*b=1",
        "a*b=1 a*c=2 axb=3 | | a\\*? | /d/ | d/a*b=1 d/a*c=2",
        "foo=1 | | foo nomatch* | / | foo=1",
        "foo=1 | | nomatch* | /d/ | ",
        "foo=1 | | no/such/dir/* | /d/ | ",
        "l->real real/a=1 | | l/* | /d/ | d/a=1",
        "l->real real/a=1 | | ?/a | /d/ | ",
    ]);
}

#[test]
fn c21_missing_sources_are_errors_with_a_hint() {
    let bench = Bench::new("app/main.rs=1 app/lib.rs=2 README=3", "");
    for (path, expected, hint) in [
        ("missing", "in the build context", "there is /README, /app"),
        (
            "app/mian.rs",
            "\"/app/mian.rs\": not found",
            "did you mean \"/app/main.rs\"?",
        ),
        (
            "app/sub/x",
            "\"/app/sub/x\": not found",
            "there is /app/lib.rs, /app/main.rs",
        ),
        ("readme", "\"/readme\": not found", "did you mean \"/README\"?"),
        ("README/x", "\"/README/x\": not found", "there is /README, /app"),
    ] {
        let error = bench.copy(&[path], "/").run().unwrap_err();
        assert!(
            matches!(error, CopyError::NotFound { .. }) && error.to_string().contains(expected),
            "{error}"
        );
        assert_eq!(error.hint().as_deref(), Some(hint), "{path}");
    }
    let error = bench.copy(&["a[b"], "/").run().unwrap_err();
    assert_eq!(story(&error), "source \"a[b\": syntax error in pattern");
    assert!(list(&bench.rootfs()).is_empty());
}

#[test]
fn c21_ignored_sources_are_errors_that_name_the_rule() {
    for (rules, path, rule) in [
        ("*.log", "a.log", Some("line 1: *.log")),
        ("secret\n", "secret", Some("line 1: secret")),
        ("secret\n", "secret/key", Some("line 1: secret")),
        ("secret\n", "link", Some("line 1: secret")),
        ("link\n", "link", Some("line 1: link")),
        ("secret\n!secret/public", "secret", None),
        ("secret\n!secret/public", "secr*", None),
        ("secret\n!secret/public", "secret/public", None),
        ("secret\n!secret/public", "secret/key", Some("line 1: secret")),
    ] {
        let bench = Bench::new("a.log=1 b.log=2 secret/key=3 secret/public=4 link->secret/key", "");
        match (bench.copy(&[path], "/d/").ignore(rules).run(), rule) {
            (Ok(_), None) => assert!(!bench.at("/d/key").exists(), "{rules:?} {path}"),
            (Err(error @ CopyError::Ignored { .. }), Some(rule)) => {
                let text = error.to_string();
                assert!(
                    text.contains(&format!("\"/{path}\"")) && text.contains(rule),
                    "{rules:?} {path}: {text}"
                );
                assert!(text.contains(".dockerignore") && error.hint().is_some(), "{text}");
            }
            (result, _) => panic!("{rules:?} {path}: {result:?}"),
        }
    }
    let bench = Bench::new("a=1", "");
    bench.copy(&["."], "/d/").ignore("*").run().unwrap();
    bench.copy(&["z*"], "/d/").run().unwrap();
    assert_eq!(bench.warnings.borrow().len(), 2, "{:?}", bench.warnings);
    assert!(bench.warnings.borrow()[0].contains(".dockerignore"));
}

#[test]
fn l351_wildcards_do_not_match_what_is_ignored() {
    let all_log = "\"*.log\" matches nothing that .dockerignore leaves (line 2: *.log), so nothing is copied for it";
    let all = "\"*\" matches nothing that .dockerignore leaves (line 1: *), so nothing is copied for it";
    let none = "\"nomatch*\" matches nothing, so nothing is copied for it";
    for (rules, path, copied, warning) in [
        ("b.log", "*.log", "d/a.log=1", None),
        ("x\n*.log", "*.log", "", Some(all_log)),
        ("*", "*", "", Some(all)),
        ("*", "nomatch*", "", Some(none)),
        ("secret\n!secret/public", "s*", "d/public=4", None),
    ] {
        let bench = Bench::new("a.log=1 b.log=2 secret/key=3 secret/public=4", "");
        bench.copy(&[path], "/d/").ignore(rules).run().unwrap();
        assert_eq!(list(&bench.rootfs()), copied, "{rules:?} {path}");
        let warnings = bench.warnings.borrow();
        assert_eq!(warnings.first().map(String::as_str), warning, "{rules:?} {path}");
    }
}

#[test]
fn c40_ignore_cases_hold_for_real_trees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ignore");
    for case in fs::read_dir(root).unwrap() {
        let case = case.unwrap().path();
        let read = |name: &str| fs::read_to_string(case.join(name)).unwrap();
        let (rules, tree) = (read("ignore"), read("tree"));
        let bench = Bench::new("", "");
        for line in tree.lines() {
            let path = bench.in_source(line);
            if line.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else if !path.exists() {
                parents(&path);
                fs::write(&path, "").unwrap();
            }
        }
        bench.copy(&["."], "/").ignore(&rules).run().unwrap();
        let mut found: Vec<_> = walkdir::WalkDir::new(bench.rootfs())
            .min_depth(1)
            .into_iter()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry
                    .path()
                    .strip_prefix(bench.rootfs())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                name + if entry.file_type().is_dir() { "/" } else { "" }
            })
            .collect();
        found.sort();
        let expected = read("expected");
        let mut expected: Vec<_> = expected.lines().collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{}", case.display());
    }
}

#[test]
fn c41_ignore_rules_leave_other_stages_alone() {
    let bench = Bench::new("keep=1 drop=2", "");
    bench
        .copy(&["."], "/")
        .ignore("*\n!keep")
        .from(Kind::Tree)
        .run()
        .unwrap();
    assert_eq!(list(&bench.rootfs()), "drop=2 keep=1");
}

#[test]
fn c43_the_ignore_file_is_read_though_it_ignores_itself() {
    let bench = Bench::new("Dockerfile=FROM f=1", "");
    fs::write(bench.in_source(".dockerignore"), ".dockerignore\nDockerfile\n").unwrap();
    let source = Rootfs::open(&bench.source()).unwrap();
    let ignore = IgnoreFile::find(Some(&bench.in_source("Dockerfile")), &source)
        .unwrap()
        .unwrap();
    let rules = fs::read_to_string(bench.in_source(".dockerignore")).unwrap();
    assert_eq!(ignore.name, ".dockerignore");
    bench.copy(&["."], "/").ignore(&rules).run().unwrap();
    assert_eq!(list(&bench.rootfs()), "f=1");
    assert!(bench.copy(&["Dockerfile"], "/").ignore(&rules).run().is_err());
    bench.copy(&["."], "/").run().unwrap();
    assert!(bench.at("Dockerfile").exists() && bench.at(".dockerignore").exists());
}

#[test]
fn c44_the_context_is_only_read() {
    let bench = Bench::new("a=1 d/b=2 drop/c=3 l->a", "");
    let state = |bench: &Bench| {
        let entries = walkdir::WalkDir::new(bench.source()).sort_by_file_name().into_iter();
        entries
            .map(|entry| {
                let meta = entry.unwrap().metadata().unwrap();
                (
                    meta.ino(),
                    meta.mode(),
                    meta.ctime_nsec(),
                    meta.atime_nsec(),
                    meta.nlink(),
                )
            })
            .collect::<Vec<_>>()
    };
    let before = state(&bench);
    bench.copy(&["."], "/").ignore("drop").chmod("600").run().unwrap();
    bench.copy(&["l", "d"], "/y/").run().unwrap();
    // Directories may be read by anyone who lists them; all else is untouched to the access time.
    let files = |state: &[(u64, u32, i64, i64, u64)]| {
        let mut state = state.to_vec();
        for entry in &mut state {
            entry.3 *= i64::from(entry.1 & 0o170_000 == 0o100_000);
        }
        state
    };
    assert_eq!(files(&before), files(&state(&bench)));
}

#[test]
fn c45_many_files_and_rules() {
    let bench = Bench::new("", "");
    for dir in 0..30 {
        let dir = bench.in_source(&format!("d{dir}"));
        fs::create_dir(&dir).unwrap();
        for file in 0..100 {
            fs::write(dir.join(format!("f{file}")), "").unwrap();
        }
    }
    let mut rules: String = (0..40).map(|n| format!("**/no{n}/*.x\n")).collect();
    rules.push_str("d1\n!d1/f7\n**/f3?\nd2?/f*\n!**/f99\n");
    let copied = bench.copy(&["."], "/").ignore(&rules).run().unwrap();
    // d2 to d9, d0 and d10 to d19: 19 directories of 100 less f30 to f39; d1: f7 and f99; d20 to d29: f99.
    let files = words(&list(&bench.rootfs())).len();
    assert_eq!(files, 19 * 90 + 2 + 10);
    assert_eq!(copied.written.len(), files + 30 + 1);
}

#[test]
fn c22_absolute_links_of_the_context_resolve_inside_it() {
    let bench = Bench::new(
        "etc/resolv.conf->/run/resolv.conf run/resolv.conf=inside passwd->/etc/passwd",
        "",
    );
    bench.copy(&["etc/resolv.conf"], "/").run().unwrap();
    assert_eq!(list(&bench.rootfs()), "resolv.conf=inside");
    for path in ["passwd", "../../../../etc/passwd", "/etc/passwd"] {
        assert!(
            matches!(bench.copy(&[path], "/").run(), Err(CopyError::NotFound { .. })),
            "{path}"
        );
    }
    plant(
        &bench.source(),
        "hosts->../../../../../../../../etc/hosts etc/hosts=of-the-context",
    );
    bench.copy(&["hosts"], "/").run().unwrap();
    assert_eq!(fs::read_to_string(bench.at("hosts")).unwrap(), "of-the-context");
}

#[test]
fn exclude_is_relative_to_each_source_directory() {
    let tree = "s/a.txt=1 s/b.md=2 s/n/c.txt=3 s/n/d.md=4";
    for (rules, paths, expected) in [
        ("*.txt", "s", "b.md=2 n/c.txt=3 n/d.md=4"),
        ("**/*.txt", "s", "b.md=2 n/d.md=4"),
        ("n", "s", "a.txt=1 b.md=2"),
        ("n/*", "s", "a.txt=1 b.md=2 n/"),
        ("*", "s", ""),
        ("** !n/d.md", "s", "n/d.md=4"),
        ("*.txt", "s/a.txt s/n", "a.txt=1 d.md=4"),
        // A file that is itself the source is copied, by its name or by a wildcard.
        ("*.txt **/*.txt a.txt s/a.txt", "s/*.t*", "a.txt=1"),
        ("s", "s", "a.txt=1 b.md=2 n/c.txt=3 n/d.md=4"),
        ("/n ./b.md", "s", "a.txt=1"),
        ("** !keep !n/d.md", "s", "n/d.md=4"),
    ] {
        let bench = Bench::new(tree, "");
        let (rules, paths): (Vec<_>, Vec<_>) = (words(rules), words(paths));
        bench.copy(&paths, "/").exclude(&rules).run().unwrap();
        assert_eq!(list(&bench.rootfs()), sorted(expected), "{rules:?} {paths:?}");
    }
    let bench = Bench::new(tree, "");
    bench.copy(&["s"], "/d").exclude(&["*"]).run().unwrap();
    assert_eq!(list(&bench.rootfs()), "d/");
    assert!(bench.warnings.borrow().is_empty(), "{:?}", bench.warnings);
    let bench = Bench::new(
        "d/x/a.png=1 d/x/b.png->a.png d/x/c.txt=2 d/x/gone.png->nowhere d/e.png=3",
        "",
    );
    bench.copy(&["d"], "/").exclude(&["*/*.png"]).run().unwrap();
    assert_eq!(list(&bench.rootfs()), "e.png=3 x/c.txt=2");
}
