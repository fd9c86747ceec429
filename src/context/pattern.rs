//! Wildcards: Go's `filepath.Match`, which COPY and ADD use, and its extension by `**` in ignore files.
//!
//! A pattern becomes a list of tokens, and matching follows all their positions at once, so that no pattern takes
//! more than path length times pattern length. A large context meets many patterns, nearly all in vain: what every
//! match begins and ends with is compared first, and `**/name` looks at the last name only.

/// A pattern that does not follow the grammar: a class without end, empty or with a bad range, or a trailing backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Code units of names: characters, or single bytes where a name is no UTF-8. Those lie beyond Unicode.
type Unit = u32;

/// First unit that stands for a byte of broken UTF-8.
const BROKEN: Unit = 0x11_0000;

const SLASH: Unit = b'/' as Unit;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// This very unit.
    Unit(Unit),
    /// `?`: one unit but the slash.
    One,
    /// `*`: any number of units but slashes.
    Star,
    /// `[…]`. As in Go a class matches a slash too if it says so, and a negated one does unless it says so.
    Class { negated: bool, ranges: Vec<(Unit, Unit)> },
    /// `**` at the end: any number of units.
    Rest,
    /// `**` before something: nothing, or anything that ends in a slash.
    Deep,
    /// The inside of a `Deep` that is not empty; always follows one.
    DeepInside,
}

impl Token {
    /// Whether the unit may stand where the token does.
    fn takes(&self, unit: Unit) -> bool {
        match self {
            Self::Unit(literal) => *literal == unit,
            Self::One | Self::Star => unit != SLASH,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&unit)) != *negated
            }
            Self::Rest | Self::DeepInside => true,
            // It consumes nothing itself; entering it entered what it stands for.
            Self::Deep => false,
        }
    }

    fn may_match_slash(&self) -> bool {
        self.takes(SLASH) || matches!(self, Self::Deep)
    }
}

/// A compiled pattern. Matches whole paths, never parts of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
    /// What every match begins with; compared first, since most paths differ there.
    prefix: Vec<u8>,
    /// What every match ends with.
    suffix: Vec<u8>,
    matching: Matching,
}

/// How a path that begins and ends right is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Matching {
    /// There is but one such path.
    Literal,
    /// By its last name: `**/` and something that no slash can be in.
    Name(Box<Pattern>),
    /// With a bit for each position; for each, those that are reached from it without a unit, itself included.
    Bits(Vec<Positions>),
    /// With a list of positions, since there are more of them than bits.
    List,
}

/// A set of positions between tokens.
type Positions = u128;

