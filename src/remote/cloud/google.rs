//! Google Cloud Storage.

use std::path::Path;

use object_store::gcp::GoogleCloudStorageBuilder;

use super::s3::never_again;
use super::service::Sender;
use super::{CloudError, CloudSettings, Opened, Origin};

/// Where gcloud keeps the credentials of the user of a machine.
const OF_GCLOUD: &str = ".config/gcloud/application_default_credentials.json";

/// A bucket.
pub(super) fn open(bucket: &str, settings: &CloudSettings, sender: Sender) -> Result<Opened, CloudError> {
    let builder = GoogleCloudStorageBuilder::new()
        .with_http_connector(sender)
        .with_retry(never_again())
        .with_bucket_name(bucket);
    let (builder, credentials, setting) = with_credentials(at_endpoint(builder, settings)?, settings)?;
    let store = builder
        .build()
        .map_err(|error| CloudError::setting(setting, "the credentials cannot be used", error))?;
    Ok(Opened {
        store: Box::new(store),
        credentials,
        assumed_region: false,
    })
}

fn at_endpoint(
    builder: GoogleCloudStorageBuilder,
    settings: &CloudSettings,
) -> Result<GoogleCloudStorageBuilder, CloudError> {
    let (name, text) = match settings.first(&["STORAGE_EMULATOR_HOST", "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"]) {
        // Google's own libraries take the emulator without a scheme.
        Some((name, text)) if !text.contains("://") => (name, format!("http://{text}")),
        Some((name, text)) => (name, text.to_owned()),
        None => return Ok(builder),
    };
    let url = super::endpoint(name, &text)?;
    Ok(builder.with_base_url(url.as_str().trim_end_matches('/')))
}

fn with_credentials(
    builder: GoogleCloudStorageBuilder,
    settings: &CloudSettings,
) -> Result<(GoogleCloudStorageBuilder, Origin, &'static str), CloudError> {
    const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
    if settings.get("STORAGE_EMULATOR_HOST").is_some() {
        return Ok((
            builder.with_skip_signature(true),
            Origin::Nobody,
            "STORAGE_EMULATOR_HOST",
        ));
    }
    if let Some(path) = settings.get(FILE) {
        check_kind(Path::new(path))?;
        let origin = Origin::Given(format!("{FILE} ({path})"));
        return Ok((builder.with_application_credentials(path), origin, FILE));
    }
    let of_gcloud = settings
        .home()
        .map(|home| home.join(OF_GCLOUD))
        .filter(|path| path.is_file());
    if let Some(path) = of_gcloud {
        let origin = Origin::Given(path.display().to_string());
        let builder = builder.with_application_credentials(path.display().to_string());
        return Ok((builder, origin, "gcloud's credentials"));
    }
    let looked_for = [
        FILE.to_owned(),
        format!("~/{OF_GCLOUD}"),
        "the instance's metadata service".to_owned(),
    ];
    Ok((builder, Origin::Machine(looked_for.to_vec()), "gs://"))
}

/// Says what is wrong with a file of credentials before the library does, which names no file.
fn check_kind(path: &Path) -> Result<(), CloudError> {
    #[derive(serde::Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    let failed = |problem: &str| format!("{} {problem}", path.display());
    let name = "GOOGLE_APPLICATION_CREDENTIALS";
    let text = std::fs::read(path).map_err(|error| CloudError::setting(name, failed("cannot be read"), error))?;
    let parsed: Result<Kind, _> = serde_json::from_slice(&text);
    // The parser's own words may quote a key.
    let kind = parsed.map_err(|_| CloudError::bad_setting(name, failed("is no JSON object of credentials")))?;
    match kind.kind.as_deref() {
        Some("service_account" | "authorized_user") => Ok(()),
        Some(other) => Err(CloudError::bad_setting(
            name,
            failed(&format!(
                "holds credentials of the type {other:?}; service_account and authorized_user are supported"
            )),
        )),
        None => Err(CloudError::bad_setting(name, failed("has no \"type\""))),
    }
}
