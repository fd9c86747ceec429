//! The keyword and the `--flags` behind it.

use super::error::{Hint, ParseProblem, closest};
use super::instruction::Escape;
use super::visits;
use super::words::split_once_blank;

/// An instruction's line in its three parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitLine<'a> {
    /// As written.
    pub(super) keyword: &'a str,
    /// The flags in order, dashes removed, quotes and escapes processed.
    pub(super) flags: Flags,
    /// The rest, trimmed.
    pub(super) arguments: &'a str,
}

/// Flags as found; each instruction takes those it knows and then calls [`Flags::finish`].
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Flags {
    found: Vec<Flag>,
    known: Vec<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
struct Flag {
    name: String,
    value: Option<String>,
}

/// A mistake in a flag and what was probably meant.
pub(super) type FlagError = (ParseProblem, Option<Hint>);

/// Splits a logical line.
pub(super) fn split_line(line: &str, escape: Escape) -> SplitLine<'_> {
    visits::count(line.len());
    let line = line.trim();
    let (keyword, mut rest) = split_once_blank(line).unwrap_or((line, ""));
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            break;
        }
        let (word, after) = take_flag_word(rest, escape);
        visits::count(rest.len() - after.len());
        rest = after;
        match word.as_str() {
            // The bare marker ends the flags and is no argument itself.
            "--" => break,
            flag => found.push(parse_flag(flag)),
        }
    }
    SplitLine {
        keyword,
        flags: Flags {
            found,
            known: Vec::new(),
        },
        arguments: rest.trim(),
    }
}

/// One word with its quotes and escapes processed, and what follows it.
fn take_flag_word(text: &str, escape: Escape) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, &text[at..]),
            _ if c == escape.token() => word.extend(chars.next().map(|(_, next)| next)),
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => word.push(c),
        }
    }
    (word, "")
}

fn parse_flag(word: &str) -> Flag {
    let word = word.strip_prefix("--").unwrap_or(word);
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    Flag {
        name: name.to_owned(),
        value,
    }
}

impl Flags {
    /// The value of a flag that may stand once.
    pub(super) fn string(&mut self, name: &'static str) -> Result<Option<String>, FlagError> {
        let mut values = self.strings(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err((ParseProblem::DuplicateFlag { flag: name.to_owned() }, None)),
        }
    }

    /// The values of a flag that may be repeated.
    pub(super) fn strings(&mut self, name: &'static str) -> Result<Vec<String>, FlagError> {
        let value = |flag: Flag| {
            flag.value
                .ok_or_else(|| (ParseProblem::MissingFlagValue { flag: name.to_owned() }, None))
        };
        self.take(name).into_iter().map(value).collect()
    }

    /// A flag that is bare, `=true` or `=false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, FlagError> {
        let mut taken = self.take(name);
        if taken.len() > 1 {
            return Err((ParseProblem::DuplicateFlag { flag: name.to_owned() }, None));
        }
        let Some(flag) = taken.pop() else {
            return Ok(None);
        };
        match flag.value.as_deref().map(str::to_lowercase).as_deref() {
            None | Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some("") => Err((ParseProblem::MissingFlagValue { flag: name.to_owned() }, None)),
            Some(_) => Err((
                ParseProblem::NotBoolean {
                    flag: name.to_owned(),
                    value: flag.value.unwrap_or_default(),
                },
                None,
            )),
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), FlagError> {
        match self.found.into_iter().next() {
            None => Ok(()),
            Some(flag) => {
                let hint = closest(&flag.name, self.known.iter().copied());
                let hint = hint.map(|hint| match hint {
                    Hint::DidYouMean(name) => Hint::DidYouMean(format!("--{name}")),
                    advice @ (Hint::Try(_) | Hint::OneOf(..)) => advice,
                });
                Err((ParseProblem::UnknownFlag { flag: flag.name }, hint))
            }
        }
    }

