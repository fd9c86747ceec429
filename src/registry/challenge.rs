//! `WWW-Authenticate`: which way of authentication a registry offers (RFC 9110, section 11.6.1).

use std::collections::BTreeMap;

/// A usable offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from a service.
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bearer {
    /// URL of the token service.
    pub(super) realm: String,
    /// What the token is for, in the service's words.
    pub(super) service: Option<String>,
    /// What the registry wants the token to allow.
    pub(super) scope: Option<String>,
}

/// Chooses among the values of all `WWW-Authenticate` headers: Bearer if one is usable, else Basic. Other schemes are
/// passed over, whatever their syntax.
pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let offers: Vec<Offer> = headers.flat_map(parse).collect();
    let bearer = offers.iter().find_map(Offer::bearer).map(Challenge::Bearer);
    let basic = || {
        offers
            .iter()
            .any(|offer| offer.scheme == "basic")
            .then_some(Challenge::Basic)
    };
    bearer.or_else(basic)
}

/// One challenge: scheme in lower case and parameters by lower-case name.
#[derive(PartialEq, Eq, Debug, Default)]
struct Offer {
    scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Offer {
    fn bearer(&self) -> Option<Bearer> {
        let parameter = |name: &str| self.parameters.get(name).filter(|value| !value.is_empty()).cloned();
        (self.scheme == "bearer").then_some(())?;
        Some(Bearer {
            realm: parameter("realm")?,
            service: parameter("service"),
            scope: parameter("scope"),
        })
    }
}

/// A header holds a list of challenges, each with a list of parameters, both separated by commas: a word followed by
/// `=` is a parameter, any other word begins the next challenge.
fn parse(header: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return offers;
        }
        let (word, after) = split_word(rest);
        if word.is_empty() {
            // Nothing that belongs here: step over it.
            let mut chars = rest.chars();
            chars.next();
            rest = chars.as_str();
            continue;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value.filter(|value| !is_padding(value)), offers.last_mut()) {
            (Some(value), Some(offer)) => {
                let (value, after) = split_value(value.trim_start_matches([' ', '\t']));
                offer.parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                rest = after;
            }
            (Some(value), None) => rest = split_value(value).1,
            // `abc==` after a scheme is a token68, and no scheme.
            (None, _) if value.is_some() => rest = after.trim_start_matches([' ', '\t', '=']),
            (None, _) => {
                offers.push(Offer {
                    scheme: word.to_ascii_lowercase(),
                    ..Offer::default()
                });
                rest = after;
            }
        }
    }
}

/// Whether what follows the first `=` shows that it was the padding of a token68.
fn is_padding(value: &str) -> bool {
    let rest = value.trim_start_matches('=').trim_start_matches([' ', '\t']);
    rest.is_empty() || rest.starts_with(',')
}

/// Characters of tokens and of token68.
fn split_word(text: &str) -> (&str, &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()))
}

/// A token up to the next comma or blank, or a quoted string with `\` escapes.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }))
    }

    #[test]
    fn reads_what_registries_send() {
        let t = "https://t.example/token";
        let cases: [(&[&str], Option<Challenge>); 24] = [
            (
                &[r#"Bearer realm="https://t.example/token",service="s",scope="repository:a:pull""#],
                bearer(t, Some("s"), Some("repository:a:pull")),
            ),
            (
                &[r#"bearer REALM="https://t.example/token", Service="s""#],
                bearer(t, Some("s"), None),
            ),
            (&[r#"Bearer realm="https://t.example/token""#], bearer(t, None, None)),
            (
                &[r#"Bearer realm = "https://t.example/token" , service = s"#],
                bearer(t, Some("s"), None),
            ),
            (
                &["Bearer realm=https://t.example/token,service=s"],
                bearer(t, Some("s"), None),
            ),
            (
                &[r#"Bearer realm="https://t.example/token?p=1&q=a,b=c""#],
                bearer("https://t.example/token?p=1&q=a,b=c", None, None),
            ),
            (
                &[r#"Bearer realm="a \"quoted\" \\ realm""#],
                bearer(r#"a "quoted" \ realm"#, None, None),
            ),
            (
                &[r#"Bearer realm="https://t.example/token",scope="repository:a:pull,push repository:b:pull""#],
                bearer(t, None, Some("repository:a:pull,push repository:b:pull")),
            ),
            (
                &[r#"Basic realm="a, b", Bearer realm="https://t.example/token",service="s""#],
                bearer(t, Some("s"), None),
            ),
            (
                &[r#"Bearer realm="https://t.example/token",service="s", Basic realm="x""#],
                bearer(t, Some("s"), None),
            ),
            (
                &["Negotiate", r#"Bearer realm="https://t.example/token""#],
                bearer(t, None, None),
            ),
            (
                &[r#"Negotiate abc==, Bearer realm="https://t.example/token""#],
                bearer(t, None, None),
            ),
            (&["NTLM TlRMTVNTUAABAAAA/+=, Basic realm=x"], Some(Challenge::Basic)),
            (&[r#"Digest realm="x", qop="auth", nonce="y""#], None),
            (&["Basic"], Some(Challenge::Basic)),
            (&["BASIC realm=\"Registry Realm\""], Some(Challenge::Basic)),
            (&[r#"Bearer service="s""#, "Basic realm=x"], Some(Challenge::Basic)),
            (&[r#"Bearer realm="",service="s""#], None),
            (
                &[r#"Bearer realm="https://t.example/token",error="invalid_token""#],
                bearer(t, None, None),
            ),
            (
                &[r#",, Bearer realm="https://t.example/token",,service="s","#],
                bearer(t, Some("s"), None),
            ),
            (&[r#"Bearer realm="unclosed"#], bearer("unclosed", None, None)),
            (&["=,=;\"{ä", "Basic realm=\"ä\""], Some(Challenge::Basic)),
            (&[""], None),
            (&[], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(choose(headers.iter().copied()), expected, "{headers:?}");
        }
    }
}
