//! Variable substitution, quotes and escapes.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::str::Chars;

use super::budget::{Budget, Exhausted};
use super::excerpt::cut;
use super::instruction::{Escape, Word};
use super::pattern::{Length, Matches, Pattern};

/// A `${a:-${b:-…}}` may nest this deep: no one writes more, and the stack is finite.
const MAX_DEPTH: usize = 200;

/// Turns [`Word`]s into text, with one snapshot of variables.
pub struct Expander<'a> {
    escape: Escape,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    budget: Budget,
    names: UsedNames,
}

/// The variables that words named. One with a default in the word is among them, as BuildKit counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UsedNames {
    /// Those that have a value.
    pub set: BTreeSet<String>,
    /// Those that have none.
    pub unset: BTreeSet<String>,
}

/// A word that cannot be expanded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("failed to process {:?}", cut(word))]
pub struct ExpandError {
    /// As written.
    pub word: String,
    /// Why.
    #[source]
    pub problem: ExpandProblem,
}

/// What is wrong with a word. The wording follows BuildKit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExpandProblem {
    /// `${}` and the like.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${x`.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${x/p}`.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${x^}` and the like.
    #[error("unsupported modifier ({modifier}) in substitution")]
    UnsupportedModifier {
        /// As written.
        modifier: String,
    },
    /// A backslash where none belongs.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape")]
    InvalidPattern {
        /// After expansion.
        pattern: String,
    },
    /// A quote that is not closed.
    #[error("unexpected end of statement while looking for matching {quote}")]
    UnmatchedQuote {
        /// `single-quote` or `double-quote`.
        quote: &'static str,
    },
    /// `${x:?message}` or `${x?message}`.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// As written, or why it matters.
        message: String,
    },
    /// Substitutions within substitutions.
    #[error("substitutions are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Values within values, each made of several of the one before, for instance.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

impl<'a> Expander<'a> {
    /// An expander for a file with this escape token; `lookup` gives a variable's value.
    #[must_use]
    pub fn new(escape: Escape, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            escape,
            lookup,
            budget: Budget::default(),
            names: UsedNames::default(),
        }
    }

    /// The same with a budget that others spend from too.
    #[must_use]
    pub fn spending(self, budget: &Budget) -> Self {
        let budget = budget.clone();
        Self { budget, ..self }
    }

    /// Expands a word to one text; blanks in values do not split it.
    ///
    /// # Errors
    /// Unbalanced quotes, an invalid substitution, a failed `${x:?}`.
    pub fn word(&mut self, word: &Word) -> Result<String, ExpandError> {
        let expanded = self.expand(word.as_written(), self.escape.token(), Quotes::Process, Splitting::No)?;
        Ok(expanded.text)
    }

    /// Expands a word to several: unquoted blanks, also those of values, split it.
    ///
    /// # Errors
    /// As [`Self::word`].
    pub fn words(&mut self, word: &Word) -> Result<Vec<String>, ExpandError> {
        let expanded = self.expand(
            word.as_written(),
            self.escape.token(),
            Quotes::Process,
            Splitting::AtBlanks,
        )?;
        Ok(expanded.into_words())
    }

    /// Expands the body of a heredoc: quotes are text, and the escape is always a backslash.
    ///
    /// # Errors
    /// An invalid substitution, a failed `${x:?}`.
    pub fn heredoc(&mut self, body: &str) -> Result<String, ExpandError> {
        let expanded = self.expand(body, Escape::Backslash.token(), Quotes::Literal, Splitting::No)?;
        Ok(expanded.text)
    }

    /// The variables looked up so far.
    #[must_use]
    pub const fn names(&self) -> &UsedNames {
        &self.names
    }

    fn expand(
        &mut self,
        text: &str,
        token: char,
        quotes: Quotes,
        splitting: Splitting,
    ) -> Result<Expanded, ExpandError> {
        let mut scanner = Scanner {
            rest: text.chars(),
            token,
            quotes,
            splitting,
            depth: 0,
            lookup: self.lookup,
            budget: &self.budget,
            names: &mut self.names,
        };
        scanner.until(None, Escapes::Process).map_err(|problem| ExpandError {
            word: text.to_owned(),
            problem,
        })
    }
}

impl std::fmt::Debug for Expander<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expander")
            .field("escape", &self.escape)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Whether quotes group, or are text as in a heredoc.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Process,
    Literal,
}

/// Whether escape tokens go away, or stay for the pattern that the text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Process,
    Keep,
}

