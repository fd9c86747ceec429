//! What names an object: `s3://bucket/key`, `gs://bucket/object`, `https://account.blob.core.windows.net/container/blob`.

use std::fmt;

use reqwest::Url;

use super::CloudSettings;
use crate::remote::address::unescape;

/// The object that an address without one means.
const DEFAULT_OBJECT: &str = "context.tar.gz";

/// What the hosts of Azure's blobs end in, one for each of its clouds.
const AZURE_HOSTS: [&str; 4] = [
    ".blob.core.windows.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.core.cloudapi.de",
    ".blob.core.usgovcloudapi.net",
];

/// An object, and what is needed to get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectSource {
    pub(super) store: Store,
    pub(super) object: String,
    pub(super) settings: CloudSettings,
}

/// Where objects are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Store {
    /// Amazon's, or what speaks like it.
    S3 { bucket: String },
    /// Google's.
    Google { bucket: String },
    /// Microsoft's.
    Azure {
        account: String,
        /// One of [`AZURE_HOSTS`].
        cloud: &'static str,
        container: String,
    },
}

/// An address that names no object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloudAddressError {
    /// `s3://`
    #[error("{address} names no {what}")]
    Nowhere {
        /// As written.
        address: String,
        /// What is missing.
        what: &'static str,
    },
    /// `s3://key:secret@bucket`
    #[error("{address}: user and password have no place in it; set them in the environment")]
    User {
        /// As written, without them.
        address: String,
    },
    /// A name that no such storage has.
    #[error("{address}: {name:?} is no name of a {what}")]
    Name {
        /// As written.
        address: String,
        /// The name.
        name: String,
        /// Of what.
        what: &'static str,
    },
}

impl ObjectSource {
    /// The object behind `bucket[/key]` in S3.
    ///
    /// # Errors
    /// [`CloudAddressError`].
    pub fn s3(place: &str, settings: CloudSettings) -> Result<Self, CloudAddressError> {
        let (bucket, object) = bucket_and_object("s3", place)?;
        Ok(Self {
            store: Store::S3 { bucket },
            object,
            settings,
        })
    }

    /// The object behind `bucket[/object]` in Google Cloud Storage.
    ///
    /// # Errors
    /// [`CloudAddressError`].
    pub fn google(place: &str, settings: CloudSettings) -> Result<Self, CloudAddressError> {
        let (bucket, object) = bucket_and_object("gs", place)?;
        Ok(Self {
            store: Store::Google { bucket },
            object,
            settings,
        })
    }

    /// The blob behind an `https://` address; `None` if its host is none of Azure's or the address holds a signature of
    /// its own, with which anybody may fetch it.
    ///
    /// # Errors
    /// [`CloudAddressError`].
    pub fn azure(address: &str, settings: CloudSettings) -> Result<Option<Self>, CloudAddressError> {
        let Some(url) = Url::parse(address).ok().filter(|url| url.scheme() == "https") else {
            return Ok(None);
        };
        let host = url.host_str().unwrap_or_default();
        let found = AZURE_HOSTS
            .into_iter()
            .find_map(|cloud| Some((host.strip_suffix(cloud)?, cloud)));
        let (Some((account, cloud)), false) = (found, url.query_pairs().any(|(key, _)| key == "sig")) else {
            return Ok(None);
        };
        let shown = || crate::redact::location(address).into_owned();
        let path = unescape(url.path());
        let (container, object) = split(path.trim_start_matches('/'));
        if container.is_empty() {
            return Err(CloudAddressError::Nowhere {
                address: shown(),
                what: "container",
            });
        }
        Ok(Some(Self {
            store: Store::Azure {
                account: account.to_owned(),
                cloud,
                container,
            },
            object,
            settings,
        }))
    }
}

