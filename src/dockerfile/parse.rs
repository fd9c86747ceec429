//! A file to its stages: reads logical lines, fetches heredoc bodies, sorts instructions into stages.

use super::error::{Hint, ParseError, ParseProblem};
use super::excerpt::{SourceText, Span, Spanned};
use super::flags::split_line;
use super::heredoc::find_markers;
use super::instruction::{Arg, Directives, Dockerfile, Escape, Instruction, StageSource, Statement};
use super::lines::{LineError, Lines, LogicalLine};
use super::operands::{Operands, Parsed, accepts_heredocs, parse_operands};
use super::spelling::Spelling;

/// Parses a Dockerfile; `name` is what errors call it. Takes time linear in the size of `text`.
///
/// # Errors
/// The first mistake, with its lines.
pub fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, ParseError> {
    attempt(name, text).complete()
}

/// What could be read of a file up to its first mistake: its checks say what they can even so.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// Name and lines, for excerpts.
    pub source: SourceText,
    /// Those at the top.
    pub directives: Directives,
    /// ARG instructions before the first FROM.
    pub global_args: Vec<Spanned<Arg>>,
    /// The stages in order.
    pub stages: Vec<StageSource>,
    /// What ended the reading early, or what the whole lacks.
    pub mistake: Option<ParseError>,
}

impl Attempt {
    /// The file, if nothing is wrong with it.
    ///
    /// # Errors
    /// The first mistake, with its lines.
    pub fn complete(self) -> Result<Dockerfile, ParseError> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None => Ok(Dockerfile {
                source: self.source,
                directives: self.directives,
                global_args: self.global_args,
                stages: self.stages,
            }),
        }
    }
}

/// Parses as much of a Dockerfile as there is before the first mistake.
#[must_use]
pub fn attempt(name: &str, text: &[u8]) -> Attempt {
    let mut attempt = Attempt {
        source: SourceText::new(name, text),
        directives: Directives::default(),
        global_args: Vec::new(),
        stages: Vec::new(),
        mistake: None,
    };
    let outcome = attempt.read(text);
    attempt.mistake = outcome.err().map(|mistake| mistake.located_in(&attempt.source));
    attempt
}

/// Parses the text of an ONBUILD trigger, with the default escape token as BuildKit does.
///
/// # Errors
/// The mistake; its lines are those of `text`, not of any Dockerfile.
pub fn parse_trigger(text: &str) -> Result<Statement, ParseError> {
    let source = SourceText::new("ONBUILD trigger", text.as_bytes());
    read_trigger(text).map_err(|mistake| mistake.located_in(&source))
}

/// A problem before it is known which file it is in.
#[derive(Debug)]
pub(super) struct Mistake {
    problem: ParseProblem,
    hint: Option<Hint>,
    span: Option<Span>,
}

impl Mistake {
    /// A mistake of the file as a whole.
    const fn of_file(problem: ParseProblem) -> Self {
        Self {
            problem,
            hint: None,
            span: None,
        }
    }

    fn located_in(self, source: &SourceText) -> ParseError {
        let hint = self.hint.or_else(|| self.problem.advice().map(Hint::Try));
        ParseError {
            problem: self.problem,
            excerpt: Some(Box::new(match self.span {
                Some(span) => source.excerpt(span),
                None => source.whole(),
            })),
            hint,
        }
    }
}

impl From<LineError> for Mistake {
    fn from((problem, span): LineError) -> Self {
        Self {
            problem,
            hint: None,
            span: Some(span),
        }
    }
}

impl Attempt {
    fn read(&mut self, text: &[u8]) -> Result<(), Mistake> {
        if text.is_empty() {
            return Err(Mistake::of_file(ParseProblem::Empty));
        }
        let (directives, mut lines) = Lines::new(text)?;
        let escape = directives.escape;
        self.directives = directives;
        while let Some(line) = lines.next_instruction()? {
            self.add(read_instruction(line, &mut lines, escape)?)?;
        }
        match (self.stages.is_empty(), self.global_args.is_empty()) {
            (true, true) => Err(Mistake::of_file(ParseProblem::NoInstructions)),
            (true, false) => Err(Mistake::of_file(ParseProblem::NoStages)),
            (false, _) => Ok(()),
        }
    }

    /// Puts an instruction where it belongs.
    fn add(&mut self, read: ReadInstruction) -> Result<(), Mistake> {
        let ReadInstruction { parsed, line, spelling } = read;
        let span = line.span;
        match (parsed, self.stages.last_mut()) {
            (Parsed::From(value), _) => self.stages.push(StageSource {
                from: Spanned { value, span, spelling },
                instructions: Vec::new(),
            }),
            (Parsed::Instruction(instruction), Some(stage)) => stage.instructions.push(Statement {
                instruction,
                text: line.text,
                span,
                spelling,
            }),
            (Parsed::Instruction(Instruction::Arg(value)), None) => {
                self.global_args.push(Spanned { value, span, spelling });
            }
            (Parsed::Instruction(_), None) => return Err((ParseProblem::NoCurrentStage, span).into()),
        }
        Ok(())
    }
}

fn read_trigger(text: &str) -> Result<Statement, Mistake> {
    let (_, mut lines) = Lines::new(text.as_bytes())?;
    let Some(line) = lines.next_instruction()? else {
        return Err(Mistake::of_file(ParseProblem::NoInstructions));
    };
    let forbidden = |keyword: &str| ParseProblem::OnbuildForbidden {
        keyword: keyword.to_owned(),
    };
    let ReadInstruction { parsed, line, spelling } = read_instruction(line, &mut lines, Escape::default())?;
    match parsed {
        Parsed::From(_) => Err((forbidden("FROM"), line.span).into()),
        Parsed::Instruction(Instruction::Onbuild(_)) => Err((ParseProblem::OnbuildChained, line.span).into()),
        Parsed::Instruction(instruction) => Ok(Statement {
            instruction,
            text: line.text,
            span: line.span,
            spelling,
        }),
    }
}

