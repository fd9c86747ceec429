//! Where an upload is committed: the place that the registry named, with the digest added.

use reqwest::Url;

use crate::oci::Digest;

/// Adds the digest that commits the upload.
pub(super) fn with_digest(location: &Url, digest: &Digest) -> Url {
    let mut url = location.clone();
    let digest = format!("digest={}", digest.to_string().replace(':', "%3A"));
    let query = match url.query() {
        None | Some("") => digest,
        Some(query) => format!("{query}&{digest}"),
    };
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_joins_the_query() {
        let digest = Digest::of(b"");
        let escaped = digest.to_string().replace(':', "%3A");
        for (location, expected) in [
            ("https://h/u/1", format!("https://h/u/1?digest={escaped}")),
            ("https://h/u/1?", format!("https://h/u/1?digest={escaped}")),
            (
                "https://h/u/1?_state=a%2B+b",
                format!("https://h/u/1?_state=a%2B+b&digest={escaped}"),
            ),
        ] {
            let location = Url::parse(location).unwrap();
            assert_eq!(with_digest(&location, &digest).as_str(), expected);
        }
    }
}
