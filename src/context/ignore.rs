//! Ignore files: which of the context's entries a build may see.
//!
//! The algorithm is BuildKit's, kept to the letter: entries are judged parents first, every directory hands its
//! hits down to its entries, and a pattern that could not change the answer is not evaluated. So `foo/x` and then
//! `!foo` leaves `foo/x` excluded: `!foo` was passed over when `foo` was judged, and does not name `foo/x`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::pattern::{BadPattern, Pattern};
use crate::rootfs::{Rootfs, RootfsError, RootfsPath};

/// At the root of a context, or behind the name of a Dockerfile.
const NAME: &str = ".dockerignore";

/// Larger than any that people write; the whole file is read.
const LARGEST: u64 = 4 << 20;

/// An ignore file that was found and read.
#[derive(Clone, Debug)]
pub struct IgnoreFile {
    /// Its name, for messages.
    pub name: String,
    /// Its rules.
    pub patterns: IgnorePatterns,
}

/// Why there are no ignore rules although there is an ignore file.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// A line is no rule.
    #[error("{file}:{line}: ignore rule {pattern:?}")]
    Rule {
        /// Name of the ignore file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The line.
        pattern: String,
        /// What is wrong with it.
        source: RuleError,
    },
    /// The file beside the Dockerfile cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `.dockerignore` in the context cannot be read.
    #[error("read the context's .dockerignore")]
    ReadInContext(#[source] RootfsError),
}

/// What is wrong with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// `!` alone re-includes nothing.
    #[error("illegal exclusion pattern")]
    LoneExclamation,
    /// The pattern is malformed.
    #[error(transparent)]
    Pattern(BadPattern),
}

impl IgnoreFile {
    /// Finds the ignore file of a build: `<dockerfile>.dockerignore` if there is one, else `.dockerignore` at the root
    /// of the context. The two are never merged. A Dockerfile that has no path (standard input) has no own file.
    ///
    /// # Errors
    /// A file that exists cannot be read, or holds a malformed rule.
    pub fn find(dockerfile: Option<&Path>, context: &Rootfs) -> Result<Option<Self>, IgnoreError> {
        if let Some(dockerfile) = dockerfile {
            let mut path = dockerfile.as_os_str().to_owned();
            path.push(NAME);
            if let Some(own) = Self::read(Path::new(&path))? {
                return Ok(Some(own));
            }
        }
        Self::in_context(context)
    }

    /// The same for a Dockerfile of the context, by its path in there.
    ///
    /// # Errors
    /// As [`IgnoreFile::find`].
    pub fn find_in_context(dockerfile: &str, context: &Rootfs) -> Result<Option<Self>, IgnoreError> {
        match Self::read_in(context, &format!("{dockerfile}{NAME}"))? {
            Some(own) => Ok(Some(own)),
            None => Self::in_context(context),
        }
    }

    /// Reads the `.dockerignore` at the root of a context; `None` if it has none.
    ///
    /// # Errors
    /// As [`IgnoreFile::find`].
    pub fn in_context(context: &Rootfs) -> Result<Option<Self>, IgnoreError> {
        Self::read_in(context, NAME)
    }

    fn read_in(context: &Rootfs, name: &str) -> Result<Option<Self>, IgnoreError> {
        let Ok(path) = RootfsPath::parse_clamped(name.as_bytes()) else {
            return Ok(None);
        };
        let text = context.read_small(&path, LARGEST).map_err(IgnoreError::ReadInContext)?;
        text.map(|text| Self::parse(name, &text)).transpose()
    }

    /// Parses the content of an ignore file called `name`.
    ///
    /// # Errors
    /// [`IgnoreError::Rule`] of the first line that is no rule.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut patterns = IgnorePatterns::default();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            patterns.add(line, index + 1).map_err(|source| IgnoreError::Rule {
                file: name.to_owned(),
                line: index + 1,
                pattern: String::from_utf8_lossy(line.trim_ascii()).into_owned(),
                source,
            })?;
        }
        Ok(Self {
            name: name.to_owned(),
            patterns,
        })
    }

    fn read(path: &Path) -> Result<Option<Self>, IgnoreError> {
        let error = |source| IgnoreError::Read {
            path: path.to_owned(),
            source,
        };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(error(source)),
        };
        Self::parse(&path.to_string_lossy(), &text).map(Some)
    }
}

