//! `rbuild login` and `rbuild logout`: credentials for later builds, where Docker keeps them.

use std::io::{self, Read as _};

use clap::Args;

use crate::cli::args::Logging;
use crate::cli::environment::{self as env, Environment};
use crate::cli::options::is_on;
use crate::cli::problem::{Problem, Problems, noted};
use crate::cli::value::Switch;
use crate::cli::{perform, registry_options};
use crate::diagnostic::{Diagnostic, Exit};
use crate::progress::{Event, Progress};
use crate::registry::{CredentialError, CredentialFile, Keeper};
use crate::secret::SecretText;

/// No password is longer, and no token that anybody issues.
const LONGEST_PASSWORD: u64 = 1 << 20;

/// Who logs in where.
#[derive(Args, Debug)]
pub(in crate::cli) struct LoginArgs {
    /// Registry to log in to, for example docker.io or registry.example:5000
    #[arg(value_name = "REGISTRY")]
    registry: String,

    /// User name
    #[arg(long, short = 'u', value_name = "NAME")]
    username: Option<String>,

    /// Password or token; everybody on the machine can read it from the list of processes
    #[arg(long, short = 'p', value_name = "PASSWORD")]
    password: Option<String>,

    /// Read the password from standard input
    #[arg(long, value_name = "BOOL")]
    password_stdin: Option<Switch>,

    #[command(flatten)]
    logging: Logging,
}

/// Who logs out where.
#[derive(Args, Debug)]
pub(in crate::cli) struct LogoutArgs {
    /// Registry to log out of
    #[arg(value_name = "REGISTRY")]
    registry: String,

    #[command(flatten)]
    logging: Logging,
}

struct Login {
    file: CredentialFile,
    registry: String,
    user: String,
    password: SecretText,
    warnings: Vec<String>,
}

struct Logout {
    file: CredentialFile,
    registry: String,
}

/// Credentials cannot be kept or forgotten.
#[derive(Debug, thiserror::Error)]
#[error("cannot log {direction} {registry}")]
struct LoginError {
    direction: &'static str,
    registry: String,
    #[source]
    source: CredentialError,
}

