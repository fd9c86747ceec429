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

/// Members of a base image's config that describe how *it* was built and would lie about ours.
const NOT_INHERITED: [&str; 7] = [
    "container",
    "container_config",
    "docker_version",
    "id",
    "parent",
    "moby.buildkit.buildinfo.v1",
    "moby.buildkit.cache.v0",
];

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
    /// gives every layer one history entry, and drops what describes the base's own making.
    ///
    /// # Errors
    /// [`ConfigError::LayerCount`].
    pub fn into_base(mut self, layers: usize) -> Result<Self, ConfigError> {
        let diff_ids = self.rootfs.diff_ids.len();
        if diff_ids != layers {
            return Err(ConfigError::LayerCount { diff_ids, layers });
        }
        if self.history.iter().filter(|entry| !entry.empty_layer).count() != layers {
            let filler = History {
                comment: Some("imported layer".to_owned()),
                ..History::default()
            };
            self.history = vec![filler; layers];
        }
        for member in NOT_INHERITED {
            self.unknown.remove(member);
        }
        self.config.unknown.remove("Image");
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
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
        assert!(!base.unknown.contains_key("container"));
        assert!(!base.unknown.contains_key("docker_version"));
        assert!(base.unknown.contains_key("bar"));
        assert!(!base.config.unknown.contains_key("Image"));
    }

    #[test]
    fn inconsistent_history_is_replaced_and_layers_must_match() {
        let parse = || ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        assert!(matches!(
            parse().into_base(2),
            Err(ConfigError::LayerCount { diff_ids: 1, layers: 2 })
        ));
        let mut config = parse();
        config.history.truncate(0);
        assert_eq!(config.into_base(1).unwrap().history.len(), 1);
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
