//! HTTP itself: which scheme, which TLS, which redirects; one request, one answer.
//!
//! Redirects are followed here and not by the HTTP library, because credentials must stay with the origin they were
//! meant for. Every request runs on a thread of its own, so that an interrupted build need not wait for a silent server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use reqwest::blocking::Client as HttpClient;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use rustls::RootCertStore;

use super::error::{Failure, RegistryError, RequestLine, RootCause, host_of, redact};
use super::location;
use super::message::{Body, Request, Response};
use super::options::RegistryOptions;
use super::tls::{self, Verification};
use crate::cancel::Cancel;

const MAX_REDIRECTS: usize = 10;

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
