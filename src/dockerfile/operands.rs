//! One function for each instruction: flags and argument text to typed operands.

use std::collections::HashMap;

use super::duration;
use super::error::{ParseProblem, closest};
use super::flags::{FlagError, Flags, split_line};
use super::heredoc::{Heredoc, MarkerOrText, merge_markers, only_marker};
use super::instruction::{
    Add, Arg, ArgItem, Command, Copy, Env, Escape, Expose, From, Healthcheck, Instruction, Label, Maintainer, Network,
    Onbuild, Run, RunCommand, Security, Shell, Source, Stopsignal, Transfer, User, Volume, Word, Workdir,
};
use super::mount;
use super::words::{Form, exec_form, key_values, split_blanks, split_once_blank, split_quoted};

/// What stands behind a keyword.
pub(super) struct Operands<'a> {
    /// The whole logical line.
    pub(super) line: &'a str,
    /// In order.
    pub(super) flags: Flags,
    /// The rest, trimmed.
    pub(super) text: &'a str,
    /// Bodies of the line's heredoc markers.
    pub(super) heredocs: Vec<Heredoc>,
    /// The file's.
    pub(super) escape: Escape,
}

/// An instruction, FROM included.
pub(super) enum Parsed {
    From(From),
    Instruction(Instruction),
}

/// Keywords in the order they are suggested.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Dispatches on the keyword, whatever its case.
pub(super) fn parse_operands(keyword: &str, operands: Operands<'_>) -> Result<Parsed, FlagError> {
    let instruction = match keyword.to_ascii_uppercase().as_str() {
        "FROM" => return parse_from(operands).map(Parsed::From),
        "ADD" => Instruction::Add(parse_add(operands)?),
        "ARG" => Instruction::Arg(parse_arg(&operands)?),
        "CMD" => Instruction::Cmd(parse_command(operands)?),
        "COPY" => Instruction::Copy(parse_copy(operands)?),
        "ENTRYPOINT" => Instruction::Entrypoint(parse_command(operands)?),
        "ENV" => Instruction::Env(parse_env(operands)?),
        "EXPOSE" => Instruction::Expose(parse_expose(operands)?),
        "HEALTHCHECK" => Instruction::Healthcheck(parse_healthcheck(operands)?),
        "LABEL" => Instruction::Label(parse_label(operands)?),
        "MAINTAINER" => Instruction::Maintainer(parse_maintainer(operands)?),
        "ONBUILD" => Instruction::Onbuild(parse_onbuild(operands)?),
        "RUN" => Instruction::Run(parse_run(operands)?),
        "SHELL" => Instruction::Shell(parse_shell(operands)?),
        "STOPSIGNAL" => Instruction::Stopsignal(parse_stopsignal(&operands)?),
        "USER" => Instruction::User(parse_user(operands)?),
        "VOLUME" => Instruction::Volume(parse_volume(operands)?),
        "WORKDIR" => Instruction::Workdir(parse_workdir(operands)?),
        _ => return Err(unknown_instruction(keyword)),
    };
    Ok(Parsed::Instruction(instruction))
}

fn unknown_instruction(keyword: &str) -> FlagError {
    let lower = KEYWORDS.map(str::to_lowercase);
    // The suggestion is written in the case of the mistake.
    let hint = match keyword.chars().any(char::is_uppercase) {
        true => closest(keyword, KEYWORDS),
        false => closest(keyword, lower.iter().map(String::as_str)),
    };
    let keyword = keyword.to_owned();
    (ParseProblem::UnknownInstruction { keyword }, hint)
}

/// Whether markers on this line have bodies behind it.
pub(super) fn accepts_heredocs(line: &str, escape: Escape) -> bool {
    let split = split_line(line, escape);
    match split.keyword.to_ascii_uppercase().as_str() {
        "RUN" | "COPY" | "ADD" => !matches!(exec_form(split.arguments), Ok(Form::Exec(_)) | Err(_)),
        // A second ONBUILD within is refused later, and recursion would have no bound.
        "ONBUILD" => {
            let nested = split_line(split.arguments, escape);
            !nested.keyword.eq_ignore_ascii_case("ONBUILD") && accepts_heredocs(split.arguments, escape)
        }
        _ => false,
    }
}

