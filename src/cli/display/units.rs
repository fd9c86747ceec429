//! Sizes and times as people read them.

use std::time::Duration;

/// `12.3 MiB`. One unit for all, so that columns compare; small blobs show as a part of it.
pub(super) fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    let hundredths = u128::from(bytes) * 100 / u128::from(MIB);
    match hundredths {
        0 if bytes > 0 => "0.01 MiB".to_owned(),
        0..100 => format!("0.{hundredths:02} MiB"),
        _ => format!("{}.{} MiB", hundredths / 100, hundredths % 100 / 10),
    }
}

/// `0.3s`, `12.3s`, `2m05s`, `1h02m`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_mebibytes() {
        for (bytes, expected) in [
            (0, "0.00 MiB"),
            (1, "0.01 MiB"),
            (524_288, "0.50 MiB"),
            (1 << 20, "1.0 MiB"),
            (29_465_000, "28.1 MiB"),
            (3 << 30, "3072.0 MiB"),
            (u64::MAX, "17592186044415.9 MiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn durations_lose_detail_as_they_grow() {
        for (milliseconds, expected) in [
            (0, "0.0s"),
            (99, "0.0s"),
            (1_234, "1.2s"),
            (59_999, "59.9s"),
            (60_000, "1m00s"),
            (125_000, "2m05s"),
            (3_600_000, "1h00m"),
            (3_725_000, "1h02m"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected);
        }
    }
}
