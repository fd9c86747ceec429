//! Why there is no object, in the words of the settings that would change it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::Origin;
use super::address::{ObjectSource, Store};
use crate::http::RequestLine;
use crate::http::retry::{self, Verdict};
use crate::remote::RemoteError;

/// Longer messages of servers are of no use.
const LONGEST_MESSAGE: usize = 300;

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A setting makes no sense.
    #[error("{name}: {problem}")]
    Setting {
        /// Which.
        name: String,
        /// What is wrong with it.
        problem: String,
        /// Why.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Nobody has set any, and the machine has none.
    #[error("there are no credentials for {place} (looked for {})", looked_for.join("; "))]
    NoCredentials {
        /// For what.
        place: String,
        /// Where they could have been.
        looked_for: Vec<String>,
        /// What the last place said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// They are set, but cannot be had or exchanged.
    #[error("cannot get credentials for {place} by {from}")]
    Credentials {
        /// For what.
        place: String,
        /// From where.
        from: String,
        /// Whether another try may help.
        again: bool,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No such bucket.
    #[error("the {kind} {name} does not exist")]
    NoStore {
        /// What it should be.
        kind: &'static str,
        /// Its name.
        name: String,
        /// In the server's words.
        #[source]
        refusal: Refusal,
    },
    /// No such object.
    #[error("the {kind} {name} has no object {object:?}")]
    NoObject {
        /// What it should be in.
        kind: &'static str,
        /// The name of that.
        name: String,
        /// What it should be called.
        object: String,
        /// In the server's words.
        #[source]
        refusal: Refusal,
    },
    /// Not for these.
    #[error("{place} is not given to {who}")]
    Denied {
        /// The object.
        place: String,
        /// Who asked.
        who: String,
        /// What to try.
        hint: String,
        /// In the server's words.
        #[source]
        refusal: Refusal,
    },
    /// Somewhere else.
    #[error("the bucket {bucket} is in the region {region}, and another one is set")]
    Region {
        /// Which bucket.
        bucket: String,
        /// Where it is.
        region: String,
        /// In the server's words.
        #[source]
        refusal: Refusal,
    },
    /// Another answer.
    #[error("cannot get {place}")]
    Refused {
        /// The object.
        place: String,
        /// In the server's words.
        #[source]
        refusal: Refusal,
    },
    /// The library stumbled over something else.
    #[error("cannot ask for {place}")]
    Library {
        /// The object.
        place: String,
        /// In its words.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The library asked nothing.
    #[error("the storage was not asked")]
    Silent,
}

/// An answer that is not what was asked for. Shows what is written in it for people, and nothing else of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(Box<Said>);

/// Apart, so that errors stay small.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Said {
    line: RequestLine,
    status: u16,
    code: String,
    message: String,
    region: Option<String>,
    retry_after: Option<Duration>,
}

/// What a request was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Credentials,
    Object,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no answer.
    Unanswered { purpose: Purpose, error: RemoteError },
    /// There was another one.
    Refused { purpose: Purpose, refusal: Refusal },
}

impl Failure {
    /// Where the bucket is, if that is why.
    pub(super) fn region(&self) -> Option<String> {
        match self {
            Self::Refused {
                purpose: Purpose::Object,
                refusal,
            } => refusal.other_region().map(str::to_owned),
            Self::Refused { .. } | Self::Unanswered { .. } => None,
        }
    }
}

impl Refusal {
    pub(super) fn new(
        line: RequestLine,
        status: u16,
        retry_after: Option<Duration>,
        region: Option<String>,
        content: &[u8],
    ) -> Self {
        let text = String::from_utf8_lossy(content);
        let element = |name| element(&text, name).map(str::to_owned);
        let message = element("Message").unwrap_or_default();
        // Azure's second line is an identifier and a time.
        let message = message.lines().next().unwrap_or_default();
        Self(Box::new(Said {
            line,
            status,
            code: element("Code").unwrap_or_default(),
            message: message.chars().take(LONGEST_MESSAGE).collect(),
            region: region.or_else(|| element("Region")),
            retry_after,
        }))
    }

    fn other_region(&self) -> Option<&str> {
        let is_elsewhere = matches!(self.0.status, 301 | 307 | 400);
        self.0.region.as_deref().filter(|_| is_elsewhere)
    }

    fn verdict(&self) -> Verdict {
        retry::status_verdict(self.0.status, self.0.retry_after)
    }
}

/// The content of an XML element without elements in it. The answers have one error each, and nothing is decided by them
/// that the status does not decide.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content.trim()).filter(|content| !content.is_empty())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.0;
        write!(f, "{}: response status {}", said.line, said.status)?;
        match (said.code.as_str(), said.message.as_str()) {
            ("", "") => Ok(()),
            ("", text) | (text, "") => write!(f, ", {text}"),
            (code, message) => write!(f, ", {code}: {message}"),
        }
    }
}

