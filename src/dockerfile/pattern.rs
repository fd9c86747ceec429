//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`.

/// `*` is any string, `?` any character; brackets mean themselves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, PartialEq, Eq)]
enum Token {
    AnyString,
    AnyChar,
    Char(char),
}

/// How much a pattern takes when it could take more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Shortest,
    Longest,
}

/// Which matches are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matches {
    First,
    All,
}

/// A backslash before something that needs none, or at the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidEscape;

impl Pattern {
    /// Backslash escapes `*`, `?`, itself, and the two characters that end the operand.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidEscape> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::AnyString,
                '?' => Token::AnyChar,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    Some(_) | None => return Err(InvalidEscape),
                },
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }

    /// `value` without the prefix that matches.
    pub(super) fn trim_prefix<'v>(&self, value: &'v str, length: Length) -> &'v str {
        match prefix_length(
            self.0.iter(),
            value.char_indices().map(|(at, c)| (at + c.len_utf8(), c)),
            length,
        ) {
            Some(matched) => &value[matched..],
            None => value,
        }
    }

    /// `value` without the suffix that matches.
    pub(super) fn trim_suffix<'v>(&self, value: &'v str, length: Length) -> &'v str {
        let reversed = value.char_indices().rev().map(|(at, c)| (value.len() - at, c));
        match prefix_length(self.0.iter().rev(), reversed, length) {
            Some(matched) => &value[..value.len() - matched],
            None => value,
        }
    }

    /// `value` with the longest match at each place replaced. Only an empty value has empty matches.
    pub(super) fn replace(&self, value: &str, replacement: &str, matches: Matches) -> String {
        let mut replaced = String::new();
        let mut rest = value;
        loop {
            let chars = rest.char_indices().map(|(at, c)| (at + c.len_utf8(), c));
            let matched = prefix_length(self.0.iter(), chars, Length::Longest);
            match matched.filter(|length| *length > 0 || value.is_empty()) {
                Some(length) => {
                    replaced.push_str(replacement);
                    rest = &rest[length..];
                    if matches == Matches::First {
                        break;
                    }
                }
                None => replaced.extend(rest.chars().next()),
            }
            if matched.is_none_or(|length| length == 0) {
                rest = rest
                    .get(rest.chars().next().map_or(0, char::len_utf8)..)
                    .unwrap_or_default();
            }
            if rest.is_empty() {
                break;
            }
        }
        replaced + rest
    }
}

/// Bytes of the shortest or longest prefix of `text` that matches, by following all alternatives at
/// once: the work is bounded by the product of the lengths. `text` yields each character with the
/// number of bytes up to its end.
fn prefix_length<'t>(
    tokens: impl Iterator<Item = &'t Token>,
    text: impl Iterator<Item = (usize, char)>,
    length: Length,
) -> Option<usize> {
    let tokens: Vec<&Token> = tokens.collect();
    // states[i]: the first i tokens match what was read.
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    skip_any_strings(&tokens, &mut states);
    let mut matched = states[tokens.len()].then_some(0);
    for (end, c) in text {
        if !states.contains(&true) || (length == Length::Shortest && matched.is_some()) {
            break;
        }
        let mut next = vec![false; tokens.len() + 1];
        for (i, token) in tokens.iter().enumerate().filter(|(i, _)| states[*i]) {
            match token {
                Token::AnyString => next[i] = true,
                Token::AnyChar => next[i + 1] = true,
                Token::Char(expected) => next[i + 1] |= *expected == c,
            }
        }
        skip_any_strings(&tokens, &mut next);
        states = next;
        if states[tokens.len()] {
            matched = Some(end);
        }
    }
    matched
}

/// `*` matches nothing too.
fn skip_any_strings(tokens: &[&Token], states: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::AnyString if states[i] => states[i + 1] = true,
            Token::AnyString | Token::AnyChar | Token::Char(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn trims() {
        use Length::{Longest, Shortest};
        for (value, text, length, expected) in [
            ("foobarbaz", "f*b", Shortest, "arbaz"),
            ("foobarbaz", "f*b", Longest, "az"),
            ("foobarbaz", "x*", Longest, "foobarbaz"),
            ("foobarbaz", "*", Shortest, "foobarbaz"),
            ("foobarbaz", "*", Longest, ""),
            ("äöü", "?", Shortest, "öü"),
            ("*a", "\\*", Longest, "a"),
            ("[a]b", "[a]", Longest, "b"),
            ("a/b", "a\\/", Longest, "b"),
            ("", "a", Longest, ""),
        ] {
            assert_eq!(pattern(text).trim_prefix(value, length), expected, "{value} # {text}");
        }
        for (value, text, length, expected) in [
            ("foobarbaz", "b*", Shortest, "foobar"),
            ("foobarbaz", "b*", Longest, "foo"),
            ("a.tar.gz", ".*", Shortest, "a.tar"),
            ("a.tar.gz", ".*", Longest, "a"),
            ("äöü", "?", Shortest, "äö"),
            ("abc", "b", Longest, "abc"),
        ] {
            assert_eq!(pattern(text).trim_suffix(value, length), expected, "{value} % {text}");
        }
    }

    #[test]
    fn replaces() {
        use Matches::{All, First};
        for (value, text, replacement, matches, expected) in [
            ("foobarbaz", "ba", "fo", First, "fooforbaz"),
            ("foobarbaz", "ba", "fo", All, "fooforfoz"),
            ("xxxa", "x*", "", First, ""),
            ("a/b/c", "\\/", "-", All, "a-b-c"),
            ("aaa", "a", "", All, ""),
            ("äa", "a", "ö", All, "äö"),
            ("abc", "", "x", All, "abc"),
            ("abc", "", "x", First, "abc"),
            ("", "*", "x", All, "x"),
            ("", "a", "x", All, ""),
            ("aXbX", "?X", "-", All, "--"),
        ] {
            assert_eq!(
                pattern(text).replace(value, replacement, matches),
                expected,
                "{value} / {text} / {replacement}"
            );
        }
    }

    #[test]
    fn refuses_other_escapes() {
        for text in ["\\a", "\\", "a\\["] {
            assert_eq!(Pattern::parse(text), Err(InvalidEscape), "{text}");
        }
    }

    /// A backtracking matcher would not come back from this.
    #[test]
    fn many_stars_are_no_trap() {
        let value = "a".repeat(2000);
        assert_eq!(
            pattern(&"*a".repeat(50)).trim_prefix(&(value.clone() + "b"), Length::Longest),
            "b"
        );
        assert_eq!(
            pattern(&("*a".repeat(50) + "c")).trim_prefix(&value, Length::Longest),
            value
        );
    }
}
