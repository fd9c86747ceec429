//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`.

/// `*` is any string, `?` any character; brackets mean themselves. Kept as the stretches between the stars: at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Stretch>);

/// What lies between two stars; matches as many characters as it has.
type Stretch = Vec<Token>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
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

/// The outcome would be longer than was allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Pattern {
    /// Backslash escapes `*`, `?`, itself, and the two characters that end the operand.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidEscape> {
        let mut stretches = Vec::new();
        let mut stretch = Stretch::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            stretch.push(match c {
                '*' => {
                    stretches.push(std::mem::take(&mut stretch));
                    continue;
                }
                '?' => Token::AnyChar,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    Some(_) | None => return Err(InvalidEscape),
                },
                c => Token::Char(c),
            });
        }
        stretches.push(stretch);
        Ok(Self(stretches))
    }

    /// How many comparisons a search in `value` takes at most.
    pub(super) fn cost(&self, value: &str) -> usize {
        let longest = self.0.iter().map(Vec::len).max().unwrap_or_default();
        value.len().saturating_mul(longest.max(1))
    }

    /// `value` without the prefix that matches.
    pub(super) fn trim_prefix<'v>(&self, value: &'v str, length: Length) -> &'v str {
        let chars: Vec<char> = value.chars().collect();
        match self.end_of_match(&chars, 0, length) {
            Some(matched) => &value[bytes(&chars[..matched])..],
            None => value,
        }
    }

    /// `value` without the suffix that matches.
    pub(super) fn trim_suffix<'v>(&self, value: &'v str, length: Length) -> &'v str {
        let reversed: Vec<char> = value.chars().rev().collect();
        match self.reversed().end_of_match(&reversed, 0, length) {
            Some(matched) => &value[..value.len() - bytes(&reversed[..matched])],
            None => value,
        }
    }

    /// `value` with the longest match at each place replaced, unless that has more than `limit` bytes. Only an empty value
    /// has empty matches.
    pub(super) fn replace(
        &self,
        value: &str,
        replacement: &str,
        matches: Matches,
        limit: usize,
    ) -> Result<String, TooLong> {
        let chars: Vec<char> = value.chars().collect();
        let mut replaced = String::new();
        let mut rest = 0;
        while let Some((start, end)) = self.find(&chars, rest) {
            if start == end && !value.is_empty() {
                break;
            }
            replaced.extend(&chars[rest..start]);
            replaced.push_str(replacement);
            rest = end;
            if replaced.len() > limit {
                return Err(TooLong);
            }
            if matches == Matches::First || start == end {
                break;
            }
        }
        replaced.extend(&chars[rest..]);
        match replaced.len() > limit {
            true => Err(TooLong),
            false => Ok(replaced),
        }
    }

    /// The leftmost longest match at or behind `from`.
    fn find(&self, text: &[char], from: usize) -> Option<(usize, usize)> {
        let start = find(self.0.first()?, text, from)?;
        // What does not follow the first place for the first stretch does not follow a later place either.
        Some((start, self.end_of_match(text, start, Length::Longest)?))
    }

    /// Where the match ends that begins at `start`. A star takes as little as it can, but the last one as `length` says: no
    /// other choice could find more, so none is tried.
    fn end_of_match(&self, text: &[char], start: usize, length: Length) -> Option<usize> {
        let (first, others) = self.0.split_first()?;
        if !fits(first, text.get(start..)?) {
            return None;
        }
        let mut end = start + first.len();
        let Some((last, middle)) = others.split_last() else {
            return Some(end);
        };
        for stretch in middle {
            end = find(stretch, text, end)? + stretch.len();
        }
        let place = match length {
            Length::Shortest => find(last, text, end)?,
            Length::Longest => find_last(last, text, end)?,
        };
        Some(place + last.len())
    }

    fn reversed(&self) -> Self {
        let reversed = |stretch: &Stretch| stretch.iter().rev().copied().collect();
        Self(self.0.iter().rev().map(reversed).collect())
    }
}

