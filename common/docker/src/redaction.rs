//! What a report may show: texts without the secrets of an application, in whatever form a program writes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::definitions::SHORTEST_SECRET;

/// What stands where a secret was.
const STRUCK: &str = "[redacted]";

/// The fewest characters of a secret's base64 that are struck out: fewer would be found in other words, too.
const SHORTEST_ENCODED: usize = 6;

/// `text` with every one of `secrets` struck out: as it is, each line of those that have several (a log begins anywhere, and a
/// terminal ends its lines in its own way), in base64 at any place of what was encoded, escaped for a URL, and what it holds
/// if it is base64 itself.
pub fn redacted(text: &str, secrets: &[String]) -> String {
    let mut forms: BTreeSet<String> = BTreeSet::new();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        add_forms(secret, &mut forms);
        if let Some(held) = held_in_base64(secret) {
            add_forms(&held, &mut forms);
        }
    }
    // The longest first, so that one that contains another leaves nothing of itself behind.
    let mut longest_first: Vec<&String> = forms.iter().collect();
    longest_first.sort_by_key(|form| std::cmp::Reverse(form.len()));
    longest_first.into_iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), STRUCK))
}

fn add_forms(secret: &str, forms: &mut BTreeSet<String>) {
    forms.insert(secret.to_owned());
    if secret.trim().contains('\n') {
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_SECRET);
        forms.extend(lines.map(str::to_owned));
    }
    for before in 0..3 {
        forms.extend(encoded(secret, before, &STANDARD_NO_PAD));
        forms.extend(encoded(secret, before, &URL_SAFE_NO_PAD));
    }
    forms.insert(escaped(secret));
}

/// The characters of base64 (RFC 4648) that stand for `secret` alone when `before` bytes stand before it, up to threes.
fn encoded(secret: &str, before: usize, alphabet: &impl base64::Engine) -> Option<String> {
    let text = alphabet.encode([&vec![0; before], secret.as_bytes()].concat());
    // A character holds six bits; those at the ends hold bits of what stands beside the secret, too.
    let (first, last) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
    let own = text.get(first..last)?;
    (own.len() >= SHORTEST_ENCODED).then(|| own.to_owned())
}

/// As it stands in a URL (RFC 3986, section 2.1).
fn escaped(secret: &str) -> String {
    let mut escaped = String::new();
    for byte in secret.bytes() {
        // Writing to a String cannot fail.
        let _ = if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            write!(escaped, "{}", char::from(byte))
        } else {
            write!(escaped, "%{byte:02X}")
        };
    }
    escaped
}

/// The text that `secret` holds, if it is base64 of one.
fn held_in_base64(secret: &str) -> Option<String> {
    let compact: String = secret.split_whitespace().collect();
    let held = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
        .into_iter()
        .find_map(|alphabet| alphabet.decode(&compact).ok())?;
    let held = String::from_utf8(held).ok()?;
    let held = held.trim();
    let is_text = held.chars().all(|c| !c.is_control() || c.is_whitespace());
    (is_text && held.len() >= SHORTEST_SECRET.max(SHORTEST_ENCODED)).then(|| held.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_struck_longest_first() {
        let secrets = ["pass".to_owned(), "password1".to_owned(), String::new()];
        assert_eq!(redacted("x password1 pass", &secrets), "x [redacted] [redacted]");
        let key = ["-----BEGIN KEY-----\nfirstline\nsecondline\n}\n".to_owned()];
        assert_eq!(redacted("firstline\r\nsecondline\r\n}", &key), "[redacted]\r\n[redacted]\r\n}");
        assert_eq!(redacted("condline\nsecondline", &key), "condline\n[redacted]");
    }

    #[test]
    fn secrets_are_struck_in_every_form() {
        let secret = "s3cr3t/Wört?";
        let secrets = [secret.to_owned()];
        for before in ["", "u", "us", "user:", "user1:", "user12:"] {
            for after in ["", "!", "!!", "; and more"] {
                let whole = format!("{before}{secret}{after}");
                for text in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let shown = redacted(&format!("Authorization: Basic {text}"), &secrets);
                    assert!(shown.contains(STRUCK), "{whole}: {shown}");
                    // What is left of the encoding gives at most the edges away.
                    let left = shown.replace("Authorization: Basic ", "").replace(STRUCK, "").len();
                    assert!(left <= (before.len() + after.len()) * 4 / 3 + 8, "{whole}: {shown}");
                }
            }
        }
        assert_eq!(redacted("https://app:s3cr3t%2FW%C3%B6rt%3F@db", &secrets), "https://app:[redacted]@db");
        let encoded = [STANDARD.encode("correct horse battery\n")];
        assert_eq!(redacted("it says correct horse battery", &encoded), "it says [redacted]");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for (secret, text) in [
            ("abcd", "YWJj is base64 of something shorter"),
            ("true", "what is true is struck out, and nothing more"),
            ("aGVsbG8", "hello is too short to be held"),
        ] {
            let shown = redacted(text, &[secret.to_owned()]);
            assert_eq!(shown, text.replace(secret, STRUCK), "{secret}");
        }
    }
}
