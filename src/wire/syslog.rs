//! Lines of logs as machines send them over UDP while they boot: syslog of both kinds (RFC 3164, RFC 5424; iPXE and
//! installers), and netconsole's (Documentation/networking/netconsole.rst of Linux), which is the kernel's text with
//! or without a head of its own.

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// 0 (emergency) to 7 (debug); netconsole's plain form does not say, and counts as 6.
    pub severity: u8,
    pub text: String,
}

/// Lines of one datagram that are looked at: netconsole gathers some, no more than fit.
const LINES_MAX: usize = 32;

/// Severity of what does not say.
const INFORMATIONAL: u8 = 6;

/// Reads a datagram. Whatever it holds, something is made of its text.
#[must_use]
pub fn parse(datagram: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(datagram);
    let lines = text.split(['\n', '\0', '\r']).map(str::trim_end).filter(|line| !line.is_empty());
    lines.take(LINES_MAX).map(line).collect()
}

fn line(text: &str) -> Line {
    if let Some((priority, rest)) = priority(text) {
        let body = modern(rest).or_else(|| old(rest)).unwrap_or(rest);
        return Line { severity: priority & 7, text: body.trim().to_owned() };
    }
    match extended(text) {
        Some((severity, body)) => Line { severity, text: body.to_owned() },
        None => Line { severity: INFORMATIONAL, text: kernel(text).to_owned() },
    }
}

/// `<PRI>` (RFC 3164 section 4.1.1): facility times eight and severity, at most 191.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let number: u16 = number.parse().ok()?;
    Some((u8::try_from(number).ok().filter(|number| *number <= 191)?, rest))
}

/// RFC 5424 section 6: `1 TIME HOST APP PROCESS ID DATA MESSAGE`. What says who speaks stays: `APP: MESSAGE`.
fn modern(rest: &str) -> Option<&str> {
    let mut rest = rest.strip_prefix("1 ")?;
    for _ in 0..5 {
        rest = rest.split_once(' ')?.1;
    }
    match rest.strip_prefix('-') {
        Some(message) => Some(message.trim_start().trim_start_matches('\u{feff}')),
        // Structured data ends at a bracket that no escape stands before.
        None => {
            let end =
                rest.match_indices("] ").find(|(at, _)| !rest.get(..*at).unwrap_or("").ends_with('\\'))?.0;
            Some(rest.get(end.saturating_add(2)..)?.trim_start_matches('\u{feff}'))
        }
    }
}

/// RFC 3164 section 4.1.2: `Mmm dd hh:mm:ss HOST MESSAGE`. Time and host are the head's to know.
fn old(rest: &str) -> Option<&str> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let stamp = rest.get(..16)?;
    let is_time = MONTHS.iter().any(|month| stamp.starts_with(month)) && stamp.matches(':').count() == 2;
    let rest = rest.get(16..).filter(|_| is_time)?;
    // Programs on the machine itself leave the host out: the tag then stands there, with its colon.
    match rest.split_once(' ') {
        Some((host, message)) if !host.contains([':', '[']) => Some(message),
        _ => Some(rest),
    }
}

/// Extended netconsole: `[RELEASE,]LEVEL,SEQUENCE,TIME,FLAGS[,…];TEXT`.
fn extended(text: &str) -> Option<(u8, &str)> {
    let (head, body) = text.split_once(';')?;
    let fields: Vec<&str> = head.split(',').take(8).collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let level = match fields.as_slice() {
        [level, sequence, time, _, ..] if [level, sequence, time].into_iter().all(is_number) => level,
        [_, level, sequence, time, _, ..] if [level, sequence, time].into_iter().all(is_number) => level,
        _ => return None,
    };
    let level: u16 = level.parse().ok()?;
    Some((u8::try_from(level & 7).unwrap_or(INFORMATIONAL), body))
}

/// The kernel's text without the seconds in front of it.
fn kernel(text: &str) -> &str {
    let Some((stamp, rest)) = text.strip_prefix('[').and_then(|text| text.split_once("] ")) else {
        return text;
    };
    let is_stamp = stamp.trim().bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    if is_stamp { rest } else { text }
}

#[cfg(test)]
mod tests {
    use crate::wire::syslog::parse;

    fn check(datagram: &str, severity: u8, text: &str) {
        let lines = parse(datagram.as_bytes());
        assert_eq!(lines.len(), 1, "{datagram}: {lines:?}");
        assert_eq!((lines[0].severity, lines[0].text.as_str()), (severity, text), "{datagram}");
    }

    #[test]
    fn syslog_of_both_kinds_and_netconsole_are_read() {
        check(
            "<3>ipxe: http://192.0.2.1/x... Not found (https://ipxe.org/2d0c613b)",
            3,
            "ipxe: http://192.0.2.1/x... Not found (https://ipxe.org/2d0c613b)",
        );
        check("<34>Oct 11 22:14:15 nid001 su: 'su root' failed", 2, "su: 'su root' failed");
        check("<13>Feb  5 17:32:18 cloud-init[7]: done", 5, "cloud-init[7]: done");
        check("<165>1 2003-10-11T22:14:15.003Z nid001 app 7 ID47 - a message", 5, "a message");
        check("<165>1 2003-10-11T22:14:15.003Z nid001 app 7 ID47 [a b=\"c\"] a message", 5, "a message");
        check("[    1.234567] Kernel panic - not syncing: VFS", 6, "Kernel panic - not syncing: VFS");
        check("0,339,5140900,-;Kernel panic - not syncing", 0, "Kernel panic - not syncing");
        check("6.1.0-amd64,4,339,5140900,-,ncfrag=0/99;half a line", 4, "half a line");
        check("nothing of the kind", 6, "nothing of the kind");
    }

    #[test]
    fn odd_datagrams_are_text_and_no_reason_to_fail() {
        assert!(parse(b"").is_empty());
        assert_eq!(parse(b"a\nb\r\n\0c\n").len(), 3);
        assert_eq!(parse(&[b'\n', b'x'].repeat(1000)).len(), 32);
        for odd in
            ["<", "<>", "<999>x", "<1x", "<191>1 ", "<191>1 a b c d e [", "<3>Oct", "[", "[]", ";", ",,,;"]
        {
            check(odd, parse(odd.as_bytes())[0].severity, &parse(odd.as_bytes())[0].text);
        }
        for octet in 0..=255_u8 {
            let _ = parse(&[octet; 3000]);
        }
    }
}
