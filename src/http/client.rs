//! HTTP clients, and how to wait for one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use reqwest::Url;
use reqwest::blocking::Client as HttpClient;
use rustls::ClientConfig;

use super::failure::{ClientError, RootCause};
use crate::cancel::Cancel;

/// Load balancers drop idle connections silently, from a minute on.
const POOL_IDLE: Duration = Duration::from_secs(50);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// An upload has no total time limit; the kernel ends it when nothing was acknowledged for this long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// Whether requests may go through the proxies that the environment names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Proxied {
    AsConfigured,
    Never,
}

impl Proxied {
    /// This machine's own servers, and the metadata service of the cloud that it is in, are never reached through a proxy.
    pub(crate) fn of_host(host: &str) -> Self {
        match is_loopback(host) || is_link_local(host) {
            true => Self::Never,
            false => Self::AsConfigured,
        }
    }
}

/// Which versions of HTTP may be spoken over TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Versions {
    /// HTTP/2 where the server has it.
    #[default]
    All,
    /// Nothing newer than HTTP/1.1: some registries are faster that way.
    Http1,
}

/// What a client is made of besides TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) user_agent: &'a str,
    pub(crate) connect_timeout: Duration,
    /// For the head of an answer, and for each read of its body; a limit of the request itself comes before it.
    pub(crate) idle_timeout: Duration,
    pub(crate) proxied: Proxied,
    pub(crate) versions: Versions,
}

/// Makes a client that follows no redirect: whoever asks decides where credentials may go.
pub(crate) fn build(mut tls: ClientConfig, setup: &Setup<'_>) -> Result<HttpClient, ClientError> {
    // A preconfigured backend gets no ALPN from the HTTP client.
    tls.alpn_protocols = match setup.versions {
        Versions::All => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Versions::Http1 => vec![b"http/1.1".to_vec()],
    };
    let builder = HttpClient::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(setup.user_agent)
        .connect_timeout(setup.connect_timeout)
        // Here, unlike at a request, it is no limit of the whole exchange.
        .timeout(setup.idle_timeout)
        .tcp_keepalive(KEEPALIVE)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .pool_idle_timeout(POOL_IDLE)
        .http2_adaptive_window(true);
    let builder = match setup.versions {
        Versions::All => builder,
        Versions::Http1 => builder.http1_only(),
    };
    let builder = match setup.proxied {
        Proxied::AsConfigured => builder,
        Proxied::Never => builder.no_proxy(),
    };
    builder
        .build()
        .map_err(|error| ClientError::Http(RootCause::of(&error)))
}

/// Runs `send` on another thread and waits for it or for the end of the build.
pub(crate) fn wait_for<T: Send + 'static>(
    cancel: &Cancel,
    send: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ClientError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().name("http".to_owned()).spawn(move || {
        // Nobody waits any more after an interrupt.
        let _ = sender.send(send());
    });
    spawned.map_err(|error| ClientError::Http(RootCause::of(&error)))?;
    loop {
        match receiver.recv_timeout(CANCEL_INTERVAL) {
            Ok(sent) => return Ok(sent),
            Err(RecvTimeoutError::Timeout) => cancel.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ClientError::Http(RootCause::text("the HTTP client ended")));
            }
        }
    }
}

fn is_link_local(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_link_local())
}

/// `localhost`, `*.localhost`, `127.0.0.0/8` and `::1`, with or without port.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Where people run registries without TLS: this machine, private networks (RFC 1918), and names of the local network.
pub(crate) fn is_private(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    let is_private = |ip: std::net::Ipv4Addr| ip.is_private();
    is_loopback(host) || name.ends_with(".local") || name.parse().is_ok_and(is_private)
}

/// Literal addresses and names of this machine and its link, where a public server has no business.
pub(crate) fn is_internal(url: &Url) -> bool {
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
        for host in [
            "10.0.0.1",
            "172.16.0.1:5000",
            "192.168.1.1",
            "registry.local:5000",
            "localhost",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "172.32.0.1",
            "11.0.0.1:5000",
            "local",
            "registry.local.example",
            "[fd00::1]:5000",
        ] {
            assert!(!is_private(host), "{host}");
        }
        for (host, expected) in [
            ("localhost:5000", Proxied::Never),
            ("169.254.169.254", Proxied::Never),
            ("169.254.170.2:80", Proxied::Never),
            ("h.example", Proxied::AsConfigured),
            ("10.0.0.1", Proxied::AsConfigured),
        ] {
            assert_eq!(Proxied::of_host(host), expected, "{host}");
        }
        assert!(is_internal(&Url::parse("http://169.254.169.254/latest").unwrap()));
        assert!(!is_internal(&Url::parse("https://h.example/").unwrap()));
    }
}
