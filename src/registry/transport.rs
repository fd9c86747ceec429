//! HTTP itself: which scheme, which TLS, which redirects; one request, one answer.
//!
//! Redirects are followed here and not by the HTTP library, because credentials must stay with the origin they were
//! meant for. Every request runs on a thread of its own, so that an interrupted build need not wait for a silent server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::blocking::Client as HttpClient;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use rustls::RootCertStore;

use super::error::RegistryError;
use super::message::{Body, Request, Response};
use super::options::RegistryOptions;
use crate::cancel::Cancel;
use crate::http::client::{self, Proxied, is_internal, is_private};
use crate::http::redirect::{self, Downgrade, MAX_REDIRECTS};
use crate::http::tls::{self, Verification};
use crate::http::{Failure, RefusedRedirect, RequestLine, host_of};
use crate::machine;

/// For the question whether a server speaks TLS. One that does answers at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

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
            match redirect::target(
                &response.url,
                response.status(),
                response.header(&LOCATION),
                &request.method,
            ) {
                None => return Ok(response),
                Some(target) => {
                    self.check_redirect(direction, &response, &target)?;
                    url = target;
                }
            }
        }
        let line = RequestLine::new(&request.method, &request.url);
        Err(RefusedRedirect::too_many(line, &url).into())
    }

    /// Whether plain HTTP to this host is all right.
    pub(super) fn may_use_http(&self, direction: Direction, host: &str) -> bool {
        let everywhere = match direction {
            Direction::Pull => self.options.insecure_pull,
            Direction::Push => self.options.insecure_push,
        };
        everywhere || self.options.insecure_registries.contains(host) || is_private(host)
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
            .headers(request.headers.clone());
        if let Some(limit) = request.limit {
            builder = builder.timeout(limit);
        }
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
        let sent = client::wait_for(&self.cancel, move || builder.send())?;
        // A body that could not be read because the build was interrupted is no fault of the network.
        self.cancel.check()?;
        match sent {
            Ok(http) => Ok(Response::new(line, url, http, &self.cancel)),
            Err(error) => Err(RegistryError::transport(line, &error)),
        }
    }

    fn check_redirect(&self, direction: Direction, response: &Response, target: &Url) -> Result<(), RegistryError> {
        let downgrade = match self.may_use_http(direction, &host_of(target)) {
            true => Downgrade::Allowed,
            false => Downgrade::Refused,
        };
        redirect::check(&response.url, target, downgrade)
            .map_err(|reason| RefusedRedirect::new(response.line.clone(), target, reason).into())
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
            Err(RegistryError::Transport(unanswered)) if falls_back(unanswered.failure, &url) => "http",
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
        match client::wait_for(&self.cancel, move || builder.send())? {
            Ok(http) => Ok(Response::new(line, url, http, &self.cancel)),
            Err(error) => Err(RegistryError::transport(line, &error)),
        }
    }

    fn verification(&self, direction: Direction, host: &str) -> Verification {
        let options = &self.options;
        let everywhere = match direction {
            Direction::Pull => options.insecure_pull || options.skip_tls_verify_pull || options.skip_tls_verify,
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
            proxied: Proxied::of_host(&host),
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

    fn machine_roots(&self) -> &RootCertStore {
        let file = self.options.certificate_file.as_deref();
        let directory = self.options.certificate_directory.as_deref();
        self.roots.get_or_init(|| tls::machine_roots(file, directory))
    }

    fn new_client(&self, key: &ClientKey) -> Result<HttpClient, RegistryError> {
        let _here = machine::own_files();
        let mut roots = match key.verification {
            Verification::Required => self.machine_roots().clone(),
            Verification::Skipped => RootCertStore::empty(),
        };
        let host = key.host.as_ref();
        if let Some(path) = host.and_then(|host| self.options.registry_certificates.get(host)) {
            tls::add_authorities(&mut roots, path)?;
        }
        let identity = host.and_then(|host| self.options.client_certificates.get(host));
        let tls = tls::client_config(roots, key.verification, identity)?;
        let setup = client::Setup {
            user_agent: &self.options.user_agent,
            connect_timeout: self.options.timeouts.connect,
            idle_timeout: self.options.timeouts.idle,
            proxied: key.proxied,
            versions: self.options.http_versions,
        };
        Ok(client::build(tls, &setup)?)
    }
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::http::drip;

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
            skip_tls_verify_pull: true,
            ..RegistryOptions::default()
        };
        let transport = Transport::new(Arc::new(options), Cancel::default());
        assert!(transport.may_use_http(Direction::Pull, "h.example"));
        assert!(!transport.may_use_http(Direction::Push, "h.example"));
        assert_eq!(
            transport.verification(Direction::Push, "h.example"),
            Verification::Required
        );
        let options = RegistryOptions {
            skip_tls_verify: true,
            ..RegistryOptions::default()
        };
        let transport = Transport::new(Arc::new(options), Cancel::default());
        for direction in [Direction::Pull, Direction::Push] {
            assert_eq!(transport.verification(direction, "h.example"), Verification::Skipped);
        }
    }

    #[test]
    fn a_slow_body_arrives_and_a_silent_one_is_given_up() {
        let mut options = RegistryOptions::default();
        options.timeouts.idle = drip::IDLE;
        let transport = Transport::new(Arc::new(options), Cancel::default());
        let read = |body| {
            let request = Request::new(Method::GET, drip::serve(body));
            let mut response = transport.send(Direction::Pull, &request, None).unwrap();
            response.body.read_to_string(&mut String::new())
        };
        assert_eq!(read(drip::Body::Drips).unwrap(), drip::SIZE);
        let error = read(drip::Body::Stalls).unwrap_err();
        assert_eq!(Failure::of(&error), Failure::TimedOut, "{error:?}");
    }
}
