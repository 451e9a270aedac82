//! An envelope inside a document (DSSE protocol 1.0.2). Its payload stays in base64 until it is known that a trusted
//! signer signed it.
//!
//! A payload may be an SBOM of 64 MiB, and anyone can attach one that nobody signed. The bytes that signatures and log
//! entries cover are therefore computed in one pass over the text, piece by piece, and only digests are kept.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256, SHA384};
use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use lifeboat_core::Sha256Digest;

use crate::key::VerificationKey;

/// How much of the text is decoded at a time.
const PIECE: usize = 48 << 10;

/// The largest payload that is decoded completely before its signature is verified, as an Ed25519 key requires, in
/// bytes.
pub const MAX_WHOLE_BYTES: usize = 24 << 20;

/// An envelope with one signature, whose payload is in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosed<'b> {
    payload_type: Cow<'b, str>,
    text: Cow<'b, str>,
    length: usize,
    signature: Vec<u8>,
    digests: Digests,
}

/// The digests by which others refer to an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Digests {
    /// Of the payload.
    payload: Sha256Digest,
    /// Of the pre-authentication encoding, which is signed.
    signed: Sha256Digest,
    /// The same by SHA-384.
    signed_384: [u8; 48],
}

/// Why a key did not make the signature, or why this is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// It did not.
    ByOther,
    /// The key's algorithm needs the whole payload, which is too large.
    TooLarge,
}

/// What is signed before the payload: the head of the pre-authentication encoding.
fn head(payload_type: &str, length: usize) -> String {
    format!("DSSEv1 {} {payload_type} {length} ", payload_type.len())
}

impl<'b> Enclosed<'b> {
    /// An envelope around a payload in base64.
    pub(crate) fn new(
        payload_type: Cow<'b, str>,
        text: Cow<'b, str>,
        signature: Vec<u8>,
    ) -> Result<Self, DecodeError> {
        let padding = text.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
        let length = (text.len() / 4 * 3).saturating_sub(padding);
        let mut payload = Context::new(&SHA256);
        let (mut signed, mut signed_384) = (Context::new(&SHA256), Context::new(&SHA384));
        let head = head(&payload_type, length);
        signed.update(head.as_bytes());
        signed_384.update(head.as_bytes());
        pieces(&text, |piece| {
            payload.update(piece);
            signed.update(piece);
            signed_384.update(piece);
        })?;
        let digests = Digests {
            payload: sha256(payload),
            signed: sha256(signed),
            signed_384: signed_384.finish().as_ref().try_into().expect("a SHA-384 digest has 48 bytes"),
        };
        Ok(Self { payload_type, text, length, signature, digests })
    }

    /// The media type of the payload.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload in base64, verbatim.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// SHA-256 of the payload.
    pub(crate) fn payload_digest(&self) -> Sha256Digest {
        self.digests.payload
    }

    /// SHA-256 of the signed bytes.
    pub(crate) fn signed_digest(&self) -> Sha256Digest {
        self.digests.signed
    }

    /// Checks that `key` made the signature.
    pub(crate) fn verify(&self, key: &VerificationKey) -> Result<(), Unsigned> {
        let Digests { payload: _, signed, signed_384 } = &self.digests;
        if key.verifies_digests() {
            return key.verify_digests(*signed, signed_384, &self.signature).map_err(|_| Unsigned::ByOther);
        }
        if self.length > MAX_WHOLE_BYTES {
            return Err(Unsigned::TooLarge);
        }
        let mut message = head(&self.payload_type, self.length).into_bytes();
        message.reserve_exact(self.length);
        STANDARD.decode_vec(self.text.as_bytes(), &mut message).expect("it was decoded before");
        key.verify(&message, &self.signature).map_err(|_| Unsigned::ByOther)
    }

    /// The payload.
    ///
    /// # Panics
    ///
    /// Never: it was decoded before, piece by piece.
    pub fn payload(&self) -> Vec<u8> {
        STANDARD.decode(self.text.as_bytes()).expect("it was decoded before")
    }
}

fn sha256(context: Context) -> Sha256Digest {
    Sha256Digest::from_bytes(context.finish().as_ref().try_into().expect("a SHA-256 digest has 32 bytes"))
}

