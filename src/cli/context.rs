//! `--context`: what kind of thing it names.
//!
//! | form | what it is |
//! |---|---|
//! | `PATH`, `dir://PATH` | a directory |
//! | `tar://PATH` | an archive of this machine |
//! | `tar://stdin`, `-` | an archive, or for `-` also a Dockerfile, on standard input |
//! | `git://HOST/REPO[#REF[#COMMIT]]` | a repository over HTTPS, the kaniko executor's way: with `.git` and its past |
//! | `https://….git[#REF[:DIR]]`, `ssh://…`, `USER@HOST:PATH` | a repository, BuildKit's way: only the commit's files; `#COMMIT` may follow |
//! | `s3://BUCKET[/KEY]`, `gs://BUCKET[/OBJECT]`, `https://ACCOUNT.blob.core.windows.net/CONTAINER[/BLOB]` | an archive in a cloud storage |
//! | `https://…`, `http://…` | an archive, or a Dockerfile |

use std::num::NonZeroU32;
use std::path::Path;

use super::environment::{self as env, Environment};
use super::git_options::GitOptions;
use super::problem::Problem;
use crate::build::request::{IgnoreFileUse, RemoteContext};
use crate::redact;
use crate::remote::{GitSource, ObjectSource, Past, SourceKind, UrlSource, source_kind};

/// What `--context` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A directory, as written.
    Directory(&'a str),
    /// Anything else.
    Remote(RemoteContext, IgnoreFileUse),
}

/// What `given` names.
///
/// # Errors
/// Nothing that a context can be, or not yet.
pub(super) fn named<'a>(
    given: &'a str,
    git: &GitOptions,
    keep_git_dir: bool,
    environment: &Environment,
) -> Result<Named<'a>, Problem> {
    let Some((scheme, rest)) = given.split_once("://") else {
        return match (given, source_kind(given)) {
            ("-", _) => Ok(Named::Remote(
                RemoteContext::Stdin {
                    may_be_dockerfile: true,
                },
                IgnoreFileUse::Unused,
            )),
            (_, SourceKind::Git) => buildkit_git(given, git, keep_git_dir, environment),
            (_, SourceKind::Path | SourceKind::Url) => Ok(Named::Directory(given)),
        };
    };
    match scheme {
        "dir" if rest.is_empty() => Err(Problem::NoContext),
        "dir" => Ok(Named::Directory(rest)),
        "tar" if matches!(rest, "stdin" | "-") => Ok(Named::Remote(
            RemoteContext::Stdin {
                may_be_dockerfile: false,
            },
            IgnoreFileUse::Applied,
        )),
        "tar" if rest.is_empty() => Err(Problem::NoContext),
        "tar" => Ok(Named::Remote(
            RemoteContext::Archive(environment.absolute(Path::new(rest))),
            IgnoreFileUse::Applied,
        )),
        "git" => kaniko_git(rest, git, environment),
        "ssh" => buildkit_git(given, git, keep_git_dir, environment),
        "http" | "https" if source_kind(given) == SourceKind::Git => {
            buildkit_git(given, git, keep_git_dir, environment)
        }
        "http" | "https" => {
            let object = ObjectSource::azure(given, environment.clouds()).map_err(Problem::Cloud)?;
            if let Some(object) = object {
                return Ok(in_cloud(object));
            }
            let source = UrlSource::parse(given, None).map_err(Problem::Address)?;
            Ok(Named::Remote(RemoteContext::Url(source), IgnoreFileUse::Unused))
        }
        "s3" => ObjectSource::s3(rest, environment.clouds())
            .map(in_cloud)
            .map_err(Problem::Cloud),
        "gs" => ObjectSource::google(rest, environment.clouds())
            .map(in_cloud)
            .map_err(Problem::Cloud),
        _ => Err(Problem::ContextUnknown(redact::location(given).into_owned())),
    }
}

fn in_cloud(source: ObjectSource) -> Named<'static> {
    Named::Remote(RemoteContext::Object(source), IgnoreFileUse::Applied)
}