fn plain(problem: ParseProblem) -> FlagError {
    (problem, None)
}

fn parse_from(operands: Operands<'_>) -> Result<From, FlagError> {
    let words: Vec<&str> = split_blanks(operands.text).collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, middle, name] if middle.eq_ignore_ascii_case("as") => (image, Some(parse_stage_name(name)?)),
        _ => return Err(plain(ParseProblem::FromArguments)),
    };
    let mut flags = operands.flags;
    let platform = flags.string("platform")?;
    flags.finish()?;
    Ok(From {
        image: Word::new(image),
        platform: platform.map(Word::new),
        name,
    })
}

fn parse_stage_name(name: &str) -> Result<String, FlagError> {
    let lower = name.to_lowercase();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    match lower.starts_with(|c: char| c.is_ascii_lowercase()) && lower.bytes().all(allowed) {
        true => Ok(lower),
        false => Err(plain(ParseProblem::InvalidStageName { name: name.to_owned() })),
    }
}

fn parse_add(operands: Operands<'_>) -> Result<Add, FlagError> {
    let words = transfer_words("ADD", &operands)?;
    let mut flags = operands.flags;
    let transfer = parse_transfer("ADD", &words, &operands.heredocs, &mut flags)?;
    let add = Add {
        transfer,
        keep_git_dir: flags.boolean("keep-git-dir")?,
        checksum: flags.string("checksum")?.map(Word::new),
        unpack: flags.boolean("unpack")?,
    };
    flags.finish()?;
    Ok(add)
}

fn parse_copy(operands: Operands<'_>) -> Result<Copy, FlagError> {
    let words = transfer_words("COPY", &operands)?;
    let mut flags = operands.flags;
    let transfer = parse_transfer("COPY", &words, &operands.heredocs, &mut flags)?;
    let copy = Copy {
        transfer,
        from: flags.string("from")?.filter(|from| !from.is_empty()),
        parents: flags.boolean("parents")?.unwrap_or_default(),
    };
    flags.finish()?;
    match &copy.from {
        Some(from) if from.contains('$') => Err(plain(ParseProblem::VariableInFrom)),
        Some(_) | None => Ok(copy),
    }
}

/// Sources and destination as written.
enum TransferWords<'a> {
    Json(Vec<String>),
    Blanks(Vec<MarkerOrText<'a>>),
}

fn transfer_words<'a>(keyword: &'static str, operands: &Operands<'a>) -> Result<TransferWords<'a>, FlagError> {
    let (words, count) = match exec_form(operands.text).map_err(plain)? {
        Form::Exec(words) => {
            let count = words.len();
            (TransferWords::Json(words), count)
        }
        Form::Shell => {
            let words = merge_markers(split_blanks(operands.text));
            let count = words.len();
            (TransferWords::Blanks(words), count)
        }
    };
    match count {
        0 | 1 => Err(plain(ParseProblem::AtLeastTwo { keyword })),
        _ => Ok(words),
    }
}

fn parse_transfer(
    keyword: &'static str,
    words: &TransferWords<'_>,
    heredocs: &[Heredoc],
    flags: &mut Flags,
) -> Result<Transfer, FlagError> {
    let (sources, destination) = match words {
        TransferWords::Json(words) => {
            let (destination, sources) = words.split_last().ok_or(plain(ParseProblem::AtLeastTwo { keyword }))?;
            (
                sources.iter().map(|path| Source::Path(Word::new(path))).collect(),
                destination.as_str(),
            )
        }
        TransferWords::Blanks(words) => {
            let (destination, sources) = words.split_last().ok_or(plain(ParseProblem::AtLeastTwo { keyword }))?;
            let MarkerOrText::Text(destination) = destination else {
                return Err(plain(ParseProblem::HeredocDestination { keyword }));
            };
            (order_sources(sources, heredocs), *destination)
        }
    };
    Ok(Transfer {
        sources,
        destination: Word::new(destination),
        chown: flags.string("chown")?.map(Word::new),
        chmod: flags.string("chmod")?.map(Word::new),
        link: flags.boolean("link")?.unwrap_or_default(),
        exclude: flags.strings("exclude")?,
    })
}

