//! Sealed keys that are missing or damaged are wrapped anew to whom the roster asks: with a recovery key that opens
//! another copy, or with the key of a writer, which holds its group's keys.

use std::collections::HashSet;

use lifeboat_core::Sha256Digest;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::format::object_name::{KeyFolder, Name};
use crate::keys::{GroupKeys, Recipient};
use crate::maintenance::check::keyring::{Holder, Wanted, wanted};
use crate::maintenance::check::survey::Survey;
use crate::maintenance::check::{Checker, Findings};
use crate::maintenance::repair::Mender;

impl Checker {
    pub(crate) async fn mend_keys(
        &self,
        survey: &Survey,
        findings: &Findings,
        mender: &mut Mender<'_>,
    ) -> Result<(), VaultError> {
        let mut there = HashSet::new();
        for wanted in wanted(&self.viewer.repository().roster) {
            let Ok(recipient) = wanted.recipient.parse::<Recipient>() else { continue };
            let id = recipient.id();
            if !survey.has_key(wanted.folder, &id) {
                // A roster does not hold passphrases: what was wrapped to one can be put back by its holder only.
                let secret = self.secret_of(&wanted).filter(|_| !recipient.needs_passphrase());
                let Some(secret) = secret else { continue };
                let wrapped = recipient.wrap(&secret)?;
                let key = format!("{}{}.age", wanted.prefix(&id), Sha256Digest::of(&wrapped));
                mender.write(key, wrapped, format!("seals the key to the {} again", wanted.holder)).await?;
            }
            there.insert((wanted.folder, id));
        }
        let roster = &self.viewer.repository().roster;
        for damage in findings.damage.iter() {
            let Some(Name::Key { folder, recipient, .. }) = Name::parse(&damage.key) else { continue };
            // One that the roster does not ask for belongs to someone who was removed.
            let is_asked_for = wanted(roster)
                .iter()
                .any(|wanted| wanted.folder == folder && wanted.recipient_id().as_ref() == Some(&recipient));
            let is_replaced = there.contains(&(folder, recipient)) || !is_asked_for;
            if mender.may_remove && is_replaced && self.is_still_altered(&damage.key).await? {
                mender
                    .remove(&damage.key, "it is damaged, and what the roster asks for stands beside it")
                    .await?;
            }
        }
        Ok(())
    }

    /// What is sealed, where this key holds it.
    fn secret_of(&self, wanted: &Wanted) -> Option<Zeroizing<Vec<u8>>> {
        if let (KeyFolder::Group(group), Some(keys)) = (wanted.folder, &self.group) {
            return (keys.id == group).then(|| group_secret(keys, wanted.holder));
        }
        let restorer = self.restorer.as_ref()?;
        match wanted.folder {
            KeyFolder::Root => {
                self.viewer.pen().ok().map(|pen| Zeroizing::new(pen.key.to_pkcs8_der().to_vec()))
            }
            KeyFolder::Data(epoch) => restorer
                .data_secrets()
                .find(|(of, _)| *of == epoch)
                .map(|(_, secret)| Zeroizing::new(secret.to_vec())),
            // The keys of a group that stays closed are its writers' to seal again.
            KeyFolder::Group(group) => {
                restorer.group(group).ok().map(|keys| group_secret(keys, wanted.holder))
            }
        }
    }
}

/// A keeper is given the index key alone.
fn group_secret(keys: &GroupKeys, holder: Holder) -> Zeroizing<Vec<u8>> {
    if holder == Holder::Keeper { keys.index_to_cbor() } else { keys.to_cbor() }
}