fn buildkit_git(
    given: &str,
    git: &GitOptions,
    keep_git_dir: bool,
    environment: &Environment,
) -> Result<Named<'static>, Problem> {
    let (given, commit) = without_commit(given);
    let mut source = GitSource::parse(given).map_err(Problem::GitAddress)?;
    if keep_git_dir {
        source.keep_git_dir.get_or_insert(true);
    }
    let branch = git.branch.clone();
    source.reference = commit.map(str::to_owned).or(branch).or(source.reference);
    source.submodules = git.recurse_submodules.unwrap_or(source.submodules);
    if let Some(depth) = git.depth {
        source.history = past(depth, git);
    }
    let address = with_credentials(source.remote(), environment);
    Ok(Named::Remote(
        RemoteContext::Git(source.at(address)),
        IgnoreFileUse::Unused,
    ))
}

/// An address in the kaniko executor's form may end in the commit behind its reference; names of commits are told by
/// their looks, for a reference may have a `#` in it too.
fn without_commit(given: &str) -> (&str, Option<&str>) {
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match given.rsplit_once('#') {
        Some((rest, commit)) if rest.contains('#') && is_commit(commit) => (rest, Some(commit)),
        _ => (given, None),
    }
}

/// How much of the past `depth` commits are; 0 is all of it.
fn past(depth: u32, git: &GitOptions) -> Past {
    match (NonZeroU32::new(depth), git.single_branch) {
        (Some(commits), _) => Past::Commits(commits),
        (None, Some(true)) => Past::Branch,
        (None, Some(false) | None) => Past::All,
    }
}

/// `[user[:password]@]host/repository[#ref[#commit]]`, without a scheme.
fn kaniko_git(rest: &str, git: &GitOptions, environment: &Environment) -> Result<Named<'static>, Problem> {
    let scheme = match environment
        .filled(env::GIT_PULL_METHOD)
        .and_then(|value| value.to_str())
    {
        Some("http") => "http",
        _ => "https",
    };
    let mut parts = rest.splitn(3, '#');
    let address = format!("{scheme}://{}", parts.next().unwrap_or_default());
    let mut said = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (reference, commit) = (said(), said());
    let mut source = GitSource::parse(&address).map_err(Problem::GitAddress)?;
    source.reference = commit.or_else(|| git.branch.clone()).or(reference);
    source.keep_git_dir = Some(true);
    source.submodules = git.recurse_submodules.unwrap_or(false);
    source.history = past(git.depth.unwrap_or(0), git);
    let address = with_credentials(source.remote(), environment);
    Ok(Named::Remote(
        RemoteContext::Git(source.at(address)),
        IgnoreFileUse::Applied,
    ))
}

/// The address with what the environment says of user and password, if it says something.
fn with_credentials(address: &str, environment: &Environment) -> String {
    let text = |name| environment.filled(name).and_then(|value| value.to_str()).map(escape);
    let user = match (text(env::GIT_TOKEN), text(env::GIT_USERNAME)) {
        (Some(token), _) => token,
        (None, Some(user)) => format!("{user}:{}", text(env::GIT_PASSWORD).unwrap_or_default()),
        (None, None) => return address.to_owned(),
    };
    match address.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{user}@{host}{path}")
        }
        _ => address.to_owned(),
    }
}

