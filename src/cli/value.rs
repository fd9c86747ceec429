//! The value grammar of the kaniko executor's flags, which is that of Go's `flag` family.
//!
//! Each type stands for one grammar, so that a field's type in `args` says how its flag is written.

use std::str::FromStr;
use std::time::Duration;

/// A boolean flag: `--flag`, `--flag=false`. Never takes the next argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch(pub(super) bool);

/// A whole number: decimal, `0x…`, `0o…`, `0…` (octal) or `0b…`, with `_` between digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Int(pub(super) i64);

/// A count of further tries; an [`Int`] that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

/// A length of time such as `1h30m`. The unit is mandatory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoDuration(pub(super) Duration);

/// `key=value`, split at the first `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyValue {
    /// Before the `=`; not empty.
    pub(super) key: String,
    /// Behind it; may be empty and may hold further `=`.
    pub(super) value: String,
}

/// `key=value[;key=value…]`; empty means none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyValues(pub(super) Vec<KeyValue>);

/// `host=first,second`, both not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPair {
    /// Before the `=`.
    pub(super) host: String,
    /// Before the comma.
    pub(super) first: String,
    /// Behind it.
    pub(super) second: String,
}

/// `check`, `outline` or `targets`, and perhaps `,format=json`; as `docker buildx build --call` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// What is asked.
    pub(super) method: Method,
    /// How it is answered.
    pub(super) format: CallFormat,
}

/// What can be asked of a file instead of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// What could be better in it.
    Check,
    /// What parameters a target takes.
    Outline,
    /// What targets there are.
    Targets,
}

impl Method {
    /// The command that does it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Outline => "outline",
            Self::Targets => "targets",
        }
    }
}

/// How a call is answered: for people or for programs.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CallFormat {
    #[default]
    Text,
    Json,
}

/// Why a value does not follow its grammar. The flag and the value are named by the parser around it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    /// Not one of Go's literals.
    #[error("expected one of true, false, t, f, 1, 0")]
    Bool,
    /// Not a whole number.
    #[error("expected a whole number")]
    Int,
    /// Does not fit.
    #[error("the number is out of range")]
    Range,
    /// A number without its unit.
    #[error("missing unit in duration (expected for example 6h, 1h30m or 300ms)")]
    Unit,
    /// Not a duration.
    #[error("expected a duration, for example 6h, 1h30m or 300ms")]
    Duration,
    /// No `=`.
    #[error("expected key=value")]
    KeyValue,
    /// Not a call.
    #[error("expected check, outline or targets, with ,format=json behind it for JSON")]
    Call,
    /// Not a certificate and a key.
    #[error("expected host=/path/to/certificate,/path/to/key")]
    HostPair,
}

impl FromStr for Call {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut parts = text.split(',');
        let method = match parts.next().unwrap_or_default() {
            // The older name, which buildx takes as well.
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            _ => return Err(ValueError::Call),
        };
        let mut format = CallFormat::Text;
        for part in parts {
            format = match part {
                "format=text" => CallFormat::Text,
                "format=json" => CallFormat::Json,
                _ => return Err(ValueError::Call),
            };
        }
        Ok(Self { method, format })
    }
}

impl FromStr for Switch {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Self(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Self(false)),
            _ => Err(ValueError::Bool),
        }
    }
}

impl FromStr for Int {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (radix, digits) = split_radix(rest);
        // Go allows one underscore between digits and behind the prefix, nowhere else.
        let body = match radix {
            10 => digits,
            _ => digits.strip_prefix('_').unwrap_or(digits),
        };
        if body
            .split('_')
            .any(|group| !group.chars().all(|c| c.is_digit(radix)) || group.is_empty())
        {
            return Err(ValueError::Int);
        }
        let sign = if negative { "-" } else { "" };
        let number = format!("{sign}{}", body.replace('_', ""));
        i64::from_str_radix(&number, radix)
            .map(Self)
            .map_err(|_| ValueError::Range)
    }
}

fn split_radix(text: &str) -> (u32, &str) {
    let lower = text.to_ascii_lowercase();
    match lower.get(..2) {
        Some("0x") => (16, &text[2..]),
        Some("0o") => (8, &text[2..]),
        Some("0b") => (2, &text[2..]),
        _ if text.len() > 1 && text.starts_with('0') => (8, &text[1..]),
        _ => (10, text),
    }
}

impl FromStr for Count {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Int(number) = text.parse()?;
        u32::try_from(number).map(Self).map_err(|_| ValueError::Range)
    }
}

impl FromStr for GoDuration {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(ValueError::Duration);
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (part, tail) = split_duration_part(rest)?;
            total = total.checked_add(part).ok_or(ValueError::Range)?;
            rest = tail;
        }
        Ok(Self(total))
    }
}

/// Takes one number with its unit off the front.
fn split_duration_part(text: &str) -> Result<(Duration, &str), ValueError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or(ValueError::Unit)?;
    let (number, rest) = text.split_at(end);
    let unit_end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let nanoseconds = match unit {
        "ns" => 1,
        // Go takes both the micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(ValueError::Duration),
    };
    Ok((scale(number, nanoseconds)?, rest))
}

/// `number` times `unit` nanoseconds, the fraction included.
fn scale(number: &str, unit: u64) -> Result<Duration, ValueError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(ValueError::Duration);
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| ValueError::Range)?
    };
    let mut nanoseconds = whole.checked_mul(unit).ok_or(ValueError::Range)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds = nanoseconds
            .checked_add(place * u64::from(digit - b'0'))
            .ok_or(ValueError::Range)?;
    }
    // Go's durations are signed 64-bit nanoseconds.
    if nanoseconds > i64::MAX as u64 {
        return Err(ValueError::Range);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

impl FromStr for KeyValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(ValueError::KeyValue),
        }
    }
}

