//! Keys, and how they are wrapped.
//!
//! age wraps keys; an AEAD seals data. Wrapping is rare and small, so recipients can be of any kind that age supports,
//! and changing them rewraps kilobytes. The identities that Lifeboat makes, recovery keys and data identities, are of
//! age's post-quantum hybrid (`hybrid`): what is copied from the storage today may be opened in twenty years. Every
//! recipient gets a separate wrap, since neither a passphrase nor a post-quantum recipient can share a file with
//! others.

mod group;
mod hybrid;
mod identity;
pub(crate) mod keeper_key;
pub(crate) mod key_file;
mod passphrase;
mod plugin;
mod recipient;

use zeroize::Zeroizing;

use lifeboat_core::random::Entropy;

#[cfg(test)]
mod tests;

pub(crate) use group::{GroupKeys, GroupView, index_key_from_cbor};
pub use identity::{Identity, IdentityFile};
pub use passphrase::Passphrase;
pub use plugin::{NoDialog, PluginDialog};
pub use recipient::{Protection, Recipient, RecipientKind};

/// Makes an identity of Lifeboat's kind: its text in age's form, and its recipient.
pub(crate) fn generate(entropy: &dyn Entropy) -> (Zeroizing<String>, Recipient) {
    let identity = hybrid::Identity::random(entropy);
    (identity.to_text(), Recipient::hybrid(identity.recipient()))
}

/// The recipient of an identity that [`generate`] made, from the identity's text.
pub(crate) fn recipient_of(secret: &[u8]) -> Option<String> {
    let identity: hybrid::Identity = std::str::from_utf8(secret).ok()?.trim().parse().ok()?;
    Some(identity.recipient().to_string())
}
