//! The instructions and their operands, as written.

use super::excerpt::{SourceText, Span, Spanned};
use super::heredoc::Heredoc;
use super::mount::Mount;
use super::spelling::Spelling;

/// A parsed file: at least one stage, every instruction well formed.
#[derive(Clone, PartialEq, Debug)]
pub struct Dockerfile {
    /// Name and lines, for excerpts.
    pub source: SourceText,
    /// The comments at the top that are more than comments.
    pub directives: Directives,
    /// ARG instructions before the first FROM.
    pub global_args: Vec<Spanned<Arg>>,
    /// The stages in order; never empty.
    pub stages: Vec<StageSource>,
}

/// Parser directives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directives {
    /// `# syntax=`; see [`super::check_frontend`].
    pub syntax: Option<Directive>,
    /// `# escape=`.
    pub escape: Escape,
    /// `# check=`.
    pub check: Option<Directive>,
}

/// A parser directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directive {
    /// The whole value.
    pub value: String,
    /// Its line.
    pub line: u32,
}

/// The character that continues lines and escapes characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Escape {
    /// `\`
    #[default]
    Backslash,
    /// `` ` ``
    Backtick,
}

impl Escape {
    /// The character itself.
    #[must_use]
    pub const fn token(self) -> char {
        match self {
            Self::Backslash => '\\',
            Self::Backtick => '`',
        }
    }
}

/// One FROM and what follows it.
#[derive(Clone, PartialEq, Debug)]
pub struct StageSource {
    /// The FROM.
    pub from: Spanned<From>,
    /// Its instructions in order.
    pub instructions: Vec<Statement>,
}

/// An instruction with its text and place.
#[derive(Clone, PartialEq, Debug)]
pub struct Statement {
    /// What it says.
    pub instruction: Instruction,
    /// The logical line: continuations joined, comments removed, heredoc bodies left out.
    pub text: String,
    /// Where it stands, heredoc bodies included.
    pub span: Span,
    /// How it is written.
    pub spelling: Spelling,
}

/// Text in which quotes, escapes and variables are still to be processed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Word(String);

impl Word {
    /// Marks `text` as not expanded yet.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.0
    }
}

/// FROM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct From {
    /// Image, stage or `scratch`.
    pub image: Word,
    /// `--platform`.
    pub platform: Option<Word>,
    /// `AS name`, in lower case.
    pub name: Option<String>,
}

/// Everything but FROM.
#[derive(Clone, PartialEq, Debug)]
pub enum Instruction {
    /// ADD.
    Add(Add),
    /// ARG within a stage.
    Arg(Arg),
    /// CMD.
    Cmd(Command),
    /// COPY.
    Copy(Copy),
    /// ENTRYPOINT.
    Entrypoint(Command),
    /// ENV.
    Env(Env),
    /// EXPOSE.
    Expose(Expose),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// LABEL.
    Label(Label),
    /// MAINTAINER.
    Maintainer(Maintainer),
    /// ONBUILD.
    Onbuild(Onbuild),
    /// RUN.
    Run(Run),
    /// SHELL.
    Shell(Shell),
    /// STOPSIGNAL.
    Stopsignal(Stopsignal),
    /// USER.
    User(User),
    /// VOLUME.
    Volume(Volume),
    /// WORKDIR.
    Workdir(Workdir),
}

/// Shell form or exec form; neither is expanded by the builder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A string for the shell.
    Shell(String),
    /// Program and arguments; CMD and ENTRYPOINT allow none at all.
    Exec(Vec<String>),
}

/// RUN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// What is run.
    pub command: RunCommand,
    /// `--mount`, repeatable.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--device`, repeatable.
    pub devices: Vec<String>,
}

/// What a RUN runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunCommand {
    /// A command line. Heredocs on it are part of the text, with their bodies and terminators: the
    /// shell reads them itself.
    Line(Command),
    /// The line is nothing but one marker, so the body is the command.
    Body(Heredoc),
}

/// What network a RUN sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Network {
    /// That of the build.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// What a RUN may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Security {
    /// The usual capabilities.
    #[default]
    Sandbox,
    /// All capabilities.
    Insecure,
}

/// What ADD and COPY have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// In the order they are copied: paths first, heredocs last.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: Word,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, repeatable, never expanded.
    pub exclude: Vec<String>,
}

/// What is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A path, a wildcard, or for ADD a URL; which of them is known only after expansion.
    Path(Word),
    /// A file with this content, named by its delimiter.
    Heredoc(Heredoc),
}

/// COPY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// Sources, destination and common flags.
    pub transfer: Transfer,
    /// `--from`, never expanded.
    pub from: Option<String>,
    /// `--parents`.
    pub parents: bool,
}

/// ADD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Add {
    /// Sources, destination and common flags.
    pub transfer: Transfer,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--unpack`; unset extracts local archives only.
    pub unpack: Option<bool>,
}

/// ARG.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arg {
    /// At least one.
    pub items: Vec<ArgItem>,
}

/// One declaration of an ARG.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArgItem {
    /// Never expanded.
    pub name: String,
    /// After the `=`.
    pub default: Option<Word>,
}

/// `key=value` of ENV and LABEL; both sides are expanded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyValue {
    /// Before the first `=`; never empty as written.
    pub key: Word,
    /// After it.
    pub value: Word,
}

/// ENV.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Env {
    /// At least one.
    pub pairs: Vec<KeyValue>,
}

/// LABEL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// At least one.
    pub pairs: Vec<KeyValue>,
}

/// EXPOSE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expose {
    /// Sorted as written: that is the order of their expansion.
    pub ports: Vec<Word>,
}

/// HEALTHCHECK; durations in nanoseconds, zero means the runtime's default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`.
    None,
    /// `HEALTHCHECK CMD`.
    Check {
        /// Never empty.
        command: Command,
        /// `--interval`.
        interval: i64,
        /// `--timeout`.
        timeout: i64,
        /// `--start-period`.
        start_period: i64,
        /// `--start-interval`.
        start_interval: i64,
        /// `--retries`.
        retries: i64,
    },
}

/// MAINTAINER; never expanded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maintainer {
    /// The author.
    pub author: String,
}

/// ONBUILD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Onbuild {
    /// The trigger as stored in the image config, heredoc bodies included.
    pub trigger: String,
}

/// SHELL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shell {
    /// At least one.
    pub argv: Vec<String>,
}

/// STOPSIGNAL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopsignal {
    /// Name or number.
    pub signal: Word,
}

/// USER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// `user[:group]`.
    pub user: Word,
}

/// VOLUME.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// At least one.
    pub paths: Vec<Word>,
}

/// WORKDIR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workdir {
    /// Absolute, or relative to the current one.
    pub path: Word,
}

impl Instruction {
    /// The keyword in upper case.
    #[must_use]
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}
