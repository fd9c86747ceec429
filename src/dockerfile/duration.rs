//! Durations in Go's notation: `1h2m3.5s`.

/// Units in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Nanoseconds; `None` if the text is no duration or too long for 64 bits.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = &rest[number_end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, nanoseconds) = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;
        total += number * nanoseconds;
        rest = &rest[unit_end..];
    }
    // Beyond 2^53 the sum is inexact, and near the limit the cast would saturate; both are centuries.
    let valid = !text.is_empty() && !text.ends_with(['-', '+']) && total < 9.2e18;
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    valid.then_some((sign * total).round() as i64)
}

/// Writes nanoseconds the way Go prints a duration: `1m30s`, `1.5s`, `250ms`, `0s`.
pub(crate) fn display(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = |value: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let decimals = format!("{:0digits$}", value % unit);
        match decimals.trim_end_matches('0') {
            "" => format!("{}{name}", value / unit),
            _ if digits == 0 => format!("{value}{name}"),
            decimals => format!("{}.{decimals}{name}", value / unit),
        }
    };
    let text = match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{magnitude}ns"),
        1_000..1_000_000 => fraction(magnitude, 1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => fraction(magnitude, 1_000_000, "ms"),
        _ => {
            const MINUTE: u64 = 60_000_000_000;
            let seconds = fraction(magnitude % MINUTE, 1_000_000_000, "s");
            match (magnitude / MINUTE / 60, magnitude / MINUTE % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_displays() {
        for (text, nanoseconds, shown) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("30s", 30_000_000_000, "30s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            (".5s", 500_000_000, "500ms"),
            ("250ms", 250_000_000, "250ms"),
            ("1500us", 1_500_000, "1.5ms"),
            ("50ns", 50, "50ns"),
            ("1500ns", 1_500, "1.5\u{b5}s"),
            ("-1s", -1_000_000_000, "-1s"),
            ("2h0.25s", 7_200_250_000_000, "2h0m0.25s"),
        ] {
            assert_eq!(parse(text), Some(nanoseconds), "{text}");
            assert_eq!(display(nanoseconds), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "-", "1", "s", "1x", "1s2", "one", "1..5s", "1 s", "99999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
