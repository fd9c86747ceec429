//! What cannot be planned.

use super::*;

#[test]
fn mistakes_are_shown_where_they_are() {
    for (text, message) in [
        ("FROM a\nLABEL $x=1", "LABEL names can not be blank"),
        ("FROM a\nVOLUME $x", "VOLUME specified can not be an empty string"),
        ("FROM a\nSTOPSIGNAL $x", "invalid signal: "),
        (
            "FROM a\nENV P=\"3 4\"\nEXPOSE \"$P\"",
            "invalid port: \"3 4\": invalid containerPort: 3 4",
        ),
        ("FROM a\nCOPY git@h:x /y", "source can't be a git ref for COPY"),
        ("FROM a\nENV u=http://h/x\nCOPY $u /y", "source can't be a URL for COPY"),
        (
            "FROM a\nADD --checksum=sha256:0 a b /y",
            "checksum can't be specified for multiple sources",
        ),
        (
            "FROM a\nADD --checksum=sha256:0 a /y",
            "checksum requires HTTP(S) or Git sources",
        ),
        ("FROM a\nCOPY https://u:p@h/x /y", "source can't be a URL for COPY"),
        (
            "FROM a\nCOPY https://h/r.git#main /y",
            "source can't be a git ref for COPY",
        ),
        (
            "FROM a\nCOPY --chmod=zz a /y",
            "invalid chmod parameter: 'zz': invalid syntax",
        ),
        ("FROM a\nCOPY --from=-1 a /y", "invalid stage index -1"),
        ("FROM a\nCOPY <<E /x\n${\nE", "failed to process"),
        ("FROM \"\"", "base name (\"\") should not be blank"),
        ("ARG x=1\nFROM $y", "base name ($y) should not be blank"),
        (
            "FROM a AS one\nARG t=1\nFROM b:$t",
            "\"b:\" is neither a stage nor an image",
        ),
        (
            "FROM a AS one\nFROM one AS two\nCOPY --from=three / /\nFROM two AS three",
            "circular dependency detected on stage: two",
        ),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        let first = report.lines().next().unwrap();
        assert!(first.starts_with(&format!("error: {message}")), "{text}: {report}");
        assert!(report.contains("  Dockerfile:"), "no excerpt: {report}");
    }
}

/// Every prefix of a file that uses everything: an error or a plan, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    let text = "ARG a=b\nFROM --platform=linux/$a onbuild AS x\nCOPY --chown=a:1 --chmod=u=rwX <<E *.c d/.\n${a%b}\nE\n\
                EXPOSE 1-2:3-4/udp $a\nUSER $a:é\nWORKDIR ../é\nHEALTHCHECK --interval=1s CMD x\nSTOPSIGNAL RTMIN+1\n\
                FROM x\nCOPY --from=0 --chmod=é / /\nONBUILD RUN é\nENTRYPOINT [\"é\"]\nVOLUME /é\n";
    let mut planned = 0;
    for (end, _) in text.char_indices() {
        planned += usize::from(plan_with(&text[..end], &options(&[("a", "arm64")])).is_ok());
    }
    assert!(planned > 20, "only {planned} prefixes were planned");
}
