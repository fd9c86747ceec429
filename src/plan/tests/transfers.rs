//! Rows 237 to 312 of the checklist, as far as planning decides them.

use super::*;
use crate::copy::Parents;

fn last_copy(text: &str) -> CopyStep {
    let plan = plan_of(text);
    let steps = target(&plan).steps.iter().rev();
    let mut copies = steps.filter_map(|step| match &step.step {
        Step::Copy(copy) => Some(copy.clone()),
        _ => None,
    });
    copies.next().unwrap()
}

#[test]
fn l237_l238_destinations_start_at_the_working_directory() {
    for (destination, expected) in [
        ("d", "/w/d"),
        ("d/", "/w/d/"),
        ("d/.", "/w/d/"),
        (".", "/w/"),
        ("./", "/w/"),
        ("''", "/w/"),
        ("\"\"", "/w/"),
        ("$empty", "/w/"),
        ("${F}/x", "/w/base/x"),
        ("/d", "/d"),
        ("/d/.", "/d/"),
        ("..", "/"),
    ] {
        for flags in ["", "--link ", "--parents "] {
            let copy = last_copy(&format!("FROM base\nCOPY {flags}f {destination}"));
            assert_eq!(copy.destination, expected, "{flags}{destination}");
        }
    }
    assert_eq!(last_copy("FROM base\nCOPY [\"f\", \"\"]").destination, "/w/");
}

#[test]
fn l250_an_empty_source_is_one() {
    let path = |path: &str| CopySource::Path(path.to_owned());
    assert_eq!(last_copy("FROM a\nCOPY \"\" /d/").sources, [path("")]);
    assert_eq!(
        last_copy("FROM a\nCOPY [\"a\", \"$e\", \"b c\", \"/d/\"]").sources,
        [path("a"), path(""), path("b c")]
    );
}

#[test]
fn l268_l282_l287_l308_l309_mistakes_of_copies() {
    for (text, message) in [
        ("FROM a\nCOPY http://h/x /y", "source can't be a URL for COPY"),
        ("FROM a\nCOPY https://h/x.git /y", "source can't be a git ref for COPY"),
        ("FROM a\nCOPY git@h:x /y", "source can't be a git ref for COPY"),
        (
            "FROM a\nCOPY --link --chown=app x /y",
            "invalid user index: -1: --link copies into an empty root, where \"app\" cannot be looked up",
        ),
        ("FROM a\nADD --link --chown=1:staff x /y", "invalid user index: -1"),
        (
            "FROM a\nCOPY --chmod=64a x /y",
            "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777",
        ),
        (
            "FROM a\nADD --chmod=10000 x /y",
            "invalid chmod parameter: '10000'. it should be octal string and between 0 and 07777",
        ),
        (
            "FROM a\nCOPY --chmod=888 x /y",
            "invalid chmod parameter: '888'. it should be octal string and between 0 and 07777",
        ),
        (
            "FROM a\nCOPY --chmod=zz x /y",
            "invalid chmod parameter: 'zz': invalid syntax",
        ),
        ("FROM a\nCOPY --exclude=[ x /y", "--exclude \"[\""),
        ("FROM a\nCOPY --exclude=! x /y", "--exclude \"!\""),
        ("FROM a\nCOPY --from=99 x /y", "invalid stage index 99"),
        ("FROM a\nCOPY --from=-1 x /y", "invalid stage index -1"),
        (
            "FROM a\nCOPY --from=later x /y\nFROM b AS later",
            "cannot copy from stage \"later\", it needs to be defined before current stage \"0\"",
        ),
        (
            "FROM a AS me\nCOPY --from=me x /y",
            "circular dependency detected on stage: me",
        ),
        ("FROM a\nCOPY --from=0 x /y", "circular dependency detected on stage: 0"),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        let first = report.lines().next().unwrap();
        assert!(first.starts_with(&format!("error: {message}")), "{text}: {report}");
        assert!(report.contains("Dockerfile:2\n"), "no excerpt: {report}");
    }
}

