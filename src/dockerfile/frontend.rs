//! `# syntax=`: which frontend a file wants. Ours is the only one there is.

use super::directives;
use super::error::{Hint, ParseError, ParseProblem};
use super::excerpt::{SourceText, Span};

/// What forces the built-in frontend wherever an image may be named.
const BUILT_IN: &str = "dockerfile.v0";

/// The images that hold the language implemented here, on whichever registry or mirror.
const SAME_LANGUAGE: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// Refuses a file that is written for another frontend: what it means is unknown. To be asked before the file is parsed, since
/// it may not look like a Dockerfile at all. `given` is the build argument `BUILDKIT_SYNTAX`, which replaces the directive.
///
/// # Errors
/// [`ParseProblem::Frontend`] at the line of the directive.
pub fn check_frontend(name: &str, text: &[u8], given: Option<&str>) -> Result<(), ParseError> {
    let (value, line) = match (given, directives::syntax(text)) {
        (Some(given), _) => (given.to_owned(), None),
        (None, Some(directive)) => (directive.value, Some(directive.line)),
        (None, None) => return Ok(()),
    };
    // The rest of the value are options for the frontend.
    let frontend = value.split_whitespace().next().unwrap_or_default();
    if is_ours(frontend) {
        return Ok(());
    }
    let excerpt = line.map(|line| Box::new(SourceText::new(name, text).excerpt(Span::line(line))));
    let advice = match line {
        Some(_) => {
            "if the file is an ordinary Dockerfile, remove the line or build with --build-arg BUILDKIT_SYNTAX=dockerfile.v0"
        }
        None => "leave the build argument BUILDKIT_SYNTAX out, or give it the value dockerfile.v0",
    };
    Err(ParseError {
        problem: ParseProblem::Frontend {
            frontend: frontend.to_owned(),
        },
        excerpt,
        hint: Some(Hint::Try(advice)),
    })
}

/// Whether the reference names the Dockerfile frontend, in any version and from any registry.
fn is_ours(frontend: &str) -> bool {
    if matches!(frontend, "" | BUILT_IN) {
        return true;
    }
    let (name, _digest) = frontend.split_once('@').unwrap_or((frontend, ""));
    let last = name.rfind('/').unwrap_or_default();
    let name = match name[last..].find(':') {
        Some(tag) => &name[..last + tag],
        None => name,
    };
    let ends_in = |path: &str| {
        name.strip_suffix(path)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    SAME_LANGUAGE.into_iter().any(ends_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_frontend_from_anywhere() {
        for frontend in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7-labs",
            "docker/dockerfile:1@sha256:00",
            "docker/dockerfile@sha256:00",
            "docker.io/docker/dockerfile:1",
            "docker/dockerfile-upstream:master",
            "mirror.example:5000/hub/docker/dockerfile:1",
            "dockerfile.v0",
        ] {
            let text = format!("# syntax={frontend} some options\nFROM a");
            assert!(check_frontend("f", text.as_bytes(), None).is_ok(), "{frontend}");
            assert!(check_frontend("f", b"# syntax=x", Some(frontend)).is_ok(), "{frontend}");
        }
    }

    #[test]
    fn l19_other_frontends_are_refused_with_their_line() {
        for (text, frontend, line) in [
            ("# syntax=other/frontend:1 // opts\nFROM a", "other/frontend:1", 1),
            ("# escape=`\n# syntax=docker/dockerfiles\n", "docker/dockerfiles", 2),
            ("# syntax=xdocker/dockerfile\n", "xdocker/dockerfile", 1),
            ("#!/x\n//syntax=img\n", "img", 2),
            ("{\"syntax\":\"img\"}", "img", 1),
        ] {
            let error = check_frontend("f", text.as_bytes(), None).unwrap_err();
            let problem = ParseProblem::Frontend {
                frontend: frontend.to_owned(),
            };
            assert_eq!(error.problem, problem, "{text}");
            assert_eq!(error.excerpt.unwrap().span(), Span::line(line), "{text}");
        }
        let error = check_frontend("f", b"# syntax=docker/dockerfile\n", Some("x")).unwrap_err();
        assert!(error.excerpt.is_none());
        assert_eq!(
            error.to_string(),
            "the frontend \"x\" is not available, only docker/dockerfile is"
        );
    }
}
