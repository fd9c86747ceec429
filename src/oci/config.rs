//! The image config, lossless: Docker's extensions are first-class, unknown members are carried.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::descriptor::null_is_default;
use super::{DiffId, Platform};

type Set = BTreeMap<String, Empty>;

/// `{}`: Go's way to write a set's member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Empty {}

/// The image configuration (image-spec config.md) with Docker's members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time of the last history entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// MAINTAINER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What the image runs on: `architecture`, `os`, `variant`, `os.version`, `os.features`.
    #[serde(flatten)]
    pub platform: Platform,
    /// What a container is started with.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// One entry for each instruction; those without `empty_layer` match `rootfs.diff_ids`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub history: Vec<History>,
    /// Members unknown to this program.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// Layers by their uncompressed digests.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bottom layer first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// How the image came to be, one entry for each instruction.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who made the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the instruction made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// What a container is started with.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// USER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// EXPOSE, `80/tcp` for instance.
    #[serde(default, skip_serializing_if = "Set::is_empty", deserialize_with = "null_is_default")]
    pub exposed_ports: Set,
    /// ENV in order, `KEY=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// ENTRYPOINT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// CMD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Docker: HEALTHCHECK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// Docker: CMD was written in shell form and is escaped already.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_is_default"
    )]
    pub args_escaped: bool,
    /// VOLUME.
    #[serde(default, skip_serializing_if = "Set::is_empty", deserialize_with = "null_is_default")]
    pub volumes: Set,
    /// WORKDIR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// LABEL.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub labels: BTreeMap<String, String>,
    /// STOPSIGNAL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker: ONBUILD triggers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub on_build: Vec<String>,
    /// Docker: SHELL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Members unknown to this program.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// Docker's HEALTHCHECK; durations in nanoseconds, zero means the runtime's default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthCheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time until a check counts as hung.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks in the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures until the container is unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What BuildKit's exporter says of a layer that nobody has described.
const FILLER_COMMENT: &str = "buildkit.exporter.image.v0";

/// Why a config cannot be built upon.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or a required member is missing or of the wrong type.
    #[error("the image config is not valid")]
    Json(#[from] serde_json::Error),
    /// One diff ID for each layer, or the image is inconsistent.
    #[error("the image config lists {diff_ids} layers but the manifest has {layers}")]
    LayerCount {
        /// In the config.
        diff_ids: usize,
        /// In the manifest.
        layers: usize,
    },
}

