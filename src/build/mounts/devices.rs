//! `RUN --device`: devices that CDI files of the machine describe, with their nodes, variables and mounts.
//!
//! Files are JSON, in `/etc/cdi` and, over it, `/var/run/cdi`. Hooks are not run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::super::error::BuildError;
use super::super::session::Session;
use super::{MountError, Prepared};
use crate::plan::Device;
use crate::progress::Event;
use crate::run::{DeviceNode, Mount, MountSource, SourceKind, SourcePlace};

/// Where the files are; those of the last directory win.
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// A device that says `true` here needs no grant.
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";
/// The class by which a device may be asked for instead of its name.
const CLASS: &str = "org.mobyproject.buildkit.device.class";

/// One file.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Spec {
    kind: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    devices: Vec<Described>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    container_edits: Edits,
}

/// What a device, or any device of a kind, changes.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<SpecMount>,
    hooks: Vec<serde_json::Value>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    host_path: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct SpecMount {
    host_path: PathBuf,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
}

/// A device of the machine.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    spec: &'a Spec,
    device: &'a Described,
}

impl Prepared {
    /// Adds what the devices bring along. One that the machine lacks is passed over unless it is required.
    pub(super) fn add_devices(&mut self, wanted: &[Device], session: &Session) -> Result<(), BuildError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let specs = read_specs(&DIRECTORIES.map(Path::new))?;
        for device in wanted {
            let name = || device.name.clone();
            let found = find(&specs, device);
            if found.is_empty() && device.required {
                return Err(MountError::NoDevice { name: name() }.into());
            }
            let granted = session.supplies.device_grant.covers(device) || found.iter().all(Found::is_auto_allowed);
            if !granted {
                return Err(MountError::DeviceNotGranted { name: name() }.into());
            }
            for found in found {
                for edits in [&found.spec.container_edits, &found.device.container_edits] {
                    if !edits.hooks.is_empty() {
                        let text = format!("device {:?}: hooks of its specification are not run", device.name);
                        session.progress.event(Event::Warning(&text));
                    }
                    self.edit(edits, &device.name)?;
                }
            }
        }
        // What lies above another mount comes first; the step's own mounts are in that order already.
        self.mounts
            .sort_by_key(|mount| Path::new(&mount.target).components().count());
        Ok(())
    }

    fn edit(&mut self, edits: &Edits, name: &str) -> Result<(), MountError> {
        for entry in &edits.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.device_env.push((name.into(), value.into()));
        }
        for node in &edits.device_nodes {
            if !is_below_dev(Path::new(&node.path)) {
                return Err(MountError::DeviceOutsideDev {
                    name: name.to_owned(),
                    node: node.path.clone(),
                });
            }
            let made = node.resolve().map_err(|source| MountError::DeviceNode {
                name: name.to_owned(),
                node: node.path.clone(),
                source,
            })?;
            // Two devices of a kind share what the kind brings along.
            if !self.devices.iter().any(|device| device.path == made.path) {
                self.devices.push(made);
            }
        }
        for mount in &edits.mounts {
            let metadata = fs::metadata(&mount.host_path).map_err(|source| MountError::Prepare {
                path: mount.host_path.display().to_string(),
                source,
            })?;
            let bind = mount.bind(metadata.is_dir());
            if !self.mounts.iter().any(|other| is_same_bind(other, &bind)) {
                self.mounts.push(bind);
            }
        }
        Ok(())
    }
}

/// Elsewhere a node would be made in the image, and stay there.
fn is_below_dev(path: &Path) -> bool {
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    plain && path != Path::new("/dev") && path.starts_with("/dev")
}

/// Two devices of a kind share what the kind brings along.
fn is_same_bind(one: &Mount, other: &Mount) -> bool {
    let place = |mount: &Mount| match &mount.source {
        MountSource::Tree { place, .. } => Some(place.clone()),
        MountSource::Overlay { .. } | MountSource::Tmpfs { .. } | MountSource::Secret { .. } => None,
    };
    let same = one.target == other.target && one.read_only == other.read_only;
    same && place(one).is_some() && place(one) == place(other)
}

impl Found<'_> {
    fn annotation(&self, name: &str) -> Option<&str> {
        let own = self.device.annotations.get(name);
        own.or_else(|| self.spec.annotations.get(name)).map(String::as_str)
    }

    fn is_auto_allowed(&self) -> bool {
        self.annotation(AUTO_ALLOW) == Some("true")
    }
}

/// `vendor/class=name`, `vendor/class=*`, `vendor/class` for the first one, or a class that annotations name.
fn find<'a>(specs: &'a [Spec], wanted: &Device) -> Vec<Found<'a>> {
    let (kind, name) = match wanted.name.split_once('=') {
        Some((kind, name)) => (kind, Some(name)),
        None => (wanted.name.as_str(), None),
    };
    let all = specs
        .iter()
        .flat_map(|spec| spec.devices.iter().map(move |device| Found { spec, device }));
    if !kind.contains('/') {
        return all.filter(|found| found.annotation(CLASS) == Some(kind)).collect();
    }
    let of_kind = all.filter(|found| found.spec.kind == kind);
    match name {
        Some("*") => of_kind.collect(),
        Some(name) => of_kind.filter(|found| found.device.name == name).take(1).collect(),
        None => of_kind.take(1).collect(),
    }
}