impl FromStr for KeyValues {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let pairs = text.split(';').filter(|pair| !pair.is_empty());
        pairs.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for HostPair {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let KeyValue { key: host, value } = text.parse().map_err(|_| ValueError::HostPair)?;
        match value.split(',').collect::<Vec<_>>()[..] {
            [first, second] if !first.is_empty() && !second.is_empty() => Ok(Self {
                host,
                first: first.to_owned(),
                second: second.to_owned(),
            }),
            _ => Err(ValueError::HostPair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_go_literals() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(text.parse(), Ok(Switch(true)), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(text.parse(), Ok(Switch(false)), "{text}");
        }
        for text in ["", "yes", "no", "on", "tRUE", " true", "2"] {
            assert_eq!(text.parse::<Switch>(), Err(ValueError::Bool), "{text:?}");
        }
    }

    #[test]
    fn integers_are_in_go_notation() {
        for (text, expected) in [
            ("0", 0),
            ("-1", -1),
            ("+7", 7),
            ("0x1f", 31),
            ("0X1F", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            ("-0x10", -16),
            ("1_000", 1000),
            ("0x_ff", 255),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(text.parse(), Ok(Int(expected)), "{text}");
        }
        for (text, expected) in [
            ("", ValueError::Int),
            ("-", ValueError::Int),
            ("--1", ValueError::Int),
            ("1.5", ValueError::Int),
            ("08", ValueError::Int),
            ("0x", ValueError::Int),
            ("_1", ValueError::Int),
            ("1__0", ValueError::Int),
            ("1_", ValueError::Int),
            ("ten", ValueError::Int),
            ("\u{e4}\u{e4}", ValueError::Int),
            ("9223372036854775808", ValueError::Range),
        ] {
            assert_eq!(text.parse::<Int>(), Err(expected), "{text:?}");
        }
        assert_eq!("3".parse(), Ok(Count(3)));
        assert_eq!("-1".parse::<Count>(), Err(ValueError::Range));
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("6h", Duration::from_secs(21_600)),
            ("336h", Duration::from_secs(1_209_600)),
            ("1h30m", Duration::from_secs(5_400)),
            ("300ms", Duration::from_millis(300)),
            ("1.5s", Duration::from_millis(1_500)),
            (".5m", Duration::from_secs(30)),
            ("2us", Duration::from_micros(2)),
            ("2\u{b5}s", Duration::from_micros(2)),
            ("9ns", Duration::from_nanos(9)),
            ("+1m", Duration::from_secs(60)),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(expected)), "{text}");
        }
        for (text, expected) in [
            ("", ValueError::Duration),
            ("5", ValueError::Unit),
            ("1h5", ValueError::Unit),
            ("2d", ValueError::Duration),
            ("h", ValueError::Duration),
            (".h", ValueError::Duration),
            ("1..5s", ValueError::Duration),
            ("-1h", ValueError::Duration),
            ("1 h", ValueError::Duration),
            ("99999999999h", ValueError::Range),
            ("9999999999999999999999s", ValueError::Range),
        ] {
            assert_eq!(text.parse::<GoDuration>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn keys_end_at_the_first_equals_sign() {
        let pair = |key: &str, value: &str| KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        for (text, expected) in [
            ("a=b", Ok(pair("a", "b"))),
            ("a=b=c", Ok(pair("a", "b=c"))),
            ("a=", Ok(pair("a", ""))),
            ("a=b,c=d", Ok(pair("a", "b,c=d"))),
            ("a", Err(ValueError::KeyValue)),
            ("", Err(ValueError::KeyValue)),
            ("=b", Err(ValueError::KeyValue)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
        for (text, expected) in [
            ("", Ok(KeyValues(vec![]))),
            ("a=b", Ok(KeyValues(vec![pair("a", "b")]))),
            ("a=b;a=c;", Ok(KeyValues(vec![pair("a", "b"), pair("a", "c")]))),
            ("a=b;c", Err(ValueError::KeyValue)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }

    #[test]
    fn calls_are_those_of_buildx() {
        let call = |method, format| Ok(Call { method, format });
        for (text, expected) in [
            ("check", call(Method::Check, CallFormat::Text)),
            ("lint", call(Method::Check, CallFormat::Text)),
            ("outline,format=json", call(Method::Outline, CallFormat::Json)),
            ("targets,format=text", call(Method::Targets, CallFormat::Text)),
            ("build", Err(ValueError::Call)),
            ("", Err(ValueError::Call)),
            ("check,format=xml", Err(ValueError::Call)),
            ("check,json", Err(ValueError::Call)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }

    #[test]
    fn client_certificates_have_two_parts() {
        let pair = "r.example:5000=/c.pem,/k.pem".parse::<HostPair>().unwrap();
        assert_eq!(
            (pair.host.as_str(), pair.first.as_str(), pair.second.as_str()),
            ("r.example:5000", "/c.pem", "/k.pem")
        );
        for text in ["", "h", "h=", "h=/c", "h=/c,", "h=,/k", "h=/c,/k,/x", "=/c,/k"] {
            assert_eq!(text.parse::<HostPair>(), Err(ValueError::HostPair), "{text:?}");
        }
    }
}
