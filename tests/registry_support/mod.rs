//! Servers for the registry tests: the reference registry, and one that misbehaves on demand.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// `docker-registry` on a loopback port of its own, storing in a directory of its own. Ends when dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    pub(crate) directory: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::with(|_| String::new())
    }

    /// Lets in only `user`.
    pub(crate) fn with_password(user: &str, password: &str) -> Self {
        Self::with(|directory| {
            let output = Command::new("htpasswd")
                .args(["-Bbn", user, password])
                .output()
                .unwrap();
            assert!(output.status.success());
            let path = directory.join("htpasswd");
            fs::write(&path, output.stdout).unwrap();
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
        })
    }

    /// Speaks TLS with a certificate that it signed itself, `certificate()`.
    pub(crate) fn with_tls() -> Self {
        Self::with(|directory| {
            let made = Command::new("openssl")
                .args([
                    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
                ])
                .args(["-addext", "subjectAltName=IP:127.0.0.1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-keyout")
                .arg(directory.join("key.pem"))
                .arg("-out")
                .arg(directory.join("certificate.pem"))
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            format!(
                "  tls: {{certificate: {0}/certificate.pem, key: {0}/key.pem}}\n",
                directory.display()
            )
        })
    }

    /// `more` gives the end of the configuration, which so far ends within `http:`.
    fn with(more: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = directory.path().join("storage");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: 127.0.0.1:0\n{}",
            storage.display(),
            more(directory.path())
        );
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let host = read_address(&mut child);
        Self { child, host, directory }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry logs where it listens once it does.
fn read_address(child: &mut Child) -> String {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    loop {
        let start = seen.len();
        assert_ne!(log.read_line(&mut seen).unwrap(), 0, "the registry ended: {seen}");
        if let Some((_, rest)) = seen[start..].split_once("listening on ") {
            let host: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
                .collect();
            // It must be able to go on logging.
            thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return host;
        }
    }
}

/// A request that a [`Scripted`] server got.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and target, `GET /v2/…` for instance.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A server on plain HTTP that answers what the test says: the raw bytes, after which it hangs up.
pub(crate) struct Scripted {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// `answer` gets each request and how many came before it.
    pub(crate) fn start(answer: impl Fn(&Seen, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &log, &answer);
            }
        });
        Self { host, seen }
    }

    /// Everything it was asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Seen>>, answer: &impl Fn(&Seen, usize) -> Vec<u8>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    if reader.fill_buf()?.first() == Some(&0x16) {
        // A TLS handshake: not here.
        return Ok(());
    }
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let line = head
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let mut seen = Seen {
        line,
        head,
        body: Vec::new(),
    };
    let length = seen
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    reader.take(length).read_to_end(&mut seen.body)?;
    let before = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    (&stream).write_all(&answer(&seen, before))
}

/// An answer with a correct length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    cut_answer(status, headers, body.len(), body)
}

/// An answer that claims to be `length` bytes long.
pub(crate) fn cut_answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
