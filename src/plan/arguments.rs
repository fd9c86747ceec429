//! Build arguments: those of the command line, the automatic ones, and the proxies.

use std::collections::BTreeMap;

use super::error::PlanProblem;
use super::{Grants, NamedContexts, Sandbox};
use crate::oci::Platform;

/// What the command line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanOptions {
    /// `--build-arg`, values resolved; of equal names the last counts.
    pub build_args: Vec<(String, String)>,
    /// `--target`: names or numbers of stages. All are built, the image is the first one's; the last stage when empty.
    pub targets: Vec<String>,
    /// What to build for.
    pub target_platform: Platform,
    /// Who says so.
    pub platform_origin: PlatformOrigin,
    /// What we run on.
    pub build_platform: Platform,
    /// `--label`, applied after every LABEL; never part of a step's identity.
    pub labels: Vec<(String, String)>,
    /// `--build-context`.
    pub contexts: NamedContexts,
    /// What surrounds every RUN, unless its own flags say otherwise.
    pub sandbox: Sandbox,
    /// What a RUN may ask for.
    pub grants: Grants,
}

/// Where the platform to build for comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlatformOrigin {
    /// The user: the image is for it, whatever its base says.
    Requested,
    /// Nobody asked, so it is the machine's, and an image is for what its base is for.
    Default,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            build_args: Vec::new(),
            targets: Vec::new(),
            target_platform: Platform::host(),
            platform_origin: PlatformOrigin::Default,
            build_platform: Platform::host(),
            labels: Vec::new(),
            contexts: NamedContexts::default(),
            sandbox: Sandbox::default(),
            grants: Grants::default(),
        }
    }
}

impl PlanOptions {
    /// The value given for an ARG of this name; never expanded.
    pub(crate) fn build_arg(&self, name: &str) -> Option<&str> {
        let (_, value) = self.build_args.iter().rfind(|(key, _)| key == name)?;
        Some(value)
    }

    /// Refuses arguments that ask for what no builder does any more.
    pub(super) fn check(&self) -> Result<(), PlanProblem> {
        let is_true = |value: &str| matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True");
        match self.build_arg("BUILDKIT_DISABLE_FILEOP").is_some_and(is_true) {
            true => Err(PlanProblem::DisableFileop),
            false => Ok(()),
        }
    }

    /// The arguments that exist without a declaration, for use in FROM lines.
    pub(super) fn automatic(&self, target_stage: &str) -> Vec<(String, String)> {
        let platforms = [("BUILD", &self.build_platform), ("TARGET", &self.target_platform)];
        let mut automatic = Vec::new();
        for (prefix, platform) in platforms {
            for (name, value) in [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("OSVERSION", platform.os_version.clone().unwrap_or_default()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", platform.variant.clone().unwrap_or_default()),
            ] {
                automatic.push((format!("{prefix}{name}"), value));
            }
        }
        automatic.push(("TARGETSTAGE".to_owned(), target_stage.to_owned()));
        for (name, value) in &mut automatic {
            if let Some(given) = self.build_arg(name) {
                given.clone_into(value);
            }
        }
        automatic
    }

    /// `KEY=value` of the proxies given as build arguments, in upper and in lower case. Where both
    /// cases are given the one that sorts last, lower case, wins.
    pub(super) fn proxies(&self) -> Vec<String> {
        const NAMES: [&str; 5] = ["ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
        let given: BTreeMap<&String, &String> = self.build_args.iter().map(|(name, value)| (name, value)).collect();
        let mut proxies = BTreeMap::new();
        for (name, value) in given {
            let upper = name.to_ascii_uppercase();
            if NAMES.contains(&upper.as_str()) {
                proxies.insert(upper.to_ascii_lowercase(), value);
                proxies.insert(upper, value);
            }
        }
        proxies.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(build_args: &[(&str, &str)]) -> PlanOptions {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        PlanOptions {
            build_args: build_args.iter().map(owned).collect(),
            target_platform: Platform::new("linux", "arm", None),
            build_platform: Platform::new("linux", "amd64", None),
            ..PlanOptions::default()
        }
    }

    #[test]
    fn automatic_arguments() {
        let automatic: BTreeMap<_, _> = options(&[("TARGETOS", "plan9")]).automatic("x").into_iter().collect();
        for (name, value) in [
            ("BUILDPLATFORM", "linux/amd64"),
            ("BUILDARCH", "amd64"),
            ("BUILDVARIANT", ""),
            ("TARGETPLATFORM", "linux/arm/v7"),
            ("TARGETOS", "plan9"),
            ("TARGETARCH", "arm"),
            ("TARGETVARIANT", "v7"),
            ("TARGETSTAGE", "x"),
        ] {
            assert_eq!(automatic[name], value, "{name}");
        }
        assert_eq!(automatic.len(), 11);
    }

    #[test]
    fn copies_without_a_file_operation_are_refused() {
        for (value, is_refused) in [("1", true), ("true", true), ("0", false), ("", false), ("yes", false)] {
            let checked = options(&[("BUILDKIT_DISABLE_FILEOP", value)]).check();
            assert_eq!(checked.is_err(), is_refused, "{value:?}");
        }
    }

    #[test]
    fn l153_l156_proxies_come_in_both_cases() {
        for name in ["HTTP_PROXY", "https_proxy", "FTP_Proxy", "no_proxy", "ALL_PROXY"] {
            let both = [name.to_uppercase() + "=p", name.to_lowercase() + "=p"];
            assert_eq!(options(&[(name, "p")]).proxies(), both, "{name}");
        }
        assert_eq!(
            options(&[("http_proxy", "p")]).proxies(),
            ["HTTP_PROXY=p", "http_proxy=p"]
        );
        assert_eq!(
            options(&[("no_proxy", "l"), ("NO_PROXY", "u"), ("X_PROXY", "x")]).proxies(),
            ["NO_PROXY=l", "no_proxy=l"]
        );
    }
}