impl Error for Refusal {}

impl CloudError {
    pub(super) fn setting(
        name: &str,
        problem: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Setting {
            name: name.to_owned(),
            problem: problem.into(),
            source: Some(source.into()),
        }
    }

    pub(super) fn bad_setting(name: &str, problem: impl Into<String>) -> Self {
        Self::Setting {
            name: name.to_owned(),
            problem: problem.into(),
            source: None,
        }
    }

    /// Whether another try is worth it.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Refused { refusal, .. } => refusal.verdict(),
            Self::Credentials { again: true, .. } => Verdict::Retry,
            _ => Verdict::Final,
        }
    }

    /// What to try, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCredentials { .. } => "set one of them for the container that builds".to_owned(),
            Self::NoStore { kind, .. } => format!("check the {kind} in --context, and which server is asked"),
            Self::NoObject { .. } => {
                "the object is what follows the bucket in --context; without one it is context.tar.gz".to_owned()
            }
            Self::Denied { hint, .. } => hint.clone(),
            Self::Region { region, .. } => format!("set AWS_REGION={region}"),
            Self::Setting { .. }
            | Self::Credentials { .. }
            | Self::Refused { .. }
            | Self::Library { .. }
            | Self::Silent => return None,
        })
    }
}

/// What a failure means for whoever wants the object.
pub(super) fn explain(failure: Failure, source: &ObjectSource, origin: &Origin) -> RemoteError {
    let place = source.to_string();
    match failure {
        Failure::Unanswered {
            error: RemoteError::Cancelled(cancelled),
            ..
        } => cancelled.into(),
        Failure::Unanswered {
            purpose: Purpose::Object,
            error,
        } => error,
        Failure::Unanswered {
            purpose: Purpose::Credentials,
            error,
        } => {
            let again = matches!(&error, RemoteError::Transport { .. });
            no_credentials(place, origin, again, Box::new(error)).into()
        }
        Failure::Refused {
            purpose: Purpose::Credentials,
            refusal,
        } => {
            let again = refusal.verdict() != Verdict::Final;
            no_credentials(place, origin, again, Box::new(refusal)).into()
        }
        Failure::Refused {
            purpose: Purpose::Object,
            refusal,
        } => refused(refusal, source, origin).into(),
    }
}

/// What an error of the library's own means, such as a file of credentials that is none.
pub(super) fn of_library(error: object_store::Error, source: &ObjectSource, origin: &Origin) -> CloudError {
    let place = source.to_string();
    let error = Box::new(error);
    match origin {
        Origin::Given(from) => CloudError::Credentials {
            place,
            from: from.clone(),
            again: false,
            source: error,
        },
        Origin::Machine(_) | Origin::Nobody => CloudError::Library { place, source: error },
    }
}

fn no_credentials(place: String, origin: &Origin, again: bool, source: Box<dyn Error + Send + Sync>) -> CloudError {
    match origin {
        Origin::Machine(looked_for) => CloudError::NoCredentials {
            place,
            looked_for: looked_for.clone(),
            source,
        },
        Origin::Given(from) => CloudError::Credentials {
            place,
            from: from.clone(),
            again,
            source,
        },
        Origin::Nobody => CloudError::Library { place, source },
    }
}

fn refused(refusal: Refusal, source: &ObjectSource, origin: &Origin) -> CloudError {
    let (kind, name) = (source.store.kind(), source.store.name().to_owned());
    let place = source.to_string();
    if let Some(region) = refusal.other_region() {
        return CloudError::Region {
            bucket: name,
            region: region.to_owned(),
            refusal,
        };
    }
    match (refusal.0.status, refusal.0.code.as_str()) {
        (404, "NoSuchBucket" | "ContainerNotFound") => CloudError::NoStore { kind, name, refusal },
        (404, _) => CloudError::NoObject {
            kind,
            name,
            object: source.object.clone(),
            refusal,
        },
        // Amazon's way to say 403 of a session.
        (401 | 403, code) | (400, code @ ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
            CloudError::Denied {
                hint: denied_hint(code, &source.store, &source.object),
                who: match origin {
                    Origin::Given(from) => format!("the user of {from}"),
                    Origin::Machine(_) => "the user that this machine's metadata service names".to_owned(),
                    Origin::Nobody => "somebody without credentials".to_owned(),
                },
                place,
                refusal,
            }
        }
        _ => CloudError::Refused { place, refusal },
    }
}