fn bucket_and_object(scheme: &str, place: &str) -> Result<(String, String), CloudAddressError> {
    let address = || crate::redact::address(&format!("{scheme}://{place}")).into_owned();
    let (bucket, object) = split(place);
    if bucket.is_empty() {
        return Err(CloudAddressError::Nowhere {
            address: address(),
            what: "bucket",
        });
    }
    if bucket.contains('@') {
        return Err(CloudAddressError::User { address: address() });
    }
    // Anything else would become another part of the request's URL.
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !bucket.chars().all(is_name) {
        return Err(CloudAddressError::Name {
            address: address(),
            name: bucket,
            what: "bucket",
        });
    }
    Ok((bucket, object))
}

/// What is before the first slash, and the object behind it.
fn split(place: &str) -> (String, String) {
    let (first, object) = place.split_once('/').unwrap_or((place, ""));
    let object = match object {
        "" => DEFAULT_OBJECT.to_owned(),
        folder if folder.ends_with('/') => format!("{folder}{DEFAULT_OBJECT}"),
        object => object.to_owned(),
    };
    (first.to_owned(), object)
}

impl Store {
    /// What holds its objects is called so.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::S3 { .. } | Self::Google { .. } => "bucket",
            Self::Azure { .. } => "container",
        }
    }

    /// The name of that.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::S3 { bucket } | Self::Google { bucket } => bucket,
            Self::Azure { container, .. } => container,
        }
    }
}

impl fmt::Display for ObjectSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match &self.store {
            Store::S3 { bucket } => write!(f, "s3://{bucket}/{object}"),
            Store::Google { bucket } => write!(f, "gs://{bucket}/{object}"),
            Store::Azure {
                account,
                cloud,
                container,
            } => write!(f, "https://{account}{cloud}/{container}/{object}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_objects() {
        let settings = CloudSettings::default;
        let s3 = |place| ObjectSource::s3(place, settings()).map(|source| source.to_string());
        for (place, expected) in [
            ("b", "s3://b/context.tar.gz"),
            ("b/", "s3://b/context.tar.gz"),
            ("b/k", "s3://b/k"),
            ("b.c/a b/%41?x#y.tar", "s3://b.c/a b/%41?x#y.tar"),
            ("b/folder/", "s3://b/folder/context.tar.gz"),
        ] {
            assert_eq!(s3(place).as_deref(), Ok(expected));
        }
        for (place, expected) in [
            ("", "s3:// names no bucket"),
            ("/k", "s3:///k names no bucket"),
            ("b?c/k", "s3://b?c/k: \"b?c\" is no name of a bucket"),
            (
                "key:s3cret@b/k",
                "s3://***@b/k: user and password have no place in it; set them in the environment",
            ),
        ] {
            assert_eq!(s3(place).unwrap_err().to_string(), expected);
        }
        let google = ObjectSource::google("b/o", settings()).unwrap();
        assert_eq!(google.to_string(), "gs://b/o");
    }

    #[test]
    fn azure_has_four_clouds() {
        let azure = |address: &str| {
            let source = ObjectSource::azure(address, CloudSettings::default());
            source.map(|source| source.map(|source| source.to_string()))
        };
        for cloud in AZURE_HOSTS {
            let address = format!("https://acct{cloud}/c/a/b%20c");
            assert_eq!(azure(&address), Ok(Some(format!("https://acct{cloud}/c/a/b c"))));
            let container = format!("https://acct{cloud}/c");
            assert_eq!(
                azure(&container),
                Ok(Some(format!("https://acct{cloud}/c/context.tar.gz")))
            );
        }
        for other in [
            "https://h.example/c/b",
            "https://blob.core.windows.net.example/c/b",
            "http://acct.blob.core.windows.net/c/b",
            "https://acct.blob.core.windows.net/c/b?sv=1&sig=x",
        ] {
            assert_eq!(azure(other), Ok(None), "{other}");
        }
        let error = azure("https://acct.blob.core.windows.net/").unwrap_err();
        assert_eq!(
            error.to_string(),
            "https://acct.blob.core.windows.net/ names no container"
        );
    }
}
