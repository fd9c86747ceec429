//! What must not be shown: user names, passwords and tokens in addresses.

use std::borrow::Cow;

/// `text` with the user part of every address in it replaced: passwords and tokens are written there. The user of
/// `ssh://` and `user@host:path` is no secret and stays.
#[must_use]
pub fn userinfo(text: &str) -> Cow<'_, str> {
    const MASK: &str = "***";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        shown.push_str(before);
        let is_end = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '\\') || c.is_whitespace();
        let (authority, tail) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        let keeps_user = before.to_ascii_lowercase().ends_with("ssh://");
        match authority.rsplit_once('@') {
            Some((user, host)) if keeps_user => {
                match user.split_once(':') {
                    Some((user, _)) => shown.push_str(&format!("{user}:{MASK}")),
                    None => shown.push_str(user),
                }
                shown.push('@');
                shown.push_str(host);
            }
            Some((_, host)) => {
                shown.push_str(MASK);
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = tail;
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
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
        ] {
            assert_eq!(userinfo(text), shown);
        }
    }
}
