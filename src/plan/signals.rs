//! Operands of STOPSIGNAL.

use super::error::PlanProblem;

/// Names of Linux signals without `SIG`, aliases included.
const NAMES: [&str; 37] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "UNUSED", "URG",
    "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Accepts a number other than 0, or a name in any case with or without `SIG`.
pub(super) fn check(signal: &str) -> Result<(), PlanProblem> {
    let invalid = || PlanProblem::Signal {
        signal: signal.to_owned(),
    };
    if let Ok(number) = signal.parse::<i64>() {
        return match number {
            0 => Err(invalid()),
            _ => Ok(()),
        };
    }
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    match NAMES.contains(&name) || is_realtime(name) {
        true => Ok(()),
        false => Err(invalid()),
    }
}

/// `RTMIN+1` to `RTMIN+15`, `RTMAX-1` to `RTMAX-14`: the ones Docker names.
fn is_realtime(name: &str) -> bool {
    let within = |offset: &str, most: u32| offset.parse().is_ok_and(|offset: u32| (1..=most).contains(&offset));
    match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(offset), _) => within(offset, 15),
        (_, Some(offset)) => within(offset, 14),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for signal in ["SIGTERM", "term", "sigKill", "9", "RTMIN", "RTMIN+3", "SIGRTMAX-14"] {
            assert!(check(signal).is_ok(), "{signal}");
        }
        for signal in ["0", "FOO", "", "SIG", "RTMIN+16", "RTMAX-0", "RTMIN+", "SIGEMT"] {
            let error = check(signal).unwrap_err().to_string();
            assert_eq!(error, format!("invalid signal: {signal}"));
        }
    }
}
