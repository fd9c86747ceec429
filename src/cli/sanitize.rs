//! Makes untrusted text fit to print: what a RUN printed, what a registry answered, names in images.
//!
//! An escape sequence can do more than colour: set the window title, answer as if typed, rewrite lines
//! above. So all are dropped but, where colour is in use, SGR (`ESC [ … m`), which only colours.

/// Which escape sequences survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// None.
    Drop,
    /// SGR; the result ends with a reset if it holds any.
    KeepColour,
}

/// One printable line of `bytes`, which hold no newline that matters.
///
/// Of parts divided by carriage returns, the last one that is not empty counts: it is what a terminal
/// would show of a progress bar in the end.
pub(super) fn line(bytes: &[u8], escapes: Escapes) -> String {
    let last = bytes.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty());
    let text = String::from_utf8_lossy(last.unwrap_or_default());
    clean(&text, escapes, Newlines::AsSpaces)
}

/// Printable text of several lines.
pub(super) fn text(text: &str) -> String {
    clean(text, Escapes::Drop, Newlines::Keep)
}

#[derive(Clone, Copy)]
enum Newlines {
    Keep,
    AsSpaces,
}

const ESC: char = '\u{1b}';
const RESET: &str = "\u{1b}[0m";

fn clean(text: &str, escapes: Escapes, newlines: Newlines) -> String {
    let mut out = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let sequence = escape_len(rest);
        if sequence > 0 {
            if escapes == Escapes::KeepColour && is_colour(&rest[..sequence]) {
                out.push_str(&rest[..sequence]);
                coloured = true;
            }
            rest = &rest[sequence..];
            continue;
        }
        match (c, newlines) {
            ('\n', Newlines::AsSpaces) => out.push(' '),
            ('\n', Newlines::Keep) | ('\t', _) => out.push(c),
            _ if c.is_control() || is_bidi_control(c) => {}
            _ => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    if coloured {
        out.push_str(RESET);
    }
    out
}

/// Length of the escape sequence (ECMA-48, 7-bit form) at the start of `text`; 0 when there is none.
fn escape_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&(ESC as u8)) {
        return 0;
    }
    match bytes.get(1) {
        Some(b'[') => {
            let body = bytes[2..]
                .iter()
                .take_while(|byte| (0x20..0x40).contains(*byte))
                .count();
            // The final byte belongs to it, unless the sequence is cut off.
            let complete = bytes.get(2 + body).is_some_and(|byte| (0x40..0x7f).contains(byte));
            2 + body + usize::from(complete)
        }
        // OSC, DCS, SOS, PM and APC run to their terminator: BEL, or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => match text[2..].find(['\u{7}', ESC]) {
            Some(end) if text[2 + end..].starts_with("\u{1b}\\") => 2 + end + 2,
            Some(end) if text[2 + end..].starts_with(ESC) => 2 + end,
            Some(end) => 2 + end + 1,
            None => text.len(),
        },
        // `ESC ( B` and its like: intermediate bytes, then a final one.
        Some(0x20..0x30) => {
            let body = bytes[1..]
                .iter()
                .take_while(|byte| (0x20..0x30).contains(*byte))
                .count();
            let complete = bytes.get(1 + body).is_some_and(|byte| (0x30..0x7f).contains(byte));
            1 + body + usize::from(complete)
        }
        Some(0x30..0x7f) => 2,
        _ => 1,
    }
}

fn is_colour(sequence: &str) -> bool {
    let parameters = sequence.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
    parameters.is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':')))
}

/// Characters that reorder the text around them, and so can make a line read as another one.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_text_survives() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"a\tb", "a\tb"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"\x1b[2J\x1b[1;1Hgone", "gone"),
            (b"\x1b[?25lhidden", "hidden"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]0;title\x1b\\text", "text"),
            (b"\x1b]8;;http://x\x1b[31mtext", "text"),
            (b"\x1bPq#0\x1b\\text", "text"),
            (b"\x1b(Btext", "text"),
            (b"\x1bctext", "text"),
            (b"\x1b", ""),
            (b"\x1b[", ""),
            (b"\x1b[31", ""),
            (b"\x1b]unterminated", ""),
            (b"a\x08\x07\x00b", "ab"),
            ("a\u{9b}31mb".as_bytes(), "a31mb"),
            ("a\u{202e}b\u{2066}c".as_bytes(), "abc"),
            (b"10%\r50%\r100%\r", "100%"),
            (b"text\r", "text"),
            (b"\r", ""),
            (b"a\nb", "a b"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("\u{1b}é".as_bytes(), "é"),
            ("grün ✓".as_bytes(), "grün ✓"),
        ] {
            assert_eq!(
                line(bytes, Escapes::Drop),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn colour_survives_on_request_and_is_reset() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"\x1b[1;31mred", "\x1b[1;31mred\x1b[0m"),
            (b"\x1b[38:5:1mred", "\x1b[38:5:1mred\x1b[0m"),
            (b"\x1b[2Jgone\x1b[32m", "gone\x1b[32m\x1b[0m"),
            (b"\x1b[>4mx", "x"),
            (b"\x1b]0;t\x07x", "x"),
        ] {
            assert_eq!(
                line(bytes, Escapes::KeepColour),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn several_lines_stay_several() {
        assert_eq!(text("a\n\x1b[31mb\r\nc"), "a\nb\nc");
    }
}
