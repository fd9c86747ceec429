//! Finds the build context and the Dockerfile.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::Input;
use super::environment::Environment;
use super::problem::Problem;
use crate::redact;

/// Where the executor's image mounts the context.
const DEFAULT_CONTEXT: &str = "/workspace/";
const DEFAULT_DOCKERFILE: &str = "Dockerfile";
/// What some call it; only looked for when nothing was asked for.
const LOWER_CASE_DOCKERFILE: &str = "dockerfile";

/// The directory that is the context.
///
/// # Errors
/// It is no directory, or not on this machine.
pub(super) fn context(input: &Input, environment: &Environment) -> Result<PathBuf, Problem> {
    let given = input.context.as_deref().unwrap_or(DEFAULT_CONTEXT);
    let root = environment.absolute(Path::new(local_context(given, input.bucket.as_deref())?));
    // Always below the context, as the name says, also when written with a leading slash.
    let sub_path = input
        .context_sub_path
        .as_deref()
        .unwrap_or_default()
        .trim_start_matches('/');
    let context: PathBuf = root.join(sub_path).components().collect();
    match fs::metadata(&context) {
        Ok(metadata) if metadata.is_dir() => Ok(context),
        Ok(_) => Err(Problem::ContextNotADirectory(context)),
        Err(source) => Err(Problem::ContextUnreadable { path: context, source }),
    }
}

/// Path and name of the Dockerfile; `None` when it may be in a context that is unknown.
///
/// # Errors
/// It is nowhere, or not on this machine.
pub(super) fn dockerfile(
    input: &Input,
    context: Option<&Path>,
    environment: &Environment,
) -> Result<Option<(PathBuf, String)>, Problem> {
    let asked = input.dockerfile.as_deref().filter(|name| !name.is_empty());
    let name = asked.unwrap_or(DEFAULT_DOCKERFILE);
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(Problem::DockerfileUrl);
    }
    let lower_case = with_lower_case(name);
    let names = std::iter::once(name).chain(lower_case.as_deref());
    let mut tried = Vec::new();
    for name in names {
        // The working directory comes first, unlike with docker: pipelines rely on it.
        let places = [Some(environment.working_directory.as_path()), context];
        for place in places.into_iter().flatten() {
            let path: PathBuf = place.join(name).components().collect();
            if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
                return Ok(Some((path, name.to_owned())));
            }
            if !tried.contains(&path) {
                tried.push(path);
            }
        }
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

/// The path of a context that is a directory of ours.
fn local_context<'a>(given: &'a str, bucket: Option<&str>) -> Result<&'a str, Problem> {
    /// Sources of the kaniko executor that are not directories.
    const REMOTE: &[&str] = &["tar", "git", "s3", "gs", "https"];
    if given.is_empty() {
        return Err(match bucket {
            Some(bucket) => Problem::ContextScheme(bucket.to_owned()),
            None => Problem::NoContext,
        });
    }
    match given.split_once("://") {
        None => Ok(given),
        Some(("dir", "")) => Err(Problem::NoContext),
        Some(("dir", path)) => Ok(path),
        Some((scheme, _)) if REMOTE.contains(&scheme) => {
            Err(Problem::ContextScheme(redact::userinfo(given).into_owned()))
        }
        Some(_) => Err(Problem::ContextUnknown(redact::userinfo(given).into_owned())),
    }
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
            assert_eq!(context(line), Ok(site.path("context")), "{line:?}");
        }
        for line in [
            ["--context=context", "--context-sub-path=sub", "-f=Dockerfile"],
            ["--context=dir://context", "--context-sub-path=/sub/", "-f=Dockerfile"],
        ] {
            fs::write(site.path("context/sub/Dockerfile"), "").unwrap();
            assert_eq!(context(&line), Ok(site.path("context/sub")), "{line:?}");
        }
        let remote = "is not a local directory; other contexts are not implemented yet";
        for (given, expected) in [
            ("", "please specify the build context with --context".to_owned()),
            ("dir://", "please specify the build context with --context".to_owned()),
            ("nowhere", "cannot read the build context DIR/nowhere".to_owned()),
            ("file", "the build context DIR/file is not a directory".to_owned()),
            ("s3://bucket/key", format!("build context s3://bucket/key {remote}")),
            ("tar://stdin", format!("build context tar://stdin {remote}")),
            (
                "git://user:pw@host/r@1",
                format!("build context git://***@host/r@1 {remote}"),
            ),
            (
                "ftp://u:p@host",
                "unknown build context prefix in ftp://***@host".to_owned(),
            ),
        ] {
            assert_eq!(
                context(&[&format!("--context={given}")]),
                Err(vec![expected]),
                "{given}"
            );
        }
        let bucket = context(&["--context=", "--bucket=b"]);
        assert_eq!(bucket, Err(vec![format!("build context b {remote}")]));
    }

    #[test]
    fn l9_a_dockerfile_may_be_a_link() {
        let site = Site::new();
        let link = site.path("context/Dockerfile");
        fs::rename(&link, site.path("context/real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        assert_eq!(site.convert(&[]).map(|request| request.dockerfile), Ok(link.clone()));
        assert!(fs::read(link).is_ok(), "it is read through");
    }

    #[test]
    fn the_dockerfile_is_looked_for_in_order() {
        let site = Site::new();
        let found = |line: &[&str]| site.convert(line).map(|request| request.dockerfile);
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
        let url = "fetching the Dockerfile from a URL is not implemented yet";
        assert_eq!(found(&["-f", "https://x/Dockerfile"]), Err(vec![url.to_owned()]));
    }
}
