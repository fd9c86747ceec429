//! Image references: `[host[:port]/]path[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use super::{Digest, DigestError};

/// Host of Docker Hub as people write it.
const DOCKER_HUB: &str = "docker.io";

/// Names an image in a registry. Normalised: `debian` is `docker.io/library/debian:latest`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image reference is empty")]
    Empty,
    /// A scheme belongs to URLs.
    #[error(
        "image reference {reference:?} must not start with {scheme:?}; plain HTTP is chosen with --insecure-registry"
    )]
    Scheme {
        /// As given.
        reference: String,
        /// `http://` or `https://`.
        scheme: &'static str,
    },
    /// Host or port do not follow the grammar.
    #[error("image reference {reference:?} has an invalid registry host {host:?}")]
    Host {
        /// As given.
        reference: String,
        /// The offending part.
        host: String,
    },
    /// Upper case is the usual mistake, so it has a message of its own.
    #[error("image reference {reference:?}: the repository name must be lowercase")]
    UpperCase {
        /// As given.
        reference: String,
    },
    /// The path does not follow the grammar.
    #[error(
        "image reference {reference:?} has an invalid repository name {name:?} (lower-case letters, digits, and single . _ - or __ between them)"
    )]
    Repository {
        /// As given.
        reference: String,
        /// The offending component.
        name: String,
    },
    /// The specification allows 255 characters for host and path together.
    #[error("image reference {reference:?} is longer than 255 characters before its tag")]
    TooLong {
        /// As given.
        reference: String,
    },
    /// The tag does not follow the grammar.
    #[error(
        "image reference {reference:?} has an invalid tag {tag:?} (letters, digits, . _ - and at most 128 characters)"
    )]
    Tag {
        /// As given.
        reference: String,
        /// The offending part.
        tag: String,
    },
    /// The part behind `@` is no digest.
    #[error("image reference {reference:?} has an invalid digest")]
    Digest {
        /// As given.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// 64 hexadecimal digits could be an image ID.
    #[error("image reference {0:?} looks like an image ID; registries have no names like that")]
    LooksLikeId(String),
}

