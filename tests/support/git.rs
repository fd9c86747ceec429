//! Real git servers on loopback: `git daemon` and `git http-backend`, each started once for every connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Bare repositories and the servers that offer them.
#[derive(Debug)]
pub(crate) struct Git {
    directory: tempfile::TempDir,
    http: Server,
    daemon: Server,
    requests: Arc<Mutex<Vec<String>>>,
    authorization: Arc<Mutex<Option<String>>>,
    old: Arc<AtomicBool>,
}

impl Git {
    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("git-").tempdir().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let authorization = Arc::<Mutex<Option<String>>>::default();
        let old = Arc::<AtomicBool>::default();
        let is_old = Arc::clone(&old);
        let (root, noted, wanted) = (
            directory.path().to_owned(),
            Arc::clone(&requests),
            Arc::clone(&authorization),
        );
        let http = Server::start(move |stream| drop(answer(stream, &root, &noted, &wanted, &is_old)));
        let root = directory.path().to_owned();
        let daemon = Server::start(move |stream| serve_daemon(stream, &root));
        Self {
            directory,
            http,
            daemon,
            requests,
            authorization,
            old,
        }
    }

    /// From now on HTTP speaks the first version of the protocol, which hands out nothing but branches and tags.
    pub(crate) fn grow_old(&self) {
        self.old.store(true, Ordering::SeqCst);
    }

    /// `127.0.0.1:PORT` of the HTTP server; its paths begin with the repository's name.
    pub(crate) fn http(&self) -> String {
        self.http.address.to_string()
    }

    /// The same of the `git://` server.
    pub(crate) fn daemon(&self) -> String {
        self.daemon.address.to_string()
    }

    /// `METHOD /path` of every HTTP request since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// From now on HTTP wants this `Authorization`.
    pub(crate) fn demand(&self, authorization: &str) {
        *self.authorization.lock().unwrap() = Some(authorization.to_owned());
    }

    /// A new bare repository, and a work tree to fill it from.
    pub(crate) fn repository(&self, name: &str) -> Repository<'_> {
        let bare = self.directory.path().join(name);
        let work = self.directory.path().join(format!("work-{name}"));
        std::fs::create_dir_all(&work).unwrap();
        git(
            self.directory.path(),
            &["init", "--quiet", "--bare", "--initial-branch=main", name],
        );
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
        Repository {
            work,
            _of: std::marker::PhantomData,
        }
    }
}

/// A work tree whose commits are pushed.
#[derive(Debug)]
pub(crate) struct Repository<'g> {
    work: PathBuf,
    _of: std::marker::PhantomData<&'g Git>,
}

impl Repository<'_> {
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs git in the work tree; its output, trimmed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.work, arguments)
    }

    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Commits everything, pushes all branches and tags, and says which commit it is.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.push();
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn push(&self) {
        self.git(&["push", "--quiet", "origin", "--all"]);
        self.git(&["push", "--quiet", "origin", "--tags"]);
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = command("git");
    command.arg("-C").arg(directory).args(arguments);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A git that reads nobody's configuration and knows what time it is.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "test")
            .env(format!("GIT_{role}_EMAIL"), "test@example.org")
            .env(format!("GIT_{role}_DATE"), "1600000000 +0000");
    }
    command
}

/// Accepts connections until it is dropped.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = Arc::new(serve);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve_daemon(stream: TcpStream, root: &Path) {
    let (input, output) = (OwnedFd::from(stream.try_clone().unwrap()), OwnedFd::from(stream));
    let mut daemon = command("git");
    daemon
        .args(["daemon", "--inetd", "--export-all"])
        .arg(format!("--base-path={}", root.display()))
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::null());
    let _ended = daemon.status().unwrap();
}

/// One request by `git http-backend`, which speaks CGI.
fn answer(
    mut stream: TcpStream,
    root: &Path,
    requests: &Mutex<Vec<String>>,
    authorization: &Mutex<Option<String>>,
    old: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = command("/usr/lib/git-core/git-http-backend");
    backend
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query);
    let (mut header, mut length, mut allowed) = (String::new(), 0, authorization.lock().unwrap().is_none());
    while reader.read_line(&mut header)? > 0 && !header.trim().is_empty() {
        if let Some((name, value)) = header.split_once(':') {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or_default(),
                "content-type" => drop(backend.env("CONTENT_TYPE", value)),
                "git-protocol" if !old.load(Ordering::SeqCst) => drop(backend.env("HTTP_GIT_PROTOCOL", value)),
                "authorization" => allowed |= authorization.lock().unwrap().as_deref() == Some(value),
                _ => {}
            }
        }
        header.clear();
    }
    requests.lock().unwrap().push(format!("{method} {path}"));
    if !allowed {
        return stream.write_all(b"HTTP/1.1 401 Who\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    if let Some(target) = path.strip_prefix("/moved/") {
        let head = format!("HTTP/1.1 301 Moved\r\nLocation: /{target}?{query}\r\nContent-Length: 0\r\n");
        return stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    backend.env("CONTENT_LENGTH", length.to_string());
    let mut child = backend
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    child.stdin.take().unwrap().write_all(&body)?;
    let output = child.wait_with_output()?.stdout;
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_default();
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK");
    let headers: Vec<&str> = head.lines().filter(|line| !line.starts_with("Status: ")).collect();
    let length = output.len() - end - 4;
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}{}\r\n\r\n", headers.join("\r\n")).as_bytes())?;
    stream.write_all(&output[end + 4..])
}
