//! How items of a snapshot are shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use lifeboat_vault::item::ItemKind;

/// A path as text, and its bytes in hexadecimal where it is no UTF-8.
pub(crate) fn path(bytes: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(bytes);
    let hex = matches!(text, Cow::Owned(_)).then(|| {
        let mut hex = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    });
    (text.into_owned(), hex)
}

/// What an item is, in a word.
pub(crate) fn kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::File => "file",
        ItemKind::Folder => "folder",
        ItemKind::Symlink => "symlink",
        ItemKind::HardLink => "hard-link",
        ItemKind::BlockDevice => "block-device",
        ItemKind::CharacterDevice => "character-device",
        ItemKind::Fifo => "fifo",
        ItemKind::Socket => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_path_that_is_no_text_is_shown_whole_in_hexadecimal() {
        assert_eq!(path(b"a/b"), ("a/b".to_owned(), None));
        assert_eq!(path(b"a\xff"), ("a\u{fffd}".to_owned(), Some("61ff".to_owned())));
    }
}