/// An instruction and where it came from; the line's span covers its heredocs.
struct ReadInstruction {
    parsed: Parsed,
    line: LogicalLine,
    spelling: Spelling,
}

/// Parses one instruction with its heredocs.
fn read_instruction(mut line: LogicalLine, lines: &mut Lines<'_>, escape: Escape) -> Result<ReadInstruction, Mistake> {
    let heredocs = match accepts_heredocs(&line.text, escape) {
        true => lines.heredocs(&find_markers(&line.text), &mut line.span)?,
        false => Vec::new(),
    };
    let split = split_line(&line.text, escape);
    let spelling = Spelling::of(&line, split.keyword, split.arguments, escape);
    let operands = Operands {
        line: &line.text,
        flags: split.flags,
        text: split.arguments,
        heredocs,
        escape,
    };
    match parse_operands(split.keyword, operands) {
        Ok(parsed) => Ok(ReadInstruction { parsed, line, spelling }),
        Err((problem, hint)) => Err(Mistake {
            problem,
            hint,
            span: Some(line.span),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::visits;
    use super::*;

    /// Files of 100,000 lines, and of half as many: the scanners look at each byte a constant number of times.
    #[test]
    fn the_work_grows_with_the_file_and_no_faster() {
        type Make = fn(usize) -> String;
        let kinds: [(&str, Make); 16] = [
            ("ordinary", |n| "RUN x <<E\ny\nE\n# c\nENV a=b\n".repeat(n / 5)),
            ("continuations", |n| format!("RUN {}", "x \\\n".repeat(n))),
            ("blank lines", |n| format!("RUN x \\\n{}y", "\n".repeat(n))),
            ("comments", |n| format!("RUN x \\\n{}y", "# c\n".repeat(n))),
            ("comments between", |n| format!("{}CMD x", "# c\n".repeat(n))),
            ("a heredoc", |n| format!("RUN <<E\n{}E\n", "x\n".repeat(n))),
            ("many heredocs", |n| {
                let (markers, bodies) = ("<<E \\\n".repeat(n / 2), "E\n".repeat(n / 2));
                format!("COPY {markers} /d\n{bodies}")
            }),
            ("pairs", |n| format!("ENV {}", "a=b \\\n".repeat(n))),
            ("quotes", |n| {
                format!("LABEL a={}", "'b' \\\n\\\n".repeat(n / 2).replace(' ', ""))
            }),
            ("names", |n| format!("ARG {}", "a=$b \\\n".repeat(n))),
            ("flags", |n| format!("RUN {} x", "--mount=type=tmpfs \\\n".repeat(n))),
            ("a JSON array", |n| format!("CMD [{}\"x\"]", "\"x\", \\\n".repeat(n))),
            ("arithmetic", |n| format!("RUN <<E {}x\nE\n", "$(( \\\n".repeat(n))),
            ("stages", |n| "FROM a AS b\n".repeat(n)),
            ("triggers", |n| "ONBUILD RUN <<E\nx\nE\n".repeat(n / 3)),
            ("directives", |n| "#syntax=a\n".repeat(n)),
        ];
        for (kind, make) in kinds {
            let visits = |lines| {
                let text = match kind {
                    "directives" => format!("{}FROM a", make(lines)),
                    _ => format!("FROM a\n{}", make(lines)),
                };
                let seen = visits::during(|| {
                    let outcome = parse("f", text.as_bytes());
                    assert_eq!(outcome.is_err(), kind == "directives", "{kind}");
                });
                assert!(
                    seen <= 20 * text.len() as u64,
                    "{kind}: {seen} visits of {} bytes",
                    text.len()
                );
                seen
            };
            let (half, whole) = (visits(50_000), visits(100_000));
            assert!(whole <= 2 * half + 1000, "{kind}: {half} visits, then {whole}");
        }
    }

    /// Every prefix of a file and every single changed byte: an error or a result, never a panic.
    #[test]
    fn damaged_files_do_not_panic() {
        let text = "# escape=`\nARG a=${b:-c}\nFROM --platform=$P x AS y\nRUN --mount=type=cache <<-'E' `\n # c\n cat\n\tb\n\tE\n\
                    COPY --chown=\"a b\" <<F [x] /d\n${x}\nF\nHEALTHCHECK --interval=1s CMD [\"a\"]\nONBUILD RUN <<G\nG\n";
        for end in 0..text.len() {
            let _ = parse("f", &text.as_bytes()[..end]);
        }
        for at in 0..text.len() {
            for byte in [0, b'\n', b'"', b'\'', b'`', b'<', b'-', b'[', b'=', 0x80, 0xff] {
                let mut damaged = text.as_bytes().to_vec();
                damaged[at] = byte;
                let _ = parse("f", &damaged);
            }
        }
    }

    #[test]
    fn triggers() {
        let statement = parse_trigger("RUN <<EOF\nx\nEOF").unwrap();
        assert_eq!(statement.text, "RUN <<EOF");
        assert_eq!(statement.instruction.keyword(), "RUN");
        for (text, problem) in [
            ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
            ("ONBUILD RUN x", "Chaining ONBUILD"),
            ("FOO", "unknown instruction: FOO"),
            ("", "file with no instructions"),
        ] {
            let error = parse_trigger(text).unwrap_err();
            assert!(error.problem.to_string().starts_with(problem), "{text}: {error}");
        }
    }
}
