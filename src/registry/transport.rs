//! HTTP itself: which scheme, which TLS, which redirects; one request, one answer.
//!
//! Redirects are followed here and not by the HTTP library, because credentials must stay with the origin they were
//! meant for. Every request runs on a thread of its own, so that an interrupted build need not wait for a silent server.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use reqwest::blocking::{Client as HttpClient, Response as HttpResponse};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Url};
use rustls::RootCertStore;

use super::error::{ErrorAnswer, Failure, RegistryError, RequestLine, RootCause, host_of, redact};
use super::location;
use super::options::RegistryOptions;
use super::retry;
use super::tls::{self, Verification};
use crate::cancel::Cancel;

const MAX_REDIRECTS: usize = 10;

/// Error bodies are read no further.
const MAX_ERROR_BODY: u64 = 64 << 10;

/// Load balancers drop idle connections silently, from a minute on.
const POOL_IDLE: Duration = Duration::from_secs(50);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// An upload has no total time limit; the kernel ends it when nothing was acknowledged for this long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// For the question whether a server speaks TLS. One that does answers at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// Which way content travels; flags are given for each way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Direction {
    Pull,
    Push,
}

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// For the head of the answer, and for each piece of its body.
    pub(super) timeout: Duration,
}

/// Opens a body from its start.
pub(super) type Reopen = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Body {
    None,
    Bytes(Vec<u8>),
    Stream { open: Reopen, size: u64 },
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { size, .. } => write!(f, "Stream({size})"),
        }
    }
}

impl Request {
    pub(super) fn new(method: Method, url: Url, timeout: Duration) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::None,
            timeout,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// The head of an answer, with a body yet to be read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) line: RequestLine,
    /// Of the request that was answered, after redirects.
    pub(super) url: Url,
    http: HttpResponse,
}

impl Response {
    pub(super) fn status(&self) -> u16 {
        self.http.status().as_u16()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Passes on the statuses in `expected`; any other becomes an error with what the registry says.
    pub(super) fn expect(self, expected: &[u16]) -> Result<Self, RegistryError> {
        match expected.contains(&self.status()) {
            true => Ok(self),
            false => {
                let (request, answer) = self.into_error_answer();
                Err(RegistryError::Answer { request, answer })
            }
        }
    }

    pub(super) fn into_error_answer(mut self) -> (RequestLine, Box<ErrorAnswer>) {
        let mut body = Vec::new();
        // A body that breaks off is still better than none.
        let _ = (&mut self.http).take(MAX_ERROR_BODY).read_to_end(&mut body);
        let (code, message) = describe_error_body(&body);
        let retry_after = self.header(&RETRY_AFTER);
        let answer = ErrorAnswer {
            status: self.status(),
            code,
            message,
            retry_after: retry_after.and_then(|text| retry::parse_retry_after(text, jiff::Timestamp::now())),
        };
        (self.line, Box::new(answer))
    }

    /// The whole body, which must not be larger than `limit`.
    pub(super) fn bytes(mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let read = (&mut self.http).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| RegistryError::transport(self.line.clone(), &error))?;
        match bytes.len() as u64 <= limit {
            true => Ok(bytes),
            false => Err(RegistryError::TooLarge {
                request: self.line,
                limit,
            }),
        }
    }

    /// Reads more of the body.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            match self.http.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| RegistryError::transport(self.line.clone(), &error)),
            }
        }
    }
}

/// Code and message of the specification's error body, of its relatives, or the text itself.
fn describe_error_body(body: &[u8]) -> (Option<String>, String) {
    let text = String::from_utf8_lossy(body);
    let excerpt = || {
        let words: Vec<&str> = text.split_whitespace().collect();
        sanitise(&words.join(" "))
    };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return (None, excerpt());
    };
    let string =
        |value: &serde_json::Value, names: &[&str]| names.iter().find_map(|name| value[name].as_str()).map(sanitise);
    let first = &json["errors"][0];
    let code = string(first, &["code"]).map(|code| code.to_ascii_uppercase());
    let message = string(first, &["message"])
        .or_else(|| string(&json, &["message", "details", "error_description", "error"]))
        .unwrap_or_else(excerpt);
    let detail = match &first["detail"] {
        serde_json::Value::String(detail) if !detail.is_empty() => format!(" ({})", sanitise(detail)),
        _ => String::new(),
    };
    (code, format!("{message}{detail}"))
}

