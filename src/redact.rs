//! What must not be shown: user names, passwords and tokens in addresses.
//!
//! [`userinfo`] is for text that may hold addresses, [`address`] and [`location`] are for one whole address: there
//! it is known that quotes and blanks belong to it.

use std::borrow::Cow;

/// What stands between an address's scheme and the rest.
const SCHEME_END: &str = "://";

/// `text` with the user part of every address in it replaced: passwords and tokens are written there. The user of
/// `ssh://` and `user@host:path` is no secret and stays.
#[must_use]
pub fn userinfo(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(found) = rest.find(SCHEME_END) {
        let (before, after) = rest.split_at(found + SCHEME_END.len());
        let (authority, tail) = after.split_at(authority_in_text(after));
        shown.push_str(before);
        shown.push_str(&without_secret(before, authority));
        rest = tail;
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// One whole `address` with its user part replaced as by [`userinfo`], query and fragment as they are.
#[must_use]
pub fn address(address: &str) -> Cow<'_, str> {
    let Some(found) = address.find(SCHEME_END) else {
        return Cow::Borrowed(address);
    };
    let (before, after) = address.split_at(found + SCHEME_END.len());
    let (authority, tail) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    Cow::Owned(format!("{before}{}{tail}", without_secret(before, authority)))
}

/// One whole `address` for messages: as by [`address`](fn@address), and without query and fragment, where signatures
/// and tokens are written too.
#[must_use]
pub fn location(address: &str) -> Cow<'_, str> {
    let Some(found) = address.find(SCHEME_END) else {
        return Cow::Borrowed(address);
    };
    let end = address[found..].find(['?', '#']).map(|end| found + end);
    self::address(&address[..end.unwrap_or(address.len())])
}

/// Where an authority at the start of `text` ends. At a quote only if it encloses the address: one that an `@` follows
/// is part of the password. Better to hide too much.
fn authority_in_text(text: &str) -> usize {
    let is_end = |c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace();
    let longest = text.find(is_end).unwrap_or(text.len());
    let user = text[..longest].rfind('@').unwrap_or(0);
    let quote = text[user..longest].find(['"', '\'', '\\']);
    quote.map_or(longest, |quote| user + quote)
}

/// `authority` of an address that begins with `scheme`, without what nobody should read.
fn without_secret<'a>(scheme: &str, authority: &'a str) -> Cow<'a, str> {
    const MASK: &str = "***";
    let keeps_user = scheme.to_ascii_lowercase().ends_with("ssh://");
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Cow::Borrowed(authority);
    };
    match (keeps_user, user.split_once(':')) {
        (true, Some((user, _))) => Cow::Owned(format!("{user}:{MASK}@{host}")),
        (true, None) => Cow::Borrowed(authority),
        (false, _) => Cow::Owned(format!("{MASK}@{host}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown) in [
            ("a b", "a b"),
            ("http://h/x@y", "http://h/x@y"),
            ("https://u:p@h/x", "https://***@h/x"),
            ("https://token@h/x", "https://***@h/x"),
            ("https://u:p@w@h", "https://***@h"),
            (
                "ADD https://u:p@h/x git://t@g/r /d",
                "ADD https://***@h/x git://***@g/r /d",
            ),
            ("[\"https://u:p@h\", \"x\"]", "[\"https://***@h\", \"x\"]"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("ssh://git:pw@h/x", "ssh://git:***@h/x"),
            ("git@h:o/r", "git@h:o/r"),
            ("'https://u:p'a\"s\\s@h/x' b@c", "'https://***@h/x' b@c"),
            ("\"https://h\" b@c", "\"https://h\" b@c"),
        ] {
            assert_eq!(userinfo(text), shown);
        }
    }

    #[test]
    fn an_address_alone_may_have_quotes_and_blanks_in_its_password() {
        for (text, shown, place) in [
            ("https://u:pa'ss@h/c.tar", "https://***@h/c.tar", "https://***@h/c.tar"),
            ("https://u:p \"\\@h?s=x#y", "https://***@h?s=x#y", "https://***@h"),
            ("https://h/a?s=u://t@x", "https://h/a?s=u://t@x", "https://h/a"),
            ("ssh://git:p'w@h/x#main", "ssh://git:***@h/x#main", "ssh://git:***@h/x"),
            ("git@h:o/r#main", "git@h:o/r#main", "git@h:o/r#main"),
            ("dir#1", "dir#1", "dir#1"),
        ] {
            assert_eq!(address(text), shown);
            assert_eq!(location(text), place);
        }
    }
}
