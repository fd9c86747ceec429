//! The registry flags: hosts spelled one way, mirrors in the order in which they are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::args::Registry;
use super::environment::{self as env, Environment};
use super::options::is_on;
use super::problem::Problem;
use super::value::{Count, KeyValue, KeyValues};
use crate::build::request::{Mirror, RegistryOptions};
use crate::http::{ClientCertificate, Versions};
use crate::registry::{BuiltinHelper, CredentialSources, CredentialVariables};
use crate::secret::SecretText;

/// Docker Hub, as references name it.
const DOCKER_HUB: &str = "docker.io";

/// Makes options of the flags and of the environment, whose entries come after those of the flags.
pub(super) fn convert(registry: &Registry, environment: &Environment, problems: &mut Vec<Problem>) -> RegistryOptions {
    let mut hosts = Hosts { problems };
    let mirrors = mirrors(registry, environment, &mut hosts);
    let mut insecure_registries = hosts.set("--insecure-registry", &registry.insecure_registry);
    insecure_registries.extend(mirrors.insecure);
    RegistryOptions {
        insecure: is_on(registry.insecure),
        insecure_pull: is_on(registry.insecure_pull),
        insecure_registries,
        skip_tls_verify: is_on(registry.skip_tls_verify),
        skip_tls_verify_pull: is_on(registry.skip_tls_verify_pull),
        skip_tls_verify_registries: hosts.set("--skip-tls-verify-registry", &registry.skip_tls_verify_registry),
        certificates: certificates(registry, environment, &mut hosts),
        client_certificates: client_certificates(registry, environment, &mut hosts),
        mirrors: mirrors.by_host,
        skip_default_registry_fallback: is_on(registry.skip_default_registry_fallback),
        push_retry: count(registry.push_retry),
        image_download_retry: count(registry.image_download_retry),
        image_fs_extract_retry: count(registry.image_fs_extract_retry),
        push_ignore_immutable_tag_errors: is_on(registry.push_ignore_immutable_tag_errors),
        skip_push_permission_check: is_on(registry.skip_push_permission_check),
        http_versions: http_versions(environment),
        client_type: environment.filled(env::UPSTREAM_CLIENT_TYPE).and_then(client_type),
        certificate_file: environment.path(env::SSL_CERT_FILE),
        certificate_directory: environment.path(env::SSL_CERT_DIR),
        credentials: CredentialSources {
            helpers: builtin_helpers(&registry.credential_helpers),
            ..credentials(environment)
        },
        base_images: None,
    }
}

fn count(flag: Option<Count>) -> u32 {
    flag.map_or(0, |Count(count)| count)
}

/// Reads host names and notes those that are none.
struct Hosts<'a> {
    problems: &'a mut Vec<Problem>,
}

/// What may stand where a host is expected.
struct Location<'a> {
    host: String,
    rest: &'a str,
    plain_http: bool,
}

impl Hosts<'_> {
    fn set(&mut self, origin: &'static str, hosts: &[String]) -> BTreeSet<String> {
        hosts.iter().filter_map(|text| self.host(origin, text)).collect()
    }

    /// A host and nothing else; a scheme before it and slashes behind it do not matter.
    fn host(&mut self, origin: &'static str, text: &str) -> Option<String> {
        let location = self.location(origin, text)?;
        if !location.rest.is_empty() {
            self.refuse(origin, text);
            return None;
        }
        Some(location.host)
    }

    /// `[scheme://]host[:port][/rest]`.
    fn location<'t>(&mut self, origin: &'static str, text: &'t str) -> Option<Location<'t>> {
        let (plain_http, bare) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(bare), _) => (true, bare),
            (_, Some(bare)) => (false, bare),
            _ => (false, text),
        };
        let (host, rest) = bare.split_once('/').unwrap_or((bare, ""));
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#' | '=' | ',');
        if host.is_empty() || host.contains(odd) {
            self.refuse(origin, text);
            return None;
        }
        Some(Location {
            host: normal_host(host),
            rest: rest.trim_matches('/'),
            plain_http,
        })
    }

    fn refuse(&mut self, origin: &'static str, text: &str) {
        self.problems.push(Problem::Host {
            origin,
            host: text.to_owned(),
        });
    }
}

/// Docker Hub has three names; the kaniko executor knows it as `index.docker.io`.
fn normal_host(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    }
}

#[derive(Default)]
struct Mirrors {
    by_host: BTreeMap<String, Vec<Mirror>>,
    /// Mirrors that were written with `http://`.
    insecure: Vec<String>,
}