/// The files of all directories, those that win first.
fn read_specs(directories: &[&Path]) -> Result<Vec<Spec>, MountError> {
    let mut specs = Vec::new();
    for directory in directories.iter().rev() {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                let path = directory.to_path_buf();
                return Err(MountError::DeviceSpec { path, source });
            }
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths {
            let spec = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
            specs.push(spec.map_err(|source| MountError::DeviceSpec { path, source })?);
        }
    }
    Ok(specs)
}

impl Node {
    /// What the file does not say is taken from the machine's own node.
    fn resolve(&self) -> io::Result<DeviceNode> {
        let path = self.host_path.as_ref().unwrap_or(&self.path);
        let own = || fs::metadata(path);
        let is_block = match self.kind.as_deref() {
            Some("b") => true,
            Some("c" | "u") => false,
            _ => own()?.file_type().is_block_device(),
        };
        let number = match (self.major, self.minor) {
            (Some(major), Some(minor)) => (major, minor),
            _ => {
                let number = own()?.rdev();
                (rustix::fs::major(number), rustix::fs::minor(number))
            }
        };
        let mode = match self.file_mode {
            Some(mode) => mode,
            None => own().map_or(0o666, |metadata| metadata.permissions().mode()),
        };
        Ok(DeviceNode {
            path: OsString::from(&self.path),
            is_block,
            number,
            mode: mode & 0o7777,
            owner: (self.uid.unwrap_or(0), self.gid.unwrap_or(0)),
        })
    }
}

impl SpecMount {
    fn bind(&self, is_directory: bool) -> Mount {
        Mount {
            target: OsString::from(&self.container_path),
            read_only: self.options.iter().any(|option| option == "ro"),
            source: MountSource::Tree {
                place: SourcePlace {
                    root: "/".into(),
                    path: self.host_path.clone().into(),
                },
                kind: match is_directory {
                    true => SourceKind::Directory,
                    false => SourceKind::File,
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/gpu",
        "containerEdits": {"env": ["GPU=all"]},
        "devices": [
            {"name": "a", "annotations": {"org.mobyproject.buildkit.device.class": "fast"},
             "containerEdits": {"deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null"}]}},
            {"name": "b", "annotations": {"org.mobyproject.buildkit.device.autoallow": "true"},
             "containerEdits": {"deviceNodes": [{"path": "/dev/gpu1", "type": "b", "major": 7, "minor": 1, "fileMode": 432, "gid": 44}],
                "mounts": [{"hostPath": "/usr", "containerPath": "/opt/usr", "options": ["ro", "bind"]}]}}]}"#;

    fn device(name: &str) -> Device {
        Device {
            name: name.to_owned(),
            required: false,
        }
    }

    #[test]
    fn l234_devices_are_found_by_name_kind_and_class() {
        let specs: Vec<Spec> = vec![serde_json::from_str(GPU).unwrap()];
        for (name, expected) in [
            ("vendor.com/gpu=a", &["a"][..]),
            ("vendor.com/gpu=*", &["a", "b"]),
            ("vendor.com/gpu", &["a"]),
            ("fast", &["a"]),
            ("vendor.com/gpu=c", &[]),
            ("vendor.com/other", &[]),
            ("slow", &[]),
        ] {
            let found = find(&specs, &device(name));
            let names: Vec<_> = found.iter().map(|found| found.device.name.as_str()).collect();
            assert_eq!(names, expected, "{name}");
        }
        let allowed = find(&specs, &device("vendor.com/gpu=*"));
        assert_eq!(
            allowed.iter().map(Found::is_auto_allowed).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn edits_become_nodes_variables_and_mounts() {
        let specs: Vec<Spec> = vec![serde_json::from_str(GPU).unwrap()];
        let mut prepared = Prepared::default();
        prepared.edit(&specs[0].container_edits, "x").unwrap();
        for found in &specs[0].devices {
            prepared.edit(&found.container_edits, "x").unwrap();
        }
        assert_eq!(prepared.device_env, [("GPU".into(), "all".into())]);
        let node = |path: &str, is_block, number, mode, owner| DeviceNode {
            path: path.into(),
            is_block,
            number,
            mode,
            owner,
        };
        assert_eq!(
            prepared.devices,
            [
                node("/dev/gpu0", false, (1, 3), 0o666, (0, 0)),
                node("/dev/gpu1", true, (7, 1), 0o660, (0, 44))
            ]
        );
        assert_eq!(prepared.mounts[0].target, "/opt/usr");
        assert!(prepared.mounts[0].read_only);
    }

    #[test]
    fn files_of_the_later_directory_win_and_damage_is_an_error() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(first.path().join("a.json"), GPU.replace("GPU=all", "GPU=first")).unwrap();
        fs::write(second.path().join("b.json"), GPU).unwrap();
        fs::write(second.path().join("c.yaml"), "kind: x/y").unwrap();
        let directories = [first.path(), second.path(), Path::new("/nonexistent")];
        let specs = read_specs(&directories).unwrap();
        let found = find(&specs, &device("vendor.com/gpu"));
        assert_eq!(found[0].spec.container_edits.env, ["GPU=all"]);
        fs::write(second.path().join("d.json"), "{").unwrap();
        assert!(matches!(read_specs(&directories), Err(MountError::DeviceSpec { .. })));
    }
}
