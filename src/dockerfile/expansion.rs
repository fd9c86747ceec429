//! What of an instruction the builder expands.

use super::heredoc::Quoting;
use super::instruction::{Instruction, Source, Transfer, Word};
use super::mount::Mount;

/// A text with variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expandable<'a> {
    /// Expanded with quotes and escapes.
    Word(&'a Word),
    /// The body of a heredoc.
    Heredoc(String),
}

impl Instruction {
    /// What is expanded with the variables that the instruction begins with, in order. Not the defaults of an ARG,
    /// which are expanded one by one and only where they are needed.
    #[must_use]
    pub fn expandables(&self) -> Vec<Expandable<'_>> {
        let words: Vec<&Word> = match self {
            Self::Add(add) => return of_transfer(&add.transfer, add.checksum.as_ref()),
            Self::Copy(copy) => return of_transfer(&copy.transfer, None),
            Self::Env(env) => env.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect(),
            Self::Label(label) => label.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect(),
            Self::Run(run) => run.mounts.iter().flat_map(of_mount).collect(),
            Self::Expose(expose) => expose.ports.iter().collect(),
            Self::Stopsignal(stopsignal) => vec![&stopsignal.signal],
            Self::User(user) => vec![&user.user],
            Self::Volume(volume) => volume.paths.iter().collect(),
            Self::Workdir(workdir) => vec![&workdir.path],
            Self::Arg(_)
            | Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Healthcheck(_)
            | Self::Maintainer(_)
            | Self::Onbuild(_)
            | Self::Shell(_) => Vec::new(),
        };
        words.into_iter().map(Expandable::Word).collect()
    }
}

fn of_transfer<'a>(transfer: &'a Transfer, checksum: Option<&'a Word>) -> Vec<Expandable<'a>> {
    let flags = [transfer.chown.as_ref(), transfer.chmod.as_ref(), checksum];
    let sources = transfer.sources.iter().filter_map(|source| match source {
        Source::Path(word) => Some(Expandable::Word(word)),
        Source::Heredoc(heredoc) if heredoc.quoting == Quoting::Expand => Some(Expandable::Heredoc(heredoc.content())),
        Source::Heredoc(_) => None,
    });
    let flags = flags.into_iter().flatten().map(Expandable::Word);
    flags
        .chain(sources)
        .chain([Expandable::Word(&transfer.destination)])
        .collect()
}

fn of_mount(mount: &Mount) -> impl Iterator<Item = &Word> {
    let fields = mount.fields.iter().filter(|field| field.key != "from");
    fields.filter_map(|field| field.value.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse_trigger;

    /// Section 2.1 of the specification.
    #[test]
    fn what_is_expanded() {
        for (line, expected) in [
            ("COPY --chown=$o --from=s --exclude=$e $a $b", vec!["$o", "$a", "$b"]),
            ("ADD --checksum=$c --chmod=$m $a /b", vec!["$m", "$c", "$a", "/b"]),
            ("COPY <<A <<'B' /d/\n$x\nA\n$y\nB", vec!["$x\n", "/d/"]),
            ("ENV $a=$b c=d", vec!["$a", "$b", "c", "d"]),
            ("LABEL k $v", vec!["k", "$v"]),
            ("RUN --mount=type=cache,target=$t,from=s,ro $x", vec!["cache", "$t"]),
            ("EXPOSE $p 80", vec!["$p", "80"]),
            ("STOPSIGNAL $s", vec!["$s"]),
            ("USER $u", vec!["$u"]),
            ("VOLUME [\"$v\"]", vec!["$v"]),
            ("WORKDIR $w", vec!["$w"]),
            ("ARG a=$b", vec![]),
            ("CMD $a", vec![]),
            ("ENTRYPOINT [\"$a\"]", vec![]),
            ("HEALTHCHECK CMD $a", vec![]),
            ("SHELL [\"$a\"]", vec![]),
        ] {
            let statement = parse_trigger(line).unwrap();
            let texts: Vec<String> = statement.instruction.expandables().into_iter().map(text_of).collect();
            assert_eq!(texts, expected, "{line}");
        }
    }

    fn text_of(expandable: Expandable<'_>) -> String {
        match expandable {
            Expandable::Word(word) => word.as_written().to_owned(),
            Expandable::Heredoc(body) => body,
        }
    }
}