/// Whether `text` begins with the stretch.
fn fits(stretch: &[Token], text: &[char]) -> bool {
    let equal = |(token, c): (&Token, &char)| match token {
        Token::AnyChar => true,
        Token::Char(expected) => expected == c,
    };
    stretch.len() <= text.len() && stretch.iter().zip(text).all(equal)
}

/// The first place of the stretch at or behind `from`.
fn find(stretch: &[Token], text: &[char], from: usize) -> Option<usize> {
    places(stretch, text, from).find(|place| fits(stretch, &text[*place..]))
}

/// The last place of the stretch at or behind `from`.
fn find_last(stretch: &[Token], text: &[char], from: usize) -> Option<usize> {
    places(stretch, text, from).rfind(|place| fits(stretch, &text[*place..]))
}

fn places(stretch: &[Token], text: &[char], from: usize) -> std::ops::Range<usize> {
    let end = (text.len() + 1).saturating_sub(stretch.len());
    from..end.max(from)
}

fn bytes(chars: &[char]) -> usize {
    chars.iter().map(|c| c.len_utf8()).sum()
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
                pattern(text).replace(value, replacement, matches, 20).unwrap(),
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

    #[test]
    fn long_outcomes_are_refused_before_they_are_made() {
        let replace = |limit| pattern("a").replace(&"a".repeat(10), "xy", Matches::All, limit);
        assert_eq!(replace(20), Ok("xy".repeat(10)));
        assert_eq!(replace(19), Err(TooLong));
        assert_eq!(pattern("b").replace("aaa", "", Matches::All, 2), Err(TooLong));
    }

    /// Against the definition: a prefix matches if some way to fill the stars makes it equal.
    #[test]
    fn agrees_with_trying_every_way() {
        fn is_match(pattern: &[char], text: &[char]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some(('*', rest)), _) => (0..=text.len()).any(|taken| is_match(rest, &text[taken..])),
                (Some((p, pattern)), Some((t, text))) => (*p == '?' || p == t) && is_match(pattern, text),
                (None, Some(_)) | (Some(_), None) => false,
            }
        }
        fn texts(alphabet: &[char], length: usize) -> Vec<String> {
            let mut all = vec![String::new()];
            for _ in 0..length {
                let longer: Vec<_> = all
                    .iter()
                    .flat_map(|t| alphabet.iter().map(move |c| format!("{t}{c}")))
                    .collect();
                all.extend(longer);
            }
            all.sort();
            all.dedup();
            all
        }
        for shape in texts(&['a', 'b', '*', '?'], 4) {
            let (shape_chars, compiled): (Vec<char>, _) = (shape.chars().collect(), pattern(&shape));
            for text in texts(&['a', 'b'], 5) {
                let chars: Vec<char> = text.chars().collect();
                let mut lengths = (0..=chars.len()).filter(|length| is_match(&shape_chars, &chars[..*length]));
                let (shortest, longest) = (lengths.next(), lengths.next_back());
                let left = |length: Option<usize>| &text[length.unwrap_or_default()..];
                assert_eq!(
                    compiled.trim_prefix(&text, Length::Shortest),
                    left(shortest),
                    "{shape} {text}"
                );
                assert_eq!(
                    compiled.trim_prefix(&text, Length::Longest),
                    left(longest.or(shortest)),
                    "{shape} {text}"
                );
                let (from, first) = (0..=chars.len())
                    .find_map(|from| {
                        let end = (from..=chars.len()).rfind(|end| is_match(&shape_chars, &chars[from..*end]))?;
                        Some((from, end))
                    })
                    .unwrap_or((0, 0));
                if first > from {
                    let expected = format!("{}-{}", &text[..from], &text[first..]);
                    assert_eq!(
                        compiled.replace(&text, "-", Matches::First, 20),
                        Ok(expected),
                        "{shape} {text}"
                    );
                }
            }
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
