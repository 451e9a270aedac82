//! Sealed keys that are missing or damaged are wrapped anew to whom the roster asks, with a recovery key that opens
//! another copy.

use lifeboat_core::Sha256Digest;
use zeroize::Zeroizing;

use crate::VaultError;
use crate::check::keyring::{Wanted, wanted};
use crate::check::name::KeyFolder;
use crate::check::survey::Survey;
use crate::check::{Checker, Findings};
use crate::keys::{GroupKeys, Identity, Recipient};
use crate::layout::{self, cap};
use crate::repair::Mender;
use crate::restorer::Restorer;

impl Checker {
    pub(crate) async fn mend_keys(
        &self,
        survey: &Survey,
        findings: &Findings,
        mender: &mut Mender<'_>,
    ) -> Result<(), VaultError> {
        let Some(restorer) = &self.restorer else { return Ok(()) };
        for wanted in wanted(&self.viewer.repository().roster) {
            let Ok(recipient) = wanted.recipient.parse::<Recipient>() else { continue };
            let id = recipient.id();
            if survey.has_key(wanted.folder, &id) {
                continue;
            }
            let Some(secret) = self.secret_of(restorer, &wanted).await? else { continue };
            let wrapped = recipient.wrap(&secret)?;
            let key = format!("{}{}.age", wanted.prefix(&id), Sha256Digest::of(&wrapped));
            mender.write(key, wrapped, format!("seals the key to the {} again", wanted.whose)).await?;
        }
        for damage in findings.damage.iter().filter(|damage| damage.key.starts_with("keys/")) {
            if self.is_still_altered(&damage.key).await? {
                mender
                    .remove(&damage.key, "it is damaged, and what the roster asks for stands beside it")
                    .await?;
            }
        }
        Ok(())
    }

    async fn secret_of(
        &self,
        restorer: &Restorer,
        wanted: &Wanted,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        Ok(match wanted.folder {
            KeyFolder::Root => match self.viewer.pen() {
                Ok(pen) => Some(Zeroizing::new(pen.key.to_pkcs8_der().to_vec())),
                Err(_) => None,
            },
            KeyFolder::Data(epoch) => self.data_secret(epoch).await?,
            KeyFolder::Group(group) => {
                let keys = restorer.group(group)?;
                let is_keeper = wanted.whose == "keeper";
                Some(if is_keeper { keys.index_to_cbor() } else { keys.to_cbor() })
            }
        })
    }

    /// The data identity of an epoch as it is sealed, if a copy opens with this recovery key. Anyone can seal
    /// something to a known recipient: the true identity is the one that opens a group's keys.
    async fn data_secret(&self, epoch: u32) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let (Some(recovery), repository) = (&self.recovery, self.viewer.repository()) else {
            return Ok(None);
        };
        for entry in repository.store.list(&layout::data_keys(epoch)).await? {
            let bytes = match repository.store.read(&entry.key, cap::KEY).await.map_err(VaultError::reading) {
                Ok(bytes) => bytes,
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(_) => continue,
            };
            let Some(secret) = recovery.identity.unwrap(&bytes) else { continue };
            if let Ok(identity) = Identity::parse(&secret)
                && self.opens_a_group(&identity).await?
            {
                return Ok(Some(secret));
            }
        }
        Ok(None)
    }

    async fn opens_a_group(&self, identity: &Identity) -> Result<bool, VaultError> {
        let repository = self.viewer.repository();
        for group in &repository.roster.groups {
            for entry in repository.store.list(&layout::group_keys(group.id)).await? {
                let Ok(bytes) = repository.store.read(&entry.key, cap::KEY).await else { continue };
                let keys = identity.unwrap(&bytes).and_then(|secret| GroupKeys::from_cbor(&secret));
                if keys.is_some_and(|keys| keys.commitment() == group.commitment) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
