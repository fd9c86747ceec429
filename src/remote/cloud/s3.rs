//! Amazon S3, and servers that speak like it.

use std::net::IpAddr;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use reqwest::Url;

use super::profile::{Keys, Profile};
use super::service::Sender;
use super::{CloudError, CloudSettings, Opened, Origin};

const DEFAULT_REGION: &str = "us-east-1";

/// Where the server's address may be said; the first that says something counts.
const ENDPOINTS: [&str; 3] = ["S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// A bucket, in the `region` that its server has named or in the one that is set.
pub(super) fn open(
    bucket: &str,
    region: Option<&str>,
    settings: &CloudSettings,
    sender: Sender,
) -> Result<Opened, CloudError> {
    let profile = Profile::of(settings)?;
    let set = settings
        .first(&["AWS_REGION", "AWS_DEFAULT_REGION"])
        .map(|(_, region)| region);
    let set = set.or_else(|| profile.get("region"));
    let builder = AmazonS3Builder::new()
        .with_http_connector(sender)
        .with_retry(never_again())
        .with_bucket_name(bucket)
        .with_region(region.or(set).unwrap_or(DEFAULT_REGION));
    let builder = at_endpoint(builder, bucket, settings)?;
    let (builder, credentials) = with_credentials(builder, bucket, settings, &profile)?;
    let store = builder
        .build()
        .map_err(|error| CloudError::setting("s3://", "cannot set up the client", error))?;
    Ok(Opened {
        store: Box::new(store),
        credentials,
        assumed_region: set.is_none(),
    })
}

/// The library's own tries; ours come on top of them.
pub(super) fn never_again() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

fn at_endpoint(
    builder: AmazonS3Builder,
    bucket: &str,
    settings: &CloudSettings,
) -> Result<AmazonS3Builder, CloudError> {
    let Some((name, text)) = settings.first(&ENDPOINTS) else {
        // A dot in it would be one too many for the certificate.
        return Ok(builder.with_virtual_hosted_style_request(!bucket.contains('.')));
    };
    let mut url = super::endpoint(name, text)?;
    let in_path = settings.is_true("S3_FORCE_PATH_STYLE") || !can_be_in_host(bucket, &url);
    if !in_path {
        let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
        url.set_host(Some(&host))
            .map_err(|error| CloudError::setting(name, format!("no bucket can be put in front of {text:?}"), error))?;
    }
    Ok(builder
        .with_endpoint(url.as_str().trim_end_matches('/'))
        .with_virtual_hosted_style_request(!in_path))
}

/// An address of numbers has no subdomains, and a certificate covers only one level of them.
fn can_be_in_host(bucket: &str, endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    let is_number = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_label = bucket
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    !is_number && is_label
}

/// A builder that knows who we are, if this place says so.
type Found = Result<Option<(AmazonS3Builder, Origin)>, CloudError>;

/// A place to look for credentials.
type Place = fn(AmazonS3Builder, &CloudSettings, &Profile) -> Found;

/// The order of Amazon's own tools: a profile that is named, keys, a web identity, the default profile, the container's,
/// the machine's.
fn with_credentials(
    builder: AmazonS3Builder,
    bucket: &str,
    settings: &CloudSettings,
    profile: &Profile,
) -> Result<(AmazonS3Builder, Origin), CloudError> {
    if settings.is_true("AWS_SKIP_SIGNATURE") {
        return Ok((builder.with_skip_signature(true), Origin::Nobody));
    }
    let places: [Place; 5] = [named_profile, keys, web_identity, any_profile, container];
    for place in places {
        if let Some(found) = place(builder.clone(), settings, profile)? {
            return Ok(found);
        }
    }
    machine(builder, bucket, settings)
}

fn named_profile(builder: AmazonS3Builder, settings: &CloudSettings, profile: &Profile) -> Found {
    match settings.get("AWS_PROFILE") {
        Some(_) => any_profile(builder, settings, profile),
        None => Ok(None),
    }
}

fn any_profile(builder: AmazonS3Builder, _settings: &CloudSettings, profile: &Profile) -> Found {
    let origin = || Origin::Given(format!("the profile {:?}", profile.name));
    let keys = profile.keys()?;
    Ok(keys.map(|keys| (with_keys(builder, keys), origin())))
}

fn keys(builder: AmazonS3Builder, settings: &CloudSettings, _profile: &Profile) -> Found {
    let Some((key, secret)) = both(settings, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")? else {
        return match settings.get("AWS_SECRET_ACCESS_KEY") {
            Some(_) => Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
            None => Ok(None),
        };
    };
    let token = settings.get("AWS_SESSION_TOKEN");
    let builder = with_keys(builder, Keys { key, secret, token });
    Ok(Some((builder, Origin::Given("AWS_ACCESS_KEY_ID".to_owned()))))
}

fn web_identity(builder: AmazonS3Builder, settings: &CloudSettings, _profile: &Profile) -> Found {
    // A role alone says nothing: some platforms set it for all containers.
    let Some((file, role)) = both(settings, "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")? else {
        return Ok(None);
    };
    let mut builder = builder
        .with_config(Key::WebIdentityTokenFile, file)
        .with_config(Key::RoleArn, role);
    for (key, name) in [
        (Key::RoleSessionName, "AWS_ROLE_SESSION_NAME"),
        (Key::StsEndpoint, "AWS_ENDPOINT_URL_STS"),
    ] {
        if let Some(value) = settings.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    let origin = "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN".to_owned();
    Ok(Some((builder, Origin::Given(origin))))
}

fn container(builder: AmazonS3Builder, settings: &CloudSettings, _profile: &Profile) -> Found {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    if let Some(uri) = settings.get(RELATIVE) {
        let builder = builder.with_config(Key::ContainerCredentialsRelativeUri, uri);
        return Ok(Some((builder, Origin::Given(RELATIVE.to_owned()))));
    }
    let found = both(settings, FULL, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?;
    Ok(found.map(|(uri, file)| {
        let builder = builder
            .with_config(Key::ContainerCredentialsFullUri, uri)
            .with_config(Key::ContainerAuthorizationTokenFile, file);
        (builder, Origin::Given(FULL.to_owned()))
    }))
}

fn machine(
    builder: AmazonS3Builder,
    bucket: &str,
    settings: &CloudSettings,
) -> Result<(AmazonS3Builder, Origin), CloudError> {
    let mut looked_for: Vec<String> = [
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
        "AWS_PROFILE or a profile \"default\" in ~/.aws/credentials",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI",
    ]
    .map(str::to_owned)
    .to_vec();
    if settings.is_true("AWS_EC2_METADATA_DISABLED") {
        return Err(CloudError::NoCredentials {
            place: format!("s3://{bucket}"),
            looked_for,
            source: "AWS_EC2_METADATA_DISABLED is true".into(),
        });
    }
    looked_for.push("the instance's metadata service".to_owned());
    let builder = match settings.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        Some(endpoint) => builder.with_metadata_endpoint(endpoint.trim_end_matches('/')),
        None => builder,
    };
    Ok((builder, Origin::Machine(looked_for)))
}

/// The values of two settings of which the first is of no use without the second.
fn both<'s>(
    settings: &'s CloudSettings,
    first: &'static str,
    second: &'static str,
) -> Result<Option<(&'s str, &'s str)>, CloudError> {
    match (settings.get(first), settings.get(second)) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (Some(_), None) => Err(half(first, second)),
        (None, _) => Ok(None),
    }
}

fn with_keys(builder: AmazonS3Builder, keys: Keys<'_>) -> AmazonS3Builder {
    // A secret out of a file mounted into a pod often ends in a newline.
    let builder = builder
        .with_access_key_id(keys.key.trim())
        .with_secret_access_key(keys.secret.trim());
    match keys.token {
        Some(token) => builder.with_token(token.trim()),
        None => builder,
    }
}

fn half(set: &str, missing: &str) -> CloudError {
    CloudError::bad_setting(missing, format!("it is not set, and {set} is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_bucket_s_name_goes() {
        for (bucket, endpoint, expected) in [
            ("b", "https://s3.example", true),
            ("b", "http://localhost:9000", true),
            ("b", "http://127.0.0.1:9000", false),
            ("b", "http://[::1]:9000", false),
            ("b.c", "https://s3.example", false),
            ("B_c", "https://s3.example", false),
        ] {
            let endpoint = Url::parse(endpoint).unwrap();
            assert_eq!(can_be_in_host(bucket, &endpoint), expected, "{bucket} {endpoint}");
        }
    }
}