impl Reference {
    /// The registry's host and port; `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path on the registry, `library/debian` for instance.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` when only a digest was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over the tag.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest, else the tag.
    #[must_use]
    pub fn identifier(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same repository with `digest` instead of a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// `registry/repository`, without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// `index.docker.io/library/debian` style, as the kaniko executor writes names into files.
    #[must_use]
    pub fn kaniko_name(&self) -> String {
        match self.registry.as_str() {
            DOCKER_HUB => format!("index.docker.io/{}", self.repository),
            registry => format!("{registry}/{}", self.repository),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference = || text.to_owned();
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        for scheme in ["http://", "https://"] {
            if text.starts_with(scheme) {
                return Err(ReferenceError::Scheme {
                    reference: reference(),
                    scheme,
                });
            }
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    reference: reference(),
                    source,
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, path) = split_registry(rest);
        check_host(registry).map_err(|host| ReferenceError::Host {
            reference: reference(),
            host,
        })?;
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag {
                reference: reference(),
                tag: tag.to_owned(),
            });
        }
        check_repository(text, repository)?;
        let hub = matches!(registry, DOCKER_HUB | "index.docker.io" | "registry-1.docker.io");
        if hub && registry == DOCKER_HUB && rest == repository && is_image_id(repository) {
            return Err(ReferenceError::LooksLikeId(reference()));
        }
        let registry = if hub { DOCKER_HUB } else { registry };
        let repository = match repository.contains('/') || !hub {
            true => repository.to_owned(),
            false => format!("library/{repository}"),
        };
        if registry.len() + 1 + repository.len() > 255 {
            return Err(ReferenceError::TooLong { reference: reference() });
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

/// The first component is a host iff a slash follows and it cannot be a path component.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '['])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DOCKER_HUB, text),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let invalid = || Err(host.to_owned());
    let port_is_valid =
        |port: &str| port.parse::<u16>().is_ok_and(|p| p > 0) && port.bytes().all(|b| b.is_ascii_digit());
    if let Some(v6) = host.strip_prefix('[') {
        let Some((address, rest)) = v6.split_once(']') else {
            return invalid();
        };
        let port_ok = rest.is_empty() || rest.strip_prefix(':').is_some_and(port_is_valid);
        return match address.parse::<std::net::Ipv6Addr>().is_ok() && port_ok {
            true => Ok(()),
            false => invalid(),
        };
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match name.split('.').all(label_is_valid) && port.is_none_or(port_is_valid) {
        true => Ok(()),
        false => invalid(),
    }
}

fn check_repository(reference: &str, repository: &str) -> Result<(), ReferenceError> {
    let reference = || reference.to_owned();
    for component in repository.split('/') {
        if component.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase { reference: reference() });
        }
        if !is_component(component) {
            return Err(ReferenceError::Repository {
                reference: reference(),
                name: component.to_owned(),
            });
        }
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_well = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    let separators = bytes.split(alphanumeric).filter(|run| !run.is_empty());
    ends_well
        && separators
            .into_iter()
            .all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128 && tag.bytes().next().is_some_and(word) && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_image_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn normalises() {
        let digest = format!("sha256:{HEX}");
        for (text, expected) in [
            ("debian".to_owned(), "docker.io/library/debian:latest".to_owned()),
            ("debian:12".into(), "docker.io/library/debian:12".into()),
            ("docker.io/debian".into(), "docker.io/library/debian:latest".into()),
            ("index.docker.io/x".into(), "docker.io/library/x:latest".into()),
            ("library/debian".into(), "docker.io/library/debian:latest".into()),
            ("user/app:v1".into(), "docker.io/user/app:v1".into()),
            ("localhost/app".into(), "localhost/app:latest".into()),
            ("127.0.0.1:5000/app:1".into(), "127.0.0.1:5000/app:1".into()),
            ("[::1]:5000/a/b".into(), "[::1]:5000/a/b:latest".into()),
            (
                "reg.example.com/a/b/c:T_1.2-x".into(),
                "reg.example.com/a/b/c:T_1.2-x".into(),
            ),
            ("Registry/app".into(), "Registry/app:latest".into()),
            ("x:5000".into(), "docker.io/library/x:5000".into()),
            ("a__b/c.d-e---f".into(), "docker.io/a__b/c.d-e---f:latest".into()),
            (format!("app@{digest}"), format!("docker.io/library/app@{digest}")),
            (format!("h.io/app:1@{digest}"), format!("h.io/app:1@{digest}")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), expected, "{text}");
            assert_eq!(
                expected.parse::<Reference>().unwrap(),
                reference,
                "{text} does not survive a round trip"
            );
        }
    }

    #[test]
    fn refuses() {
        let long = format!("h.io/{}", "a/".repeat(130)) + "a";
        let long_tag = format!("a:{}", "t".repeat(129));
        for text in [
            "",
            "http://h.io/a",
            "https://h.io/a",
            "h.io/",
            "/a",
            "a//b",
            "UPPER/Case",
            "App",
            "a:",
            "a:-x",
            "a:b:c",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "h.io:99999/a",
            "h.io:/a",
            "h.io:5x/a",
            "-h.io/a",
            "h-.io/a",
            "[::1/a",
            "[zz]:1/a",
            "a/_b",
            "a/b_",
            "a___b",
            "a..b",
            "a b",
            "a/./b",
            "a\n",
            HEX,
            &long,
            &long_tag,
            "ä",
            "h.io/a:tägg",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_digest_wins_over_the_tag() {
        let reference: Reference = format!("a:1@sha256:{HEX}").parse().unwrap();
        assert_eq!(reference.identifier(), format!("sha256:{HEX}"));
        assert_eq!(reference.tag(), Some("1"));
    }
}
