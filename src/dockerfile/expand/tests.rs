//! Words and what becomes of them.

use super::*;

/// The variables of every row.
fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "a" => "value",
        "a_b" => "under",
        "e" => "",
        "f" => "foobarbaz",
        "p" => "*o",
        "s" => "/a/b",
        "w" => "3000 4000/udp",
        "größe" => "unicode",
        _ => return None,
    };
    Some(value.to_owned())
}

fn expand(text: &str) -> Result<String, String> {
    let mut expander = Expander::new(Escape::Backslash, &lookup);
    expander
        .word(&Word::new(text))
        .map_err(|error| error.problem.to_string())
}

#[test]
fn words() {
    for (text, expected) in [
        // names
        ("$a", "value"),
        ("${a}", "value"),
        ("x${a}y", "xvaluey"),
        ("[$u]", "[]"),
        ("$a.b", "value.b"),
        ("$a_b", "under"),
        ("$größe!", "unicode!"),
        ("$.", "$."),
        ("x$", "x$"),
        ("$1x", "x"),
        ("$12x", "x"),
        ("$@", ""),
        ("$$", ""),
        ("$#", ""),
        ("$0a", "a"),
        ("${@}", ""),
        ("${a}}", "value}"),
        // quotes and escapes
        (r"\$a", "$a"),
        (r"\${a}", "${a}"),
        ("'$a'", "$a"),
        ("\"$a\"", "value"),
        ("\"'$a'\"", "'value'"),
        (r#""a\tb""#, r"a\tb"),
        (r"a\tb", "atb"),
        (r#""a\\b""#, r"a\b"),
        (r#""\"\$a""#, "\"$a"),
        (r"'a\b'", r"a\b"),
        (r"a\ b", "a b"),
        (r"a\", "a"),
        ("'x'", "x"),
        ("''", ""),
        ("a b  c", "a b  c"),
        // defaults
        ("${u:-d}", "d"),
        ("${e:-d}", "d"),
        ("${a:-d}", "value"),
        ("${u-d}", "d"),
        ("${e-d}", ""),
        ("${u:+w}", ""),
        ("${e:+w}", ""),
        ("${a:+w}", "w"),
        ("${u+w}", ""),
        ("${e+w}", "w"),
        ("${a:?m}", "value"),
        ("${e?m}", ""),
        ("${u:-${v:-c}}", "c"),
        ("${u:-x y}", "x y"),
        ("${u:-'}'}", "}"),
        ("${u:-\"$a\"}", "value"),
        (r"${u:-\}}", "}"),
        // patterns
        ("${f#f*b}", "arbaz"),
        ("${f##f*b}", "az"),
        ("${f%b*}", "foobar"),
        ("${f%%b*}", "foo"),
        ("${f/ba/fo}", "fooforbaz"),
        ("${f//ba/fo}", "fooforfoz"),
        ("${f/o*/}", "f"),
        ("${f#$p}", "obarbaz"),
        ("${f/ba/$a}", "foovaluerbaz"),
        (r"${s//\//-}", "-a-b"),
        (r"${s//\//\/}", r"\/a\/b"),
        ("${s#\"/\"}", "a/b"),
        (r#"${s#"\/"}"#, "/a/b"),
        ("${u#x}", ""),
        ("${u/x/y}", ""),
        ("${u/*/y}", ""),
    ] {
        assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn problems() {
    let (single, double) = ("single-quote", "double-quote");
    let unmatched = |quote: &str| format!("unexpected end of statement while looking for matching {quote}");
    for (text, expected) in [
        ("${a:?}", None),
        ("${u:?m}", Some("u: m".to_owned())),
        ("${e:?m n}", Some("e: m n".to_owned())),
        ("${u?m}", Some("u: m".to_owned())),
        ("${u:?}", Some("u: is not allowed to be unset".to_owned())),
        ("${e:?}", Some("e: is not allowed to be empty".to_owned())),
        ("${}", Some("syntax error: bad substitution".to_owned())),
        ("${:x}", Some("syntax error: bad substitution".to_owned())),
        ("${{a}}", Some("syntax error: bad substitution".to_owned())),
        ("${.}", Some("unsupported modifier (.) in substitution".to_owned())),
        ("${a:#x}", Some("unsupported modifier (:#) in substitution".to_owned())),
        ("${a:%x}", Some("unsupported modifier (:%) in substitution".to_owned())),
        ("${a:=x}", Some("unsupported modifier (:=) in substitution".to_owned())),
        ("${a=x}", Some("unsupported modifier (=) in substitution".to_owned())),
        ("${a^}", Some("unsupported modifier (^) in substitution".to_owned())),
        ("${a:1:2}", Some("unsupported modifier (:1) in substitution".to_owned())),
        ("${#a}", Some("unsupported modifier (a) in substitution".to_owned())),
        ("${a", Some("syntax error: missing '}'".to_owned())),
        ("${", Some("syntax error: missing '}'".to_owned())),
        ("${a:-b", Some("syntax error: missing '}'".to_owned())),
        ("${a:-'b}", Some("syntax error: missing '}'".to_owned())),
        ("${f/ba}", Some("syntax error: missing '/' in ${}".to_owned())),
        ("${f/ba/x", Some("syntax error: missing '}'".to_owned())),
        (
            r"${f#\a}",
            Some(r"invalid pattern (\a) in substitution: invalid escape".to_owned()),
        ),
        ("'a", Some(unmatched(single))),
        ("\"a", Some(unmatched(double))),
        ("\"a\\", Some(unmatched(double))),
    ] {
        assert_eq!(expand(text).err(), expected, "{text}");
    }
}

#[test]
fn word_lists_split_at_open_blanks() {
    let words = |text: &str| {
        let mut expander = Expander::new(Escape::Backslash, &lookup);
        expander.words(&Word::new(text)).unwrap()
    };
    assert_eq!(words("$w"), ["3000", "4000/udp"]);
    assert_eq!(words("x$w"), ["x3000", "4000/udp"]);
    assert_eq!(words("\"$w\""), ["3000 4000/udp"]);
    assert_eq!(words(r"a\ b"), ["a b"]);
    assert!(words("$u").is_empty());
    assert!(words("''").is_empty());
}

#[test]
fn heredocs_keep_quotes() {
    let mut expander = Expander::new(Escape::Backtick, &lookup);
    for (body, expected) in [
        ("\"q\" 'q' $a\n", "\"q\" 'q' value\n"),
        ("'$a'", "'value'"),
        (r"\$a \\ \a", r"$a \ a"),
        ("x\\\ny", "x\ny"),
        ("`$a", "`value"),
        ("${u:-\"x\"}", "\"x\""),
    ] {
        assert_eq!(expander.heredoc(body).unwrap(), expected, "{body:?}");
    }
}

#[test]
fn the_escape_token_is_the_files() {
    let mut expander = Expander::new(Escape::Backtick, &lookup);
    for (text, expected) in [(r"C:\x", r"C:\x"), ("`$a", "$a"), ("\"`$a\\\"", "$a\\")] {
        assert_eq!(expander.word(&Word::new(text)).unwrap(), expected, "{text}");
    }
}

#[test]
fn reports_the_names_it_looked_up() {
    let mut expander = Expander::new(Escape::Backslash, &lookup);
    expander.word(&Word::new("$a $x ${y} ${z:-$e} '$q' ${f#o}")).unwrap();
    let names = expander.names();
    assert_eq!(names.set.iter().collect::<Vec<_>>(), ["a", "e", "f"]);
    assert_eq!(names.unset.iter().collect::<Vec<_>>(), ["x", "y", "z"]);
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let nested = |depth: usize| "${u:-".repeat(depth) + "x" + &"}".repeat(depth);
    assert_eq!(expand(&nested(MAX_DEPTH)).as_deref(), Ok("x"));
    assert_eq!(expand(&nested(100_000)).err(), Some(ExpandProblem::TooDeep.to_string()));
    assert_eq!(
        expand(&"${u:-".repeat(100_000)).err(),
        Some(ExpandProblem::TooDeep.to_string())
    );
}

#[test]
fn growth_is_an_error_and_no_crash() {
    let kibibyte = "x".repeat(1024);
    let lookup = |_: &str| Some(kibibyte.clone());
    let expand = |text: &str| Expander::new(Escape::Backslash, &lookup).word(&Word::new(text));
    assert_eq!(expand(&"$a".repeat(1000)).map(|text| text.len()), Ok(1024 * 1000));
    for text in [
        "$a".repeat(200_000),
        format!("${{a//x/{}}}", "y".repeat(200_000)),
        format!("${{a#{}}}", "?".repeat(1024)).repeat(2100),
        format!("{}$a{}", "${u:-".repeat(150), "}".repeat(150)).repeat(1000),
    ] {
        let error = expand(&text).unwrap_err();
        assert_eq!(error.problem, ExpandProblem::Exhausted(Exhausted));
        assert!(error.to_string().len() < 1000, "the word is not shown whole");
    }
}

/// All short texts over the characters that mean something: an error or a result, never a panic.
#[test]
fn nothing_panics() {
    const ALPHABET: [char; 14] = ['$', '{', '}', ':', '-', '?', '/', '#', '%', '\'', '"', '\\', 'a', 'ü'];
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        let longer = texts.iter().flat_map(|text| ALPHABET.map(|c| format!("{text}{c}")));
        texts = longer.collect();
        for text in &texts {
            let mut expander = Expander::new(Escape::Backslash, &lookup);
            let _ = expander.words(&Word::new(format!("${{f{text}")));
            let _ = expander.heredoc(text);
        }
    }
}