/// Whether the outcome is wanted as words too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Splitting {
    No,
    AtBlanks,
}

/// The outcome as one text and, if wanted, as words.
#[derive(Default)]
struct Expanded {
    text: String,
    words: Option<Words>,
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    last: String,
}

impl Expanded {
    fn new(splitting: Splitting) -> Self {
        Self {
            text: String::new(),
            words: (splitting == Splitting::AtBlanks).then(Words::default),
        }
    }

    /// Text whose blanks split words.
    fn push_open(&mut self, text: &str) {
        self.text.push_str(text);
        let Some(words) = &mut self.words else {
            return;
        };
        for c in text.chars() {
            match c.is_whitespace() {
                true => words.end(),
                false => words.last.push(c),
            }
        }
    }

    /// Text whose blanks are part of a word.
    fn push_closed(&mut self, text: &str) {
        self.text.push_str(text);
        if let Some(words) = &mut self.words {
            words.last.push_str(text);
        }
    }

    fn into_words(self) -> Vec<String> {
        let mut words = self.words.unwrap_or_default();
        words.end();
        words.done
    }
}

impl Words {
    fn end(&mut self) {
        if !self.last.is_empty() {
            self.done.push(std::mem::take(&mut self.last));
        }
    }
}

struct Scanner<'s> {
    rest: Chars<'s>,
    token: char,
    quotes: Quotes,
    splitting: Splitting,
    depth: usize,
    lookup: &'s dyn Fn(&str) -> Option<String>,
    budget: &'s Budget,
    names: &'s mut UsedNames,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    /// Everything up to `stop`, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, escapes: Escapes) -> Result<Expanded, ExpandProblem> {
        // What stands within a substitution is one text to it.
        let splitting = stop.map_or(self.splitting, |_| Splitting::No);
        let mut expanded = Expanded::new(splitting);
        let mut buffer = [0; 4];
        while let Some(c) = self.rest.next() {
            match c {
                c if Some(c) == stop => return Ok(expanded),
                '$' => expanded.push_open(&self.dollar()?),
                '\'' if self.quotes == Quotes::Process => expanded.push_closed(&self.single_quoted()?),
                '"' if self.quotes == Quotes::Process => expanded.push_closed(&self.double_quoted(escapes)?),
                c if c == self.token => {
                    if escapes == Escapes::Keep {
                        expanded.push_closed(c.encode_utf8(&mut buffer));
                    }
                    if let Some(next) = self.rest.next() {
                        expanded.push_closed(next.encode_utf8(&mut buffer));
                    }
                }
                c => expanded.push_open(c.encode_utf8(&mut buffer)),
            }
        }
        match stop {
            None => Ok(expanded),
            Some('/') => Err(ExpandProblem::MissingSlash),
            Some(_) => Err(ExpandProblem::MissingBrace),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandProblem> {
        let text = self.rest.as_str();
        let (text, rest) = text.split_once('\'').unwrap_or((text, ""));
        let closed = self.rest.as_str().len() > text.len();
        self.rest = rest.chars();
        match closed {
            true => Ok(text.to_owned()),
            false => Err(ExpandProblem::UnmatchedQuote { quote: "single-quote" }),
        }
    }

    /// Variables are active; the escape token only affects the quote, the dollar and itself.
    fn double_quoted(&mut self, escapes: Escapes) -> Result<String, ExpandProblem> {
        let mut text = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return Ok(text),
                '$' => text.push_str(&self.dollar()?),
                c if c == self.token => match self.peek() {
                    Some(next) if matches!(next, '"' | '$') || next == self.token => {
                        if escapes == Escapes::Keep {
                            text.push(c);
                        }
                        text.push(next);
                        self.rest.next();
                    }
                    // What stays as it is stands for itself in a pattern too.
                    Some(_) if escapes == Escapes::Keep => text.extend([c, c]),
                    Some(_) => text.push(c),
                    None => {}
                },
                c => text.push(c),
            }
        }
        Err(ExpandProblem::UnmatchedQuote { quote: "double-quote" })
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<String, ExpandProblem> {
        let value = self.substitution()?;
        self.budget.spend(value.len())?;
        Ok(value)
    }

    fn substitution(&mut self) -> Result<String, ExpandProblem> {
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(match name.is_empty() {
                true => "$".to_owned(),
                false => self.value(&name),
            });
        }
        self.rest.next();
        if self.depth == MAX_DEPTH {
            return Err(ExpandProblem::TooDeep);
        }
        self.depth += 1;
        let value = self.braces();
        self.depth -= 1;
        // Whatever went wrong, a brace that is never closed is the likelier cause.
        match value {
            Err(ExpandProblem::UnmatchedQuote { .. }) if self.peek().is_none() => Err(ExpandProblem::MissingBrace),
            value => value,
        }
    }

    /// What follows a `${`.
    fn braces(&mut self) -> Result<String, ExpandProblem> {
        match self.peek() {
            None => return Err(ExpandProblem::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandProblem::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.rest.next() {
            None => Err(ExpandProblem::MissingBrace),
            Some('}') => Ok(self.value(&name)),
            Some(':') => match self.rest.next() {
                None => Err(ExpandProblem::MissingBrace),
                Some(c @ ('-' | '+' | '?')) => self.conditional(&name, c, Empty::IsUnset),
                Some(c) => Err(unsupported([':', c])),
            },
            Some(c @ ('-' | '+' | '?')) => self.conditional(&name, c, Empty::IsSet),
            Some(c @ ('#' | '%')) => self.trimmed(&name, c),
            Some('/') => self.replaced(&name),
            Some(c) => Err(unsupported([c])),
        }
    }

    /// `${x-w}`, `${x+w}`, `${x?w}` and the forms with a colon.
    fn conditional(&mut self, name: &str, modifier: char, empty: Empty) -> Result<String, ExpandProblem> {
        let word = self.until(Some('}'), Escapes::Process)?.text;
        let value = self.defined(name);
        let is_set = value.is_some();
        let value = value.filter(|value| empty == Empty::IsSet || !value.is_empty());
        match (modifier, value) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let default = if is_set { "empty" } else { "unset" };
                Err(ExpandProblem::Required {
                    name: name.to_owned(),
                    message: match word.is_empty() {
                        true => format!("is not allowed to be {default}"),
                        false => word,
                    },
                })
            }
        }
    }

    /// `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`.
    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, ExpandProblem> {
        let operand = self.until(Some('}'), Escapes::Keep)?.text;
        let (operand, length) = match operand.strip_prefix(modifier) {
            Some(operand) => (operand, Length::Longest),
            None => (operand.as_str(), Length::Shortest),
        };
        let pattern = parse_pattern(operand)?;
        let value = self.value(name);
        self.budget.spend_comparisons(pattern.cost(&value))?;
        Ok(match modifier {
            '#' => pattern.trim_prefix(&value, length).to_owned(),
            _ => pattern.trim_suffix(&value, length).to_owned(),
        })
    }

    /// `${x/p/r}` and `${x//p/r}`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandProblem> {
        let matches = match self.peek() {
            Some('/') => {
                self.rest.next();
                Matches::All
            }
            Some(_) | None => Matches::First,
        };
        let operand = self.until(Some('/'), Escapes::Keep)?.text;
        let replacement = self.until(Some('}'), Escapes::Keep)?.text;
        let pattern = parse_pattern(&operand)?;
        let Some(value) = self.defined(name) else {
            return Ok(String::new());
        };
        self.budget.spend_comparisons(pattern.cost(&value))?;
        let replaced = pattern.replace(&value, &replacement, matches, self.budget.left());
        replaced.map_err(|_| Exhausted.into())
    }

    /// A run of letters, digits and `_`; a run of digits; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let text = self.rest.as_str();
        let length = |run: fn(char) -> bool| text.find(|c: char| !run(c)).unwrap_or(text.len());
        let end = match text.chars().next() {
            Some(c) if c.is_numeric() => length(char::is_numeric),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            Some(_) | None => length(|c| c.is_alphanumeric() || c == '_'),
        };
        let (name, rest) = text.split_at(end);
        self.rest = rest.chars();
        name.to_owned()
    }

    fn value(&mut self, name: &str) -> String {
        self.defined(name).unwrap_or_default()
    }

    fn defined(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        let names = match value {
            Some(_) => &mut self.names.set,
            None => &mut self.names.unset,
        };
        names.insert(name.to_owned());
        value
    }
}

/// What the colon decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsSet,
    IsUnset,
}

fn unsupported(modifier: impl IntoIterator<Item = char>) -> ExpandProblem {
    ExpandProblem::UnsupportedModifier {
        modifier: modifier.into_iter().collect(),
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, ExpandProblem> {
    Pattern::parse(text).map_err(|_| ExpandProblem::InvalidPattern {
        pattern: text.to_owned(),
    })
}