impl Diagnostic for LoginError {
    fn hints(&self) -> Vec<String> {
        let hint = match &self.source {
            CredentialError::Write { .. } => "set DOCKER_CONFIG to a directory that can be written",
            CredentialError::Json { .. } | CredentialError::Member { .. } => {
                "repair the file, or set DOCKER_CONFIG to another directory"
            }
            CredentialError::Helper { .. } => {
                "the file names this helper in `credsStore` or `credHelpers`; install it, or remove the entry"
            }
            CredentialError::Read { .. } | CredentialError::Auth { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Keeps a credential. The registry is not asked whether it is right.
pub(in crate::cli) fn login(args: &LoginArgs) -> Exit {
    perform(
        &args.logging,
        |environment| convert(args, environment, &mut io::stdin().lock()),
        |login, progress, _| log_in(login, &**progress),
    )
}

/// Forgets a credential.
pub(in crate::cli) fn logout(args: &LogoutArgs) -> Exit {
    perform(
        &args.logging,
        |environment| {
            let mut problems = Vec::new();
            let file = file(environment, &mut problems);
            let registry = noted(registry(&args.registry), &mut problems);
            let request = file.zip(registry).map(|(file, registry)| Logout { file, registry });
            super::checked(request, problems)
        },
        |logout, progress, _| log_out(logout, &**progress),
    )
}

fn log_in(login: &Login, progress: &dyn Progress) -> Result<(), LoginError> {
    for warning in &login.warnings {
        progress.event(Event::Warning(warning));
    }
    let kept = login.file.keep(&login.registry, &login.user, &login.password);
    let keeper = kept.map_err(|source| LoginError {
        direction: "in to",
        registry: login.registry.clone(),
        source,
    })?;
    let text = format!("The credentials for {} are kept {}", login.registry, place(&keeper));
    progress.event(Event::Info(&text));
    Ok(())
}

fn log_out(logout: &Logout, progress: &dyn Progress) -> Result<(), LoginError> {
    let had = logout.file.forget(&logout.registry).map_err(|source| LoginError {
        direction: "out of",
        registry: logout.registry.clone(),
        source,
    })?;
    let registry = &logout.registry;
    for keeper in &had {
        let text = format!("The credentials for {registry} are no longer kept {}", place(keeper));
        progress.event(Event::Info(&text));
    }
    if had.is_empty() {
        let text = format!("{} has no credentials for {registry}", logout.file.path().display());
        progress.event(Event::Info(&text));
    }
    Ok(())
}

fn place(keeper: &Keeper) -> String {
    match keeper {
        Keeper::File(path) => format!("in {}", path.display()),
        Keeper::Helper(name) => format!("by docker-credential-{name}"),
    }
}

fn convert(args: &LoginArgs, environment: &Environment, stdin: &mut dyn io::Read) -> Result<Login, Problems> {
    let mut problems = Vec::new();
    let file = file(environment, &mut problems);
    let registry = noted(registry(&args.registry), &mut problems);
    let user = args.username.clone().filter(|user| !user.is_empty());
    let user = noted(user.ok_or(Problem::NoUser), &mut problems);
    let password = noted(password(args, stdin), &mut problems);
    let mut warnings = Vec::new();
    if args.password.is_some() {
        warnings.push("--password shows the password to everybody on this machine; use --password-stdin".to_owned());
    }
    if environment.filled(env::DOCKER_AUTH_CONFIG).is_some() {
        warnings.push(format!(
            "{} is set, and builds look there before they look into a file",
            env::DOCKER_AUTH_CONFIG
        ));
    }
    let request = file
        .zip(registry)
        .zip(user.zip(password))
        .map(|((file, registry), (user, password))| Login {
            file,
            registry,
            user,
            password,
            warnings,
        });
    super::checked(request, problems)
}

fn file(environment: &Environment, problems: &mut Vec<Problem>) -> Option<CredentialFile> {
    let file = CredentialFile::of(&registry_options::credentials(environment));
    noted(file.ok_or(Problem::NoCredentialFile), problems)
}

/// A host, perhaps with the path of a namespace behind it.
fn registry(text: &str) -> Result<String, Problem> {
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let bare = bare.unwrap_or(text).trim_end_matches('/');
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#' | '=' | ',');
    match bare.is_empty() || bare.starts_with('/') || bare.contains(odd) {
        true => Err(Problem::Registry(text.to_owned())),
        false => Ok(bare.to_owned()),
    }
}

fn password(args: &LoginArgs, stdin: &mut dyn io::Read) -> Result<SecretText, Problem> {
    let text = match (&args.password, is_on(args.password_stdin)) {
        (Some(text), false) => text.clone(),
        (None, true) => {
            let mut text = String::new();
            let read = stdin.take(LONGEST_PASSWORD).read_to_string(&mut text);
            read.map_err(Problem::PasswordUnreadable)?;
            // One line end, of whichever kind.
            let line = text.strip_suffix('\n').unwrap_or(&text);
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
        (None, false) | (Some(_), true) => return Err(Problem::PasswordSource),
    };
    match text.is_empty() {
        true => Err(Problem::PasswordBlank),
        false => Ok(SecretText::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{self, Command};

    fn converted(line: &[&str], stdin: &str) -> Result<Login, Vec<String>> {
        let cli = args::parse(["rbuild", "login"].iter().chain(line)).unwrap();
        let Some(Command::Login(args)) = &cli.command else {
            panic!("{line:?}")
        };
        let environment = Environment::default().with(env::HOME, "/home/u");
        let converted = convert(args, &environment, &mut stdin.as_bytes());
        converted.map_err(|Problems(problems)| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_password_has_one_source_and_loses_one_line_end() {
        for (line, stdin, expected) in [
            (&["-pp"][..], "", Ok("p")),
            (&["--password", "-p-"], "", Ok("-p-")),
            (&["--password-stdin"], "p\n", Ok("p")),
            (&["--password-stdin"], "p\r\n", Ok("p")),
            (&["--password-stdin"], " p \n\n", Ok(" p \n")),
            (&["--password-stdin"], "\n", Err("password is blank")),
            (&["--password="], "", Err("password is blank")),
            (
                &[],
                "p",
                Err("exactly one of --password and --password-stdin is needed"),
            ),
            (
                &["-pp", "--password-stdin"],
                "p",
                Err("exactly one of --password and --password-stdin is needed"),
            ),
        ] {
            let line = [&["h.io", "-u", "u"], line].concat();
            let found = converted(&line, stdin).map(|login| login.password.reveal().to_owned());
            let expected = expected.map(str::to_owned).map_err(|text| vec![text.to_owned()]);
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn a_registry_is_a_host() {
        for (text, expected) in [
            ("h.io", Some("h.io")),
            ("https://h.io/", Some("h.io")),
            ("127.0.0.1:5000/team", Some("127.0.0.1:5000/team")),
            ("", None),
            ("https://", None),
            ("u@h.io", None),
            ("h io", None),
        ] {
            let found = converted(&[text, "-u", "u", "-p", "p"], "").map(|login| login.registry);
            assert_eq!(found.ok().as_deref(), expected, "{text:?}");
        }
        let problems = converted(&["h.io", "-p", "p"], "").err().unwrap_or_default();
        assert_eq!(problems, ["--username is needed"]);
    }
}
