//! How an instruction is written, as far as that is nothing to a build but something to its checks.

use super::instruction::Escape;
use super::lines::LogicalLine;
use super::words::{is_legacy_pair, split_blanks};

/// What of the text of an instruction its meaning does not tell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spelling {
    /// The keyword.
    pub keyword: String,
    /// What stands behind the image of a FROM.
    pub alias: Option<Alias>,
    /// How ENV and LABEL separate a key from its value.
    pub separator: Separator,
    /// The comments before it, without their `#` and the blanks around them. An empty comment starts over, a blank
    /// line does not; parser directives are none.
    pub comments: Vec<String>,
    /// The line on which a continuation ends that has blank lines within.
    pub empty_continuation: Option<u32>,
}

/// `AS name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alias {
    /// `AS` in whatever case.
    pub keyword: String,
    /// The stage's name in whatever case.
    pub name: String,
}

/// What stands between a key and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Separator {
    /// `key=value`
    #[default]
    Equals,
    /// `key value`
    Blank,
}

impl Spelling {
    /// The spelling of the instruction on `line`, which is split already.
    pub(super) fn of(line: &LogicalLine, keyword: &str, arguments: &str, escape: Escape) -> Self {
        Self {
            keyword: keyword.to_owned(),
            alias: alias(keyword, arguments),
            separator: separator(keyword, arguments, escape),
            comments: line.comments.clone(),
            empty_continuation: line.empty_continuation,
        }
    }

    /// What a comment `# name text` right before the instruction says about `name`.
    #[must_use]
    pub fn description_of(&self, name: &str) -> Option<&str> {
        let mut comments = self.comments.iter();
        comments.find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' ').map(str::trim))
    }
}

fn alias(keyword: &str, arguments: &str) -> Option<Alias> {
    if !keyword.eq_ignore_ascii_case("FROM") {
        return None;
    }
    let mut behind_image = split_blanks(arguments).skip(1);
    Some(Alias {
        keyword: behind_image.next()?.to_owned(),
        name: behind_image.next()?.to_owned(),
    })
}

fn separator(keyword: &str, arguments: &str, escape: Escape) -> Separator {
    let has_pairs = ["ENV", "LABEL"].iter().any(|known| keyword.eq_ignore_ascii_case(known));
    match has_pairs && is_legacy_pair(arguments, escape) {
        true => Separator::Blank,
        false => Separator::Equals,
    }
}

#[cfg(test)]
mod tests {
    use crate::dockerfile::{Separator, parse};

    /// Comments and descriptions as section 1.3 of the specification has them.
    #[test]
    fn comments_attach_to_the_next_instruction() {
        for (text, expected) in [
            ("# a\n#b \nFROM x", vec!["a", "b"]),
            ("# a\n\n  \nFROM x", vec!["a"]),
            ("# a\n#\n# b\nFROM x", vec!["b"]),
            ("# a\n#  \nFROM x", vec![]),
            ("  # a\nFROM x", vec!["a"]),
            ("# check=skip=A\n# syntax=x\n# a\nFROM x", vec!["a"]),
            ("\n# check=skip=A\nFROM x", vec!["check=skip=A"]),
            ("#!/bin/x\n# syntax=x\nFROM x", vec![]),
        ] {
            let file = parse("f", text.as_bytes()).unwrap();
            assert_eq!(file.stages[0].from.spelling.comments, expected, "{text:?}");
        }
        let file = parse("f", b"# a\nFROM x\n# b\nRUN y \\\n# c\n z\nRUN w").unwrap();
        let [run, last] = &file.stages[0].instructions[..] else {
            panic!("two instructions");
        };
        assert_eq!(run.spelling.comments, ["b"]);
        assert!(last.spelling.comments.is_empty());
    }

    #[test]
    fn descriptions_start_with_the_name() {
        let file = parse(
            "f",
            b"# check=skip=A\n# other text\n# x the base \n# xy no\nARG x\nFROM x",
        )
        .unwrap();
        let spelling = &file.global_args[0].spelling;
        assert_eq!(spelling.description_of("x"), Some("the base"));
        assert_eq!(spelling.description_of("xy"), Some("no"));
        assert_eq!(spelling.description_of("o"), None);
    }

    #[test]
    fn keeps_what_the_meaning_does_not_tell() {
        let file = parse(
            "f",
            b"FroM x aS Y\nenv a b\nENV a=b\nlabel a b\nRUN a \\\n\n <<E\nb\nE\n",
        )
        .unwrap();
        let from = &file.stages[0].from.spelling;
        assert_eq!(from.keyword, "FroM");
        let alias = from.alias.as_ref().unwrap();
        assert_eq!((alias.keyword.as_str(), alias.name.as_str()), ("aS", "Y"));
        let statements = file.stages[0].instructions.iter();
        let seen: Vec<_> = statements
            .map(|statement| &statement.spelling)
            .map(|s| (s.keyword.as_str(), s.separator, s.empty_continuation))
            .collect();
        let expected = [
            ("env", Separator::Blank, None),
            ("ENV", Separator::Equals, None),
            ("label", Separator::Blank, None),
            ("RUN", Separator::Equals, Some(7)),
        ];
        assert_eq!(seen, expected);
    }
}
