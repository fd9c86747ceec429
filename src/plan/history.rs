//! The `created_by` texts of history entries, in BuildKit's wording.

use crate::oci::{HealthCheck, History};

/// What BuildKit's entries say; tools look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// An entry with a layer of its own.
pub(super) fn layer(created_by: &str) -> History {
    entry(format!("{created_by} # buildkit"))
}

/// WORKDIR's entry, which has a layer but no suffix.
pub(super) fn plain_layer(created_by: String) -> History {
    entry(created_by)
}

/// An entry that only changed the config.
pub(super) fn metadata(created_by: String) -> History {
    History {
        empty_layer: true,
        ..entry(created_by)
    }
}

fn entry(created_by: String) -> History {
    History {
        created_by: Some(created_by),
        comment: Some(COMMENT.to_owned()),
        ..History::default()
    }
}

/// RUN, with the ARGs declared so far in front.
pub(super) fn run(argv: &[String], declared: &[String]) -> String {
    let mut text = "RUN".to_owned();
    if !declared.is_empty() {
        text += &format!(" |{} {}", declared.len(), declared.join(" "));
    }
    format!("{text} {}", argv.join(" "))
}

/// CMD and ENTRYPOINT: every word quoted.
pub(super) fn quoted_list(keyword: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| go_quote(word)).collect();
    format!("{keyword} [{}]", words.join(" "))
}

/// EXPOSE, VOLUME and SHELL: words as they are.
pub(super) fn plain_list(keyword: &str, words: &[String]) -> String {
    format!("{keyword} [{}]", words.join(" "))
}

/// HEALTHCHECK.
pub(super) fn healthcheck(check: &HealthCheck) -> String {
    let duration = crate::dockerfile::display_duration;
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        duration(check.interval),
        duration(check.timeout),
        duration(check.start_period),
        duration(check.start_interval),
        check.retries
    )
}

/// Quotes like Go's `%q`.
fn go_quote(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if c < ' ' || c == '\x7f' => quoted += &format!("\\x{:02x}", u32::from(c)),
            c if is_printable(c) => quoted.push(c),
            c if u32::from(c) <= 0xffff => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    quoted + "\""
}

/// Whether Go shows the character itself: no control, format or private character and no odd blank.
fn is_printable(c: char) -> bool {
    // Behind another character, `escape_debug` leaves combining marks alone, as Go does.
    !format!("a{c}").escape_debug().to_string().contains("\\u{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn texts() {
        let argv = owned(&["/bin/sh", "-c", "cmd"]);
        assert_eq!(run(&argv, &[]), "RUN /bin/sh -c cmd");
        assert_eq!(
            run(&argv, &owned(&["foo=bar2", "bar=123"])),
            "RUN |2 foo=bar2 bar=123 /bin/sh -c cmd"
        );
        assert_eq!(quoted_list("CMD", &owned(&["a", "b"])), r#"CMD ["a" "b"]"#);
        assert_eq!(quoted_list("CMD", &owned(&["q\"\\\n\x01ä"])), r#"CMD ["q\"\\\n\x01ä"]"#);
        for (text, quoted) in [
            ("\u{7f}\u{80}\u{a0}\u{200b}", r#"\x7f\u0080\u00a0\u200b"#),
            ("\u{e0001}", r#"\U000e0001"#),
            ("e\u{301}'日", "e\u{301}'日"),
        ] {
            assert_eq!(quoted_list("CMD", &owned(&[text])), format!("CMD [\"{quoted}\"]"));
        }
        assert_eq!(quoted_list("CMD", &[]), "CMD []");
        assert_eq!(
            plain_list("EXPOSE", &owned(&["80/tcp", "90/udp"])),
            "EXPOSE [80/tcp 90/udp]"
        );
        let check = HealthCheck {
            test: owned(&["CMD-SHELL", "x"]),
            interval: 1_000_000_000,
            ..HealthCheck::default()
        };
        assert_eq!(
            healthcheck(&check),
            "HEALTHCHECK {Test:[CMD-SHELL x] Interval:1s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"
        );
    }

    #[test]
    fn only_layers_are_not_empty() {
        assert_eq!(layer("RUN x").created_by.as_deref(), Some("RUN x # buildkit"));
        assert!(!layer("RUN x").empty_layer);
        assert!(!plain_layer("WORKDIR /x".to_owned()).empty_layer);
        assert!(metadata("ENV a=b".to_owned()).empty_layer);
    }
}
