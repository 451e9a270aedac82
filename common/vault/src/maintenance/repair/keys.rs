//! Wraps missing or damaged sealed keys again for those to whom the roster assigns them: with a recovery key that opens
//! another copy, or with a writer's key, which has its group's keys.

use std::collections::HashSet;

use lifeboat_core::Sha256Digest;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::format::object_name::{KeyFolder, Name};
use crate::keys::{GroupKeys, Recipient};
use crate::maintenance::check::keyring::{Holder, Wanted, wanted};
use crate::maintenance::check::survey::Survey;
use crate::maintenance::check::{Findings, Maintenance};
use crate::maintenance::repair::Repairer;

impl Maintenance {
    pub(crate) async fn repair_keys(
        &self,
        survey: &Survey,
        findings: &Findings,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let mut there = HashSet::new();
        for wanted in wanted(&self.session.repository().roster) {
            let Ok(recipient) = wanted.recipient.parse::<Recipient>() else { continue };
            let id = recipient.id();
            if !survey.has_key(wanted.folder, &id) {
                // A roster does not contain passphrases: only its holder can restore a key that was wrapped to one.
                let secret = self.secret_of(&wanted).filter(|_| !recipient.needs_passphrase());
                let Some(secret) = secret else { continue };
                let wrapped = recipient.wrap(&secret)?;
                let key = format!("{}{}.age", wanted.prefix(&id), Sha256Digest::of(&wrapped));
                repairer.write(key, wrapped, format!("seals the key to the {} again", wanted.holder)).await?;
            }
            there.insert((wanted.folder, id));
        }
        let roster = &self.session.repository().roster;
        for damage in findings.damage.iter() {
            let Some(Name::Key { folder, recipient, .. }) = Name::parse(&damage.key) else { continue };
            // A key that the roster does not require belongs to someone who was removed.
            let is_asked_for = wanted(roster)
                .iter()
                .any(|wanted| wanted.folder == folder && wanted.recipient_id().as_ref() == Some(&recipient));
            let is_replaced = there.contains(&(folder, recipient)) || !is_asked_for;
            if repairer.may_remove && is_replaced && self.is_still_altered(&damage.key).await? {
                repairer
                    .remove(
                        &damage.key,
                        "it is damaged, and the key that the roster requires exists beside it",
                    )
                    .await?;
            }
        }
        Ok(())
    }

    /// The secret to seal, if this key has it.
    fn secret_of(&self, wanted: &Wanted) -> Option<Zeroizing<Vec<u8>>> {
        if let (KeyFolder::Group(group), Some(keys)) = (wanted.folder, &self.group) {
            return (keys.id == group).then(|| group_secret(keys, wanted.holder));
        }
        let restorer = self.restorer.as_ref()?;
        match wanted.folder {
            KeyFolder::Root => {
                self.session.pen().ok().map(|pen| Zeroizing::new(pen.key.to_pkcs8_der().to_vec()))
            }
            KeyFolder::Data(epoch) => restorer
                .data_secrets()
                .find(|(of, _)| *of == epoch)
                .map(|(_, secret)| Zeroizing::new(secret.to_vec())),
            // Only its writers can seal the keys of a closed group again.
            KeyFolder::Group(group) => {
                restorer.group(group).ok().map(|keys| group_secret(keys, wanted.holder))
            }
        }
    }
}

/// A keeper gets only the index key.
fn group_secret(keys: &GroupKeys, holder: Holder) -> Zeroizing<Vec<u8>> {
    if holder == Holder::Keeper { keys.index_to_cbor() } else { keys.to_cbor() }
}
