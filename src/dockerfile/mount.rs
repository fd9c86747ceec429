//! `RUN --mount`: the option's fields, split but not interpreted.
//!
//! BuildKit expands the values and validates them when the stage is built, so a mistake in a stage
//! that is not needed goes unnoticed; only `from` is settled at parse time.

use super::error::ParseProblem;
use super::instruction::Word;

/// One `--mount`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Fields in order, keys in lower case.
    pub fields: Vec<MountField>,
}

/// `key=value` or a key alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountField {
    /// In lower case.
    pub key: String,
    /// After the `=`; not expanded when the key is `from`.
    pub value: Option<Word>,
}

impl Mount {
    /// The stage, image or named context the mount shows.
    #[must_use]
    pub fn from(&self) -> Option<&str> {
        let field = self.fields.iter().rev().find(|field| field.key == "from")?;
        let value = field.value.as_ref()?.as_written();
        Some(value).filter(|value| !value.is_empty())
    }
}

/// Splits the value of `--mount`.
pub(super) fn parse(text: &str) -> Result<Mount, ParseProblem> {
    let mut fields = Vec::new();
    for field in split_csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        let key = key.to_lowercase();
        if key == "from" && value.is_some_and(|value| value.contains('$')) {
            return Err(ParseProblem::VariableInMountFrom);
        }
        fields.push(MountField {
            key,
            value: value.map(Word::new),
        });
    }
    Ok(Mount { fields })
}

/// One record of RFC 4180: a field that starts with a quote ends with one, and `""` within is a quote.
fn split_csv(text: &str) -> Result<Vec<String>, ParseProblem> {
    let malformed = || ParseProblem::MalformedMount { value: text.to_owned() };
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted).ok_or_else(malformed)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err(malformed());
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => return Err(malformed()),
        }
    }
}

fn take_quoted(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, Option<String>)> {
        let mount = parse(text).unwrap();
        let pair = |field: MountField| (field.key, field.value.map(|value| value.as_written().to_owned()));
        mount.fields.into_iter().map(pair).collect()
    }

    #[test]
    fn splits_fields() {
        let text = |s: &str| s.to_owned();
        assert_eq!(
            fields("TYPE=cache,target=/c,ro"),
            [
                (text("type"), Some(text("cache"))),
                (text("target"), Some(text("/c"))),
                (text("ro"), None)
            ]
        );
        assert_eq!(fields("\"target=/a,b\"\"c\",id=x=y")[0].1, Some(text("/a,b\"c")));
        assert_eq!(fields("id=x=y")[0].1, Some(text("x=y")));
    }

    #[test]
    fn from_is_settled_while_parsing() {
        assert_eq!(parse("from=build,target=/x").unwrap().from(), Some("build"));
        assert_eq!(parse("from=$x").unwrap_err(), ParseProblem::VariableInMountFrom);
    }

    #[test]
    fn refuses_what_is_not_csv() {
        for text in ["a\"b", "\"a", "\"a\"b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
