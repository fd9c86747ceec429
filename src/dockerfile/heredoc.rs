//! Heredoc markers and bodies.

use super::visits;

/// A file written within the Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heredoc {
    /// The delimiter without its quotes; for COPY and ADD the file's name.
    pub name: String,
    /// The number before `<<`.
    pub descriptor: Option<u32>,
    /// Whether the delimiter was quoted.
    pub quoting: Quoting,
    /// `<<` or `<<-`.
    pub indent: Indent,
    /// The lines between marker and terminator as they stand, each with its line end.
    pub body: String,
}

/// What the quotes around a delimiter decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quoting {
    /// No part is quoted: COPY and ADD expand the body.
    Expand,
    /// Some part is quoted: the body is literal.
    Raw,
}

/// What the dash behind `<<` decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indent {
    /// `<<`
    Keep,
    /// `<<-`: leading tabs are removed from every line.
    StripTabs,
}

impl Heredoc {
    /// The body with `<<-` applied.
    #[must_use]
    pub fn content(&self) -> String {
        match self.indent {
            Indent::Keep => self.body.clone(),
            Indent::StripTabs => self
                .body
                .split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect(),
        }
    }
}

/// The announcement of a heredoc on an instruction's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    pub(super) name: String,
    descriptor: Option<u32>,
    quoting: Quoting,
    indent: Indent,
}

impl Marker {
    /// Whether `line` ends this heredoc. Trailing CR is a line end; trailing blanks are not.
    pub(super) fn is_terminator(&self, line: &str) -> bool {
        visits::count(line.len());
        let line = line.trim_end_matches(['\r', '\n']);
        match self.indent {
            Indent::Keep => line == self.name,
            Indent::StripTabs => line.trim_start_matches('\t') == self.name,
        }
    }

    pub(super) fn with_body(&self, body: String) -> Heredoc {
        Heredoc {
            name: self.name.clone(),
            descriptor: self.descriptor,
            quoting: self.quoting,
            indent: self.indent,
            body,
        }
    }
}

/// The markers of a line in order. A line with unbalanced quotes has none.
pub(super) fn find_markers(line: &str) -> Vec<Marker> {
    match line.contains("<<") {
        true => {
            let words = shell_words(line).unwrap_or_default();
            merge_markers(words.iter().map(String::as_str))
                .into_iter()
                .filter_map(|word| match word {
                    MarkerOrText::Marker(marker) => Some(marker),
                    MarkerOrText::Text(_) => None,
                })
                .collect()
        }
        false => Vec::new(),
    }
}

/// The single marker a text consists of.
pub(super) fn only_marker(text: &str) -> Option<Marker> {
    let words = shell_words(text)?;
    match merge_markers(words.iter().map(String::as_str)).as_slice() {
        [MarkerOrText::Marker(marker)] => Some(marker.clone()),
        _ => None,
    }
}

/// A word of a line, recognised.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MarkerOrText<'a> {
    Marker(Marker),
    Text(&'a str),
}

/// Recognises markers among words; the delimiter may be a word of its own, as in `<< EOF`.
pub(super) fn merge_markers<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<MarkerOrText<'a>> {
    let mut merged = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        visits::count(word.len());
        let Some((descriptor, indent, rest)) = split_operator(word) else {
            merged.push(MarkerOrText::Text(word));
            continue;
        };
        let (delimiter, separate) = match (rest, words.peek()) {
            ("", Some(next)) => (*next, true),
            (rest, _) => (rest, false),
        };
        match unquote_delimiter(delimiter) {
            Some((name, quoting)) => {
                if separate {
                    words.next();
                }
                merged.push(MarkerOrText::Marker(Marker {
                    name,
                    descriptor,
                    quoting,
                    indent,
                }));
            }
            None => merged.push(MarkerOrText::Text(word)),
        }
    }
    merged
}

/// `[digits]<<[-]` and what follows it.
fn split_operator(word: &str) -> Option<(Option<u32>, Indent, &str)> {
    let digits = word.find(|c: char| !c.is_ascii_digit())?;
    let rest = word[digits..].strip_prefix("<<")?;
    let descriptor = word[..digits].parse().ok();
    match rest.strip_prefix('-') {
        Some(rest) => Some((descriptor, Indent::StripTabs, rest)),
        None => Some((descriptor, Indent::Keep, rest)),
    }
}

/// The delimiter without its quotes; `None` if it cannot be one.
fn unquote_delimiter(word: &str) -> Option<(String, Quoting)> {
    let mut name = String::new();
    let mut quoting = Quoting::Expand;
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '<') => return None,
            (None, '\'' | '"') => (quote, quoting) = (Some(c), Quoting::Raw),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => name.extend(chars.next()),
            (_, c) => name.push(c),
        }
    }
    (quote.is_none() && !name.is_empty()).then_some((name, quoting))
}

/// Whether `$((` can still be closed: the line is searched for its end once in vain, not each time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Possible,
    Impossible,
}