impl Pattern {
    /// Compiles a pattern of COPY or ADD: `*`, `?`, `[a-z]`, `[^a]`, and backslash before a literal.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn parse(pattern: &[u8]) -> Result<Self, BadPattern> {
        Ok(Self::from_tokens(Parser::new(pattern).tokens(Dialect::Match)?))
    }

    /// Compiles a cleaned pattern of an ignore file, in which `**` spans directories.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn parse_ignore(pattern: &[u8]) -> Result<Self, BadPattern> {
        Ok(Self::from_tokens(Parser::new(pattern).tokens(Dialect::Ignore)?))
    }

    /// Whether `path` matches.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        if !path.starts_with(&self.prefix) || !path.ends_with(&self.suffix) {
            return false;
        }
        match &self.matching {
            Matching::Literal => path == self.prefix,
            Matching::Name(pattern) => {
                let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                pattern.matches(&path[start..])
            }
            Matching::Bits(reached) => match path.is_ascii() {
                true => self.run_bits(reached, path.iter().copied().map(Unit::from)),
                false => self.run_bits(reached, units(path)),
            },
            Matching::List => self.run(path),
        }
    }

    /// Whether the pattern matches one path only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.matching == Matching::Literal
    }

    /// Whether a path below the directory `dir` might match. Never wrong with no.
    #[must_use]
    pub fn may_match_below(&self, dir: &[u8]) -> bool {
        let common = self.prefix.len().min(dir.len());
        if self.prefix[..common] != dir[..common] {
            return false;
        }
        let slashes = dir.iter().filter(|byte| **byte == b'/').count();
        if self.most_slashes().is_some_and(|most| slashes >= most) {
            return false;
        }
        match self.prefix.get(dir.len()) {
            Some(next) => *next == b'/',
            None => !self.is_literal(),
        }
    }

    /// The largest number of slashes in a match; `None` if there is no limit.
    #[must_use]
    pub fn most_slashes(&self) -> Option<usize> {
        let mut slashes = 0;
        for token in &self.tokens {
            match token {
                Token::Unit(SLASH) | Token::Class { .. } => slashes += 1,
                Token::Rest | Token::Deep | Token::DeepInside => return None,
                Token::Unit(_) | Token::One | Token::Star => {}
            }
        }
        Some(slashes)
    }

    fn from_tokens(tokens: Vec<Token>) -> Self {
        let literals = |tokens: &mut dyn Iterator<Item = &Token>| {
            tokens
                .map_while(|token| match token {
                    Token::Unit(unit) => Some(*unit),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        let prefix = to_bytes(&literals(&mut tokens.iter()));
        let mut suffix = literals(&mut tokens.iter().rev());
        suffix.reverse();
        let mut pattern = Self {
            prefix,
            suffix: to_bytes(&suffix),
            tokens,
            matching: Matching::List,
        };
        pattern.matching = pattern.choose_matching();
        pattern
    }

    fn choose_matching(&self) -> Matching {
        if self.tokens.iter().all(|token| matches!(token, Token::Unit(_))) {
            return Matching::Literal;
        }
        if let [Token::Deep, Token::DeepInside, name @ ..] = &self.tokens[..]
            && !name.iter().any(Token::may_match_slash)
        {
            return Matching::Name(Box::new(Self::from_tokens(name.to_vec())));
        }
        // The position behind the last token needs a bit too.
        if self.tokens.len() >= Positions::BITS as usize {
            return Matching::List;
        }
        let reached = (0..=self.tokens.len()).map(|at| {
            let mut positions = vec![false; self.tokens.len() + 1];
            self.enter(&mut positions, at);
            let bits = positions.iter().enumerate();
            bits.fold(0, |set, (at, reached)| set | Positions::from(*reached) << at)
        });
        Matching::Bits(reached.collect())
    }

    /// Follows every position that the tokens can be at, as a set of bits.
    fn run_bits(&self, reached: &[Positions], path: impl Iterator<Item = Unit>) -> bool {
        let mut now = reached[0];
        for unit in path {
            let mut next = 0;
            let mut left = now;
            while left != 0 {
                let at = left.trailing_zeros() as usize;
                left &= left - 1;
                match self.tokens.get(at) {
                    Some(Token::DeepInside) if unit == SLASH => next |= 1 << at | reached[at + 1],
                    Some(Token::DeepInside) => next |= 1 << at,
                    Some(Token::Star | Token::Rest) if self.tokens[at].takes(unit) => next |= reached[at],
                    Some(token) if token.takes(unit) => next |= reached[at + 1],
                    _ => {}
                }
            }
            if next == 0 {
                return false;
            }
            now = next;
        }
        now >> self.tokens.len() & 1 == 1
    }

    /// Follows every position that the tokens can be at.
    fn run(&self, path: &[u8]) -> bool {
        let mut now = vec![false; self.tokens.len() + 1];
        let mut next = now.clone();
        self.enter(&mut now, 0);
        for unit in units(path) {
            next.fill(false);
            let mut alive = false;
            for (at, token) in self.tokens.iter().enumerate() {
                if !now[at] {
                    continue;
                }
                alive = true;
                match token {
                    Token::DeepInside => {
                        next[at] = true;
                        if unit == SLASH {
                            self.enter(&mut next, at + 1);
                        }
                    }
                    Token::Star | Token::Rest if token.takes(unit) => self.enter(&mut next, at),
                    _ if token.takes(unit) => self.enter(&mut next, at + 1),
                    _ => {}
                }
            }
            if !alive {
                return false;
            }
            std::mem::swap(&mut now, &mut next);
        }
        now[self.tokens.len()]
    }

    /// Marks the position `at` and those that are reached from it without a unit.
    fn enter(&self, positions: &mut [bool], mut at: usize) {
        while !positions[at] {
            positions[at] = true;
            match self.tokens.get(at) {
                Some(Token::Star | Token::Rest) => at += 1,
                Some(Token::Deep) => {
                    positions[at + 1] = true;
                    at += 2;
                }
                _ => return,
            }
        }
    }
}

/// Whether a path component holds a wildcard that is not escaped.
#[must_use]
pub fn has_wildcard(component: &[u8]) -> bool {
    let mut bytes = component.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The bytes without their escaping backslashes.
#[must_use]
pub fn unescape(pattern: &[u8]) -> Vec<u8> {
    let mut literal = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        literal.push(match byte {
            b'\\' => *bytes.next().unwrap_or(byte),
            _ => *byte,
        });
    }
    literal
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `filepath.Match`: two stars are one.
    Match,
    /// Ignore files: two stars span directories.
    Ignore,
}

struct Parser {
    units: Vec<Unit>,
    at: usize,
}

impl Parser {
    fn new(pattern: &[u8]) -> Self {
        Self {
            units: units(pattern).collect(),
            at: 0,
        }
    }

    fn peek(&self) -> Option<Unit> {
        self.units.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Unit> {
        let unit = self.peek()?;
        self.at += 1;
        Some(unit)
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte.into());
        self.at += usize::from(found);
        found
    }

    fn tokens(mut self, dialect: Dialect) -> Result<Vec<Token>, BadPattern> {
        let mut tokens = Vec::with_capacity(self.units.len());
        while let Some(unit) = self.next() {
            match u8::try_from(unit) {
                Ok(b'*') if dialect == Dialect::Ignore && self.accept(b'*') => self.stars(&mut tokens),
                Ok(b'*') if tokens.last() == Some(&Token::Star) => {}
                Ok(b'*') => tokens.push(Token::Star),
                Ok(b'?') => tokens.push(Token::One),
                Ok(b'[') => tokens.push(self.class()?),
                Ok(b'\\') => tokens.push(Token::Unit(self.next().ok_or(BadPattern)?)),
                _ => tokens.push(Token::Unit(unit)),
            }
        }
        Ok(tokens)
    }

    /// Two stars were read. BuildKit turns them into `(.*/)?`, a slash after them included, and into `.*` at the end.
    fn stars(&mut self, tokens: &mut Vec<Token>) {
        let first = tokens.is_empty();
        let slash = self.accept(b'/');
        let rest = &self.units[self.at..];
        // A pattern of `**` and a plain text is compared as a suffix there, so `**x` takes `ax` too,
        // while `**x*` does not take `ax1`.
        let suffix = first
            && !slash
            && !rest
                .iter()
                .any(|unit| matches!(u8::try_from(*unit), Ok(b'*' | b'?' | b'[' | b']' | b'\\')));
        if rest.is_empty() || suffix {
            tokens.push(Token::Rest);
        } else {
            tokens.extend([Token::Deep, Token::DeepInside]);
        }
    }

    /// The opening bracket was read.
    fn class(&mut self) -> Result<Token, BadPattern> {
        let negated = self.accept(b'^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.accept(b']') {
            let low = self.class_member()?;
            let high = if self.accept(b'-') { self.class_member()? } else { low };
            ranges.push((low, high));
        }
        Ok(Token::Class { negated, ranges })
    }

    /// One end of a range; never the last thing in a pattern.
    fn class_member(&mut self) -> Result<Unit, BadPattern> {
        let mut unit = self.next().ok_or(BadPattern)?;
        if unit == Unit::from(b'-') || unit == Unit::from(b']') {
            return Err(BadPattern);
        }
        if unit == Unit::from(b'\\') {
            unit = self.next().ok_or(BadPattern)?;
        }
        if unit >= BROKEN || self.peek().is_none() {
            return Err(BadPattern);
        }
        Ok(unit)
    }
}

fn units(bytes: &[u8]) -> impl Iterator<Item = Unit> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let broken = chunk.invalid().iter().map(|byte| BROKEN + Unit::from(*byte));
        chunk.valid().chars().map(Unit::from).chain(broken)
    })
}

