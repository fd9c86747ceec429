//! Finds the build context and the Dockerfile.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::Input;
use super::context::{self, Named};
use super::environment::Environment;
use super::git_options::GitOptions;
use super::problem::Problem;
use crate::build::request::{Context, DockerfileSource, FetchedContext};
use crate::remote::UrlSource;

/// Where the executor's image mounts the context.
const DEFAULT_CONTEXT: &str = "/workspace/";
const DEFAULT_DOCKERFILE: &str = "Dockerfile";
/// What some call it; only looked for when nothing was asked for.
const LOWER_CASE_DOCKERFILE: &str = "dockerfile";

/// What is the context.
///
/// # Errors
/// It is no directory, or nothing that a context can be.
pub(super) fn context(input: &Input, keep_git_dir: bool, environment: &Environment) -> Result<Context, Problem> {
    let bucket = input
        .bucket
        .as_deref()
        .filter(|bucket| !bucket.is_empty())
        .map(of_bucket);
    let given = match (input.context.as_deref(), &bucket) {
        (None | Some(""), Some(bucket)) => bucket,
        (Some(""), None) => return Err(Problem::NoContext),
        (given, _) => given.unwrap_or(DEFAULT_CONTEXT),
    };
    let git = GitOptions::parse(&input.git).map_err(Problem::GitOption)?;
    let sub_path = input.context_sub_path.as_deref().unwrap_or_default();
    match context::named(given, &git, keep_git_dir, environment)? {
        Named::Directory(path) => directory(&environment.absolute(Path::new(path)), sub_path).map(Context::Directory),
        Named::Remote(source, ignore_file) => Ok(Context::Fetched(FetchedContext {
            source,
            sub_path: sub_path.to_owned(),
            skip_tls_verify: git.insecure_skip_tls,
            ignore_file,
        })),
    }
}

/// What `--bucket` names: a bucket of Google's, unless it says otherwise.
fn of_bucket(bucket: &str) -> String {
    match bucket.contains("://") {
        true => bucket.to_owned(),
        false => format!("gs://{bucket}"),
    }
}

fn directory(root: &Path, sub_path: &str) -> Result<PathBuf, Problem> {
    // Always below the context, as the name says, also when written with a leading slash.
    let context: PathBuf = root.join(sub_path.trim_start_matches('/')).components().collect();
    match fs::metadata(&context) {
        Ok(metadata) if metadata.is_dir() => Ok(context),
        Ok(_) => Err(Problem::ContextNotADirectory(context)),
        Err(source) => Err(Problem::ContextUnreadable { path: context, source }),
    }
}

/// Where the Dockerfile is; `None` when it may be in a context that is unknown.
///
/// # Errors
/// It is nowhere.
pub(super) fn dockerfile(
    input: &Input,
    context: Option<&Context>,
    environment: &Environment,
) -> Result<Option<DockerfileSource>, Problem> {
    let asked = input.dockerfile.as_deref().filter(|name| !name.is_empty());
    let name = asked.unwrap_or(DEFAULT_DOCKERFILE);
    if name.starts_with("http://") || name.starts_with("https://") {
        let source = UrlSource::parse(name, None).map_err(Problem::Address)?;
        return Ok(Some(DockerfileSource::Url(source)));
    }
    let lower_case = with_lower_case(name);
    let names: Vec<&str> = std::iter::once(name).chain(lower_case.as_deref()).collect();
    let fetched = matches!(context, Some(Context::Fetched(_)));
    let directory = match context {
        Some(Context::Directory(path)) => Some(path.as_path()),
        Some(Context::Fetched(_)) | None => None,
    };
    // The working directory comes first, unlike with docker: pipelines rely on it. Nobody relies on a Dockerfile there
    // that he has not named and that has nothing to do with a fetched context.
    let here = (!fetched || asked.is_some()).then_some(environment.working_directory.as_path());
    let mut tried = Vec::new();
    for name in &names {
        for place in [here, directory].into_iter().flatten() {
            let path: PathBuf = place.join(name).components().collect();
            if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
                let name = (*name).to_owned();
                return Ok(Some(DockerfileSource::File { path, name }));
            }
            if !tried.contains(&path) {
                tried.push(path);
            }
        }
    }
    if fetched {
        let names = names.into_iter().map(str::to_owned).collect();
        return Ok(Some(DockerfileSource::InContext(names)));
    }
    if context.is_none() && !Path::new(name).is_absolute() {
        return Ok(None);
    }
    let name = name.to_owned();
    Err(Problem::NoDockerfile { name, tried })
}