impl Mirrors {
    fn add(&mut self, host: String, location: &Location<'_>) {
        if location.plain_http {
            self.insecure.push(location.host.clone());
        }
        self.by_host.entry(host).or_default().push(Mirror {
            host: location.host.clone(),
            prefix: location.rest.to_owned(),
        });
    }
}

/// Maps come before mirrors, and within each the flags before the environment.
fn mirrors(registry: &Registry, environment: &Environment, hosts: &mut Hosts<'_>) -> Mirrors {
    let mut mirrors = Mirrors::default();
    let flags = registry.registry_map.iter().flat_map(|KeyValues(pairs)| pairs.clone());
    for KeyValue { key, value } in flags {
        add_map(&mut mirrors, hosts, "--registry-map", (&key, &value));
    }
    for KeyValue { key, value } in environment_map(environment, hosts) {
        add_map(&mut mirrors, hosts, env::KANIKO_REGISTRY_MAP, (&key, &value));
    }
    for value in &registry.registry_mirror {
        add_map(&mut mirrors, hosts, "--registry-mirror", (DOCKER_HUB, value));
    }
    if let Some(value) = environment.filled(env::KANIKO_REGISTRY_MIRROR) {
        add_map(
            &mut mirrors,
            hosts,
            env::KANIKO_REGISTRY_MIRROR,
            (DOCKER_HUB, &value.to_string_lossy()),
        );
    }
    mirrors
}

fn add_map(mirrors: &mut Mirrors, hosts: &mut Hosts<'_>, origin: &'static str, (from, to): (&str, &str)) {
    if let (Some(host), Some(location)) = (hosts.host(origin, from), hosts.location(origin, to)) {
        mirrors.add(host, &location);
    }
}

fn environment_map(environment: &Environment, hosts: &mut Hosts<'_>) -> Vec<KeyValue> {
    let Some(value) = environment.filled(env::KANIKO_REGISTRY_MAP) else {
        return Vec::new();
    };
    let text = value.to_string_lossy();
    match text.parse() {
        Ok(KeyValues(pairs)) => pairs,
        Err(source) => {
            hosts.problems.push(Problem::Environment {
                name: env::KANIKO_REGISTRY_MAP,
                value: text.into_owned(),
                source,
            });
            Vec::new()
        }
    }
}

fn certificates(registry: &Registry, environment: &Environment, hosts: &mut Hosts<'_>) -> BTreeMap<String, PathBuf> {
    let pairs = registry.registry_certificate.iter();
    pairs
        .filter_map(|KeyValue { key, value }| {
            let host = hosts.host("--registry-certificate", key)?;
            Some((host, environment.working_directory.join(value)))
        })
        .collect()
}

fn client_certificates(
    registry: &Registry,
    environment: &Environment,
    hosts: &mut Hosts<'_>,
) -> BTreeMap<String, ClientCertificate> {
    let pairs = registry.registry_client_cert.iter();
    pairs
        .filter_map(|pair| {
            let host = hosts.host("--registry-client-cert", &pair.host)?;
            let certificate = environment.working_directory.join(&pair.first);
            let key = environment.working_directory.join(&pair.second);
            Some((host, ClientCertificate { certificate, key }))
        })
        .collect()
}

/// No flag means all helpers, in their own order; `--credential-helpers=` alone means none.
fn builtin_helpers(names: &[String]) -> Vec<BuiltinHelper> {
    let mut helpers = BuiltinHelper::ALL.to_vec();
    if !names.is_empty() {
        helpers.retain(|helper| names.iter().any(|name| name == helper.name()));
    }
    helpers
}

/// Go's way to switch HTTP/2 off, and the kaniko executor's.
fn http_versions(environment: &Environment) -> Versions {
    let settings = environment
        .filled(env::GODEBUG)
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let is_off = settings.split(',').any(|setting| setting.trim() == "http2client=0");
    match is_off || environment.is_on(env::FF_KANIKO_DISABLE_HTTP2) {
        true => Versions::Http1,
        false => Versions::All,
    }
}

/// What a header may hold; anything else is not worth an error.
fn client_type(value: &OsStr) -> Option<String> {
    let text = value.to_str()?;
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    fits.then(|| text.to_owned())
}

/// Where credentials are looked for.
pub(super) fn credentials(environment: &Environment) -> CredentialSources {
    let config = environment.filled(env::DOCKER_AUTH_CONFIG);
    CredentialSources {
        docker_config: environment.path(env::DOCKER_CONFIG),
        docker_auth_config: config.map(|config| SecretText::new(config.to_string_lossy().into_owned())),
        registry_auth_file: environment.path(env::REGISTRY_AUTH_FILE),
        home: environment.path(env::HOME),
        xdg_runtime_dir: environment.path(env::XDG_RUNTIME_DIR),
        xdg_config_home: environment.path(env::XDG_CONFIG_HOME),
        uid: environment.uid,
        path: environment.filled(env::PATH).map(ToOwned::to_owned),
        variables: credential_variables(environment),
        helpers: BuiltinHelper::ALL.to_vec(),
    }
}

