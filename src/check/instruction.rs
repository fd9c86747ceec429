//! Rules on single instructions: each says what is found, if anything.

use crate::dockerfile::{Command, Separator, Spelling};

/// Words that make a name that of a secret.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// Words that make it that of something about a secret.
const NO_SECRET: [&str; 3] = ["file", "public", "version"];

pub(super) fn json_args_recommended(command: &Command, keyword: &str) -> Option<String> {
    let text =
        || format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals");
    matches!(command, Command::Shell(_)).then(text)
}

pub(super) fn multiple_instructions(keyword: &str) -> String {
    format!(
        "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
    )
}

pub(super) fn legacy_key_value_format(spelling: &Spelling) -> Option<String> {
    let keyword = &spelling.keyword;
    (spelling.separator == Separator::Blank)
        .then(|| format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"))
}

pub(super) fn workdir_relative_path(path: &str) -> Option<String> {
    (!path.starts_with('/'))
        .then(|| format!("Relative workdir {path:?} can have unexpected results if the base image changes"))
}

/// By the words of the name, which `_` separates.
pub(super) fn secret(keyword: &str, name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let has = |list: &[&str]| lower.split('_').any(|word| list.contains(&word));
    (has(&SECRET) && !has(&NO_SECRET))
        .then(|| format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})"))
}

pub(super) fn expose_proto_casing(port: &str) -> Option<String> {
    let (_, protocol) = port.split_once('/')?;
    (protocol != protocol.to_lowercase())
        .then(|| format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase"))
}

pub(super) fn expose_invalid_format(port: &str) -> Option<String> {
    let (host, _) = port.rsplit_once(':')?;
    let text = || format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
    (!host.is_empty()).then(text)
}
