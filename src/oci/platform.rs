//! Platforms: what an image runs on, and which entry of an index serves a wanted one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant, normalised (`aarch64` is `arm64`, `armhf` is `arm/v7`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, PartialOrd, Ord)]
pub struct Platform {
    /// CPU architecture in Go's naming.
    pub architecture: String,
    /// Operating system in Go's naming.
    pub os: String,
    /// CPU variant, `v7` for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Windows build number.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Windows features.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// The text is not `os[/arch[/variant]]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?} (expected os/architecture[/variant], for example linux/arm64)")]
pub struct PlatformError(pub String);

impl Platform {
    /// A normalised platform.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normalise(architecture, variant.unwrap_or_default());
        Self {
            architecture,
            os,
            variant,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// The platform this program was built for.
    #[must_use]
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// This platform with the spellings of the specification.
    #[must_use]
    pub fn normalised(&self) -> Self {
        Self {
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            ..Self::new(&self.os, &self.architecture, self.variant.as_deref())
        }
    }

    /// Whether this is the `unknown/unknown` that build attestations carry.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// How well `offered` serves this wanted platform: 0 is exact, larger is worse, `None` does not
    /// run. An older variant of the same family runs on a newer one, never the reverse.
    #[must_use]
    pub fn preference(&self, offered: &Self) -> Option<usize> {
        let (want, have) = (self.normalised(), offered.normalised());
        if want.os != have.os {
            return None;
        }
        let have = (have.architecture.as_str(), have.variant.as_deref().unwrap_or_default());
        want.runs()
            .iter()
            .position(|(arch, variant)| (arch.as_str(), variant.as_str()) == have)
    }

    /// Architecture and variant pairs that run on this platform, best first.
    fn runs(&self) -> Vec<(String, String)> {
        let variant = self.variant.as_deref().unwrap_or_default();
        let level = variant.strip_prefix('v').and_then(|v| v.parse::<u8>().ok());
        let own = |v: &str| (self.architecture.clone(), v.to_owned());
        let down = |from: u8, to: u8| (to..=from).rev().map(|v| format!("v{v}"));
        match (self.architecture.as_str(), level) {
            ("amd64", Some(level)) => down(level, 2).map(|v| own(&v)).chain([own("")]).collect(),
            ("arm", Some(level)) => down(level, 5).map(|v| own(&v)).collect(),
            ("arm64", None) if variant.is_empty() => std::iter::once(own(""))
                .chain(down(8, 5).map(|v| ("arm".to_owned(), v)))
                .collect(),
            _ => vec![own(variant)],
        }
    }
}

/// Aliases of containerd's platform normalisation.
fn normalise(architecture: &str, variant: &str) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "7") => ("arm", "v7"),
        ("arm", "8") => ("arm", "v8"),
        (a, v) => (a, v),
    };
    let variant = (!variant.is_empty()).then(|| variant.to_owned());
    (architecture.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.to_owned());
        let (text, os_version) = match text.split_once(':') {
            Some((platform, version)) => (platform, Some(version.to_owned())),
            None => (text, None),
        };
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(valid) {
            return Err(error());
        }
        let platform = match parts[..] {
            [os, arch] => Self::new(os, arch, None),
            [os, arch, variant] => Self::new(os, arch, Some(variant)),
            ["linux" | "windows"] => Self::new(parts[0], &Self::host().architecture, None),
            [arch] => {
                let platform = Self::new("linux", arch, None);
                let known = [
                    "386", "amd64", "arm", "arm64", "ppc64le", "riscv64", "s390x", "mips64le", "loong64",
                ];
                if !known.contains(&platform.architecture.as_str()) {
                    return Err(error());
                }
                platform
            }
            _ => return Err(error()),
        };
        Ok(Self { os_version, ..platform })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_aliases() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("arm64", "linux/arm64"),
            ("windows/amd64:10.0.1", "windows/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "zz"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn prefers_the_closest_variant() {
        let rank = |want: &str, have: &str| want.parse::<Platform>().unwrap().preference(&have.parse().unwrap());
        assert_eq!(rank("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(rank("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64/v2"), Some(1));
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(rank("linux/amd64", "linux/386"), None);
        assert_eq!(rank("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(rank("linux/arm64", "linux/arm/v7"), Some(2));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/riscv64", "linux/riscv64"), Some(0));
        assert_eq!(rank("linux/amd64", "windows/amd64"), None);
    }
}