/// The second spelling of a name that ends in exactly the default's.
fn with_lower_case(name: &str) -> Option<String> {
    let folder = name.strip_suffix(DEFAULT_DOCKERFILE)?;
    (folder.is_empty() || folder.ends_with('/')).then(|| format!("{folder}{LOWER_CASE_DOCKERFILE}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::site::Site;

    #[test]
    fn contexts_are_directories() {
        let site = Site::new();
        fs::write(site.path("file"), "").unwrap();
        let context = |line: &[&str]| site.convert(line).map(|request| request.context);
        let absolute = site.path("context").display().to_string();
        for line in [
            &["--context=context"][..],
            &["--context=./context/./"],
            &["--context=dir://context"],
            &["--context", &format!("dir://{absolute}/")],
            &["-c", &absolute],
        ] {
            assert_eq!(context(line), Ok(Context::Directory(site.path("context"))), "{line:?}");
        }
        for line in [
            ["--context=context", "--context-sub-path=sub", "-f=Dockerfile"],
            ["--context=dir://context", "--context-sub-path=/sub/", "-f=Dockerfile"],
        ] {
            fs::write(site.path("context/sub/Dockerfile"), "").unwrap();
            assert_eq!(
                context(&line),
                Ok(Context::Directory(site.path("context/sub"))),
                "{line:?}"
            );
        }
        for (given, expected) in [
            ("", "please specify the build context with --context".to_owned()),
            ("dir://", "please specify the build context with --context".to_owned()),
            ("nowhere", "cannot read the build context DIR/nowhere".to_owned()),
            ("file", "the build context DIR/file is not a directory".to_owned()),
            ("s3:///key", "--context s3:///key names no bucket".to_owned()),
            (
                "ftp://u:p@host",
                "unknown build context prefix provided in ftp://***@host, please use one of the following: gs://, dir://, tar://, \
                 s3://, git://, https://"
                    .to_owned(),
            ),
        ] {
            assert_eq!(
                context(&[&format!("--context={given}")]),
                Err(vec![expected]),
                "{given}"
            );
        }
        for (line, expected) in [
            (&["--context=", "--bucket=b"][..], "gs://b/context.tar.gz"),
            (&["--context=", "--bucket=b/o"], "gs://b/o"),
            (&["--context=", "-b", "s3://b/k"], "s3://b/k"),
        ] {
            match context(line) {
                Ok(Context::Fetched(fetched)) => assert_eq!(fetched.source.to_string(), expected),
                other => panic!("{other:?}"),
            }
        }
        let line = ["--context=context", "--bucket=b"];
        assert_eq!(context(&line), Ok(Context::Directory(site.path("context"))));
    }

    #[test]
    fn l9_a_dockerfile_may_be_a_link() {
        let site = Site::new();
        let link = site.path("context/Dockerfile");
        fs::rename(&link, site.path("context/real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let found = DockerfileSource::File {
            path: link.clone(),
            name: "Dockerfile".to_owned(),
        };
        assert_eq!(site.convert(&[]).map(|request| request.dockerfile), Ok(found));
        assert!(fs::read(link).is_ok(), "it is read through");
    }

    #[test]
    fn the_dockerfile_is_looked_for_in_order() {
        let site = Site::new();
        let found = |line: &[&str]| {
            site.convert(line).map(|request| match request.dockerfile {
                DockerfileSource::File { path, .. } => path,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(found(&[]), Ok(site.path("context/Dockerfile")));
        fs::write(site.path("Dockerfile"), "").unwrap();
        assert_eq!(
            found(&[]),
            Ok(site.path("Dockerfile")),
            "the working directory comes first"
        );
        assert_eq!(
            found(&["-f", "context/Dockerfile"]),
            Ok(site.path("context/Dockerfile"))
        );
        let absolute = site.path("context/Dockerfile").display().to_string();
        assert_eq!(found(&["-f", &absolute]), Ok(site.path("context/Dockerfile")));
        fs::remove_file(site.path("Dockerfile")).unwrap();
        fs::remove_file(site.path("context/Dockerfile")).unwrap();
        fs::write(site.path("context/dockerfile"), "").unwrap();
        assert_eq!(found(&[]), Ok(site.path("context/dockerfile")));
        assert_eq!(found(&["-f", "Dockerfile"]), Ok(site.path("context/dockerfile")));
        assert_eq!(
            found(&["-f", "context/Dockerfile"]),
            Ok(site.path("context/dockerfile")),
            "the base name counts"
        );
        for other in ["Other", "DOCKERFILE", "My.Dockerfile"] {
            let missing = format!("no Dockerfile \"{other}\" found (looked for DIR/{other}, DIR/context/{other})");
            assert_eq!(found(&["-f", other]), Err(vec![missing]));
        }
        let missing = "no Dockerfile \"sub\" found (looked for DIR/sub, DIR/context/sub)";
        assert_eq!(
            found(&["-f", "sub"]),
            Err(vec![missing.to_owned()]),
            "a directory is no Dockerfile"
        );
        let source = |line: &[&str]| site.convert(line).map(|request| request.dockerfile);
        let url = UrlSource::parse("https://x/Dockerfile", None).unwrap();
        assert_eq!(source(&["-f", "https://x/Dockerfile"]), Ok(DockerfileSource::Url(url)));
        fs::write(site.path("Dockerfile"), "").unwrap();
        let names = |names: &[&str]| {
            Ok(DockerfileSource::InContext(
                names.iter().map(|&name| name.to_owned()).collect(),
            ))
        };
        let fetched = "--context=tar://x.tar";
        assert_eq!(source(&[fetched]), names(&["Dockerfile", "dockerfile"]));
        assert_eq!(source(&[fetched, "-f", "sub/D"]), names(&["sub/D"]));
        assert!(matches!(
            source(&[fetched, "-f", "Dockerfile"]),
            Ok(DockerfileSource::File { .. })
        ));
    }
}