/// Paths first, heredocs last. Of heredocs with one name the last body counts for all.
fn order_sources(words: &[MarkerOrText<'_>], heredocs: &[Heredoc]) -> Vec<Source> {
    let bodies: HashMap<&str, &Heredoc> = heredocs
        .iter()
        .map(|heredoc| (heredoc.name.as_str(), heredoc))
        .collect();
    let mut paths = Vec::new();
    let mut files = Vec::new();
    for word in words {
        match word {
            MarkerOrText::Text(path) => paths.push(Source::Path(Word::new(*path))),
            MarkerOrText::Marker(marker) => {
                let heredoc = bodies.get(marker.name.as_str()).copied();
                files.extend(heredoc.cloned().map(Source::Heredoc));
            }
        }
    }
    paths.append(&mut files);
    paths
}

fn parse_arg(operands: &Operands<'_>) -> Result<Arg, FlagError> {
    let words = split_quoted(operands.text, operands.escape);
    if words.is_empty() {
        return Err(plain(ParseProblem::AtLeastOne { keyword: "ARG" }));
    }
    let item = |word: &String| {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(Word::new(default))),
            None => (word.as_str(), None),
        };
        match name {
            "" => Err(plain(ParseProblem::BlankName { keyword: "ARG" })),
            name => Ok(ArgItem {
                name: name.to_owned(),
                default,
            }),
        }
    };
    let items = words.iter().map(item).collect::<Result<_, _>>()?;
    Ok(Arg { items })
}

fn parse_command(operands: Operands<'_>) -> Result<Command, FlagError> {
    operands.flags.finish()?;
    command(operands.text).map_err(plain)
}

fn command(text: &str) -> Result<Command, ParseProblem> {
    Ok(match exec_form(text)? {
        Form::Exec(argv) => Command::Exec(argv),
        Form::Shell => Command::Shell(text.to_owned()),
    })
}

fn parse_env(operands: Operands<'_>) -> Result<Env, FlagError> {
    let pairs = key_values("ENV", operands.text, operands.escape).map_err(plain)?;
    operands.flags.finish()?;
    Ok(Env { pairs })
}

fn parse_label(operands: Operands<'_>) -> Result<Label, FlagError> {
    let pairs = key_values("LABEL", operands.text, operands.escape).map_err(plain)?;
    operands.flags.finish()?;
    Ok(Label { pairs })
}

fn parse_expose(operands: Operands<'_>) -> Result<Expose, FlagError> {
    let mut ports: Vec<Word> = split_blanks(operands.text).map(Word::new).collect();
    if ports.is_empty() {
        return Err(plain(ParseProblem::AtLeastOne { keyword: "EXPOSE" }));
    }
    operands.flags.finish()?;
    ports.sort();
    Ok(Expose { ports })
}

fn parse_healthcheck(operands: Operands<'_>) -> Result<Healthcheck, FlagError> {
    let (kind, rest) = split_once_blank(operands.text).unwrap_or((operands.text, ""));
    match kind.to_uppercase().as_str() {
        "" => Err(plain(ParseProblem::AtLeastOne { keyword: "HEALTHCHECK" })),
        // Flags of NONE are not looked at.
        "NONE" if rest.is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(plain(ParseProblem::HealthcheckNoneArguments)),
        "CMD" => parse_check(rest, operands.flags),
        kind => Err(plain(ParseProblem::HealthcheckType { kind: kind.to_owned() })),
    }
}