#[test]
fn l308_l310_l311_what_from_names() {
    let text = |from: &str| format!("FROM a AS One\nFROM b\nFROM c\nCOPY --from={from} x /");
    for (from, expected) in [
        ("0", CopyFrom::Stage(StageId(0))),
        ("1", CopyFrom::Stage(StageId(1))),
        ("one", CopyFrom::Stage(StageId(0))),
        ("ONE", CopyFrom::Stage(StageId(0))),
    ] {
        assert_eq!(last_copy(&text(from)).from, expected, "{from}");
    }
    for (from, image) in [
        ("stage-1", "docker.io/library/stage-1:latest for linux/arm64"),
        ("two", "docker.io/library/two:latest for linux/arm64"),
        ("h:5/i:t", "h:5/i:t for linux/arm64"),
    ] {
        match last_copy(&text(from)).from {
            CopyFrom::Image(key) => assert_eq!(key.to_string(), image, "{from}"),
            other => panic!("{from}: {other:?}"),
        }
    }
}

#[test]
fn l295_l296_link_stands_alone_unless_modes_are_given() {
    for (flags, onto) in [
        ("", Onto::Stage),
        ("--link", Onto::Nothing),
        ("--link=true", Onto::Nothing),
        ("--link=false", Onto::Stage),
        ("--link --chmod=755", Onto::Stage),
        ("--link --chmod=$F", Onto::Nothing),
        ("--link --chown=root:7", Onto::Nothing),
        ("--link --chmod=755 --chown=app", Onto::Stage),
    ] {
        for keyword in ["COPY", "ADD"] {
            let copy = last_copy(&format!("FROM a\n{keyword} {flags} x /y"));
            assert_eq!(copy.onto, onto, "{keyword} {flags}");
        }
    }
}

#[test]
fn flags_are_taken_as_written() {
    let copy = last_copy("FROM a\nENV v=x\nCOPY --parents --exclude=$v --exclude=!y x /");
    assert_eq!(copy.parents, Parents::Kept);
    assert_eq!(copy.exclude.texts().collect::<Vec<_>>(), ["$v", "!y"]);
}

#[test]
fn l391_history_shows_flags_that_change_what_is_copied() {
    for (instruction, expected) in [
        ("COPY --from=one a b /d/", "COPY a b /d/ # buildkit"),
        ("COPY --link --exclude=x a /d", "COPY a /d # buildkit"),
        ("ADD --link --exclude=x --unpack=false a /d", "ADD a /d # buildkit"),
        (
            "COPY --chmod=644 --link --chown=$F --parents $F/./a rel",
            "COPY --parents --chown=base --chmod=644 base/./a rel # buildkit",
        ),
        ("COPY --parents <<A b /d/\nx\nA", "COPY --parents b <<A /d/ # buildkit"),
    ] {
        let plan = plan_of(&format!("FROM base AS one\nFROM base\n{instruction}"));
        let history = target(&plan).steps[0].history.clone().unwrap();
        assert_eq!(history.created_by.as_deref(), Some(expected), "{instruction}");
        assert!(!history.empty_layer, "{instruction}");
    }
}

#[test]
fn identities_of_copies_know_every_flag() {
    let id = |base: &str, flags: &str| {
        let plan = plan_of(&format!("FROM {base}\nRUN before\nCOPY {flags} x /y\nRUN after"));
        let ids = ids(&plan);
        (ids[1], ids[2])
    };
    let flags = [
        "",
        "--link",
        "--parents",
        "--exclude=a",
        "--exclude=b",
        "--exclude=a --exclude=b",
        "--exclude=parents",
        "--exclude=a --parents",
        "--link --exclude=a --parents",
    ];
    for (i, one) in flags.iter().enumerate() {
        for (j, other) in flags.iter().enumerate() {
            assert_eq!(id("a", one).0 == id("a", other).0, i == j, "{one:?} {other:?}");
        }
    }
    for flags in flags {
        let (a, b) = (id("a", flags), id("b", flags));
        assert_eq!(a.0 == b.0, flags.contains("--link"), "{flags:?}");
        assert_ne!(a.1, b.1, "what follows depends on the base: {flags:?}");
    }
    // What is linked depends on where it comes from, and what follows on what is linked.
    let from = |run: &str| {
        let text = format!("FROM a AS p\nRUN {run}\nFROM a\nCOPY --link --from=p / /\nRUN x");
        ids(&plan_of(&text))
    };
    let (one, two) = (from("one"), from("two"));
    assert!(one[0] != two[0] && one[1] != two[1]);
    let ignored = |flags: &str| id("a", flags).0;
    assert_eq!(ignored("--link --chmod=644"), ignored("--chmod=644"));
}