fn denied_hint(code: &str, store: &Store, object: &str) -> String {
    let name = store.name();
    match (code, store) {
        ("InvalidAccessKeyId", _) => {
            "this server does not know AWS_ACCESS_KEY_ID; check it, and S3_ENDPOINT if the bucket is not Amazon's"
                .to_owned()
        }
        ("SignatureDoesNotMatch", _) => {
            "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID; a newline at its end is a usual cause"
                .to_owned()
        }
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
            "the session has ended or AWS_SESSION_TOKEN belongs to other keys; get new ones".to_owned()
        }
        ("RequestTimeTooSkewed", _) => "this machine's clock is wrong".to_owned(),
        ("AuthenticationFailed", Store::Azure { account, .. }) => {
            format!("AZURE_STORAGE_ACCESS_KEY is no key of the account {account}, or this machine's clock is wrong")
        }
        (_, Store::S3 { .. }) => format!(
            "they need s3:GetObject on {name}/{object}; without s3:ListBucket, an object that does not exist looks the same"
        ),
        (_, Store::Google { .. }) => format!("they need storage.objects.get on the bucket {name}"),
        (_, Store::Azure { account, .. }) => {
            format!("they need the role Storage Blob Data Reader on the container {name} of the account {account}")
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};

    use super::*;
    use crate::remote::CloudSettings;

    fn refusal(status: u16, region: Option<&str>, content: &str) -> Refusal {
        let line = RequestLine::new(
            &Method::GET,
            &Url::parse("https://h.example/b/k?X-Amz-Signature=s3cret").unwrap(),
        );
        Refusal::new(line, status, None, region.map(str::to_owned), content.as_bytes())
    }

    fn explained(refusal: Refusal) -> (String, Option<String>, Verdict) {
        let source = ObjectSource::s3("b/k", CloudSettings::default()).unwrap();
        let origin = Origin::Given("AWS_ACCESS_KEY_ID".to_owned());
        let error = refused(refusal, &source, &origin);
        (error.to_string(), error.hint(), error.verdict())
    }

    #[test]
    fn answers_mean_settings() {
        let error = |code: &str| {
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.\nId:1</Message></Error>")
        };
        for (refusal, expected, hint, verdict) in [
            (
                refusal(404, None, &error("NoSuchBucket")),
                "the bucket b does not exist",
                "check the bucket",
                Verdict::Final,
            ),
            (
                refusal(404, None, &error("NoSuchKey")),
                "the bucket b has no object \"k\"",
                "context.tar.gz",
                Verdict::Final,
            ),
            (
                refusal(403, None, &error("SignatureDoesNotMatch")),
                "s3://b/k is not given to the user of AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY does not belong",
                Verdict::Final,
            ),
            (
                refusal(403, None, &error("AccessDenied")),
                "s3://b/k is not given to the user of AWS_ACCESS_KEY_ID",
                "s3:GetObject on b/k",
                Verdict::Final,
            ),
            (
                refusal(301, Some("eu-west-1"), ""),
                "the bucket b is in the region eu-west-1, and another one is set",
                "AWS_REGION=eu-west-1",
                Verdict::Final,
            ),
            (
                refusal(
                    400,
                    None,
                    "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
                ),
                "the bucket b is in the region eu-west-1, and another one is set",
                "AWS_REGION=eu-west-1",
                Verdict::Final,
            ),
            (
                refusal(503, None, &error("SlowDown")),
                "cannot get s3://b/k",
                "",
                Verdict::Retry,
            ),
        ] {
            let (text, found, judged) = explained(refusal);
            assert_eq!((text.as_str(), judged), (expected, verdict));
            assert!(found.unwrap_or_default().contains(hint), "{text}");
        }
    }

    #[test]
    fn what_servers_say_is_shown_without_signatures() {
        let long = "x".repeat(999);
        for (refusal, expected) in [
            (refusal(503, None, ""), "GET https://h.example/b/k: response status 503"),
            (
                refusal(
                    403,
                    None,
                    "<Error><Code>AccessDenied</Code><Message>Access Denied\nRequestId:1</Message></Error>",
                ),
                "GET https://h.example/b/k: response status 403, AccessDenied: Access Denied",
            ),
            (
                refusal(403, None, "<html>"),
                "GET https://h.example/b/k: response status 403",
            ),
        ] {
            assert_eq!(refusal.to_string(), expected);
        }
        assert!(
            refusal(400, None, &format!("<Message>{long}</Message>"))
                .to_string()
                .len()
                < 400
        );
    }
}
