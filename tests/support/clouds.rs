//! Cloud storages of this machine's own: `clouds/serve.py`, which says what they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{self, Running};

/// Running storages; they end with the thread that started them.
#[derive(Debug)]
pub(crate) struct Clouds {
    directory: tempfile::TempDir,
    _server: Running,
    told: serde_json::Value,
}

impl Clouds {
    /// Starts storages that all have `content` as `context.tar.gz` in their bucket `ctx`.
    pub(crate) fn start(content: &[u8]) -> Self {
        let directory = tempfile::Builder::new().prefix("clouds-").tempdir().unwrap();
        let object = directory.path().join("content");
        std::fs::write(&object, content).unwrap();
        let mut command = process::command(python());
        command
            .arg(super::repository().join("tests/support/clouds/serve.py"))
            .arg(directory.path())
            .arg(&object);
        // Nothing of the machine's own accounts, and no bytes of Python in the checkout.
        command
            .env("HOME", directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let mut server = process::start(command, directory.path());
        let told = loop {
            if let Some((line, _)) = server.stdout_so_far().split_once('\n') {
                break serde_json::from_str(line).unwrap();
            }
            assert!(
                !server.has_ended(),
                "the storages did not start:\n{}",
                server.stderr_so_far()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        Self {
            directory,
            _server: server,
            told,
        }
    }

    fn told(&self, key: &str) -> &str {
        self.told[key].as_str().unwrap()
    }

    /// `127.0.0.1:PORT` of S3.
    pub(crate) fn s3(&self) -> &str {
        self.told("s3")
    }

    /// A key that may read the bucket `ctx`, and its secret.
    pub(crate) fn keys(&self) -> (&str, &str) {
        (self.told("access"), self.told("secret"))
    }

    /// `127.0.0.1:PORT` of a proxy behind which every cloud is found under its own name.
    pub(crate) fn proxy(&self) -> &str {
        self.told("proxy")
    }

    /// The authority that vouches for those.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A service account that Google's storage knows.
    pub(crate) fn service_account(&self) -> PathBuf {
        self.directory.path().join("account.json")
    }

    /// The key of the account `acct` in Azure.
    pub(crate) fn azure_key(&self) -> &str {
        self.told("azure")
    }

    /// What proves to a cloud that a container may have a role.
    pub(crate) fn web_identity(&self) -> &str {
        self.told("token")
    }
}

/// The interpreter that has what the storages are made of.
fn python() -> PathBuf {
    // This one command sees the machine's own environment: the cache is in the caller's home.
    let script = super::repository().join("scripts/clouds");
    let made = Command::new(script).output().unwrap();
    let stderr = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "scripts/clouds: {stderr}");
    Path::new(String::from_utf8(made.stdout).unwrap().trim()).to_owned()
}
