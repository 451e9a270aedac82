//! Case folding of member names.

use std::borrow::Cow;

/// The name after case folding. Names that are equal after Unicode simple case folding, which Go's `encoding/json`
/// uses, are equal here; so are a few more, such as `ß` and `ss`.
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
    }
    let lower = name.chars().flat_map(char::to_lowercase);
    Cow::Owned(lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

    use super::*;

    #[test]
    fn letters_that_programs_take_for_each_other_fold_together() {
        assert_eq!(fold("mediaType"), "mediatype");
        assert_eq!(fold("manife\u{17f}ts"), "manifests");
        assert_eq!(fold("\u{212a}ey"), "key");
        assert_ne!(fold("dige\u{455}t"), "digest");
    }

    /// Compares every character with Unicode's tables of simple case folding.
    #[test]
    fn whatever_simple_case_folding_takes_together_is_taken_together() {
        for c in '\0'..=char::MAX {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            class.try_case_fold_simple().unwrap();
            for other in class.iter().flat_map(|range| range.start()..=range.end()) {
                let (one, two) = (String::from(c), String::from(other));
                assert_eq!(fold(&one), fold(&two), "{c:?} and {other:?}");
            }
        }
    }
}
