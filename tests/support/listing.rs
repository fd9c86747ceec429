//! A finished image as lines of text, so that an expectation can be written beside a build.
//!
//! The layers are flattened the way a runtime would see them. Each path gives a line for its modification time, one for
//! everything else, and one more for every extended attribute and every other name of the same file:
//!
//! ```text
//! /etc/motd file 0644 0:0 "hello\n"
//! /big file 0600 1000:1000 1048576 bytes sha256:1a2b…
//! /link symlink -> target
//! /dev/zero char 0666 0:0 1:5
//! /bin/ping xattr security.capability "\x01…"
//! /b same file as /a
//! /etc/motd mtime 1700000000
//! layer 2: etc/.wh.motd
//! layer 2: b link to a
//! config Cmd ["/bin/sh"]
//! history 3: COPY a b (empty)
//! created of history 3: 2020-01-01T00:00:00Z
//! image created 2020-01-01T00:00:00Z
//! manifest annotation k v
//! layer 2 annotation k v
//! ```
//!
//! Layer 1 is the first above the base's single one; layer 0 is the base itself and is not listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tar::{Archive, Entry, EntryType};

use super::Sandbox;

/// Content up to this size is shown, longer content only identified.
const SHOWN_BYTES: usize = 200;

/// The lines that describe the image at `reference`.
pub(crate) fn of_reference(sandbox: &Sandbox, reference: &str) -> Vec<String> {
    of_image(sandbox, &format!("docker://{reference}"))
}

/// The lines that describe the only image of an OCI layout.
pub(crate) fn of_layout(sandbox: &Sandbox, layout: &Path) -> Vec<String> {
    of_image(sandbox, &format!("oci:{}", layout.display()))
}

/// The image that `skopeo` knows as `source`.
fn of_image(sandbox: &Sandbox, source: &str) -> Vec<String> {
    let layout = tempfile::Builder::new()
        .prefix("layout-")
        .tempdir_in(sandbox.path("tmp"))
        .unwrap();
    let mut skopeo = sandbox.command("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false", "--preserve-digests"]);
    // A directory keeps Docker's manifests as they are; a layout would convert them.
    skopeo.arg(source).arg(format!("dir:{}", layout.path().display()));
    let _copied = sandbox.run(skopeo).success();
    let manifest: Value = json(&layout.path().join("manifest.json"));
    let blob = |descriptor: &Value| blob_path(layout.path(), descriptor);
    let config: Value = json(&blob(&manifest["config"]));
    let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(blob).collect();

    let mut tree = Tree::default();
    let mut lines = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let names = tree.apply(layer);
        if number > 0 {
            lines.extend(names.iter().map(|name| format!("layer {number}: {name}")));
        }
    }
    lines.extend(tree.lines());
    lines.extend(config_lines(&config));
    lines.extend(annotation_lines("manifest", &manifest));
    for (number, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
        lines.extend(annotation_lines(&format!("layer {number}"), layer));
    }
    lines
}

fn annotation_lines(of: &str, annotated: &Value) -> Vec<String> {
    let annotations = annotated["annotations"].as_object().into_iter().flatten();
    let line = |(key, value): (&String, &Value)| format!("{of} annotation {key} {}", value.as_str().unwrap());
    annotations.map(line).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn blob_path(directory: &Path, descriptor: &Value) -> PathBuf {
    directory.join(descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:"))
}

/// Paths with what is known of each, keyed by the escaped absolute path.
#[derive(Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    next_file: usize,
}

#[derive(Clone)]
struct Node {
    line: String,
    mtime: String,
    xattrs: Vec<String>,
    is_directory: bool,
    /// Shared by all names of one file.
    file: usize,
}

impl Tree {
    /// Applies one layer and returns its entries' names in order.
    fn apply(&mut self, layer: &Path) -> Vec<String> {
        let mut archive = Archive::new(decompressed(layer));
        let mut names = Vec::new();
        let mut written = BTreeSet::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type() == EntryType::XGlobalHeader {
                continue;
            }
            let name = entry.path_bytes().escape_ascii().to_string();
            let path = absolute(&name);
            let target = entry
                .link_name_bytes()
                .filter(|_| entry.header().entry_type() == EntryType::Link);
            names.push(target.map_or_else(
                || name.clone(),
                |target| format!("{name} link to {}", target.escape_ascii()),
            ));
            let (parent, base) = path.rsplit_once('/').unwrap();
            match base.strip_prefix(".wh.") {
                Some(".wh..opq") => self.remove_below(parent, &written),
                Some(hidden) => self.remove(&format!("{parent}/{hidden}")),
                None => {
                    self.place(&path, &mut entry);
                    written.insert(path);
                }
            }
        }
        names
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.remove_below(path, &BTreeSet::new());
    }

    fn remove_below(&mut self, path: &str, spared: &BTreeSet<String>) {
        let prefix = format!("{path}/");
        self.nodes
            .retain(|name, _| !name.starts_with(&prefix) || spared.contains(name));
    }

    fn place(&mut self, path: &str, entry: &mut Entry<'_, impl Read>) {
        let node = if entry.header().entry_type() == EntryType::Link {
            let target = absolute(&entry.link_name_bytes().unwrap().escape_ascii().to_string());
            let target = self
                .nodes
                .get(&target)
                .unwrap_or_else(|| panic!("{path} links to a missing {target}"));
            target.clone()
        } else {
            self.next_file += 1;
            describe(entry, self.next_file)
        };
        if !node.is_directory {
            self.remove_below(path, &BTreeSet::new());
        }
        self.nodes.insert(path.to_owned(), node);
    }

    fn lines(&self) -> Vec<String> {
        let mut first_names: BTreeMap<usize, &str> = BTreeMap::new();
        let mut lines = Vec::new();
        for (path, node) in self.nodes.iter().filter(|(path, _)| *path != "/") {
            lines.push(format!("{path} {}", node.line));
            lines.push(format!("{path} mtime {}", node.mtime));
            lines.extend(node.xattrs.iter().map(|xattr| format!("{path} xattr {xattr}")));
            match first_names.get(&node.file) {
                Some(first) => lines.push(format!("{path} same file as {first}")),
                None => drop(first_names.insert(node.file, path)),
            }
        }
        lines
    }
}

