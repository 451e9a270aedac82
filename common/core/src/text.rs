//! Text that comes from others: which characters deceive the eye or command a terminal, and how such text is shown.

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

/// The same for a message of several lines: line ends stay.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

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