impl ImageConfig {
    /// The config of `FROM scratch`.
    #[must_use]
    pub fn scratch(platform: Platform) -> Self {
        Self {
            created: None,
            author: None,
            platform,
            config: ContainerConfig {
                working_dir: Some("/".to_owned()),
                ..ContainerConfig::default()
            },
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            history: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// Parses a config blob.
    ///
    /// # Errors
    /// [`ConfigError::Json`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Prepares a base image's config for a build upon it: checks that diff IDs match `layers`,
    /// gives every layer one history entry, and drops, like BuildKit, the members that neither OCI
    /// nor Docker's image specification know: what describes the base's own making is among them
    /// (`container_config`, `docker_version`, BuildKit's cache), and would lie about ours.
    ///
    /// # Errors
    /// [`ConfigError::LayerCount`].
    pub fn into_base(mut self, layers: usize) -> Result<Self, ConfigError> {
        let diff_ids = self.rootfs.diff_ids.len();
        if diff_ids != layers {
            return Err(ConfigError::LayerCount { diff_ids, layers });
        }
        self.match_history(layers);
        self.unknown.clear();
        self.config.unknown.clear();
        Ok(self)
    }

    /// Entries beyond the layers are said to have made none; layers beyond the entries get one.
    fn match_history(&mut self, layers: usize) {
        let mut described = 0;
        for entry in self.history.iter_mut().filter(|entry| !entry.empty_layer) {
            entry.empty_layer = described == layers;
            described += usize::from(!entry.empty_layer);
        }
        let filler = History {
            comment: Some(FILLER_COMMENT.to_owned()),
            ..History::default()
        };
        self.history.extend(std::iter::repeat_n(filler, layers - described));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
    use super::*;

    const DOCKER: &str = r#"{
        "architecture":"amd64","os":"linux","variant":"v2","created":"2024-01-02T03:04:05Z","container":"abc","docker_version":"20",
        "config":{"Env":["PATH=/bin"],"Cmd":null,"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":1000000000,"Retries":3},
                  "OnBuild":["RUN x"],"Shell":["/bin/bash","-c"],"Image":"sha256:old","Volumes":{"/v":{}},"Tty":false,"foo":[1]},
        "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
        "history":[{"created_by":"ADD <x> & y"},{"empty_layer":true}],"bar":{"baz":null}}"#;

    #[test]
    fn docker_and_unknown_members_survive() {
        let config = ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        assert_eq!(config.platform.to_string(), "linux/amd64/v2");
        assert_eq!(config.config.healthcheck.as_ref().unwrap().retries, 3);
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("ADD <x> & y"), "HTML escaping crept in: {text}");
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again["config"]["foo"][0], 1);
        assert_eq!(again["config"]["Shell"][0], "/bin/bash");
        assert_eq!(again["bar"]["baz"], Value::Null);
        assert!(again["config"].get("Cmd").is_none());
        assert_eq!(
            serde_json::to_string(&ImageConfig::parse(text.as_bytes()).unwrap()).unwrap(),
            text
        );
    }

    #[test]
    fn a_base_loses_what_describes_its_own_making() {
        let base = ImageConfig::parse(DOCKER.as_bytes()).unwrap().into_base(1).unwrap();
        let text = serde_json::to_value(&base).unwrap();
        for pointer in [
            "/container",
            "/docker_version",
            "/bar",
            "/config/Image",
            "/config/Tty",
            "/config/foo",
        ] {
            assert_eq!(text.pointer(pointer), None, "{pointer}");
        }
        for pointer in [
            "/variant",
            "/config/Healthcheck",
            "/config/Shell",
            "/config/OnBuild",
            "/config/Volumes",
        ] {
            assert!(text.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn inconsistent_history_is_mended_and_layers_must_match() {
        let parse = || ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        assert!(matches!(
            parse().into_base(2),
            Err(ConfigError::LayerCount { diff_ids: 1, layers: 2 })
        ));
        let digest = Digest::of(b"layer");
        let entry = |text: &str| History {
            created_by: (!text.starts_with('-')).then(|| text.to_owned()),
            empty_layer: text.starts_with('-'),
            ..History::default()
        };
        // Entries without a layer begin with `-`, `?` is a filler.
        for (layers, before, after) in [
            (0, "", ""),
            (2, "", "??"),
            (2, "a-b", "a-b"),
            (3, "-a", "-a??"),
            (1, "a-bc", "a---"),
            (0, "a", "-"),
        ] {
            let mut config = parse();
            config.rootfs.diff_ids = vec![DiffId::new(digest); layers];
            config.history = before.chars().map(|c| entry(&c.to_string())).collect();
            let show = |entry: &History| match (entry.empty_layer, &entry.created_by) {
                (true, _) => "-".to_owned(),
                (false, Some(text)) => text.clone(),
                (false, None) if entry.comment.as_deref() == Some(FILLER_COMMENT) => "?".to_owned(),
                (false, None) => "!".to_owned(),
            };
            let history: String = config.into_base(layers).unwrap().history.iter().map(show).collect();
            assert_eq!(history, after, "{before} on {layers} layers");
        }
    }

    #[test]
    fn missing_and_null_members_are_no_crash() {
        let minimal = r#"{"architecture":"amd64","os":"linux","config":null,"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        assert!(ImageConfig::parse(minimal.as_bytes()).is_ok());
        for text in ["", "null", "[]", "{}", r#"{"architecture":1,"os":"linux","rootfs":{}}"#] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text:?} was accepted");
        }
    }
}
