//! Dockerfile text to typed instructions, with the lines each one came from. Pure.
//!
//! ```text
//! bytes ─lines─▶ logical lines with heredoc bodies ─words─▶ keyword, flags, operands ─parse─▶ Dockerfile
//! ```
//!
//! What is parsed here is what can be known from the text alone. Variables are *not* expanded: every
//! operand in which BuildKit expands them is a [`Word`], which only an [`Expander`] turns into text.
//! Where the manual and BuildKit differ, BuildKit's behaviour is implemented.

mod budget;
mod directives;
mod duration;
mod error;
mod excerpt;
mod expand;
mod expansion;
mod flags;
mod frontend;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod operands;
mod parse;
mod pattern;
mod spelling;
mod visits;
mod words;

pub use budget::{Budget, Exhausted};
pub(crate) use duration::display as display_duration;
pub use error::{Hint, ParseError, ParseProblem, closest, nearest};
pub(crate) use excerpt::Printable;
pub use excerpt::{Excerpt, SourceText, Span, Spanned};
pub use expand::{ExpandError, ExpandProblem, Expander, UsedNames};
pub use expansion::Expandable;
pub use frontend::check_frontend;
pub use heredoc::{Heredoc, Indent, Quoting};
pub use instruction::{
    Add, Arg, ArgItem, Command, Copy, Directive, Directives, Dockerfile, Env, Escape, Expose, From, Healthcheck,
    Instruction, KeyValue, Label, Maintainer, Network, Onbuild, Run, RunCommand, Security, Shell, Source, StageSource,
    Statement, Stopsignal, Transfer, User, Volume, Word, Workdir,
};
pub use mount::{Mount, MountField};
pub use parse::{Attempt, attempt, parse, parse_trigger};
pub use spelling::{Alias, Separator, Spelling};
