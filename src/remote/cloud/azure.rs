//! Azure's blobs.

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::s3::never_again;
use super::service::Sender;
use super::{CloudError, CloudSettings, Opened, Origin};

/// Who signs users in, for each cloud that is not the first.
const AUTHORITIES: [(&str, &str); 3] = [
    (".blob.core.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    (".blob.core.cloudapi.de", "https://login.microsoftonline.de"),
    (".blob.core.usgovcloudapi.net", "https://login.microsoftonline.us"),
];

const KEY: &str = "AZURE_STORAGE_ACCESS_KEY";

/// A container of an account in one of the clouds.
pub(super) fn open(
    account: &str,
    cloud: &str,
    container: &str,
    settings: &CloudSettings,
    sender: Sender,
) -> Result<Opened, CloudError> {
    let endpoint = match settings.get("AZURE_STORAGE_ENDPOINT") {
        Some(text) => super::endpoint("AZURE_STORAGE_ENDPOINT", text)?.to_string(),
        None => format!("https://{account}{cloud}"),
    };
    let builder = MicrosoftAzureBuilder::new()
        .with_http_connector(sender)
        .with_retry(never_again())
        .with_account(account)
        .with_container_name(container)
        .with_endpoint(endpoint.trim_end_matches('/').to_owned());
    let (builder, credentials, setting) = with_credentials(builder, cloud, settings);
    let store = builder
        .build()
        .map_err(|error| CloudError::setting(setting, "the credentials cannot be used", error))?;
    Ok(Opened {
        store: Box::new(store),
        credentials,
        assumed_region: false,
    })
}

fn with_credentials(
    builder: MicrosoftAzureBuilder,
    cloud: &str,
    settings: &CloudSettings,
) -> (MicrosoftAzureBuilder, Origin, &'static str) {
    if let Some(key) = settings.get(KEY) {
        let builder = builder.with_access_key(key.trim());
        return (builder, Origin::Given(KEY.to_owned()), KEY);
    }
    let given = |name: &str| Origin::Given(format!("AZURE_CLIENT_ID and {name}"));
    let tenant = (settings.get("AZURE_CLIENT_ID"), settings.get("AZURE_TENANT_ID"));
    let builder = match authority(cloud, settings) {
        Some(host) => builder.with_authority_host(host),
        None => builder,
    };
    if let (Some(client), Some(tenant)) = tenant {
        let builder = builder.clone().with_client_id(client).with_tenant_id(tenant);
        if let Some(file) = settings.get("AZURE_FEDERATED_TOKEN_FILE") {
            let name = "AZURE_FEDERATED_TOKEN_FILE";
            return (builder.with_federated_token_file(file), given(name), name);
        }
        if let Some(secret) = settings.get("AZURE_CLIENT_SECRET") {
            let name = "AZURE_CLIENT_SECRET";
            return (builder.with_client_secret(secret.trim()), given(name), name);
        }
    }
    let builder = match settings.get("AZURE_CLIENT_ID") {
        Some(client) => builder.with_config(AzureConfigKey::ClientId, client),
        None => builder,
    };
    let looked_for = [
        KEY,
        "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE",
        "a managed identity of this machine",
    ];
    (builder, Origin::Machine(looked_for.map(str::to_owned).to_vec()), KEY)
}

fn authority(cloud: &str, settings: &CloudSettings) -> Option<String> {
    let known = AUTHORITIES.iter().find(|(of, _)| *of == cloud);
    let set = settings.get("AZURE_AUTHORITY_HOST").map(str::to_owned);
    set.or_else(|| known.map(|(_, host)| (*host).to_owned()))
}