/// One rule, as written.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    pattern: Pattern,
    effect: Effect,
    text: String,
    line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Exclude,
    Include,
}

/// Compiled rules in their order; the last one that hits decides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IgnorePatterns {
    rules: Vec<Rule>,
}

/// Which rules hit a directory; its entries are judged with it. The root has none.
#[derive(Clone, Debug, Default)]
pub struct Hits(Vec<u64>);

/// What the rules say of one entry.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The number of the rule that excludes the entry; `None` if it is included.
    excluded_by: Option<usize>,
    /// For the entries below, if this is a directory.
    pub hits: Hits,
}

impl Judgement {
    /// Whether the entry is left out. A directory that is may still hold entries that are not.
    #[must_use]
    pub const fn is_excluded(&self) -> bool {
        self.excluded_by.is_some()
    }
}

/// Names the rule that excluded something: `line 3: *.log`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleName {
    /// As written, cleaned.
    pub text: String,
    /// Line in its file, or position on the command line, from 1.
    pub line: usize,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text.escape_debug())
    }
}

impl IgnorePatterns {
    /// Compiles rules that were given one by one, as `--exclude` is.
    ///
    /// # Errors
    /// The first rule that is none, with its position.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, (usize, RuleError)> {
        let mut patterns = Self::default();
        for (index, rule) in rules.into_iter().enumerate() {
            patterns.add(rule, index + 1).map_err(|error| (index, error))?;
        }
        Ok(patterns)
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules as written, without blanks around them.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rules.iter().map(|rule| rule.text.as_str())
    }

    /// Judges the entry at `path`, relative to the root that the rules are about, by the hits of its directory.
    #[must_use]
    pub fn judge(&self, parent: &Hits, path: &[u8]) -> Judgement {
        let mut hits = Hits(vec![0; self.rules.len().div_ceil(64)]);
        let mut excluded_by = None;
        for (number, rule) in self.rules.iter().enumerate() {
            let useful = (rule.effect == Effect::Exclude) == excluded_by.is_none();
            if parent.has(number) || (useful && rule.pattern.matches(path)) {
                hits.set(number);
                excluded_by = (rule.effect == Effect::Exclude).then_some(number);
            }
        }
        Judgement { excluded_by, hits }
    }

    /// Judges `path` after all its ancestors.
    #[must_use]
    pub fn judge_path(&self, path: &RootfsPath) -> Judgement {
        let ancestors = path.ancestors().skip(1).chain([path.clone()]);
        let start = Judgement {
            excluded_by: None,
            hits: Hits::default(),
        };
        if path.is_root() {
            return start;
        }
        ancestors.fold(start, |above, path| self.judge(&above.hits, path.as_bytes()))
    }

    /// Whether any rule includes again what another one excludes.
    #[must_use]
    pub fn includes_again(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect == Effect::Include)
    }

    /// Whether a rule names every entry of the root.
    #[must_use]
    pub fn excludes_every_entry(&self) -> bool {
        let mut excludes = self.rules.iter().filter(|rule| rule.effect == Effect::Exclude);
        excludes.any(|rule| matches!(rule.text.as_str(), "*" | "**" | "**/*"))
    }

    /// Whether something below the excluded directory `path` might be included again. Never wrong with no.
    #[must_use]
    pub fn may_include_below(&self, path: &[u8]) -> bool {
        let mut includes = self.rules.iter().filter(|rule| rule.effect == Effect::Include);
        includes.any(|rule| rule.pattern.may_match_below(path))
    }

    /// The rule that excluded an entry.
    #[must_use]
    pub fn culprit(&self, judgement: &Judgement) -> Option<RuleName> {
        let rule = self.rules.get(judgement.excluded_by?)?;
        Some(RuleName {
            text: rule.text.clone(),
            line: rule.line,
        })
    }

    /// Adds one line; an empty one adds nothing.
    fn add(&mut self, line: &[u8], number: usize) -> Result<(), RuleError> {
        let trimmed = line.trim_ascii();
        let (effect, written) = match trimmed.strip_prefix(b"!") {
            Some(rest) => (Effect::Include, rest.trim_ascii()),
            None => (Effect::Exclude, trimmed),
        };
        if written.is_empty() {
            return match effect {
                Effect::Include => Err(RuleError::LoneExclamation),
                Effect::Exclude => Ok(()),
            };
        }
        let cleaned = clean(written);
        self.rules.push(Rule {
            pattern: Pattern::parse_ignore(&cleaned).map_err(RuleError::Pattern)?,
            effect,
            text: String::from_utf8_lossy(trimmed).into_owned(),
            line: number,
        });
        Ok(())
    }
}

