//! The comments at the top of a file that are more than comments.
//!
//! BuildKit looks for them twice, with different eyes. Its parser wants `escape`, tolerates blanks before the `#`, and stops at
//! a `#!` line. Its front door wants `syntax` and `check`, skips a `#!` line, and wants the `#` first. Both stop at the first
//! line that is no directive.

use super::error::ParseProblem;
use super::excerpt::Span;
use super::instruction::{Directive, Directives, Escape};
use super::lines::{LineError, without_bom};
use super::visits;

/// The directives of a file and the last line that belongs to them.
pub(super) fn read(text: &[u8]) -> Result<(Directives, u32), LineError> {
    let text = without_bom(text);
    let lenient = Run::read(text, Form::Indented);
    if let Some((name, line)) = lenient.duplicate {
        let name = name.to_owned();
        return Err((ParseProblem::DuplicateDirective { name }, Span::line(line)));
    }
    let strict = Run::read(text, Form::Hash);
    let last = lenient.last.max(strict.last);
    let escape = match lenient.get("escape") {
        Some(directive) => parse_escape(&directive).map_err(|problem| (problem, Span::line(directive.line)))?,
        None => Escape::default(),
    };
    let directives = Directives {
        syntax: syntax(text),
        escape,
        check: strict.get("check"),
    };
    Ok((directives, last))
}

/// `# syntax=`, `// syntax=`, or the member of that name in a file that is a JSON object.
pub(super) fn syntax(text: &[u8]) -> Option<Directive> {
    let text = without_bom(text);
    let commented = |form| Run::read(text, form).get("syntax");
    commented(Form::Hash)
        .or_else(|| commented(Form::Slashes))
        .or_else(|| json_syntax(text))
}

fn json_syntax(text: &[u8]) -> Option<Directive> {
    let shebang = first_shebang(text);
    let text = &text[shebang.len()..];
    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    let value = object.get("syntax")?.as_str()?.to_owned();
    let line = 1 + u32::from(!shebang.is_empty());
    Some(Directive { value, line })
}