fn parse_check(text: &str, mut flags: Flags) -> Result<Healthcheck, FlagError> {
    let command = match command(text).map_err(plain)? {
        Command::Exec(argv) if argv.is_empty() => return Err(plain(ParseProblem::HealthcheckMissingCommand)),
        Command::Shell(text) if text.is_empty() => return Err(plain(ParseProblem::HealthcheckMissingCommand)),
        command => command,
    };
    let check = Healthcheck::Check {
        command,
        interval: parse_interval("interval", &mut flags)?,
        timeout: parse_interval("timeout", &mut flags)?,
        start_period: parse_interval("start-period", &mut flags)?,
        start_interval: parse_interval("start-interval", &mut flags)?,
        retries: parse_retries(&mut flags)?,
    };
    flags.finish()?;
    Ok(check)
}

/// Docker's smallest interval other than "the default".
const MIN_INTERVAL: i64 = 1_000_000;

fn parse_interval(flag: &'static str, flags: &mut Flags) -> Result<i64, FlagError> {
    let Some(value) = flags.string(flag)?.filter(|value| !value.is_empty()) else {
        return Ok(0);
    };
    match duration::parse(&value) {
        None => Err(plain(ParseProblem::InvalidDuration { flag, value })),
        Some(0) => Ok(0),
        Some(nanoseconds) if nanoseconds < MIN_INTERVAL => Err(plain(ParseProblem::ShortInterval { flag })),
        Some(nanoseconds) => Ok(nanoseconds),
    }
}

fn parse_retries(flags: &mut Flags) -> Result<i64, FlagError> {
    let Some(value) = flags.string("retries")?.filter(|value| !value.is_empty()) else {
        return Ok(0);
    };
    match value.parse::<i32>() {
        Ok(retries) if retries < 0 => Err(plain(ParseProblem::NegativeRetries { value: retries.into() })),
        Ok(retries) => Ok(retries.into()),
        Err(_) => Err(plain(ParseProblem::InvalidRetries { value })),
    }
}

fn parse_maintainer(operands: Operands<'_>) -> Result<Maintainer, FlagError> {
    let author = exactly_one("MAINTAINER", operands)?;
    Ok(Maintainer { author })
}

fn parse_stopsignal(operands: &Operands<'_>) -> Result<Stopsignal, FlagError> {
    match operands.text {
        "" => Err(plain(ParseProblem::ExactlyOne { keyword: "STOPSIGNAL" })),
        signal => Ok(Stopsignal {
            signal: Word::new(signal),
        }),
    }
}

fn parse_user(operands: Operands<'_>) -> Result<User, FlagError> {
    let user = Word::new(exactly_one("USER", operands)?);
    Ok(User { user })
}

fn parse_workdir(operands: Operands<'_>) -> Result<Workdir, FlagError> {
    let path = Word::new(exactly_one("WORKDIR", operands)?);
    Ok(Workdir { path })
}

/// The whole rest of the line is the one argument.
fn exactly_one(keyword: &'static str, operands: Operands<'_>) -> Result<String, FlagError> {
    match operands.text {
        "" => Err(plain(ParseProblem::ExactlyOne { keyword })),
        text => operands.flags.finish().map(|()| text.to_owned()),
    }
}

fn parse_onbuild(operands: Operands<'_>) -> Result<Onbuild, FlagError> {
    if operands.text.is_empty() {
        return Err(plain(ParseProblem::AtLeastOne { keyword: "ONBUILD" }));
    }
    operands.flags.finish()?;
    check_trigger(operands.text, operands.escape).map_err(plain)?;
    let line = operands.line.trim_start();
    let mut trigger = split_once_blank(line).map_or("", |(_, trigger)| trigger).to_owned();
    for heredoc in &operands.heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.body);
        trigger.push_str(&heredoc.name);
    }
    Ok(Onbuild { trigger })
}