    fn take(&mut self, name: &'static str) -> Vec<Flag> {
        visits::count(self.found.len());
        self.known.push(name);
        self.found.extract_if(.., |flag| flag.name == name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_keyword_flags_and_arguments() {
        for (line, keyword, flags, arguments) in [
            ("RUN x  y ", "RUN", vec![], "x  y"),
            ("  run\tx", "run", vec![], "x"),
            ("RUN", "RUN", vec![], ""),
            (
                "COPY --chown=1:2 --link a b",
                "COPY",
                vec![("chown", Some("1:2")), ("link", None)],
                "a b",
            ),
            ("COPY --chown=\"a b\" x y", "COPY", vec![("chown", Some("a b"))], "x y"),
            ("COPY --chown='a\"b' x y", "COPY", vec![("chown", Some("a\"b"))], "x y"),
            (r"COPY --chown=a\ b x y", "COPY", vec![("chown", Some("a b"))], "x y"),
            (
                r#"COPY --chown="a\"b" x y"#,
                "COPY",
                vec![("chown", Some("a\"b"))],
                "x y",
            ),
            ("COPY --chown= x y", "COPY", vec![("chown", Some(""))], "x y"),
            ("COPY --chown=ä x y", "COPY", vec![("chown", Some("ä"))], "x y"),
            ("COPY -- --src /d/", "COPY", vec![], "--src /d/"),
            ("CMD -- --foo", "CMD", vec![], "--foo"),
            ("CMD --", "CMD", vec![], ""),
            ("COPY --a", "COPY", vec![("a", None)], ""),
            ("COPY x --a", "COPY", vec![], "x --a"),
        ] {
            let split = split_line(line, Escape::Backslash);
            let found: Vec<_> = split
                .flags
                .found
                .iter()
                .map(|flag| (flag.name.as_str(), flag.value.as_deref()))
                .collect();
            assert_eq!(
                (split.keyword, found, split.arguments),
                (keyword, flags, arguments),
                "{line}"
            );
        }
    }

    #[test]
    fn boolean_flags() {
        let parse = |line: &str| split_line(line, Escape::Backslash).flags.boolean("link");
        for (line, expected) in [
            ("COPY a", None),
            ("COPY --link a", Some(true)),
            ("COPY --link=true a", Some(true)),
            ("COPY --link=TRUE a", Some(true)),
            ("COPY --link=false a", Some(false)),
        ] {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
        for (line, text) in [
            ("COPY --link= a", "missing a value on flag: --link"),
            ("COPY --link=yes a", "expecting boolean value for flag --link, not: yes"),
            ("COPY --link=$X a", "expecting boolean value for flag --link, not: $X"),
            ("COPY --link --link a", "duplicate flag specified: --link"),
        ] {
            assert_eq!(parse(line).unwrap_err().0.to_string(), text, "{line}");
        }
    }

    #[test]
    fn string_flags() {
        let mut flags = split_line("COPY --chown 1:1 a b", Escape::Backslash).flags;
        assert_eq!(
            flags.string("chown").unwrap_err().0.to_string(),
            "missing a value on flag: --chown"
        );
        let mut flags = split_line("COPY --chown=1 --chown=2 a b", Escape::Backslash).flags;
        assert_eq!(
            flags.string("chown").unwrap_err().0.to_string(),
            "duplicate flag specified: --chown"
        );
        let mut flags = split_line("COPY --exclude=b --exclude=a x y", Escape::Backslash).flags;
        assert_eq!(flags.strings("exclude").unwrap(), ["b", "a"]);
        assert!(flags.finish().is_ok());
    }

    #[test]
    fn unknown_flags_get_a_suggestion() {
        let mut flags = split_line("RUN --mont=x a", Escape::Backslash).flags;
        flags.strings("mount").unwrap();
        let (problem, hint) = flags.finish().unwrap_err();
        assert_eq!(problem.to_string(), "unknown flag: --mont");
        assert_eq!(hint, Some(Hint::DidYouMean("--mount".to_owned())));
    }
}
