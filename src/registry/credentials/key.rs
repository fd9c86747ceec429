//! What a registry is called in files of credentials and by helpers.

/// Docker Hub's key in `config.json`, older than registries with names.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB_NAMES: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// A key without what people and programs add to a host: scheme, API version, default port, case of the host.
pub(super) fn normalise(key: &str) -> String {
    let key = key.trim().trim_end_matches('/');
    let (default_port, key) = match (key.strip_prefix("https://"), key.strip_prefix("http://")) {
        (Some(rest), _) => (":443", rest),
        (_, Some(rest)) => (":80", rest),
        _ => (":443", key),
    };
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    let (host, path) = match key.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (key, None),
    };
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let host = if HUB_NAMES.contains(&host) { HUB_NAMES[0] } else { host };
    match path.filter(|path| !path.is_empty()) {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

/// The key under which a credential for `registry`, a normal key, is written down, as Docker does it.
pub(super) fn to_write(registry: &str) -> String {
    match HUB_NAMES.contains(&registry) {
        true => HUB_KEY.to_owned(),
        false => registry.to_owned(),
    }
}

/// The names under which a store of all credentials may know `registry`, a normal key.
pub(super) fn of_store(registry: &str) -> Vec<String> {
    match HUB_NAMES.contains(&registry) {
        true => vec![HUB_KEY.to_owned()],
        false => vec![registry.to_owned(), format!("https://{registry}")],
    }
}