/// What would end a user name or a password in a URL is written as `%xx`.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let written = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &str, options: &[&str], environment: &Environment) -> Result<String, String> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let git = GitOptions::parse(&options).map_err(|error| error.to_string())?;
        let named = named(given, &git, false, environment).map_err(|problem| problem.to_string())?;
        Ok(match named {
            Named::Directory(path) => format!("directory {path}"),
            Named::Remote(source, IgnoreFileUse::Applied) => format!("{}, filtered", shown(source)),
            Named::Remote(source, IgnoreFileUse::Unused) => shown(source),
        })
    }

    fn shown(source: RemoteContext) -> String {
        match source {
            RemoteContext::Archive(path) => format!("archive {}", path.display()),
            RemoteContext::Stdin { may_be_dockerfile } => format!("stdin {may_be_dockerfile}"),
            RemoteContext::Url(source) => format!("url {source}"),
            RemoteContext::Object(source) => format!("object {source}"),
            RemoteContext::Git(source) => format!(
                "git {} {:?} {:?} {} {:?}",
                source.remote(),
                source.reference.as_deref().unwrap_or_default(),
                source.subdir.as_deref().unwrap_or_default(),
                source.submodules,
                (source.keep_git_dir, source.history),
            ),
        }
    }

    #[test]
    fn l360_forms_of_contexts() {
        let mut environment = Environment::default();
        environment.working_directory = "/w".into();
        let sha = "0".repeat(40);
        let all = "(Some(true), All), filtered";
        let one = "(None, Commits(1))";
        for (given, expected) in [
            (".", "directory .".to_owned()),
            ("github.com/o/r", "directory github.com/o/r".to_owned()),
            ("dir://x", "directory x".to_owned()),
            ("tar://x.tar.gz", "archive /w/x.tar.gz, filtered".to_owned()),
            ("tar:///x.tar", "archive /x.tar, filtered".to_owned()),
            ("tar://stdin", "stdin false, filtered".to_owned()),
            ("tar://-", "stdin false, filtered".to_owned()),
            ("-", "stdin true".to_owned()),
            ("https://h/x.tar.gz", "url https://h/x.tar.gz".to_owned()),
            ("http://h/Dockerfile", "url http://h/Dockerfile".to_owned()),
            ("s3://b", "object s3://b/context.tar.gz, filtered".to_owned()),
            ("gs://b/o", "object gs://b/o, filtered".to_owned()),
            (
                "https://a.blob.core.usgovcloudapi.net/c/b",
                "object https://a.blob.core.usgovcloudapi.net/c/b, filtered".to_owned(),
            ),
            (
                "https://a.blob.core.windows.net/c/b?sig=secret",
                "url https://a.blob.core.windows.net/c/b".to_owned(),
            ),
            ("git://h/o/r", format!(r#"git https://h/o/r "" "" false {all}"#)),
            (
                "git://h/r.git#refs/heads/x",
                format!(r#"git https://h/r.git "refs/heads/x" "" false {all}"#),
            ),
            (
                &format!("git://u:p@h/r#x#{sha}"),
                format!(r#"git https://u:p@h/r "{sha}" "" false {all}"#),
            ),
            (
                "https://h/r.git#v1:sub",
                format!(r#"git https://h/r.git "v1" "sub" true {one}"#),
            ),
            (
                &format!("https://h/r.git#refs/pull/1/head#{sha}"),
                format!(r#"git https://h/r.git "{sha}" "" true {one}"#),
            ),
            (
                "https://h/r.git#odd#name",
                format!(r#"git https://h/r.git "odd#name" "" true {one}"#),
            ),
            ("ssh://git@h/r#v1", format!(r#"git ssh://git@h/r "v1" "" true {one}"#)),
            ("git@h:o/r", format!(r#"git git@h:o/r "" "" true {one}"#)),
        ] {
            assert_eq!(read(given, &[], &environment), Ok(expected), "{given}");
        }
        let error = read("ftp://u:it's-secret@h/a", &[], &environment).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn git_options_and_credentials_of_the_environment() {
        let environment = Environment::default();
        let plain = |options: &[&str]| read("git://h/r#x", options, &environment);
        let expected = r#"git https://h/r "b" "" true (Some(true), Commits(3)), filtered"#;
        assert_eq!(
            plain(&["branch=b,depth=3", "recurse-submodules=true"]),
            Ok(expected.to_owned())
        );
        for (option, past) in [("single-branch=true", "Branch"), ("single-branch=false,branch=", "All")] {
            let expected = format!(r#"git https://h/r "x" "" false (Some(true), {past}), filtered"#);
            assert_eq!(plain(&[option]), Ok(expected));
        }
        let buildkit = |options: &[&str]| read("https://h/r.git", options, &environment);
        let expected = r#"git https://h/r.git "b" "" false (None, Commits(3))"#;
        let given = ["branch=b", "depth=3", "recurse-submodules=false"];
        assert_eq!(buildkit(&given), Ok(expected.to_owned()));
        let token = Environment::default()
            .with("GIT_TOKEN", "t/k")
            .with("GIT_PULL_METHOD", "http");
        let read = |given: &str, environment: &Environment| read(given, &[], environment).unwrap();
        assert!(read("git://u@h/r", &token).starts_with("git http://t%2Fk@h/r "));
        let password = Environment::default()
            .with("GIT_USERNAME", "u")
            .with("GIT_PASSWORD", "p@w");
        assert!(read("https://h/r.git", &password).starts_with("git https://u:p%40w@h/r.git "));
        assert!(read("git@h:o/r", &password).starts_with("git git@h:o/r "));
    }
}
