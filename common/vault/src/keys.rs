//! Key material: what is wrapped to whom.
//!
//! age wraps keys; an AEAD seals data. Wrapping is rare and small, so recipients can be of any kind that age knows,
//! and changing them rewraps kilobytes. The identities that we make ourselves, recovery keys and data identities, are
//! of age's post-quantum hybrid (`hybrid`): what is copied from the storage today may be opened in twenty years.
//! Every recipient gets a wrap of its own, since neither a passphrase nor a post-quantum recipient can share a file
//! with others.

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

/// Makes an identity of the kind that we make: its text, as age writes it, and its recipient.
pub(crate) fn generate(entropy: &dyn Entropy) -> (Zeroizing<String>, Recipient) {
    let identity = hybrid::Identity::random(entropy);
    (identity.to_text(), Recipient::hybrid(identity.recipient()))
}

/// The recipient of an identity that [`generate`] made, by the identity's text.
pub(crate) fn recipient_of(secret: &[u8]) -> Option<String> {
    let identity: hybrid::Identity = std::str::from_utf8(secret).ok()?.trim().parse().ok()?;
    Some(identity.recipient().to_string())
}