/// Splits a line like a shell, keeping quotes and escapes; `None` if a quote is not closed.
/// Always with a backslash, whatever the file's escape token is: BuildKit does so.
fn shell_words(line: &str) -> Option<Vec<String>> {
    visits::count(line.len());
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut arithmetic = Arithmetic::Possible;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            // In `$(( 1 << 2 ))` the operator announces nothing.
            (None | Some('"'), '$') if chars.as_str().starts_with("((") && arithmetic == Arithmetic::Possible => {
                word.push(c);
                visits::count(chars.as_str().find("))").unwrap_or(chars.as_str().len()));
                match chars.as_str().split_once("))") {
                    Some((expression, rest)) => {
                        word.extend([expression, "))"]);
                        chars = rest.chars();
                    }
                    None => arithmetic = Arithmetic::Impossible,
                }
                continue;
            }
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None | Some('"'), '\\') => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (_, _) => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Markers as `descriptor name quoting indent`.
    fn found(line: &str) -> Vec<String> {
        let text = |marker: Marker| {
            let descriptor = marker.descriptor.map(|d| d.to_string()).unwrap_or_default();
            let quoting = match marker.quoting {
                Quoting::Expand => "",
                Quoting::Raw => " raw",
            };
            let indent = match marker.indent {
                Indent::Keep => "",
                Indent::StripTabs => " strip",
            };
            format!("{descriptor}<<{}{quoting}{indent}", marker.name)
        };
        find_markers(line).into_iter().map(text).collect()
    }

    #[test]
    fn markers() {
        let table: &[(&str, &[&str])] = &[
            ("RUN <<EOF", &["<<EOF"]),
            ("RUN <<-EOF", &["<<EOF strip"]),
            ("RUN << EOF", &["<<EOF"]),
            ("RUN <<- EOF", &["<<EOF strip"]),
            ("RUN <<'EOF'", &["<<EOF raw"]),
            ("RUN <<\"EOF\"", &["<<EOF raw"]),
            ("RUN <<E\"O\"F", &["<<EOF raw"]),
            ("RUN <<\"E F\"", &["<<E F raw"]),
            ("RUN <<E\\\"F", &["<<E\"F"]),
            ("RUN 3<<X", &["3<<X"]),
            ("RUN <<EOF 3<<X 4<<Y cmd", &["<<EOF", "3<<X", "4<<Y"]),
            ("RUN cat <<A > x; cat <<B > y", &["<<A", "<<B"]),
            ("RUN <<$EOF", &["<<$EOF"]),
            ("RUN cat <<<EOF", &[]),
            ("RUN echo \"<<EOF\"", &[]),
            ("RUN echo '<<EOF'", &[]),
            ("RUN [\"<<EOF\"]", &[]),
            ("RUN a<<EOF", &[]),
            ("RUN <<", &[]),
            ("RUN <<-", &[]),
            ("RUN <<\"\"", &[]),
            ("RUN echo it's <<EOF", &[]),
            ("RUN echo \\<<EOF", &[]),
            ("RUN echo $((1<<2))", &[]),
            ("RUN echo $(( 1 << 2 )) <<E", &["<<E"]),
            ("RUN echo $(( 1 << 2", &["<<2"]),
            ("RUN (( 1 << 2 ))", &["<<2"]),
        ];
        for (line, expected) in table {
            assert_eq!(found(line), *expected, "{line}");
        }
    }

    #[test]
    fn terminators() {
        let ends = |marker: &str, line: &str| only_marker(marker).unwrap().is_terminator(line);
        for (marker, line, expected) in [
            ("<<EOF", "EOF\n", true),
            ("<<EOF", "EOF\r\n", true),
            ("<<EOF", "EOF", true),
            ("<<EOF", "EOF \n", false),
            ("<<EOF", "\tEOF\n", false),
            ("<<-EOF", "\t\tEOF\n", true),
            ("<<-EOF", " EOF\n", false),
            ("<<$EOF", "$EOF\n", true),
        ] {
            assert_eq!(ends(marker, line), expected, "{marker} {line:?}");
        }
    }

    #[test]
    fn a_command_that_is_only_a_marker() {
        assert!(only_marker(" <<EOF ").is_some());
        assert!(only_marker("<< EOF").is_some());
        for text in ["cat <<EOF", "<<EOF cat", "<<A <<B", "EOF", ""] {
            assert!(only_marker(text).is_none(), "{text}");
        }
    }

    #[test]
    fn tabs_are_stripped_from_every_line() {
        let heredoc = |indent| Heredoc {
            name: "E".to_owned(),
            descriptor: None,
            quoting: Quoting::Expand,
            indent,
            body: "\t\ta\n \tb\n\tc\td\n".to_owned(),
        };
        assert_eq!(heredoc(Indent::StripTabs).content(), "a\n \tb\nc\td\n");
        assert_eq!(heredoc(Indent::Keep).content(), "\t\ta\n \tb\n\tc\td\n");
    }
}
