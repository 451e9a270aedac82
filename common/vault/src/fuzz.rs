//! The functions that the fuzz targets beside this crate call, one for each kind of bytes from outside.
//!
//! Most of what the vault reads is under a seal or a signature, which random bytes never pass. So each function takes
//! the inner bytes, seals and signs them with keys of its own (`stage`), and reads them like the product does: this is
//! what someone who has those keys can do. Every function returns whether its bytes were read, and panics if the result
//! violates what the rest of the vault relies on.
//!
//! None of this is in the product: it is built for tests, and for the fuzz targets by the feature `fuzz`.

#![expect(clippy::missing_panics_doc, reason = "these functions exist to find panics")]

mod keys;
mod objects;
mod packs;
mod public;
#[cfg(test)]
mod replay;
mod stage;
mod trees;

use minicbor::{Decode, Encode};

pub use keys::{group_keys, keeper_key, recipient, recovery_key, wrapped, writer_key};
pub use objects::{condemnation, contents, locations, loss, part, registration, signed_object};
pub use packs::{frame, pack};
pub use public::{manifest, marker, name, pins, request, roster};
pub use trees::{items, memory, patterns};

use crate::ids::{from_cbor, to_cbor};

/// Decodes bytes; what decodes must also decode from its own encoding, to the same value.
fn decoded<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Option<T> {
    let value = from_cbor::<T>(bytes).ok()?;
    let encoded = to_cbor(&value);
    let again = from_cbor::<T>(&encoded).expect("what was encoded decodes");
    assert_eq!(to_cbor(&again), encoded, "an encoded value round-trips");
    Some(value)
}

/// The same for JSON.
fn same_in_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) {
    let text = serde_json::to_vec(value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("it was written before"), text);
}