#[test]
fn l333_l334_checksums_belong_to_one_download_or_commit() {
    let sha = "0".repeat(64);
    let error = |line: &str| {
        let text = format!("FROM a\n{line}").replace("SHA", &sha);
        let rendered = plan_with(&text, &options(&[])).unwrap_err().replace(&sha, "SHA");
        let told = |line: &&str| line.starts_with("error: ") || line.starts_with("  = ");
        let lines: Vec<&str> = rendered.lines().filter(told).collect();
        lines.join("").replace("error: ", "").replace("  = ", ": ")
    };
    for (line, expected) in [
        (
            "ADD --checksum=sha256:SHA a /d",
            "checksum requires HTTP(S) or Git sources",
        ),
        (
            "ADD --checksum=sha256:SHA github.com/o/r /d",
            "checksum requires HTTP(S) or Git sources",
        ),
        (
            "ADD --checksum=sha256:SHA http://h/a http://h/b /d/",
            "checksum can't be specified for multiple sources",
        ),
        (
            "ADD --checksum=sha256:SHA http://h/a b /d/",
            "checksum can't be specified for multiple sources",
        ),
        (
            "ADD --checksum=md5:0123 http://h/a /d",
            r#"invalid checksum: digest "md5:0123" uses an unsupported algorithm (sha256 and sha512 are supported)"#,
        ),
        (
            "ADD --checksum=unknown:SHA http://h/a /d",
            r#"invalid checksum: digest "unknown:SHA" uses an unsupported algorithm (sha256 and sha512 are supported)"#,
        ),
        (
            "ADD --checksum=SHA http://h/a /d",
            r#"invalid checksum: digest "SHA" has no algorithm (expected sha256:<64 hex digits>)"#,
        ),
        (
            "ADD --checksum=sha256:0 http://h/a /d",
            r#"invalid checksum: digest "sha256:0" must have 64 lower-case hexadecimal digits after the colon"#,
        ),
        (
            "ADD --checksum=xyz git://h/a /d",
            r#"invalid checksum "xyz": it must be a commit or the beginning of one, in hexadecimal digits"#,
        ),
        (
            "ADD --keep-git-dir=false git://h/a?keep-git-dir=true /d",
            "inconsistent keep-git-dir configuration",
        ),
        ("ADD git://h/a?x=y /d", r#"unexpected query "x""#),
    ] {
        assert_eq!(error(line), expected, "{line}");
    }
}

#[test]
fn l328_l331_unpack_decides_about_downloads() {
    for (flag, archives) in [
        ("", Archives::Extract),
        ("--unpack ", Archives::ExtractDownloads),
        ("--unpack=true ", Archives::ExtractDownloads),
        ("--unpack=false ", Archives::Keep),
    ] {
        assert_eq!(
            last_copy(&format!("FROM a\nADD {flag}http://h/x.tar /d")).archives,
            archives,
            "{flag}"
        );
    }
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let text = "FROM a\nARG token\nADD https://me:secret@h/x https://${token}@h/y /d/";
    let plan = plan_with(text, &options(&[("token", "secret")])).unwrap();
    let shown = format!("{plan}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("source https://***@h/x as \"x\""), "{shown}");
    assert_eq!(
        created_by(&plan).last(),
        Some(&"ADD https://***@h/x https://***@h/y /d/ # buildkit")
    );
    let steps = &target(&plan).steps;
    assert!(!steps[1].text.contains("secret"), "{}", steps[1].text);
    assert!(!steps[1].excerpt.to_string().contains("secret"), "{}", steps[1].excerpt);
}