/// Decodes a text piece by piece, with the same errors at the same places as decoding it at once.
fn pieces(text: &str, mut take: impl FnMut(&[u8])) -> Result<(), DecodeError> {
    let mut decoded = vec![0; PIECE / 4 * 3];
    let bytes = text.as_bytes();
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        let start = number * PIECE;
        let is_last = start + piece.len() == bytes.len();
        let length = STANDARD.decode_slice(piece, &mut decoded).map_err(|error| match error {
            base64::DecodeSliceError::DecodeError(error) => moved(&error, start),
            base64::DecodeSliceError::OutputSliceTooSmall => unreachable!("three bytes come of four"),
        })?;
        // Padding is allowed only at the end of the text, not at the end of a piece.
        if !is_last && length < decoded.len() {
            let place = piece.iter().position(|byte| *byte == b'=').unwrap_or_default();
            return Err(DecodeError::InvalidByte(start + place, b'='));
        }
        take(&decoded[..length]);
    }
    Ok(())
}

/// The same error with its position in the whole text.
fn moved(error: &DecodeError, start: usize) -> DecodeError {
    match *error {
        DecodeError::InvalidByte(place, byte) => DecodeError::InvalidByte(start + place, byte),
        DecodeError::InvalidLength(length) => DecodeError::InvalidLength(start + length),
        DecodeError::InvalidLastSymbol(place, byte) => DecodeError::InvalidLastSymbol(start + place, byte),
        DecodeError::InvalidPadding => DecodeError::InvalidPadding,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsse::{Envelope, IN_TOTO, pre_authentication_encoding};
    use crate::key::SigningKey;

    fn enclosed(text: &str) -> Result<Enclosed<'_>, DecodeError> {
        Enclosed::new(IN_TOTO.into(), text.into(), Vec::new())
    }

    #[test]
    fn a_long_payload_is_what_it_is_when_it_is_decoded_at_once() {
        let payload: Vec<u8> = (0..PIECE * 2 + 5).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for cut in [0, 1, 2, 3, PIECE / 4 * 3 - 1, PIECE / 4 * 3, PIECE / 4 * 3 + 1, payload.len()] {
            let payload = &payload[..cut];
            let text = STANDARD.encode(payload);
            let found = enclosed(&text).unwrap();
            assert_eq!(found.payload(), payload);
            assert_eq!(found.payload_digest(), Sha256Digest::of(payload));
            let signed = pre_authentication_encoding(IN_TOTO, payload);
            assert_eq!(found.signed_digest(), Sha256Digest::of(&signed));
        }
    }

    #[test]
    fn an_envelope_is_signed_by_whoever_signed_its_encoding() {
        let key = SigningKey::generate();
        let envelope = Envelope::sign(IN_TOTO, b"{}".to_vec(), &key);
        let signature = envelope.signatures[0].bytes.clone();
        let good = Enclosed::new(IN_TOTO.into(), "e30=".into(), signature.clone()).unwrap();
        assert_eq!(good.verify(key.verification_key()), Ok(()));
        assert_eq!(good.verify(SigningKey::generate().verification_key()), Err(Unsigned::ByOther));
        let other = Enclosed::new(IN_TOTO.into(), "e31=".into(), signature.clone());
        assert!(other.is_err(), "bits that mean nothing");
        let other = Enclosed::new("text/plain".into(), "e30=".into(), signature).unwrap();
        assert_eq!(other.verify(key.verification_key()), Err(Unsigned::ByOther));
    }

    #[test]
    fn an_ed25519_key_verifies_what_fits_into_memory() {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
        let pair = Ed25519KeyPair::generate().unwrap();
        let raw = <[u8; 32]>::try_from(pair.public_key().as_ref()).unwrap();
        let key = VerificationKey::from_ed25519(raw).unwrap();
        let signature = pair.sign(&pre_authentication_encoding(IN_TOTO, b"{}")).as_ref().to_vec();
        let good = Enclosed::new(IN_TOTO.into(), "e30=".into(), signature.clone()).unwrap();
        assert_eq!(good.verify(&key), Ok(()));
        let large = STANDARD.encode(vec![0; MAX_WHOLE_BYTES + 1]);
        let large = Enclosed::new(IN_TOTO.into(), large.into(), signature).unwrap();
        assert_eq!(large.verify(&key), Err(Unsigned::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_refused_is_refused_with_the_same_words(
            text in "[A-Za-z0-9+/]{0,40}={0,3}[ A-Za-z=]{0,3}",
            before in 0..3_usize,
        ) {
            // The same after good pieces.
            let text = "AAAA".repeat(before * PIECE / 4) + &text;
            let (whole, found) = (STANDARD.decode(&text), enclosed(&text));
            prop_assert_eq!(whole.map_err(|e| e.to_string()), found.map(|e| e.payload()).map_err(|e| e.to_string()));
        }
    }
}
