//! The reference registry, on a loopback port of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Sandbox;

/// A running `docker-registry` with empty storage. Stopped, and its storage removed, when dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    server: Child,
    port: u16,
    access: Access,
    directory: TempDir,
}

/// Who may use a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Anonymous,
    /// HTTP Basic with the user name and password `user`, `secret`.
    Password,
    /// Everybody, over TLS, with a certificate that nobody signed: [`Registry::certificate`].
    Tls,
    /// Whoever shows that very certificate, over TLS.
    MutualTls,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::start_with(Access::Anonymous)
    }

    pub(crate) fn start_with(access: Access) -> Self {
        let directory = tempfile::Builder::new().prefix("registry-").tempdir().unwrap();
        // Between choosing a port and listening on it somebody else may take it.
        for _ in 0..20 {
            let port = free_port();
            let mut server = serve(&directory, port, access);
            if listening(&mut server, port) {
                return Self {
                    server,
                    port,
                    access,
                    directory,
                };
            }
        }
        panic!(
            "docker-registry does not start: {}",
            std::fs::read_to_string(directory.path().join("log")).unwrap()
        );
    }

    /// The certificate of one that speaks TLS, and its key.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let at = |name: &str| self.directory.path().join(name);
        (at("certificate.pem"), at("key.pem"))
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A reference into this registry.
    pub(crate) fn reference(&self, name_and_tag: &str) -> String {
        format!("{}/{name_and_tag}", self.host())
    }

    /// Lets every program at home in the sandbox use the registry.
    pub(crate) fn login(&self, sandbox: &Sandbox) {
        let auths = serde_json::json!({"auths": {self.host(): {"auth": "dXNlcjpzZWNyZXQ="}}});
        let _path = sandbox.write("home/.docker/config.json", auths.to_string());
    }

    /// Pushes a base image as `NAME:1`.
    pub(crate) fn push_base(&self, sandbox: &Sandbox, name: &str) {
        self.push_layout(sandbox, &super::bases::layout(name), &format!("{name}:1"));
    }

    /// Pushes the image tagged `1` of an OCI layout.
    pub(crate) fn push_layout(&self, sandbox: &Sandbox, layout: &Path, name_and_tag: &str) {
        let mut skopeo = sandbox.command("skopeo");
        skopeo.args(["copy", "--quiet", "--dest-tls-verify=false"]);
        skopeo
            .arg(format!("oci:{}:1", layout.display()))
            .arg(format!("docker://{}", self.reference(name_and_tag)));
        let _pushed = sandbox.run(skopeo).success();
    }

    /// The tags of a repository; empty when there is no such repository.
    pub(crate) fn tags(&self, name: &str) -> Vec<String> {
        let (status, body) = self.get(&format!("/v2/{name}/tags/list"));
        if status == 404 {
            return Vec::new();
        }
        assert_eq!(status, 200, "listing the tags of {name}: {body}");
        let list: serde_json::Value = serde_json::from_str(&body).unwrap();
        list["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }

    /// The digest a tag points to.
    pub(crate) fn digest(&self, sandbox: &Sandbox, name_and_tag: &str) -> String {
        let mut skopeo = sandbox.command("skopeo");
        skopeo.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]);
        skopeo.arg(format!("docker://{}", self.reference(name_and_tag)));
        sandbox.run(skopeo).success().stdout.trim().to_owned()
    }

    /// What it was asked so far, `GET /v2/app/manifests/1` for instance. A request shows up here a moment after its answer.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join("requests")).unwrap();
        let requests = log.lines().filter_map(|line| line.split('"').nth(1));
        requests
            .map(|request| request.trim_end_matches(" HTTP/1.1").to_owned())
            .collect()
    }

    /// A plain HTTP request; status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let credentials = match self.access {
            Access::Anonymous | Access::Tls | Access::MutualTls => "",
            Access::Password => "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n",
        };
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {}\r\n{credentials}\r\n",
            self.host()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _already_gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// A loopback port nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn serve(directory: &TempDir, port: u16, access: Access) -> Child {
    // What follows the configuration of `http`, or ends it.
    let more = match access {
        Access::Anonymous => String::new(),
        Access::Tls | Access::MutualTls => {
            make_certificate(directory.path());
            let clients = match access {
                Access::MutualTls => ", clientcas: [certificate.pem]",
                _ => "",
            };
            format!("  tls: {{certificate: certificate.pem, key: key.pem{clients}}}\n")
        }
        Access::Password => {
            let users = directory.path().join("htpasswd");
            let entry = Command::new("htpasswd")
                .args(["-Bbn", "user", "secret"])
                .output()
                .unwrap();
            std::fs::write(&users, entry.stdout).unwrap();
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", users.display())
        }
    };
    let config = directory.path().join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {}/blobs}}, delete: {{enabled: true}}}}\n\
         http:\n  addr: '127.0.0.1:{port}'\n{more}",
        directory.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = super::process::command("docker-registry");
    command.args(["serve"]).arg(&config).current_dir(directory.path());
    // Tracing of its own requests would be sent to a collector that is not there.
    command.env("OTEL_TRACES_EXPORTER", "none");
    let requests = std::fs::File::create(directory.path().join("requests")).unwrap();
    command.stdout(requests).stderr(log).spawn().unwrap()
}

/// Makes `certificate.pem` for this machine, signed by nobody, and `key.pem`.
pub(crate) fn make_certificate(directory: &Path) {
    let made = Command::new("openssl")
        .current_dir(directory)
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test".split(' '))
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args("-keyout key.pem -out certificate.pem".split(' '))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Waits until the server answers; false when it has exited instead.
fn listening(server: &mut Child, port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if server.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _reaped = server.kill().and_then(|()| server.wait());
    false
}
