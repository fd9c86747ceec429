//! A registry that misbehaves on purpose: an HTTP server whose every answer is a function of the request.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// What the server sends back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Sent of the body before the connection is closed; the announced length stays that of the whole.
    pub(crate) cut_at: Option<usize>,
    /// Whether the server then says nothing until the client goes away.
    pub(crate) is_stuck: bool,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut_at: None,
            is_stuck: false,
        }
    }

    pub(crate) fn body(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).header("Content-Type", media_type).with_body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn cut_at(mut self, length: usize) -> Self {
        self.cut_at = Some(length);
        self
    }

    /// Never says anything.
    pub(crate) fn silence() -> Self {
        Self {
            is_stuck: true,
            ..Self::status(0)
        }
    }

    /// Sends so much of the body, and then nothing more.
    pub(crate) fn stuck_at(self, length: usize) -> Self {
        Self {
            is_stuck: true,
            ..self.cut_at(length)
        }
    }
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A running scripted server; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts a server that answers `(method, path)` with what `answer` makes of it.
    pub(crate) fn start(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with_headers(move |request| answer(&request.method, &request.path))
    }

    /// The same for answers that depend on headers too.
    pub(crate) fn start_with_headers(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let answer = Arc::new(answer);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let answer = Arc::clone(&answer);
                // A client that hangs up early is part of the play.
                std::thread::spawn(move || drop(serve(stream, &*answer)));
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The accepting thread is waiting for one more connection.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(stream: TcpStream, answer: &(impl Fn(&Request) -> Answer + ?Sized)) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: Vec::new(),
    };
    let mut header = String::new();
    while reader.read_line(&mut header)? > 0 && header.trim() != "" {
        if let Some((name, value)) = header.split_once(':') {
            let pair = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.push(pair);
        }
        header.clear();
    }
    let answer = answer(&request);
    let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    let mut stream = stream;
    if answer.status != 0 {
        stream.write_all(head.as_bytes())?;
    }
    if request.method != "HEAD" {
        stream.write_all(&answer.body[..answer.cut_at.unwrap_or(answer.body.len())])?;
    }
    stream.flush()?;
    if answer.is_stuck {
        // Whatever the client still sends is read; it would notice otherwise.
        std::io::copy(&mut reader, &mut std::io::sink())?;
    }
    Ok(())
}

/// An image of one layer, as the documents and blobs a registry serves.
#[derive(Clone, Debug)]
pub(crate) struct ServedImage {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
}

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

impl ServedImage {
    /// An image whose single layer is this uncompressed tar.
    pub(crate) fn of_tar(layer: Vec<u8>) -> Self {
        let config = serde_json::json!({
            "architecture": architecture(), "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}, "history": [{"created_by": "scripted"}],
        });
        let config = config.to_string().into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            layer,
        }
    }

    /// What a well-behaved registry answers.
    pub(crate) fn answer(&self, path: &str) -> Answer {
        if path.trim_end_matches('/') == "/v2" {
            return Answer::body("application/json", "{}");
        }
        if path.contains("/manifests/") {
            return Answer::body(MANIFEST_TYPE, self.manifest.clone())
                .header("Docker-Content-Digest", &digest(&self.manifest));
        }
        let blobs = [&self.config, &self.layer];
        let asked = blobs
            .into_iter()
            .find(|blob| path.ends_with(&format!("/blobs/{}", digest(blob))));
        asked.map_or(Answer::status(404), |blob| {
            Answer::body("application/octet-stream", blob.clone())
        })
    }

    /// Whether a path asks for the layer.
    pub(crate) fn is_layer(&self, path: &str) -> bool {
        path.ends_with(&format!("/blobs/{}", digest(&self.layer)))
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// This machine's architecture in the words of the OCI platform.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}