/// How a directive may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `#`, blanks before it.
    Indented,
    /// `#` as the first character.
    Hash,
    /// `//`
    Slashes,
}

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// An unbroken run of directives.
struct Run {
    found: Vec<(&'static str, Directive)>,
    /// One that was there before; the run ends with it.
    duplicate: Option<(&'static str, u32)>,
    /// The last line of the run, a `#!` line included.
    last: u32,
}

impl Run {
    fn read(text: &[u8], form: Form) -> Self {
        let mut run = Self {
            found: Vec::new(),
            duplicate: None,
            last: 0,
        };
        let mut lines = (1..).zip(text.split(|b| *b == b'\n'));
        if form != Form::Indented && !first_shebang(text).is_empty() {
            lines.next();
            run.last = 1;
        }
        for (number, line) in lines {
            visits::count(line.len());
            let Some((name, value)) = parse_directive(line, form) else {
                break;
            };
            if run.found.iter().any(|(known, _)| *known == name) {
                run.duplicate = Some((name, number));
                break;
            }
            run.found.push((name, Directive { value, line: number }));
            run.last = number;
        }
        run
    }

    fn get(&self, name: &str) -> Option<Directive> {
        let mut found = self.found.iter();
        found.find(|(known, _)| *known == name).map(|(_, found)| found.clone())
    }
}

/// The first line with its end if it names an interpreter, else nothing.
fn first_shebang(text: &[u8]) -> &[u8] {
    match text.starts_with(b"#!") {
        true => text.split_inclusive(|b| *b == b'\n').next().unwrap_or_default(),
        false => b"",
    }
}

/// `# name = value`
fn parse_directive(line: &[u8], form: Form) -> Option<(&'static str, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let comment = match form {
        Form::Indented => line.trim_start().strip_prefix('#')?,
        Form::Hash => line.strip_prefix('#')?,
        Form::Slashes => line.strip_prefix("//")?,
    };
    let (name, value) = comment.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let known = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    (!value.is_empty()).then(|| (known, value.to_owned()))
}

fn parse_escape(directive: &Directive) -> Result<Escape, ParseProblem> {
    match directive.value.as_str() {
        "\\" => Ok(Escape::Backslash),
        "`" => Ok(Escape::Backtick),
        token => Err(ParseProblem::InvalidEscape {
            token: token.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directives(text: &str) -> Result<Directives, LineError> {
        read(text.as_bytes()).map(|(directives, _)| directives)
    }

    #[test]
    fn l10_l18_escape_and_where_it_counts() {
        let escape = |text: &str| directives(text).unwrap().escape;
        for (row, text, expected) in [
            (10, "# escape=`\n", Escape::Backtick),
            (10, "#escape=`\n", Escape::Backtick),
            (10, "  # escape=`\n", Escape::Backtick),
            (10, "\u{feff}# escape=`\n", Escape::Backtick),
            (11, "# EsCaPe \t=  ` \r\n", Escape::Backtick),
            (11, "# EsCaPe = \\\n", Escape::Backslash),
            (12, "# hello\n# escape=`\n", Escape::Backslash),
            (12, "\n# escape=`\n", Escape::Backslash),
            (12, "FROM a\n# escape=`\n", Escape::Backslash),
            (12, "# escape=\n# escape=`\n", Escape::Backslash),
            (13, "# foo=bar\n# escape=`\n", Escape::Backslash),
            (16, "# syntax=x\n# check=y\n# escape=`\n", Escape::Backtick),
            (16, "# escape=`\n# check=y\n# syntax=x\n", Escape::Backtick),
            (17, "#!/bin/x\n# escape=`\n", Escape::Backslash),
        ] {
            assert_eq!(escape(text), expected, "row {row}: {text:?}");
        }
    }

    #[test]
    fn l14_l15_mistakes_in_directives() {
        for (row, text, problem, line) in [
            (
                14,
                "# escape=`\n# ESCAPE=`\n",
                "only one escape parser directive can be used",
                2,
            ),
            (
                14,
                "# syntax=a\n# check=b\n# syntax=a\n",
                "only one syntax parser directive can be used",
                3,
            ),
            (
                14,
                "# check=a\n# check=a\n",
                "only one check parser directive can be used",
                2,
            ),
            (15, "# escape=x\n", "invalid escape token 'x' does not match ` or \\", 1),
            (
                15,
                "# escape=``\n",
                "invalid escape token '``' does not match ` or \\",
                1,
            ),
        ] {
            let (found, span) = directives(text).unwrap_err();
            assert_eq!(
                (found.to_string().as_str(), span.first),
                (problem, line),
                "row {row}: {text:?}"
            );
        }
        // What ends the run of one kind of scanner is no mistake of the other.
        assert!(directives("#!/x\n# check=a\n# check=b\n").is_ok());
    }

    #[test]
    fn l16_l19_syntax_and_check() {
        for (row, text, syntax, check) in [
            (
                16,
                "# syntax=a\n# escape=`\n# check=b\n",
                Some(("a", 1)),
                Some(("b", 3)),
            ),
            (16, "# check=b\n# SYNTAX = a\n", Some(("a", 2)), Some(("b", 1))),
            (17, "#!/bin/x\n# syntax=a\n", Some(("a", 2)), None),
            (17, "\u{feff}#!/bin/x\r\n# syntax=a\r\n", Some(("a", 2)), None),
            (18, "# syntax = img // opts\n", Some(("img // opts", 1)), None),
            (19, "//syntax=img\n", Some(("img", 1)), None),
            (19, "#!/x\n// Syntax = img\n", Some(("img", 2)), None),
            (19, "{\"syntax\":\"img\"}", Some(("img", 1)), None),
            (19, "#!/x\n{\n\"syntax\": \"img\"\n}\n", Some(("img", 2)), None),
            (19, "{\"syntax\":1}", None, None),
            (19, "{\"syntax\":\"img\"", None, None),
            (19, "//check=all\n", None, None),
            (16, " # syntax=a\n", None, None),
            (16, "# a\n# syntax=a\n", None, None),
        ] {
            let found = directives(text).unwrap();
            let pair = |directive: Option<Directive>| directive.map(|found| (found.value, found.line));
            let owned = |pair: Option<(&str, u32)>| pair.map(|(value, line)| (value.to_owned(), line));
            assert_eq!(pair(found.syntax), owned(syntax), "row {row}: {text:?}");
            assert_eq!(pair(found.check), owned(check), "row {row}: {text:?}");
        }
    }
}
