//! Untrusted text: which characters deceive a reader or control a terminal, and how to display such text.

use std::fmt::Write as _;

/// Whether a character is invisible, changes the direction of its neighbours, or is obeyed by a terminal.
///
/// These are all control characters (C0, DEL and C1), U+061C, U+200B to U+200F, U+2028 to U+202E, U+2060 to U+206F,
/// U+FEFF and U+E0000 to U+E007F. FORMAT.md lists the same ones for names.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with every deceptive character shown as its escape.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same for a message of several lines: newlines are kept.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A path as text that can be passed back as an argument: [`path_bytes`] turns it into the same bytes.
///
/// Backslashes are doubled. A byte that is not part of UTF-8, or is part of a deceptive character, becomes `\xHH` with
/// two hexadecimal digits; everything else stays.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    };
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str(r"\\"),
                c if is_deceptive(c) => escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => text.push(c),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The bytes of a path that is given as an argument: `\\` is a backslash, and `\xHH` the byte with these hexadecimal
/// digits. Any other backslash, and any other byte, means itself.
pub fn path_bytes(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let (byte, after) = match (rest, escaped_byte(rest)) {
            (_, Some(escaped)) => escaped,
            ([b'\\', b'\\', after @ ..], None) => (b'\\', after),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// The byte that `\xHH` at the start of a text means, and the rest of the text.
pub fn escaped_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', b'x', high, low, after @ ..] = text else { return None };
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    Some((digit(*high)? << 4 | digit(*low)?, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_shown_as_it_can_be_given_back() {
        for (path, text) in [
            (&b"etc/nginx"[..], "etc/nginx"),
            ("Größe 日本".as_bytes(), "Größe 日本"),
            (b"a\xff\xfeb", r"a\xff\xfeb"),
            (b"a\\x2db", r"a\\x2db"),
            ("a\u{202e}b\n".as_bytes(), r"a\xe2\x80\xaeb\x0a"),
            (b"\\", r"\\"),
        ] {
            assert_eq!(path_text(path), text);
            assert_eq!(path_bytes(text.as_bytes()), path);
        }
        for (text, path) in [
            (&br"a\b"[..], &br"a\b"[..]),
            (br"a\x4", br"a\x4"),
            (br"a\xzz\", br"a\xzz\"),
            (br"\xFF", b"\xff"),
            (b"\xff", b"\xff"),
        ] {
            assert_eq!(path_bytes(text), path, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_path_is_its_text_gives_it_back(
            path in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), Just(b'f')], 0..40)
        ) {
            let text = path_text(&path);
            prop_assert!(!text.chars().any(is_deceptive));
            prop_assert_eq!(path_bytes(text.as_bytes()), path);
        }
    }

    #[test]
    fn a_message_keeps_its_lines_and_nothing_else_that_moves_the_cursor() {
        assert_eq!(printable_lines("one\ntwo\r\u{1b}[1A\n"), "one\ntwo\\r\\u{1b}[1A\n");
    }

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_shown_as_an_escape_and_all_else_stays() {
        for (text, shown) in [
            ("shop", "shop"),
            ("Größe é 日本 🦀", "Größe é 日本 🦀"),
            ("a\nb\u{1b}[2K", "a\\nb\\u{1b}[2K"),
            ("\u{9b}2K", "\\u{9b}2K"),
            ("gpj\u{202e}.exe", "gpj\\u{202e}.exe"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
