//! Splitting of an instruction's argument text: blanks, `key=value` words, JSON arrays.

use super::error::ParseProblem;
use super::instruction::{Escape, KeyValue, Word};
use super::visits;

/// What the argument text is when an exec form is possible.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON array of strings.
    Exec(Vec<String>),
    /// Anything else, broken JSON included.
    Shell,
}

/// Tries the exec form. An array with elements other than strings is a mistake; any other broken
/// JSON is taken for a shell command, as BuildKit does.
pub(super) fn exec_form(text: &str) -> Result<Form, ParseProblem> {
    visits::count(text.len());
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(Form::Shell);
    }
    let Ok(elements) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(Form::Shell);
    };
    let strings = elements.into_iter().map(|element| match element {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(ParseProblem::NotStrings),
    });
    Ok(Form::Exec(strings.collect::<Result<_, _>>()?))
}

/// Splits at blanks, nothing protects them.
pub(super) fn split_blanks(text: &str) -> impl Iterator<Item = &str> {
    visits::count(text.len());
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// Cuts `text` at its first run of blanks.
pub(super) fn split_once_blank(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once(is_blank)?;
    Some((first, rest.trim_start_matches(is_blank)))
}

/// Blanks between the words of an instruction: those of ASCII.
pub(super) const fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// Splits at blanks outside quotes; quotes and escapes stay in the words for the expansion.
pub(super) fn split_quoted(text: &str, escape: Escape) -> Vec<String> {
    visits::count(text.len());
    let token = escape.token();
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => words.extend(take_word(&mut word)),
            // An escape token that ends the text is dropped.
            _ if c == token && quote != Some('\'') => {
                if let Some(next) = chars.next() {
                    word.extend([c, next]);
                }
            }
            None => {
                if matches!(c, '\'' | '"') {
                    quote = Some(c);
                }
                word.push(c);
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
                word.push(c);
            }
        }
    }
    words.extend(take_word(&mut word));
    words
}

/// A word cannot be empty: an empty pair of quotes still has its quotes here.
fn take_word(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}

/// Whether ENV or LABEL with these operands names one key, with the rest of the line as its value.
pub(super) fn is_legacy_pair(text: &str, escape: Escape) -> bool {
    split_quoted(text, escape)
        .first()
        .is_some_and(|first| is_legacy_word(first))
}

fn is_legacy_word(first: &str) -> bool {
    !first.contains('=')
}

/// Operands of ENV and LABEL: `key=value` words, or one key and the rest of the line as its value.
pub(super) fn key_values(keyword: &'static str, text: &str, escape: Escape) -> Result<Vec<KeyValue>, ParseProblem> {
    let words = split_quoted(text, escape);
    let Some(first) = words.first() else {
        return Err(ParseProblem::AtLeastOne { keyword });
    };
    let pair = |key: &str, value: &str| match key {
        "" => Err(ParseProblem::BlankName { keyword }),
        _ => Ok(KeyValue {
            key: Word::new(key),
            value: Word::new(value),
        }),
    };
    if is_legacy_word(first) {
        let (key, value) = split_once_blank(text).ok_or(ParseProblem::MissingValue { keyword })?;
        return Ok(vec![pair(key, value)?]);
    }
    let split = |word: &String| match word.split_once('=') {
        Some((key, value)) => pair(key, value),
        None => Err(ParseProblem::NoEquals { word: word.clone() }),
    };
    words.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_or_shell() {
        let exec = |words: &[&str]| Ok(Form::Exec(words.iter().map(|w| (*w).to_owned()).collect()));
        for (text, expected) in [
            (r#"["a","b"]"#, exec(&["a", "b"])),
            ("  [ \"a\" ,\t\"b\" ] ", exec(&["a", "b"])),
            ("[]", exec(&[])),
            (r#"["\u2603\n\t\/\""]"#, exec(&["\u{2603}\n\t/\""])),
            ("['a']", Ok(Form::Shell)),
            (r#"["a"] x"#, Ok(Form::Shell)),
            (r#"["a",]"#, Ok(Form::Shell)),
            (r#"["c:\windows"]"#, Ok(Form::Shell)),
            (r#"["a"]x"#, Ok(Form::Shell)),
            ("[]oops", Ok(Form::Shell)),
            ("a [", Ok(Form::Shell)),
            (r#"["a",1]"#, Err(ParseProblem::NotStrings)),
            (r#"["a",null]"#, Err(ParseProblem::NotStrings)),
            (r#"["a",["b"]]"#, Err(ParseProblem::NotStrings)),
            (r#"["a",{}]"#, Err(ParseProblem::NotStrings)),
        ] {
            assert_eq!(exec_form(text), expected, "{text}");
        }
    }

    #[test]
    fn quoted_words_keep_their_quotes() {
        for (text, expected) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            ("a='b c' d", vec!["a='b c'", "d"]),
            (r#"a="b c\" d" e"#, vec![r#"a="b c\" d""#, "e"]),
            (r"a=b\ c d", vec![r"a=b\ c", "d"]),
            (r"a='b\' c", vec![r"a='b\'", "c"]),
            (r#""""#, vec![r#""""#]),
            ("a\\", vec!["a"]),
            ("  ", vec![]),
        ] {
            assert_eq!(split_quoted(text, Escape::Backslash), expected, "{text}");
        }
        assert_eq!(split_quoted("a` b c\\ d", Escape::Backtick), ["a` b", "c\\", "d"]);
    }

    #[test]
    fn pairs_and_the_legacy_form() {
        let pairs = |text: &str| {
            key_values("ENV", text, Escape::Backslash).map(|pairs| {
                let text = |pair: &KeyValue| format!("{}|{}", pair.key.as_written(), pair.value.as_written());
                pairs.iter().map(text).collect::<Vec<_>>()
            })
        };
        assert_eq!(pairs("a b  c").unwrap(), ["a|b  c"]);
        assert_eq!(pairs("ONE TWO= THREE=x").unwrap(), ["ONE|TWO= THREE=x"]);
        assert_eq!(pairs("a=b=c d=").unwrap(), ["a|b=c", "d|"]);
        assert_eq!(pairs(r#""k.x"="v w""#).unwrap(), [r#""k.x"|"v w""#]);
        assert_eq!(pairs("a").unwrap_err().to_string(), "ENV must have two arguments");
        assert_eq!(pairs("").unwrap_err().to_string(), "ENV requires at least one argument");
        assert_eq!(pairs("=b").unwrap_err().to_string(), "ENV names can not be blank");
        assert_eq!(
            pairs("a=b c").unwrap_err().to_string(),
            "Syntax error - can't find = in \"c\". Must be of the form: name=value"
        );
    }
}
