//! The registry client that a request asks for.

use std::sync::Arc;

use super::error::{BuildError, Problem};
use super::request::{BuildRequest, Context, FetchedContext, KeptImages, Mirror, RegistryOptions, RemoteContext};
use crate::cancel::Cancel;
use crate::progress::Progress;
use crate::registry::{self, Client, Credentials};
use crate::remote::{GitSource, Remote, RemoteOptions};
use crate::store::BaseImages;

/// Sets up the client. Nothing is connected to yet.
pub(crate) fn client(
    options: &RegistryOptions,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Client, BuildError> {
    let credentials = Credentials::new(options.credentials.clone());
    let client = Client::new(settings(options), credentials, Arc::clone(progress), cancel.clone());
    Ok(client.map_err(Problem::Client)?)
}

/// Sets up what fetches sources. Nothing is connected to yet; downloads are kept in the state directory.
pub(crate) fn remote(request: &BuildRequest, progress: &Arc<dyn Progress>, cancel: &Cancel) -> Remote {
    let options = RemoteOptions {
        unverified: unverified(&request.context),
        ..remote_options(&request.registry)
    };
    let kept = request.state_dir.join("downloads");
    Remote::new(options, &kept, Arc::clone(progress), cancel.clone())
}

/// How servers are reached that are no registries.
pub(crate) fn remote_options(registry: &RegistryOptions) -> RemoteOptions {
    RemoteOptions {
        certificate_file: registry.certificate_file.clone(),
        certificate_directory: registry.certificate_directory.clone(),
        ..RemoteOptions::default()
    }
}

/// The context's repository, when its certificate is not to be verified; what else a build fetches is not meant by that.
fn unverified(context: &Context) -> Option<GitSource> {
    match context {
        Context::Fetched(FetchedContext {
            source: RemoteContext::Git(source),
            skip_tls_verify: true,
            ..
        }) => Some(source.clone()),
        _ => None,
    }
}

fn settings(options: &RegistryOptions) -> registry::RegistryOptions {
    let defaults = registry::RegistryOptions::default();
    let mirrors = |mirrors: &Vec<Mirror>| mirrors.iter().map(address).collect();
    registry::RegistryOptions {
        insecure_push: options.insecure,
        insecure_pull: options.insecure_pull,
        insecure_registries: options.insecure_registries.clone(),
        skip_tls_verify: options.skip_tls_verify,
        skip_tls_verify_pull: options.skip_tls_verify_pull,
        skip_tls_verify_registries: options.skip_tls_verify_registries.clone(),
        registry_certificates: options.certificates.clone(),
        client_certificates: options.client_certificates.clone(),
        maps: options
            .mirrors
            .iter()
            .map(|(host, list)| (host.clone(), mirrors(list)))
            .collect(),
        skip_default_registry_fallback: options.skip_default_registry_fallback,
        // The flags count tries on top of those that are made anyway.
        push_retry: defaults.push_retry.saturating_add(options.push_retry),
        download_retry: defaults.download_retry.saturating_add(options.image_download_retry),
        certificate_file: options.certificate_file.clone(),
        certificate_directory: options.certificate_directory.clone(),
        base_images: options.base_images.as_ref().map(base_images),
        http_versions: options.http_versions,
        ignore_immutable_tags: options.push_ignore_immutable_tag_errors,
        user_agent: registry::user_agent(options.client_type.as_deref()),
        ..defaults
    }
}

fn base_images(kept: &KeptImages) -> Arc<BaseImages> {
    Arc::new(BaseImages::new(kept.directory.clone(), kept.ttl))
}

fn address(mirror: &Mirror) -> String {
    match mirror.prefix.as_str() {
        "" => mirror.host.clone(),
        prefix => format!("{}/{prefix}", mirror.host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_tries_count_on_top_of_those_made_anyway() {
        let options = RegistryOptions {
            push_retry: 2,
            image_download_retry: u32::MAX,
            client_type: Some("x".to_owned()),
            ..RegistryOptions::default()
        };
        let (settings, defaults) = (settings(&options), registry::RegistryOptions::default());
        assert_eq!(settings.push_retry, defaults.push_retry + 2);
        assert_eq!(settings.download_retry, u32::MAX);
        assert_eq!(settings.user_agent, registry::user_agent(Some("x")));
    }
}