fn to_bytes(units: &[Unit]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len());
    for unit in units {
        match char::from_u32(*unit) {
            Some(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            // Broken units are one byte above the base, so this is that byte.
            None => bytes.push(unit.wrapping_sub(BROKEN) as u8),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_filepath_match_does() {
        for (pattern, path, expected) in [
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("*", "abc", true),
            ("*", "", true),
            ("*", ".hidden", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("**", "a", true),
            ("**", "a/b", false),
            ("**/x", "a/x", true),
            ("**/x", "a/b/x", false),
            ("**/x", "x", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("[!a]", "!", true),
            ("[!a]", "b", false),
            ("arr[[]0].txt", "arr[0].txt", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a\\?b", "a?b", true),
            ("a\\xb", "axb", true),
            ("a?b", "a☺b", true),
            ("a??b", "a☺b", false),
            ("a[^a]b", "a☺b", true),
            ("a[^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("a[^x]b", "a/b", true),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("a]", "a]", true),
            ("*x", "xxx", true),
            ("a.c", "abc", false),
            ("(a|b)+$", "(a|b)+$", true),
            ("a^b", "a^b", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let compiled = Pattern::parse(pattern.as_bytes()).unwrap();
            assert_eq!(compiled.matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_patterns_are_errors_in_both_dialects() {
        for pattern in [
            "[", "[]", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[^", "[^]", "[^bc", "a[", "a[b", "a[b-", "\\", "a\\",
            "[\\", "[a\\", "[x\\-", "*[", "x[]",
        ] {
            assert_eq!(Pattern::parse(pattern.as_bytes()), Err(BadPattern), "{pattern}");
            assert_eq!(Pattern::parse_ignore(pattern.as_bytes()), Err(BadPattern), "{pattern}");
        }
        assert_eq!(Pattern::parse(b"[\xff]"), Err(BadPattern));
    }

    #[test]
    fn two_stars_span_directories_in_ignore_files() {
        for (pattern, path, expected) in [
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("**/x", "x", true),
            ("**/x", "a/x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "ax", false),
            ("**/x", "x/a", false),
            ("x/**", "x", false),
            ("x/**", "x/a", true),
            ("x/**", "x/a/b", true),
            ("x/**", "xa/b", false),
            ("x**", "x", true),
            ("x**", "xa/b", true),
            ("**x", "x", true),
            ("**x", "ax", true),
            ("**x", "b/ax", true),
            ("**x*", "x1", true),
            ("**x*", "b/x1", true),
            ("**x*", "ax1", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("a/**/b", "a/xb", false),
            ("a**b", "ab", true),
            ("a**b", "ax/b", true),
            ("a**b", "axb", false),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "d/a.txt", true),
            ("**/*.txt", "d/a.txt/b", false),
            ("**/**", "a", true),
            ("**/**/x", "x", true),
            ("**/**/x", "a/b/x", true),
            ("*/**", "a", false),
            ("*/**", "a/b/c", true),
            ("***", "a/b", true),
            ("**/a/**/b", "a/b", true),
            ("**/a/**/b", "x/a/y/b", true),
            ("**/a/**/b", "x/y/b", false),
            ("*/x", "a/x", true),
            ("*/x", "x", false),
            ("*/x", "a/b/x", false),
            ("dir/*.g?", "dir/a.go", true),
            ("dir/*.g?", "dir/a/b.go", false),
            ("a.c", "abc", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("**/[a-c]", "x/b", true),
            ("**/[^a-c]", "x/b", false),
            ("ä?", "äö", true),
        ] {
            let compiled = Pattern::parse_ignore(pattern.as_bytes()).unwrap();
            assert_eq!(compiled.matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn names_that_are_no_utf8_match_by_bytes() {
        let star = Pattern::parse(b"a*\xffb").unwrap();
        assert!(star.matches(b"a\xfe\xffb") && !star.matches(b"a\xfeb"));
        assert!(Pattern::parse(b"a?").unwrap().matches(b"a\xff"));
        assert!(!Pattern::parse(b"a?").unwrap().matches(b"a\xff\xff"));
        assert!(Pattern::parse(b"\xff").unwrap().matches(b"\xff"));
    }

    #[test]
    fn what_may_match_below_a_directory() {
        for (pattern, dir, expected) in [
            ("a/b", "a", true),
            ("a/b", "a/b", false),
            ("a/b/c", "a/b", true),
            ("a/b", "b", false),
            ("ab", "a", false),
            ("a*", "a", false),
            ("*/b", "a", true),
            ("*/b", "a/c", false),
            ("a/*/c", "a/b", true),
            ("a[^x]b", "a", true),
            ("**/x", "a", true),
            ("a/**", "b", false),
            ("a/**", "a/b", true),
        ] {
            let compiled = Pattern::parse_ignore(pattern.as_bytes()).unwrap();
            assert_eq!(compiled.may_match_below(dir.as_bytes()), expected, "{pattern} {dir}");
        }
    }

    #[test]
    fn hostile_patterns_take_no_exponential_time() {
        let stars = b"**/".repeat(2000);
        let path = b"a/".repeat(500);
        assert!(
            !Pattern::parse_ignore(&[&stars, &b"b"[..]].concat())
                .unwrap()
                .matches(&path)
        );
        let single = b"*a".repeat(200);
        assert!(
            !Pattern::parse(&[&single, &b"b"[..]].concat())
                .unwrap()
                .matches(&b"a".repeat(2000))
        );
    }

    #[test]
    fn wildcards_and_escapes() {
        for (component, wild, literal) in [
            ("plain", false, "plain"),
            ("a*", true, "a*"),
            ("a\\*", false, "a*"),
            ("a\\\\*", true, "a\\*"),
            ("[a]", true, "[a]"),
            ("?", true, "?"),
            ("end\\", false, "end\\"),
        ] {
            assert_eq!(has_wildcard(component.as_bytes()), wild, "{component}");
            assert_eq!(unescape(component.as_bytes()), literal.as_bytes(), "{component}");
        }
    }
}
