//! Variables in words: rows 100 to 135.

use rbuild::dockerfile::{Escape, Expander, Word};
use rbuild::plan::{CopyFrom, CopySource, Step};

use super::{config_env, options, plan_with, planned, refused, target};

/// The variables of the tables.
fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "a" => "value",
        "a_b" => "under",
        "e" => "",
        "f" => "foobarbaz",
        "m" => "a*b?c[d",
        "p" => "*x",
        "s" => "/a/b",
        "x" => "1xx2",
        _ => return None,
    };
    Some(value.to_owned())
}

fn expand(escape: Escape, text: &str) -> Result<String, String> {
    let mut expander = Expander::new(escape, &lookup);
    expander
        .word(&Word::new(text))
        .map_err(|error| error.problem.to_string())
}

#[test]
fn l100_l121_words_and_what_they_become() {
    for (row, text, expected) in [
        (100, "$a", "value"),
        (100, "${a}", "value"),
        (100, "x${a}y", "xvaluey"),
        (100, "[$u]", "[]"),
        (101, "$a.b", "value.b"),
        (101, "$a_b", "under"),
        (102, "$.", "$."),
        (102, "x$", "x$"),
        (103, "$1x", "x"),
        (103, "$@|$$|$#", "||"),
        (104, r"\$a", "$a"),
        (104, r"\${a}", "${a}"),
        (105, "'$a'", "$a"),
        (105, "\"$a\"", "value"),
        (105, "\"'$a'\"", "'value'"),
        (106, r#""a\tb""#, r"a\tb"),
        (106, r"a\tb", "atb"),
        (106, r#""a\\b""#, r"a\b"),
        (107, "${u:-d}|${e:-d}|${a:-d}", "d|d|value"),
        (108, "${u-d}|${e-d}|${a-d}", "d||value"),
        (109, "${u:+w}|${e:+w}|${a:+w}", "||w"),
        (110, "${u+w}|${e+w}|${a+w}", "|w|w"),
        (111, "${e?m}|${a:?m}", "|value"),
        (113, "${u:-${v:-c}}|${u:-${a:-c}}", "c|value"),
        (114, "${u:-x y}", "x y"),
        (115, "${f#f*b}|${f##f*b}", "arbaz|az"),
        (116, "${f%b*}|${f%%b*}", "foobar|foo"),
        (117, "${f/ba/fo}|${f//ba/fo}", "fooforbaz|fooforfoz"),
        (118, "${x/x*/}|${x/x/}", "1|1x2"),
        (119, "${f#?}|${f/?a/-}", "oobarbaz|foo-rbaz"),
        (119, r"${m#a\*}|${m#*\?}|${m#*[}", "b?c[d|c[d|d"),
        (120, "${x#$p}|${x##$p}", "x2|2"),
        (121, r"${s//\//-}", "-a-b"),
        (121, r"${s//\//\/}", r"\/a\/b"),
        (123, "${a}}", "value}"),
    ] {
        assert_eq!(
            expand(Escape::Backslash, text).as_deref(),
            Ok(expected),
            "row {row}: {text}"
        );
    }
}

#[test]
fn l111_l124_words_that_cannot_be_expanded() {
    for (row, text, problem) in [
        (111, "${u:?m}", "u: m"),
        (111, "${e:?m}", "e: m"),
        (111, "${u?m}", "u: m"),
        (112, "${u:?}", "u: is not allowed to be unset"),
        (112, "${e:?}", "e: is not allowed to be empty"),
        (112, "${u?}", "u: is not allowed to be unset"),
        (118, "${a/ba}", "syntax error: missing '/' in ${}"),
        (119, r"${a#\a}", r"invalid pattern (\a) in substitution: invalid escape"),
        (122, "${a:#x}", "unsupported modifier (:#) in substitution"),
        (122, "${a:%x}", "unsupported modifier (:%) in substitution"),
        (122, "${a:=x}", "unsupported modifier (:=) in substitution"),
        (122, "${a^}", "unsupported modifier (^) in substitution"),
        (122, "${a,}", "unsupported modifier (,) in substitution"),
        (122, "${#a}", "unsupported modifier (a) in substitution"),
        (123, "${}", "syntax error: bad substitution"),
        (123, "${:x}", "syntax error: bad substitution"),
        (123, "${{a}}", "syntax error: bad substitution"),
        (123, "${a", "syntax error: missing '}'"),
        (
            124,
            "'a",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            124,
            "\"a",
            "unexpected end of statement while looking for matching double-quote",
        ),
        (
            124,
            "\"$a'",
            "unexpected end of statement while looking for matching double-quote",
        ),
    ] {
        assert_eq!(
            expand(Escape::Backslash, text),
            Err(problem.to_owned()),
            "row {row}: {text}"
        );
    }
}

#[test]
fn l125_l134_what_is_expanded_where() {
    for (row, text, expected) in [
        (125, "ENV abc=hello\nENV abc=bye def=$abc", "ENV abc=bye def=hello"),
        (126, "ARG k=K\nENV $k=v", "ENV K=v"),
        (126, "ARG k=K\nLABEL $k=v", "LABEL K=v"),
        (
            127,
            "ARG PORTS=\"3000 4000/udp\"\nEXPOSE $PORTS",
            "EXPOSE [3000/tcp 4000/udp]",
        ),
        (128, "EXPOSE $UNSET", "EXPOSE []"),
        (129, "ARG u=me\nUSER $u", "USER me"),
        (129, "ARG w=/w\nWORKDIR $w/x", "WORKDIR /w/x"),
        (129, "ARG s=term\nSTOPSIGNAL $s", "STOPSIGNAL term"),
        (129, "ARG v=/v\nVOLUME $v /w", "VOLUME [/v /w]"),
        (
            130,
            "ARG u=1 g=2 m=600\nCOPY --chown=$u:$g --chmod=$m a /",
            "COPY --chown=1:2 --chmod=600 a / # buildkit",
        ),
        (134, "ARG x=1\nCMD echo $x", "CMD [\"/bin/sh\" \"-c\" \"echo $x\"]"),
        (134, "ARG x=1\nMAINTAINER $x", "MAINTAINER $x"),
        (
            134,
            "ARG x=1\nHEALTHCHECK CMD echo $x",
            "HEALTHCHECK {Test:[CMD-SHELL echo $x] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        ),
        (135, "WORKDIR C:\\\\x", "WORKDIR /C:\\x"),
    ] {
        let plan = planned(&format!("FROM a\n{text}"));
        let history = target(&plan).config.history.last().unwrap().clone();
        assert_eq!(history.created_by.as_deref(), Some(expected), "row {row}: {text}");
    }
    let quoted = plan_with("FROM a\nARG PORTS=\"3000 4000/udp\"\nEXPOSE \"$PORTS\"", &options(&[]));
    assert!(quoted.unwrap_err().contains("invalid port"), "row 127");
}

#[test]
fn l129_l133_operands_that_leave_no_history() {
    let report = plan_with("FROM a\nARG c=sha256:0\nADD --checksum=$c f /", &options(&[])).unwrap_err();
    assert!(report.contains("checksum"), "row 129: {report}");
    let statement = &super::statements("FROM a\nCOPY --exclude=$x a /")[0];
    assert!(
        format!("{statement:?}").contains("exclude: [\"$x\"]"),
        "row 131: kept as written"
    );
    let plan = planned("FROM a AS one\nFROM a\nCOPY --from=ONE a /");
    let Step::Copy(copy) = &target(&plan).steps[0].step else {
        panic!("row 132");
    };
    assert!(matches!(copy.from, CopyFrom::Stage(_)), "row 132");
    assert_eq!(copy.sources, [CopySource::Path("a".to_owned())]);
    let report = refused("FROM a\nCOPY --from=$x a /");
    assert!(
        report.contains("define a new stage with FROM using ARG from global scope"),
        "row 132: {report}"
    );
    let report = refused("FROM a\nRUN --mount=from=$x,target=/y z");
    assert!(
        report.contains("'from' doesn't support variable expansion"),
        "row 133: {report}"
    );
    for (argument, problem) in [
        ("t=nonsense", "unsupported mount type \"nonsense\""),
        ("p=/", "invalid mount target \"/\""),
    ] {
        let text = format!("FROM a\nARG {argument}\nRUN --mount=type=${{t:-cache}},target=${{p:-/p}} x");
        let report = plan_with(&text, &options(&[])).unwrap_err();
        assert!(report.contains(problem), "row 133: {report}");
    }
}

#[test]
fn l135_the_escape_token_is_the_file_s() {
    assert_eq!(expand(Escape::Backtick, r"C:\x`$a").as_deref(), Ok(r"C:\x$a"));
    let plan = planned("# escape=`\nFROM a\nENV P=C:\\x\nWORKDIR C:\\x");
    assert_eq!(config_env(&plan).last().map(String::as_str), Some("P=C:\\x"));
    assert_eq!(target(&plan).config.config.working_dir.as_deref(), Some("/C:\\x"));
}