fn credential_variables(environment: &Environment) -> CredentialVariables {
    let wanted = environment.texts().filter(|(name, _)| CredentialVariables::wants(name));
    wanted
        .map(|(name, value)| (name.to_owned(), SecretText::new(value.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn options(line: &[&str], environment: Environment) -> Result<RegistryOptions, Vec<String>> {
        let cli = args::parse(["rbuild"].iter().chain(line)).unwrap();
        let mut problems = Vec::new();
        let options = convert(&cli.registry, &environment, &mut problems);
        match problems.is_empty() {
            true => Ok(options),
            false => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    fn mirror(host: &str, prefix: &str) -> Mirror {
        Mirror {
            host: host.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn mirrors_keep_their_order_and_hub_has_one_name() {
        let environment = Environment::default()
            .with(env::KANIKO_REGISTRY_MIRROR, "env.example/hub")
            .with(env::KANIKO_REGISTRY_MAP, "quay.io=env-map.example");
        let line = [
            "--registry-map=index.docker.io=a.example/x/y/;quay.io=b.example",
            "--registry-map=docker.io=https://c.example:5000",
            "--registry-mirror=http://d.example/",
        ];
        let options = options(&line, environment).unwrap();
        let hub = vec![
            mirror("a.example", "x/y"),
            mirror("c.example:5000", ""),
            mirror("d.example", ""),
            mirror("env.example", "hub"),
        ];
        let quay = vec![mirror("b.example", ""), mirror("env-map.example", "")];
        assert_eq!(
            options.mirrors,
            BTreeMap::from([("docker.io".to_owned(), hub), ("quay.io".to_owned(), quay)])
        );
        assert_eq!(options.insecure_registries, BTreeSet::from(["d.example".to_owned()]));
    }

    #[test]
    fn hosts_are_checked_and_named_with_their_origin() {
        for (flag, host) in [
            ("--insecure-registry", "a/b"),
            ("--insecure-registry", ""),
            ("--skip-tls-verify-registry", "a b"),
            ("--registry-mirror", "https://"),
        ] {
            let problems = options(&[&format!("{flag}={host}")], Environment::default()).unwrap_err();
            assert_eq!(problems, [format!("{flag} has the invalid registry host {host:?}")]);
        }
        let environment = Environment::default().with(env::KANIKO_REGISTRY_MAP, "nonsense");
        let problems = options(&[], environment).unwrap_err();
        assert_eq!(
            problems,
            [r#"environment variable KANIKO_REGISTRY_MAP has the invalid value "nonsense""#]
        );
    }

    #[test]
    fn helpers_are_all_some_or_none() {
        for (line, expected) in [
            (&[][..], &BuiltinHelper::ALL[..]),
            (&["--credential-helpers="], &[]),
            (
                &["--credential-helpers=gitlab", "--credential-helpers=ecr"],
                &[BuiltinHelper::Gitlab],
            ),
        ] {
            let options = options(line, Environment::default()).unwrap();
            assert_eq!(options.credentials.helpers, expected, "{line:?}");
        }
    }

    #[test]
    fn http_2_can_be_switched_off_and_callers_named() {
        for (name, value, expected) in [
            (env::GODEBUG, "netdns=go,http2client=0", Versions::Http1),
            (env::GODEBUG, "http2client=1", Versions::All),
            (env::FF_KANIKO_DISABLE_HTTP2, "1", Versions::Http1),
            (env::FF_KANIKO_DISABLE_HTTP2, "perhaps", Versions::All),
        ] {
            let options = options(&[], Environment::default().with(name, value)).unwrap();
            assert_eq!(options.http_versions, expected, "{name}={value}");
        }
        for (value, expected) in [("cloud build/1", Some("cloud build/1")), ("", None), ("a\nb", None)] {
            let environment = Environment::default().with(env::UPSTREAM_CLIENT_TYPE, value);
            let options = options(&[], environment).unwrap();
            assert_eq!(options.client_type.as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn credentials_of_the_environment_are_not_printed() {
        let environment = Environment::default()
            .with(env::DOCKER_AUTH_CONFIG, "hunter2")
            .with(env::HOME, "/home/u");
        let options = options(&[], environment).unwrap();
        assert_eq!(
            options.credentials.docker_auth_config.as_ref().unwrap().reveal(),
            "hunter2"
        );
        assert_eq!(options.credentials.home, Some(PathBuf::from("/home/u")));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
