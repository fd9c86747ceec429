//! The examples as the tests use them: with this machine's addresses in place of those that a reader changes.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support;

/// What stands for what in the examples.
#[derive(Debug)]
pub(crate) struct Examples {
    replacements: Vec<(&'static str, String)>,
}

impl Examples {
    pub(crate) fn new(replacements: Vec<(&'static str, String)>) -> Self {
        Self { replacements }
    }

    /// With one more replacement, made after the others.
    pub(crate) fn with(mut self, placeholder: &'static str, value: &str) -> Self {
        self.replacements.push((placeholder, value.to_owned()));
        self
    }

    /// The text of an example.
    pub(crate) fn text(&self, path: &str) -> String {
        let path = support::repository().join("examples").join(path);
        let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (placeholder, value) in &self.replacements {
            text = text.replace(placeholder, value);
        }
        text
    }

    /// The documents of an example in YAML.
    pub(crate) fn documents(&self, path: &str) -> Vec<Value> {
        yaml(&self.text(path))
    }

    /// The first document of an example in YAML.
    pub(crate) fn document(&self, path: &str) -> Value {
        self.documents(path).remove(0)
    }
}

/// Adds to a list in a document what a system adds to it.
pub(crate) fn append(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().push(item);
}

/// The documents of a YAML text. Debian's own Python reads them, whatever else is on the path.
fn yaml(text: &str) -> Vec<Value> {
    let program = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let mut python = support::process::command("/usr/bin/python3");
    python.args(["-c", program]);
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "this is not YAML:\n{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}
