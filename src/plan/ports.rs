//! Operands of EXPOSE: `[[ip:]host:]port[-port][/protocol]`.

use std::net::IpAddr;

use super::error::PlanProblem;

/// `port/protocol` for every port meant. Addresses and ports of the host are checked and dropped:
/// an image cannot say them.
pub(super) fn parse(text: &str) -> Result<Vec<String>, PlanProblem> {
    let problem = |reason: String| PlanProblem::Port {
        port: text.to_owned(),
        reason,
    };
    let (address, protocol) = match text.split_once('/') {
        Some((address, "")) => (address, "tcp".to_owned()),
        Some((address, protocol)) => (address, protocol.to_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if address.is_empty() {
        return Err(problem("no port specified".to_owned()));
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(problem(format!("invalid proto: {protocol}")));
    }
    let mut parts = address.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let (first, last) = parse_range(container).ok_or_else(|| match container {
        "" => problem("no port specified".to_owned()),
        _ => problem(format!("invalid containerPort: {container}")),
    })?;
    if let Some(host) = parts.next().filter(|host| !host.is_empty()) {
        let (low, high) = parse_range(host).ok_or_else(|| problem(format!("invalid hostPort: {host}")))?;
        if high - low != last - first && first != last {
            let reason = format!("invalid ranges specified for container and host Ports: {container} and {host}");
            return Err(problem(reason));
        }
    }
    if let Some(ip) = parts.next().filter(|ip| !ip.is_empty()) {
        let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        if bare.parse::<IpAddr>().is_err() {
            return Err(problem(format!("invalid IP address: {ip}")));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `80` or `80-90`, both ends within 16 bits.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u16>().ok(),
        false => None,
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l362_l363_ports() {
        for (text, expected) in [
            ("80", vec!["80/tcp"]),
            ("80/udp", vec!["80/udp"]),
            ("80/TCP", vec!["80/tcp"]),
            ("80/", vec!["80/tcp"]),
            ("80-82/sctp", vec!["80/sctp", "81/sctp", "82/sctp"]),
            ("0", vec!["0/tcp"]),
            ("65535", vec!["65535/tcp"]),
            ("8080:90", vec!["90/tcp"]),
            ("127.0.0.1:80:90", vec!["90/tcp"]),
            ("127.0.0.1::90", vec!["90/tcp"]),
            ("[::1]:80:90", vec!["90/tcp"]),
            ("80-81:90-91", vec!["90/tcp", "91/tcp"]),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn l363_problems_of_ports() {
        for (text, reason) in [
            ("x", "invalid containerPort: x"),
            ("70000", "invalid containerPort: 70000"),
            ("90-80", "invalid containerPort: 90-80"),
            ("+80", "invalid containerPort: +80"),
            ("-1", "invalid containerPort: -1"),
            ("80/foo", "invalid proto: foo"),
            ("/tcp", "no port specified"),
            ("80:", "no port specified"),
            ("x:80", "invalid hostPort: x"),
            ("localhost:1:1", "invalid IP address: localhost"),
            (
                "1-3:1-2",
                "invalid ranges specified for container and host Ports: 1-2 and 1-3",
            ),
            ("3000 4000/udp", "invalid containerPort: 3000 4000"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid port: {text:?}: {reason}"), "{text}");
        }
    }
}
