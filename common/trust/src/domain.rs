//! Domain separation: the signature of a file must not be a signature of anything else.
//!
//! A signature over a file covers the file's bytes and nothing that says "a file". If these bytes are what another form
//! of signature covers, anyone who can have a file signed can have anything signed: an envelope's pre-authentication
//! encoding (DSSE protocol 1.0.2, "Signature Definition") or the payload of a simple signature of an image (Cosign,
//! "Signature specification"). Such files are not signed as files.

use std::fmt;
use std::io::{self, Cursor, Read};

use lifeboat_core::Sha256Digest;
use lifeboat_strict::json::fold;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The prefix of an envelope's encoding.
const ENVELOPE: &[u8] = b"DSSEv1 ";

/// The path of members in a simple signature that names its image.
const PATH: [&str; 3] = ["critical", "image", "docker-manifest-digest"];

/// The largest payload of a simple signature that other tools read: cosign's default limit for attachments of an image.
const MAX_PAYLOAD_BYTES: u64 = 128 << 20;

/// How much of a file is examined first.
const HEAD_BYTES: u64 = 64 << 10;

/// What a file's bytes are besides a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAlike {
    /// The bytes that an envelope's signature covers.
    Envelope,
    /// The bytes that a simple signature of an image covers.
    ImageSignature,
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envelope => "it begins with `DSSEv1 `, as what is signed in an envelope does",
            Self::ImageSignature => "it is the payload of a signature of an image",
        })
    }
}

/// Reads a file of any size once, and returns its digest and what else it is.
pub fn digest(mut file: impl Read) -> io::Result<(Sha256Digest, Option<LookAlike>)> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let mut found = head.starts_with(ENVELOPE).then_some(LookAlike::Envelope);
    let first = head.iter().find(|byte| !is_space(**byte));
    if first.is_none_or(|byte| *byte == b'{') {
        file.by_ref().take(MAX_PAYLOAD_BYTES).read_to_end(&mut head)?;
        if is_image_signature(&head) {
            found = Some(LookAlike::ImageSignature);
        }
    }
    Ok((Sha256Digest::of_reader(Cursor::new(head).chain(file))?, found))
}

/// White space of JSON (RFC 8259, section 2).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether any reader might accept the text as the payload of a simple signature.
fn is_image_signature(text: &[u8]) -> bool {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    if text.get(start) != Some(&b'{') {
        return false;
    }
    let mut found = false;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let walked = Walk { path: &PATH, found: &mut found }.deserialize(&mut deserializer);
    if walked.and_then(|()| deserializer.end()).is_ok() {
        return found;
    }
    // More lenient readers may succeed where this one does not.
    let text = fold(&unescaped(&String::from_utf8_lossy(text))).into_owned();
    PATH.iter().all(|name| text.contains(name))
}

/// The text with JSON escapes that represent a whole character replaced by it.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\u") {
        plain += before;
        let unit = after.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        rest = match unit.and_then(char::from_u32) {
            Some(c) => {
                plain.push(c);
                &after[4..]
            }
            None => after,
        };
    }
    plain + rest
}

/// Searches for a nested member, including duplicates and any case.
struct Walk<'a> {
    path: &'a [&'static str],
    found: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let is_on_the_way = self.path.first().is_some_and(|wanted| fold(&name) == *wanted);
            match self.path {
                [_, below @ ..] if is_on_the_way && !below.is_empty() => {
                    members.next_value_seed(Walk { path: below, found: &mut *self.found })?;
                }
                _ => {
                    *self.found |= is_on_the_way;
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dsse::pre_authentication_encoding;
    use crate::legacy;

    fn found(content: &[u8]) -> Option<LookAlike> {
        let (digest, found) = digest(content).unwrap();
        assert_eq!(digest, Sha256Digest::of(content));
        found
    }

    #[test]
    fn what_another_signature_covers_is_found() {
        assert_eq!(found(&pre_authentication_encoding("a/b", b"{}")), Some(LookAlike::Envelope));
        assert_eq!(found(b"DSSEv1 "), Some(LookAlike::Envelope));
        let image = Sha256Digest::of(b"image");
        let payload = String::from_utf8(legacy::payload(image, "app", &BTreeMap::new())).unwrap();
        let late = format!("{}{payload}", " ".repeat(1 << 20));
        for text in [
            payload.clone(),
            late,
            format!("\n\t{payload} "),
            payload.replace("critical", "Critical"),
            payload.replace("critical", "\\u0063ritical"),
            payload.replace("docker-manifest-digest", "doc\u{212a}er-manifest-digest"),
            payload.replace(r#""critical":"#, r#""critical":1,"critical":"#),
            payload.replace(r#""type":"#, r#""image":{},"type":"#),
            // This parser rejects it, but others may not.
            payload.replace("null", r#"{"a":"\ud800"}"#),
            payload.replace("null", "1e999"),
            payload.replace("null", "01"),
            payload.replace("critical", "\\u0063ritical").replace("null", "+1"),
        ] {
            assert_eq!(found(text.as_bytes()), Some(LookAlike::ImageSignature), "{text:.300}");
        }
        let mut broken = payload.replace("null", r#"{"a":"b"}"#).into_bytes();
        let place = broken.len() - 5;
        broken[place] = 0xff;
        assert_eq!(found(&broken), Some(LookAlike::ImageSignature));
    }

    #[test]
    fn a_file_is_a_file() {
        let image = Sha256Digest::of(b"image");
        let payload = String::from_utf8(legacy::payload(image, "app", &BTreeMap::new())).unwrap();
        for text in [
            String::new(),
            " ".repeat(100),
            "DSSEv1".to_owned(),
            "a DSSEv1 1 x".to_owned(),
            "{}".to_owned(),
            r#"{"critical":{"image":"docker-manifest-digest"}}"#.to_owned(),
            r#"{"critical":true,"image":{"docker-manifest-digest":1}}"#.to_owned(),
            format!("[{payload}]"),
            format!(r#"{{"signatures":[{payload}]}}"#),
            "{ this is not JSON".to_owned(),
            "x".repeat(200_000),
        ] {
            assert_eq!(found(text.as_bytes()), None, "{text:.300}");
        }
    }
}
