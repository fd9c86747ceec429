//! The flags of caches: where base images lie that a warmer has brought.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::Cache;
use super::environment::Environment;
use super::options::is_on;
use super::value::GoDuration;
use crate::build::request::KeptImages;

/// Where the kaniko executor and its warmer look.
const DIRECTORY: &str = "/cache";
/// Two weeks.
const TTL: Duration = Duration::from_secs(14 * 24 * 3600);

/// The images that a build may use instead of pulling them; only with `--cache`, as pipelines expect.
pub(super) fn base_images(cache: &Cache, environment: &Environment) -> Option<KeptImages> {
    is_on(cache.cache).then(|| KeptImages {
        directory: directory(cache.cache_dir.as_deref(), environment),
        ttl: ttl(cache.cache_ttl),
    })
}

/// The directory that is meant by `--cache-dir`.
pub(super) fn directory(flag: Option<&Path>, environment: &Environment) -> PathBuf {
    let asked = flag.filter(|path| !path.as_os_str().is_empty());
    environment.absolute(asked.unwrap_or(Path::new(DIRECTORY)))
}

/// The time that is meant by `--cache-ttl`.
pub(super) fn ttl(flag: Option<GoDuration>) -> Duration {
    flag.map_or(TTL, |GoDuration(ttl)| ttl)
}