/// `./a/b/`, `a/b` and `/a/b` are all `/a/b`.
fn absolute(name: &str) -> String {
    let parts: Vec<_> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}

fn decompressed(layer: &Path) -> Box<dyn Read> {
    let mut reader = BufReader::new(File::open(layer).unwrap());
    match *reader.fill_buf().unwrap() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(reader).unwrap()),
        _ => Box::new(reader),
    }
}

fn describe(entry: &mut Entry<'_, impl Read>, file: usize) -> Node {
    let header = entry.header().clone();
    let kind = match header.entry_type() {
        EntryType::Directory => "dir",
        EntryType::Symlink => "symlink",
        EntryType::Char => "char",
        EntryType::Block => "block",
        EntryType::Fifo => "fifo",
        _ => "file",
    };
    let numbers: BTreeMap<String, String> = pax(entry);
    let owner = |key: &str, from_header: u64| numbers.get(key).and_then(|id| id.parse().ok()).unwrap_or(from_header);
    let (uid, gid) = (owner("uid", header.uid().unwrap()), owner("gid", header.gid().unwrap()));
    let rest = match header.entry_type() {
        EntryType::Char | EntryType::Block => {
            let (major, minor) = (
                header.device_major().unwrap().unwrap(),
                header.device_minor().unwrap().unwrap(),
            );
            format!(" {major}:{minor}")
        }
        EntryType::Directory | EntryType::Fifo | EntryType::Symlink => String::new(),
        _ => content(entry),
    };
    let line = match entry.link_name_bytes() {
        Some(target) if kind == "symlink" => format!("symlink -> {}", target.escape_ascii()),
        _ => format!("{kind} {:04o} {uid}:{gid}{rest}", header.mode().unwrap() & 0o7777),
    };
    let xattrs = numbers
        .iter()
        .filter_map(|(key, value)| Some(format!("{} {value:?}", key.strip_prefix("SCHILY.xattr.")?)));
    let mtime = numbers
        .get("mtime")
        .cloned()
        .unwrap_or_else(|| header.mtime().unwrap().to_string());
    let mtime = mtime.split('.').next().unwrap_or_default().to_owned();
    Node {
        line,
        mtime,
        xattrs: xattrs.collect(),
        is_directory: kind == "dir",
        file,
    }
}

/// PAX records with values escaped to text.
fn pax(entry: &mut Entry<'_, impl Read>) -> BTreeMap<String, String> {
    let Some(extensions) = entry.pax_extensions().unwrap() else {
        return BTreeMap::new();
    };
    let records = extensions.filter_map(Result::ok);
    records
        .map(|record| {
            (
                record.key_bytes().escape_ascii().to_string(),
                record.value_bytes().escape_ascii().to_string(),
            )
        })
        .collect()
}

fn content(entry: &mut Entry<'_, impl Read>) -> String {
    use sha2::Digest;
    let mut head = Vec::new();
    entry.take(SHOWN_BYTES as u64 + 1).read_to_end(&mut head).unwrap();
    if head.len() <= SHOWN_BYTES {
        return format!(" \"{}\"", head.escape_ascii());
    }
    let mut sha = sha2::Sha256::new();
    sha.update(&head);
    let mut size = head.len();
    let mut chunk = [0; 1 << 16];
    loop {
        let count = entry.read(&mut chunk).unwrap();
        if count == 0 {
            break;
        }
        sha.update(&chunk[..count]);
        size += count;
    }
    let hex: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(" {size} bytes sha256:{hex}")
}

/// One line for each member of the run configuration, for each element of its lists of `NAME=value`, and for the history.
fn config_lines(config: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in config["config"].as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            // Docker writes out the members that nobody has set.
            (_, Value::Null | Value::Bool(false)) => {}
            (_, Value::String(text)) if text.is_empty() => {}
            (_, Value::Array(elements)) if elements.is_empty() => {}
            ("Env", Value::Array(pairs)) => {
                lines.extend(
                    pairs
                        .iter()
                        .map(|pair| format!("config Env {}", pair.as_str().unwrap())),
                );
            }
            ("Labels" | "ExposedPorts" | "Volumes", Value::Object(members)) => {
                lines.extend(
                    members
                        .iter()
                        .map(|(name, value)| format!("config {key} {name} {value}")),
                );
            }
            (_, value) => lines.push(format!("config {key} {value}")),
        }
    }
    for (number, entry) in config["history"].as_array().into_iter().flatten().enumerate() {
        let empty = if entry["empty_layer"] == true { " (empty)" } else { "" };
        lines.push(format!(
            "history {number}: {}{empty}",
            entry["created_by"].as_str().unwrap_or_default()
        ));
        if let Some(created) = entry["created"].as_str() {
            lines.push(format!("created of history {number}: {created}"));
        }
    }
    for key in ["author", "architecture", "os", "variant", "created"] {
        if let Some(text) = config[key].as_str().filter(|text| !text.is_empty()) {
            lines.push(format!("image {key} {text}"));
        }
    }
    lines
}
