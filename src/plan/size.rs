//! Amounts of memory as Docker writes them.

/// Reads a number of bytes with a unit: `128m`, `1.5g`, `64KiB`. Units are powers of 1024.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if !["", "b", "ib", "i"].contains(&unit.trim_start_matches(['k', 'm', 'g', 't', 'p'])) {
        return None;
    }
    let number: f64 = number
        .parse()
        .ok()
        .filter(|_| number.starts_with(|c: char| c.is_ascii_digit()))?;
    let bytes = number * 1024_f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and below the limit"
    )]
    (bytes < 9e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("128m", Some(128 << 20)),
            ("64KiB", Some(64 << 10)),
            ("64kb", Some(64 << 10)),
            ("1.5g", Some(3 << 29)),
            ("32 M", Some(32 << 20)),
            ("7b", Some(7)),
            ("2T", Some(2 << 40)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1kk", None),
            ("1bb", None),
            ("1.2.3", None),
            (".5", None),
            ("99999p", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }
}
