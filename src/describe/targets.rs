//! The stages that can be built.

use crate::dockerfile::{Dockerfile, Span};

/// A stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its place in the file, from 0; `--target` takes that too.
    pub number: usize,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// What the comment before it says.
    pub description: Option<String>,
    /// What stands behind FROM, not expanded.
    pub base: String,
    /// `--platform`, not expanded.
    pub platform: Option<String>,
    /// Whether it is built when no target is asked for.
    pub is_default: bool,
    /// The FROM.
    pub span: Span,
}

/// The stages of a file in order.
#[must_use]
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let target = |(number, stage): (usize, &crate::dockerfile::StageSource)| {
        let from = &stage.from.value;
        let describe = |name: &String| stage.from.spelling.description_of(name);
        Target {
            number,
            name: from.name.clone(),
            description: from.name.as_ref().and_then(describe).map(str::to_owned),
            base: from.image.as_written().to_owned(),
            platform: from.platform.as_ref().map(|platform| platform.as_written().to_owned()),
            is_default: number == last,
            span: stage.from.span,
        }
    };
    file.stages.iter().enumerate().map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    #[test]
    fn l443_targets_with_their_descriptions() {
        let text = "# syntax=docker/dockerfile:1\nARG V=1\n\n# build compiles\nFROM --platform=$BUILDPLATFORM go:$V AS \
                    Build\n# something else\nFROM scratch\n";
        let targets = targets(&parse("f", text.as_bytes()).unwrap());
        let expected = [
            Target {
                number: 0,
                name: Some("build".to_owned()),
                description: Some("compiles".to_owned()),
                base: "go:$V".to_owned(),
                platform: Some("$BUILDPLATFORM".to_owned()),
                is_default: false,
                span: Span::line(5),
            },
            Target {
                number: 1,
                name: None,
                description: None,
                base: "scratch".to_owned(),
                platform: None,
                is_default: true,
                span: Span::line(7),
            },
        ];
        assert_eq!(targets, expected);
    }
}