impl Hits {
    fn has(&self, number: usize) -> bool {
        self.0
            .get(number / 64)
            .is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn set(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }
}

/// Go's `filepath.Clean`, and without the leading slash. `.` and what climbs above the root stay and match nothing.
fn clean(pattern: &[u8]) -> Vec<u8> {
    let rooted = pattern.starts_with(b"/");
    let mut components: Vec<&[u8]> = Vec::new();
    for component in pattern.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if components.last().is_some_and(|last| *last != b"..") => {
                components.pop();
            }
            b".." if rooted => {}
            _ => components.push(component),
        }
    }
    match (components.is_empty(), rooted) {
        (true, true) => b"/".to_vec(),
        (true, false) => b".".to_vec(),
        (false, _) => components.join(&b'/'),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn patterns(text: &str) -> IgnorePatterns {
        IgnoreFile::parse(".dockerignore", text.as_bytes()).unwrap().patterns
    }

    fn excluded(patterns: &IgnorePatterns, path: &str) -> bool {
        let path = RootfsPath::parse(path.as_bytes()).unwrap();
        patterns.judge_path(&path).is_excluded()
    }

    /// What a context of these paths shows: the included ones, and the directories above them.
    fn visible(patterns: &IgnorePatterns, tree: &str) -> BTreeSet<String> {
        let mut shown = BTreeSet::new();
        for line in tree.lines() {
            let path = RootfsPath::parse(line.as_bytes()).unwrap();
            let all: Vec<_> = path.ancestors().skip(1).chain([path.clone()]).collect();
            for (above, at) in all.iter().enumerate() {
                if !patterns.judge_path(at).is_excluded() {
                    shown.extend(all[..=above].iter().map(|shown| shown.display_absolute()));
                }
            }
        }
        shown
    }

    #[test]
    fn c40_golden_cases() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ignore");
        let mut cases = 0;
        for case in std::fs::read_dir(root).unwrap() {
            let case = case.unwrap().path();
            let read = |name: &str| std::fs::read(case.join(name)).unwrap();
            let patterns = IgnoreFile::parse("ignore", &read("ignore")).unwrap().patterns;
            let tree = String::from_utf8(read("tree")).unwrap();
            let expected = String::from_utf8(read("expected")).unwrap();
            let expected: BTreeSet<_> = expected
                .lines()
                .map(|line| format!("/{}", line.trim_end_matches('/')))
                .collect();
            assert_eq!(visible(&patterns, &tree), expected, "{}", case.display());
            cases += 1;
        }
        assert!(cases >= 20, "{cases} cases");
    }

    #[test]
    fn rules_decide_in_their_order() {
        for (rules, path, expected) in [
            ("ba*\n!bay", "bay", false),
            ("ba*\n!bay", "bar", true),
            ("!bay\nba*", "bay", true),
            ("a", "a/b/c", true),
            ("a/b", "a", false),
            ("a\n!a/b", "a/b/c", false),
            ("a\n!a/b\na/b/c", "a/b/c", true),
            ("foo/x\n!foo", "foo/x", true),
            ("*\n!foo", "foo/x", false),
            ("*/x", "a/x", true),
            ("*/x", "x", false),
            ("**/x", "x", true),
            ("x/**", "x", false),
            (" #x", "#x", true),
            ("#x", "#x", false),
            ("  a  ", "a", true),
            ("!  a", "a", false),
            ("a\n!  a", "a", false),
            ("*\n", "", false),
            ("", "a", false),
        ] {
            assert_eq!(excluded(&patterns(rules), path), expected, "{rules:?} {path}");
        }
    }

    #[test]
    fn l344_l349_the_examples_of_the_checklist() {
        for (row, rules, path, expected) in [
            (344, "ba*\n!bay", "bay", false),
            (344, "ba*\n!bay", "bar", true),
            (345, "#x\n # x", "#x", false),
            (345, " #x", "#x", true),
            (346, "/foo", "foo", true),
            (346, "foo/", "foo", true),
            (346, "./foo", "foo", true),
            (346, "a/../foo", "foo", true),
            (346, "/foo", "a/foo", false),
            (347, "*/x", "a/x", true),
            (347, "*/x", "x", false),
            (347, "*/x", "a/b/x", false),
            (347, "**/x", "x", true),
            (347, "**/x", "a/b/x", true),
            (347, "x/**", "x", false),
            (347, "x/**", "x/a/b", true),
            (347, "**", "a", true),
            (347, "**", "a/b/c", true),
            (348, "dir", "dir/a/b", true),
            (348, "dir\n!dir/keep", "dir/keep", false),
            (348, "dir\n!dir/keep", "dir/keep/below", false),
            (348, "dir\n!dir/keep", "dir/other", true),
            (349, "foo/x\n!foo", "foo/x", true),
            (349, "foo/x\n!foo", "foo/y", false),
            (349, "foo/x\n!foo/*", "foo/x", false),
        ] {
            assert_eq!(excluded(&patterns(rules), path), expected, "L{row} {rules:?} {path}");
        }
        let kept = visible(&patterns("dir\n!dir/keep"), "dir/keep\ndir/other");
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["/dir", "/dir/keep"]);
    }

    #[test]
    fn patterns_are_cleaned_as_go_does() {
        for (pattern, expected) in [
            ("a", "a"),
            ("/a", "a"),
            ("//a//b/", "a/b"),
            ("./a", "a"),
            ("a/./b/..", "a"),
            ("a/..", "."),
            (".", "."),
            ("/", "/"),
            ("/..", "/"),
            ("/../a", "a"),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("**/", "**"),
        ] {
            assert_eq!(clean(pattern.as_bytes()), expected.as_bytes(), "{pattern}");
        }
    }

    #[test]
    fn l350_malformed_rules_name_their_line() {
        for (text, line, pattern) in [
            ("a\n!\n", 2, "!"),
            ("#\n\n[x\n", 3, "[x"),
            ("! \n", 1, "!"),
            ("a\\\n", 1, "a\\"),
        ] {
            match IgnoreFile::parse("f", text.as_bytes()) {
                Err(IgnoreError::Rule {
                    line: at,
                    pattern: which,
                    ..
                }) => {
                    assert_eq!((at, which.as_str()), (line, pattern), "{text:?}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert_eq!(
            IgnorePatterns::new([&b"a"[..], b"["]).unwrap_err(),
            (1, RuleError::Pattern(BadPattern))
        );
    }

    #[test]
    fn the_culprit_is_the_rule_that_decided() {
        let patterns = patterns("# first\n*.log\n!keep*\nkeep.log\n");
        for (path, expected) in [
            ("x.log", Some("line 2: *.log")),
            ("keep.log", Some("line 4: keep.log")),
            ("keep1.log", None),
        ] {
            let judgement = patterns.judge_path(&RootfsPath::parse(path.as_bytes()).unwrap());
            assert_eq!(
                patterns.culprit(&judgement).map(|rule| rule.to_string()).as_deref(),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn more_rules_than_a_word_has_bits() {
        let mut text: String = (0..200).map(|n| format!("dir{n}\n")).collect();
        text.push_str("!dir150/keep\n");
        let patterns = patterns(&text);
        assert!(excluded(&patterns, "dir0/x") && excluded(&patterns, "dir199/x/y") && excluded(&patterns, "dir150/x"));
        assert!(!excluded(&patterns, "dir150/keep/x") && !excluded(&patterns, "dir200"));
    }

    #[test]
    fn l342_the_file_beside_the_dockerfile_comes_first() {
        let temp = tempfile::tempdir().unwrap();
        let context = Rootfs::open(temp.path()).unwrap();
        let dockerfile = temp.path().join("app.Dockerfile");
        let names = |dockerfile| IgnoreFile::find(dockerfile, &context).unwrap().map(|file| file.name);
        assert_eq!(names(Some(dockerfile.as_path())), None);
        std::fs::write(temp.path().join(".dockerignore"), "a").unwrap();
        assert_eq!(names(Some(dockerfile.as_path())).as_deref(), Some(".dockerignore"));
        let own = temp.path().join("app.Dockerfile.dockerignore");
        std::fs::write(&own, "b").unwrap();
        assert_eq!(names(Some(dockerfile.as_path())).as_deref(), own.to_str());
        assert_eq!(names(None).as_deref(), Some(".dockerignore"));
    }
}
