//! What the fuzz targets beside this crate call, one function for each kind of bytes that comes from outside.
//!
//! Most of what the vault reads stands under a seal or a signature, which random bytes never pass. So each function
//! takes what is inside, seals and signs it with keys of its own (`stage`), and reads it the way the product does: this
//! is what someone who has those keys can do. Every function says whether its bytes were read, and panics when what was
//! read does not stand up to what the rest of the vault takes for granted.
//!
//! None of this is in the product: it is built for tests, and for the fuzz targets by the feature `fuzz`.

#![expect(clippy::missing_panics_doc, reason = "a panic is what these functions are there to find")]

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

/// Decodes bytes; what decodes must decode from its own encoding as well, to the same value.
fn decoded<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Option<T> {
    let value = from_cbor::<T>(bytes).ok()?;
    let encoded = to_cbor(&value);
    let again = from_cbor::<T>(&encoded).expect("what was encoded decodes");
    assert_eq!(to_cbor(&again), encoded, "a value that was encoded comes back");
    Some(value)
}

/// The same for JSON.
fn same_in_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) {
    let text = serde_json::to_vec(value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("it was written before"), text);
}