/// Of a trigger only the surface is checked; the rest fails when it runs, as in BuildKit.
fn check_trigger(text: &str, escape: Escape) -> Result<(), ParseProblem> {
    let split = split_line(text, escape);
    match split.keyword.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(ParseProblem::OnbuildChained),
        keyword @ ("FROM" | "MAINTAINER") => Err(ParseProblem::OnbuildForbidden {
            keyword: keyword.to_owned(),
        }),
        "ENV" => key_values("ENV", split.arguments, escape).map(drop),
        "LABEL" => key_values("LABEL", split.arguments, escape).map(drop),
        "ADD" | "CMD" | "COPY" | "ENTRYPOINT" | "RUN" | "SHELL" | "VOLUME" => exec_form(split.arguments).map(drop),
        _ => Ok(()),
    }
}

fn parse_run(operands: Operands<'_>) -> Result<Run, FlagError> {
    let mut flags = operands.flags;
    let mounts = flags.strings("mount")?;
    let mounts = mounts.iter().map(|mount| mount::parse(mount));
    let run = Run {
        mounts: mounts.collect::<Result<_, _>>().map_err(plain)?,
        network: parse_network(flags.string("network")?).map_err(plain)?,
        security: parse_security(flags.string("security")?).map_err(plain)?,
        devices: flags.strings("device")?,
        command: run_command(operands.text, operands.heredocs).map_err(plain)?,
    };
    flags.finish()?;
    Ok(run)
}

fn run_command(text: &str, heredocs: Vec<Heredoc>) -> Result<RunCommand, ParseProblem> {
    match (command(text)?, heredocs.as_slice()) {
        (Command::Exec(argv), _) if argv.is_empty() => Err(ParseProblem::EmptyExec { keyword: "RUN" }),
        (exec @ Command::Exec(_), _) => Ok(RunCommand::Line(exec)),
        (Command::Shell(_), [body]) if only_marker(text).is_some() => Ok(RunCommand::Body(body.clone())),
        (Command::Shell(mut line), heredocs) => {
            for heredoc in heredocs {
                line.push('\n');
                line.push_str(&heredoc.body);
                line.push_str(&heredoc.name);
            }
            Ok(RunCommand::Line(Command::Shell(line)))
        }
    }
}

fn parse_network(mode: Option<String>) -> Result<Network, ParseProblem> {
    match mode.as_deref() {
        None | Some("default") => Ok(Network::Default),
        Some("none") => Ok(Network::None),
        Some("host") => Ok(Network::Host),
        Some(mode) => Err(ParseProblem::InvalidNetwork { mode: mode.to_owned() }),
    }
}

fn parse_security(mode: Option<String>) -> Result<Security, ParseProblem> {
    match mode.as_deref() {
        None | Some("sandbox") => Ok(Security::Sandbox),
        Some("insecure") => Ok(Security::Insecure),
        Some(mode) => Err(ParseProblem::InvalidSecurity { mode: mode.to_owned() }),
    }
}

fn parse_shell(operands: Operands<'_>) -> Result<Shell, FlagError> {
    operands.flags.finish()?;
    match exec_form(operands.text).map_err(plain)? {
        Form::Exec(argv) if !argv.is_empty() => Ok(Shell { argv }),
        Form::Exec(_) => Err(plain(ParseProblem::AtLeastOne { keyword: "SHELL" })),
        Form::Shell if operands.text.is_empty() => Err(plain(ParseProblem::AtLeastOne { keyword: "SHELL" })),
        Form::Shell => Err(plain(ParseProblem::ShellNotJson)),
    }
}