/// What a registry says goes to a terminal: printable and not too long.
fn sanitise(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Connections to registries, and what is known about them.
#[derive(Debug)]
pub(super) struct Transport {
    options: Arc<RegistryOptions>,
    cancel: Cancel,
    /// Reading the machine's authorities takes milliseconds that a loopback registry need not cost.
    roots: OnceLock<RootCertStore>,
    /// Guards the HTTP clients made so far; each has a thread and a pool of connections.
    clients: Mutex<HashMap<ClientKey, HttpClient>>,
    /// Guards the schemes found out so far, and is held while one is: one probe for each host.
    schemes: Mutex<HashMap<String, &'static str>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct ClientKey {
    verification: Verification,
    proxied: Proxied,
    /// Set when the host has certificates of its own.
    host: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Proxied {
    AsConfigured,
    Never,
}

impl Transport {
    pub(super) fn new(options: Arc<RegistryOptions>, cancel: Cancel) -> Self {
        Self {
            options,
            cancel,
            roots: OnceLock::new(),
            clients: Mutex::default(),
            schemes: Mutex::default(),
        }
    }

    /// The URL beneath which a registry's API lies.
    pub(super) fn base(&self, direction: Direction, registry: &str) -> Result<Url, RegistryError> {
        let host = match registry {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let scheme = match self.may_use_http(direction, host) {
            true => self.find_scheme(host)?,
            false => "https",
        };
        Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|_| RegistryError::Host { host: host.to_owned() })
    }

    /// Sends `request` and follows redirects. `authorization` goes to the origin of `request` and nowhere else.
    pub(super) fn send(
        &self,
        direction: Direction,
        request: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let origin = request.url.origin();
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let authorization = authorization.filter(|_| url.origin() == origin);
            let response = self.send_once(direction, request, &url, authorization)?;
            match redirect_target(&response, &request.method) {
                None => return Ok(response),
                Some(target) => {
                    self.check_redirect(direction, &response, &target)?;
                    url = target;
                }
            }
        }
        Err(RegistryError::Redirect {
            request: RequestLine::new(&request.method, &request.url),
            target: redact(&url),
            reason: "there are too many redirects",
        })
    }

    /// Whether plain HTTP to this host is all right.
    pub(super) fn may_use_http(&self, direction: Direction, host: &str) -> bool {
        let everywhere = match direction {
            Direction::Pull => self.options.insecure_pull,
            Direction::Push => self.options.insecure_push,
        };
        everywhere || self.options.insecure_registries.contains(host) || is_loopback(host)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        self.options.timeouts.idle
    }

    fn send_once(
        &self,
        direction: Direction,
        request: &Request,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        self.cancel.check()?;
        let client = self.client(self.verification(direction, &host_of(url)), url)?;
        let line = RequestLine::new(&request.method, url);
        let mut builder = client
            .request(request.method.clone(), url.clone())
            .headers(request.headers.clone())
            .timeout(request.timeout);
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        builder = match &request.body {
            Body::None if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
                // Some proxies answer 411 without a length.
                builder.header(reqwest::header::CONTENT_LENGTH, 0)
            }
            Body::None => builder,
            Body::Bytes(bytes) => builder.body(bytes.clone()),
            Body::Stream { open, size } => {
                let reader = open().map_err(|error| RegistryError::transport(line.clone(), &error))?;
                builder.body(reqwest::blocking::Body::sized(reader, *size))
            }
        };
        let sent = self.wait_for(move || builder.send())?;
        // A body that could not be read because the build was interrupted is no fault of the network.
        self.cancel.check()?;
        match sent {
            Ok(http) => Ok(Response {
                line,
                url: url.clone(),
                http,
            }),
            Err(error) => Err(RegistryError::transport(line, &error)),
        }
    }

    /// Runs `send` on another thread and waits for it or for the end of the build.
    fn wait_for<T: Send + 'static>(&self, send: impl FnOnce() -> T + Send + 'static) -> Result<T, RegistryError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new().name("http".to_owned()).spawn(move || {
            // Nobody waits any more after an interrupt.
            let _ = sender.send(send());
        });
        spawned.map_err(|error| RegistryError::Http(RootCause::of(&error)))?;
        loop {
            match receiver.recv_timeout(CANCEL_INTERVAL) {
                Ok(sent) => return Ok(sent),
                Err(RecvTimeoutError::Timeout) => self.cancel.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RegistryError::Http(RootCause("the HTTP client ended".to_owned())));
                }
            }
        }
    }

    fn check_redirect(&self, direction: Direction, response: &Response, target: &Url) -> Result<(), RegistryError> {
        let refuse = |reason| {
            Err(RegistryError::Redirect {
                request: response.line.clone(),
                target: redact(target),
                reason,
            })
        };
        let from = &response.url;
        if !matches!(target.scheme(), "http" | "https") {
            return refuse("it is not HTTP");
        }
        if from.scheme() == "https" && target.scheme() == "http" && !self.may_use_http(direction, &host_of(target)) {
            return refuse("it leaves HTTPS");
        }
        if is_internal(target) && !is_internal(from) {
            return refuse("it leads from a public host to this machine's own network");
        }
        Ok(())
    }

    /// Asks for TLS first. Only a server that does not speak it is spoken to without.
    fn find_scheme(&self, host: &str) -> Result<&'static str, RegistryError> {
        let mut schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scheme) = schemes.get(host) {
            return Ok(scheme);
        }
        let url = Url::parse(&format!("https://{host}/v2/"));
        let url = url.map_err(|_| RegistryError::Host { host: host.to_owned() })?;
        let scheme = match self.probe(&url) {
            Ok(_) => "https",
            Err(RegistryError::Transport { failure, .. }) if falls_back(failure, &url) => "http",
            Err(error) => return Err(error),
        };
        schemes.insert(host.to_owned(), scheme);
        Ok(scheme)
    }

    /// Nothing secret is sent, so the certificate does not matter yet.
    fn probe(&self, url: &Url) -> Result<Response, RegistryError> {
        let client = self.client(Verification::Skipped, url)?;
        let line = RequestLine::new(&Method::GET, url);
        let limit = match is_internal(url) {
            true => PROBE_TIMEOUT,
            false => self.options.timeouts.connect,
        };
        let builder = client.get(url.clone()).timeout(limit);
        match self.wait_for(move || builder.send())? {
            Ok(http) => Ok(Response {
                line,
                url: url.clone(),
                http,
            }),
            Err(error) => Err(RegistryError::transport(line, &error)),
        }
    }

    fn verification(&self, direction: Direction, host: &str) -> Verification {
        let options = &self.options;
        let everywhere = match direction {
            Direction::Pull => options.insecure_pull || options.skip_tls_verify_pull,
            Direction::Push => options.insecure_push || options.skip_tls_verify,
        };
        let here = options.insecure_registries.contains(host) || options.skip_tls_verify_registries.contains(host);
        match everywhere || here {
            true => Verification::Skipped,
            false => Verification::Required,
        }
    }

    fn client(&self, verification: Verification, url: &Url) -> Result<HttpClient, RegistryError> {
        let host = host_of(url);
        let options = &self.options;
        let is_special =
            options.registry_certificates.contains_key(&host) || options.client_certificates.contains_key(&host);
        let key = ClientKey {
            verification,
            proxied: if is_loopback(&host) {
                Proxied::Never
            } else {
                Proxied::AsConfigured
            },
            host: is_special.then_some(host),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.new_client(&key)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn new_client(&self, key: &ClientKey) -> Result<HttpClient, RegistryError> {
        let mut roots = match key.verification {
            Verification::Required => self.roots.get_or_init(|| tls::machine_roots(&self.options)).clone(),
            Verification::Skipped => RootCertStore::empty(),
        };
        let host = key.host.as_ref();
        if let Some(path) = host.and_then(|host| self.options.registry_certificates.get(host)) {
            tls::add_authorities(&mut roots, path)?;
        }
        let identity = host.and_then(|host| self.options.client_certificates.get(host));
        let tls = tls::client_config(roots, key.verification, identity)?;
        let builder = HttpClient::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(&self.options.user_agent)
            .connect_timeout(self.options.timeouts.connect)
            // Each request has its own.
            .timeout(None)
            .tcp_keepalive(KEEPALIVE)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .pool_idle_timeout(POOL_IDLE)
            .http2_adaptive_window(true);
        let builder = match key.proxied {
            Proxied::AsConfigured => builder,
            Proxied::Never => builder.no_proxy(),
        };
        builder
            .build()
            .map_err(|error| RegistryError::Http(RootCause::of(&error)))
    }
}

/// Where a redirect leads that may be followed with this method.
fn redirect_target(response: &Response, method: &Method) -> Option<Url> {
    let follows = match response.status() {
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    };
    let target = response.header(&LOCATION).filter(|_| follows)?;
    location::resolve(&response.url, target).ok()
}

/// A server that speaks no TLS answers with something else, hangs up, or waits for the end of the line.
fn falls_back(failure: Failure, url: &Url) -> bool {
    match failure {
        Failure::NotTls | Failure::Tls | Failure::Closed => true,
        Failure::TimedOut => is_internal(url),
        // With a port in its name HTTP would knock at the same door.
        Failure::Refused => url.port().is_none(),
        Failure::Resolution | Failure::Certificate | Failure::Other => false,
    }
}

/// `localhost`, `*.localhost`, `127.0.0.0/8` and `::1`, with or without port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Literal addresses and names of this machine and its link, where a public server has no business.
pub(super) fn is_internal(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
    let internal = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    };
    is_loopback(host) || literal.is_ok_and(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts() {
        for host in [
            "localhost",
            "localhost:5000",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "10.0.0.1",
            "[::2]:5000",
            "127.example",
            "registry",
            "169.254.1.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!(is_internal(&Url::parse("http://169.254.169.254/latest").unwrap()));
        assert!(!is_internal(&Url::parse("https://h.example/").unwrap()));
    }

    #[test]
    fn error_bodies_of_all_kinds() {
        for (body, code, message) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                Some("MANIFEST_UNKNOWN"),
                "manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"denied","message":"no","detail":"why"}]}"#,
                Some("DENIED"),
                "no (why)",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                None,
                "incorrect username or password",
            ),
            (r#"{"message":"gone"}"#, None, "gone"),
            (
                r#"{"error":"invalid_grant","error_description":"bad token"}"#,
                None,
                "bad token",
            ),
            (
                "<html>\n <b>502</b>\x1b[31m</html>",
                None,
                "<html> <b>502</b>[31m</html>",
            ),
            (r#"{"errors":[]}"#, None, r#"{"errors":[]}"#),
            ("", None, ""),
        ] {
            let found = describe_error_body(body.as_bytes());
            assert_eq!(found, (code.map(str::to_owned), message.to_owned()), "{body}");
        }
        assert_eq!(describe_error_body("x".repeat(9999).as_bytes()).1.len(), 300);
    }

    #[test]
    fn flags_for_one_host_do_not_touch_another() {
        let options = RegistryOptions {
            insecure_registries: ["plain.example:5000".to_owned()].into(),
            skip_tls_verify_registries: ["blind.example".to_owned()].into(),
            skip_tls_verify_pull: false,
            insecure_push: false,
            ..RegistryOptions::default()
        };
        let transport = Transport::new(Arc::new(options), Cancel::default());
        for direction in [Direction::Pull, Direction::Push] {
            assert!(transport.may_use_http(direction, "plain.example:5000"));
            assert!(!transport.may_use_http(direction, "plain.example"));
            assert!(!transport.may_use_http(direction, "blind.example"));
            assert_eq!(
                transport.verification(direction, "blind.example"),
                Verification::Skipped
            );
            assert_eq!(
                transport.verification(direction, "plain.example:5000"),
                Verification::Skipped
            );
            assert_eq!(transport.verification(direction, "h.example"), Verification::Required);
            assert_eq!(
                transport.verification(direction, "127.0.0.1:5000"),
                Verification::Required
            );
        }
    }

    #[test]
    fn flags_for_one_way_do_not_touch_the_other() {
        let options = RegistryOptions {
            insecure_pull: true,
            skip_tls_verify: true,
            ..RegistryOptions::default()
        };
        let transport = Transport::new(Arc::new(options), Cancel::default());
        assert!(transport.may_use_http(Direction::Pull, "h.example"));
        assert!(!transport.may_use_http(Direction::Push, "h.example"));
        assert_eq!(
            transport.verification(Direction::Push, "h.example"),
            Verification::Skipped
        );
    }
}
