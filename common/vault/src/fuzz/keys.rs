//! Keys: those that are wrapped in the repository, and the key files of people.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::stage::STAGE;
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::{RecoveryKeyFile, WriterKey};
use crate::keys::{GroupKeys, NoDialog, PluginDialog, Recipient, RecipientKind, index_key_from_cbor};

/// A group's keys, as wrapped to a data recipient or to a keeper.
pub fn group_keys(cbor: &[u8]) -> bool {
    let index_key = index_key_from_cbor(cbor);
    let Some(keys) = GroupKeys::from_cbor(cbor) else { return index_key.is_some() };
    let (group, index_key) = index_key.expect("all keys include the index key");
    assert_eq!((group, index_key.as_bytes()), (keys.id, keys.index_key.as_bytes()));
    let again = GroupKeys::from_cbor(&keys.to_cbor()).expect("what was written is read");
    assert_eq!(again.commitment(), keys.commitment());
    assert!(index_key_from_cbor(&keys.index_to_cbor()).is_some());
    true
}

/// A file of a writer key.
pub fn writer_key(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(key) = WriterKey::parse(text) else { return false };
    let text = key.to_text();
    let again = WriterKey::parse(&text).expect("what was written is read");
    assert_eq!(*again.to_text(), *text);
    true
}

/// A file of a keeper key.
pub fn keeper_key(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(key) = KeeperKey::parse(text) else { return false };
    let text = key.to_text();
    let again = KeeperKey::parse(&text).expect("what was written is read");
    assert_eq!(*again.to_text(), *text);
    true
}

/// A file of a recovery key: age identities, or an SSH key. One that is locked by a passphrase stays locked.
pub fn recovery_key(bytes: &[u8]) -> bool {
    let nobody: Arc<dyn PluginDialog> = Arc::new(NoDialog);
    let Ok(file) = RecoveryKeyFile::parse(Path::new("recovery.key"), bytes) else { return false };
    let key = file.key(&nobody);
    assert!(!file.is_locked() || key.is_err(), "a locked file requires a passphrase");
    let _ = format!("{file:?}");
    file.is_locked() || key.is_ok()
}

/// The text of a recipient, as in rosters and key files.
pub fn recipient(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(recipient) = text.parse::<Recipient>() else { return false };
    let again: Recipient = recipient.as_str().parse().expect("what was read is read again");
    assert_eq!((again.id(), again.kind()), (recipient.id(), recipient.kind()));
    assert!(!recipient.id().contains(['/', '.']) && recipient.id().len() == 16, "an id is part of a name");
    // A plugin would be run, and the others belong to age.
    if matches!(recipient.kind(), RecipientKind::Hybrid | RecipientKind::X25519) {
        recipient.wrap(b"secret").expect("what was read as a recipient can be wrapped to");
    }
    true
}

/// An age file that wraps a key; and one whose stanza has the bytes as an encapsulated key and a sealed file key.
pub fn wrapped(bytes: &[u8]) -> bool {
    let (encapsulated, body) = bytes.split_at(bytes.len().saturating_sub(32));
    let stanza = format!(
        "age-encryption.org/v1\n-> mlkem768x25519 {}\n{}\n--- {}\n",
        STANDARD_NO_PAD.encode(encapsulated),
        STANDARD_NO_PAD.encode(body),
        STANDARD_NO_PAD.encode([0; 32]),
    );
    assert!(STAGE.identity.unwrap(stanza.as_bytes()).is_none(), "its header is not authentic");
    STAGE.identity.unwrap(bytes).is_some()
}