fn parse_volume(operands: Operands<'_>) -> Result<Volume, FlagError> {
    let paths: Vec<Word> = match exec_form(operands.text).map_err(plain)? {
        Form::Exec(paths) => paths.iter().map(|path| Word::new(path.trim())).collect(),
        Form::Shell => split_blanks(operands.text).map(Word::new).collect(),
    };
    if paths.is_empty() {
        return Err(plain(ParseProblem::AtLeastOne { keyword: "VOLUME" }));
    }
    operands.flags.finish()?;
    match paths.iter().any(|path| path.as_written().is_empty()) {
        true => Err(plain(ParseProblem::EmptyVolume)),
        false => Ok(Volume { paths }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn mistakes() {
        for (line, problem) in [
            ("RUN --foo x", "unknown flag: --foo"),
            ("CMD --foo", "unknown flag: --foo"),
            ("ENTRYPOINT --x", "unknown flag: --x"),
            ("MAINTAINER --boo x", "unknown flag: --boo"),
            ("WORKDIR --boo x", "unknown flag: --boo"),
            ("EXPOSE --boo 1", "unknown flag: --boo"),
            ("ADD --from=x a b", "unknown flag: --from"),
            ("COPY --unpack a b", "unknown flag: --unpack"),
            ("FROM --foo=1 a", "unknown flag: --foo"),
            ("HEALTHCHECK --foo=1 CMD x", "unknown flag: --foo"),
            ("COPY --Link a b", "unknown flag: --Link"),
            ("COPY --link= a b", "missing a value on flag: --link"),
            (
                "COPY --link=yes a b",
                "expecting boolean value for flag --link, not: yes",
            ),
            ("ENV a", "ENV must have two arguments"),
            ("ENV", "ENV requires at least one argument"),
            ("LABEL", "LABEL requires at least one argument"),
            ("ARG", "ARG requires at least one argument"),
            ("EXPOSE", "EXPOSE requires at least one argument"),
            ("VOLUME", "VOLUME requires at least one argument"),
            ("VOLUME []", "VOLUME requires at least one argument"),
            ("ONBUILD", "ONBUILD requires at least one argument"),
            ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
            ("SHELL", "SHELL requires at least one argument"),
            ("SHELL []", "SHELL requires at least one argument"),
            ("ENV =b", "ENV names can not be blank"),
            ("LABEL =b", "LABEL names can not be blank"),
            ("ARG =b", "ARG names can not be blank"),
            ("WORKDIR", "WORKDIR requires exactly one argument"),
            ("USER", "USER requires exactly one argument"),
            ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
            ("MAINTAINER", "MAINTAINER requires exactly one argument"),
            ("COPY", "COPY requires at least two arguments"),
            ("ADD [\"a\"]", "ADD requires at least two arguments"),
            ("COPY [\"a\", 1]", "when using JSON array syntax"),
            ("VOLUME [null]", "when using JSON array syntax"),
            ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
            ("VOLUME [\"/a\", \" \"]", "VOLUME specified can not be an empty string"),
            ("FROM", "FROM requires either one or three arguments"),
            ("FROM a XX b", "FROM requires either one or three arguments"),
            ("FROM a AS b c", "FROM requires either one or three arguments"),
            ("FROM a AS \u{fc}", "invalid name for build stage"),
            ("FROM a AS a/b", "invalid name for build stage"),
            ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK --timeout=x CMD y", "invalid duration \"x\" for --timeout"),
            ("HEALTHCHECK --retries=-1 CMD y", "--retries cannot be negative (-1)"),
            ("HEALTHCHECK --retries=x CMD y", "invalid number \"x\" for --retries"),
            ("RUN --security=foo x", "security \"foo\" is not valid"),
            ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
            ("ONBUILD ENV X", "ENV must have two arguments"),
            ("ONBUILD CMD [1]", "when using JSON array syntax"),
            ("ADD a <<E\nE", "ADD cannot accept a heredoc as a destination"),
        ] {
            let error = parse("Dockerfile", format!("FROM a\n{line}\n").as_bytes()).unwrap_err();
            let expected = format!("dockerfile parse error on line 2: {problem}");
            assert!(error.to_string().starts_with(&expected), "{line}: {error}");
        }
    }

    #[test]
    fn accepted() {
        for line in [
            "FROM a AS x_y-z.1",
            "HEALTHCHECK --interval=0s CMD x",
            "HEALTHCHECK --interval= --retries= CMD x",
            "HEALTHCHECK --junk NONE",
            "ONBUILD FOO",
            "ONBUILD RUN --foo x",
            "COPY --from= a b",
            "CMD -- --foo",
            "RUN",
        ] {
            let text = format!("FROM a\n{line}\n");
            assert!(parse("Dockerfile", text.as_bytes()).is_ok(), "{line}");
        }
    }
}
