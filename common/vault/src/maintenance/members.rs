//! Members and their rights: adds and removes recipients, writers and keepers with a new roster, which only the root
//! key can sign. Only a recovery key can open the root key.
//!
//! Keys are stored before the roster that names them. A crash in between leaves unused keys, which are harmless.

mod changes;
mod contents;

use lifeboat_core::Context;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;
use lifeboat_trust::key::SigningKey;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::format::floor::Floor;
use crate::format::layout::{self, cap};
use crate::format::member_name::MemberName;
use crate::format::roster::{Head, Keeper, Revocation, Roster, RosterRecipient, Writer, key_text, pem_of};
use crate::ids::{GroupId, KeeperId, Signer, WriterId};
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::{WriterKey, recovery_key_text};
use crate::keys::{self, GroupKeys, Passphrase, Recipient};
use crate::repository::listing;
use crate::repository::objects::check_size;
use crate::repository::open::Repository;
use crate::repository::recovery_session::RecoverySession;
use crate::snapshots::history::History;

/// Everyone on the roster.
#[derive(Debug, Clone)]
pub struct Members {
    /// The number of the roster.
    pub roster: u64,
    /// The recipients that can recover.
    pub recipients: Vec<RecipientMember>,
    /// The backup hosts.
    pub writers: Vec<WriterMember>,
    /// The keepers, which check and prune.
    pub keepers: Vec<KeeperMember>,
    /// How many times the data identity was rotated.
    pub epoch: u32,
    /// The minimum that requests to forget must leave.
    pub floor: Floor,
}

/// A recovery recipient.
#[derive(Debug, Clone)]
pub struct RecipientMember {
    /// Its short id.
    pub id: String,
    /// The recipient in age's form.
    pub recipient: String,
    /// What people call it.
    pub name: Option<MemberName>,
}

/// A backup host.
#[derive(Debug, Clone)]
pub struct WriterMember {
    /// Its id.
    pub id: WriterId,
    /// The group that it deduplicates in.
    pub group: GroupId,
    /// Its verification key, base64 of the `SubjectPublicKeyInfo`.
    pub key: String,
    /// What people call it.
    pub name: Option<MemberName>,
    /// Whether it was removed, and its last sequence that counts.
    pub removed: Option<Option<u64>>,
}

/// A keeper.
#[derive(Debug, Clone)]
pub struct KeeperMember {
    /// Its id.
    pub id: KeeperId,
    /// Its verification key, base64 of the `SubjectPublicKeyInfo`.
    pub key: String,
    /// What people call it.
    pub name: Option<MemberName>,
    /// Whether it was removed.
    pub removed: bool,
}

/// A removed member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A recovery recipient; from now on, new data is sealed to a new data identity.
    Recipient(String),
    /// A writer, and its last sequence that counts.
    Writer(WriterId, Option<u64>),
    /// A keeper.
    Keeper(KeeperId),
}

impl WriterMember {
    /// The verification key as PEM.
    pub fn pem(&self) -> String {
        pem_of(&self.key)
    }
}

impl Members {
    /// Everyone on this roster.
    pub fn of(roster: &Roster) -> Self {
        let recipients = roster.recipients.iter();
        let recipients = recipients.map(|r| RecipientMember {
            id: r.id.clone(),
            recipient: r.recipient.clone(),
            name: r.name.clone(),
        });
        let writers = roster.writers.iter().map(|w| WriterMember {
            id: w.id,
            group: w.group,
            key: w.key.clone(),
            name: w.name.clone(),
            removed: w.revoked.map(|revocation| revocation.last.map(|head| head.sequence)),
        });
        let keepers = roster.keepers.iter().map(|k| KeeperMember {
            id: k.id,
            key: k.key.clone(),
            name: k.name.clone(),
            removed: k.removed.is_some(),
        });
        Self {
            roster: roster.number,
            recipients: recipients.collect(),
            writers: writers.collect(),
            keepers: keepers.collect(),
            epoch: roster.epoch().map_or(0, |epoch| epoch.epoch),
            floor: roster.floor,
        }
    }
}

/// Changes the members of a repository, which requires a recovery key.
pub struct Membership<'a> {
    restorer: &'a RecoverySession,
    context: &'a Context,
}

impl<'a> Membership<'a> {
    /// Membership of the repository that `restorer` has opened.
    pub fn of(restorer: &'a RecoverySession, context: &'a Context) -> Self {
        Self { restorer, context }
    }

    /// Makes one more recovery key, which can recover everything, including what was stored before. `location` is the
    /// repository's location for the file; `keep` receives the file's text and must store it before the roster names
    /// the key. If `keep` fails, nothing changes. Returns the key's public half.
    pub async fn add_recovery_key(
        &self,
        location: &str,
        name: Option<MemberName>,
        keep: impl FnOnce(&str) -> Result<(), VaultError>,
    ) -> Result<Recipient, VaultError> {
        let (secret, recipient) = keys::generate(&*self.context.entropy);
        let Repository { id, roster, .. } = self.restorer.repository();
        changes::see_that_it_is_free(roster, name.as_ref())?;
        keep(&recovery_key_text(&secret, recipient.as_str(), id, location, self.context.clock.now()))?;
        self.add_recipient(&recipient, name).await?;
        Ok(recipient)
    }

    /// Finds the member with this id, prefix of an id, or name, before anything is changed.
    pub fn member(&self, id: &str) -> Result<Removed, VaultError> {
        changes::find_member(&self.restorer.repository().roster, id)
    }

    /// Lets another recipient recover everything, including what was stored before.
    pub async fn add_recipient(
        &self,
        recipient: &Recipient,
        name: Option<MemberName>,
    ) -> Result<(), VaultError> {
        let roster = changes::with_recipient(self.restorer.repository().roster.clone(), recipient, name)?;
        let next = self.next_roster(roster)?;
        self.wrap_everything(recipient).await?;
        self.publish(next).await
    }

    /// Enrols a backup host, in its own group or in an existing one. `keep` receives the key and must store it before
    /// the roster names it; if it fails, nothing changes.
    pub async fn add_writer(
        &self,
        group: Option<GroupId>,
        name: Option<MemberName>,
        keep: impl FnOnce(&WriterKey) -> Result<(), VaultError>,
    ) -> Result<WriterKey, VaultError> {
        let repository = self.restorer.repository();
        let mut roster = repository.roster.clone();
        changes::see_that_it_is_free(&roster, name.as_ref())?;
        let epoch = roster.epoch().ok_or(VaultError::Internal("a roster has an epoch"))?.clone();
        let data_recipient: Recipient = epoch.recipient.parse()?;
        let keys = match group {
            Some(id) if roster.group(id).is_some() => self.restorer.group(id)?.clone(),
            Some(id) => return Err(VaultError::NoSuchMember { wanted: id.to_string(), what: "group" }),
            None => {
                let keys = GroupKeys::random(&*self.context.entropy);
                roster.groups.push(keys.listed());
                keys
            }
        };
        let key = WriterKey {
            repository: repository.id,
            writer: WriterId::random(&*self.context.entropy),
            signing_key: SigningKey::generate(),
            group: keys,
            data_recipient,
            epoch: epoch.epoch,
        };
        roster.writers.push(Writer {
            id: key.writer,
            group: key.group.id,
            key: key_text(key.signing_key.verification_key()),
            name,
            revoked: None,
        });
        let next = self.next_roster(roster)?;
        if group.is_none() {
            self.wrap_group(&key.group, &key.data_recipient).await?;
        }
        keep(&key)?;
        self.publish(next).await?;
        Ok(key)
    }

    /// Enrols a keeper, which receives every group's index key. `keep` as in [`Self::add_writer`].
    pub async fn add_keeper(
        &self,
        name: Option<MemberName>,
        keep: impl FnOnce(&KeeperKey) -> Result<(), VaultError>,
    ) -> Result<KeeperKey, VaultError> {
        let repository = self.restorer.repository();
        let mut roster = repository.roster.clone();
        changes::see_that_it_is_free(&roster, name.as_ref())?;
        let (identity, recipient) = keys::generate(&*self.context.entropy);
        let key = KeeperKey::new(
            repository.id,
            KeeperId::random(&*self.context.entropy),
            SigningKey::generate(),
            identity,
        )
        .map_err(|_| VaultError::Internal("an identity that was just made can be read"))?;
        let listed = key_text(key.signing_key.verification_key());
        let text = recipient.as_str().to_owned();
        roster.keepers.push(Keeper { id: key.keeper, key: listed, recipient: text, name, removed: None });
        let next = self.next_roster(roster)?;
        for group in self.restorer.groups() {
            self.wrap_index_key(group, &recipient).await?;
        }
        keep(&key)?;
        self.publish(next).await?;
        Ok(key)
    }

    /// Removes a recipient, a writer or a keeper, given by its id, a prefix of it, or its name. Removing a recipient rotates the
    /// data identity; removing a writer keeps its snapshots up to the newest one, or up to `last`.
    pub async fn remove(
        &self,
        id: &str,
        last: Option<u64>,
        single_recipient: bool,
        passphrase: Option<&Passphrase>,
    ) -> Result<Removed, VaultError> {
        let roster = self.restorer.repository().roster.clone();
        let removed = changes::find_member(&roster, id)?;
        match &removed {
            Removed::Recipient(id) => {
                let roster = changes::without_recipient(roster, id, single_recipient)?;
                let (epoch, next) = self.next_epoch(roster)?;
                self.wrap_epoch(&epoch, passphrase).await?;
                self.publish(next).await?;
                self.drop_wraps_of(id).await;
            }
            Removed::Writer(id, _) => {
                let revocation = self.revocation(*id, last).await?;
                let roster = changes::without_writer(roster, *id, revocation)?;
                self.publish(self.next_roster(roster)?).await?;
                return Ok(Removed::Writer(*id, revocation.last.map(|head| head.sequence)));
            }
            Removed::Keeper(id) => {
                let contents = self.contents_worth_keeping(Signer::Keeper(*id)).await?;
                let roster = changes::without_keeper(roster, *id, contents)?;
                self.publish(self.next_roster(roster)?).await?;
            }
        }
        Ok(removed)
    }

    /// Begins a new epoch: from now on, new data is sealed to a new data identity. Returns the epoch's number.
    pub async fn rotate(&self, passphrase: Option<&Passphrase>) -> Result<u32, VaultError> {
        let roster = self.restorer.repository().roster.clone();
        let (epoch, next) = self.next_epoch(roster)?;
        self.wrap_epoch(&epoch, passphrase).await?;
        self.publish(next).await?;
        Ok(epoch.number)
    }

    /// Sets the minimum that requests to forget must leave.
    pub async fn set_floor(&self, floor: Floor) -> Result<(), VaultError> {
        let roster = Roster { floor, ..self.restorer.repository().roster.clone() };
        self.publish(self.next_roster(roster)?).await
    }

    /// The last snapshot that counts of a writer that is being removed.
    async fn revocation(&self, id: WriterId, last: Option<u64>) -> Result<Revocation, VaultError> {
        let history = History::read(self.restorer.repository()).await?;
        let of_writer = history.snapshots.iter().filter(|recorded| recorded.writer == id);
        let heads = of_writer.filter_map(|recorded| {
            Some(Head { sequence: recorded.sequence, id: recorded.manifest.as_ref().ok()?.id })
        });
        changes::revocation(id, &heads.collect::<Vec<_>>(), history.doubts_about(id).next(), last)
    }

    /// The roster of a new epoch, and what must be wrapped before it is stored.
    fn next_epoch(&self, roster: Roster) -> Result<(NewEpoch, NextRoster), VaultError> {
        let (secret, recipient) = keys::generate(&*self.context.entropy);
        let (number, roster) = changes::with_epoch(roster, &recipient);
        let recipients = roster.recipients.clone();
        Ok((NewEpoch { number, secret, recipient, recipients }, self.next_roster(roster)?))
    }

    /// Wraps a new data identity to every recovery recipient, and the groups' keys to it.
    async fn wrap_epoch(&self, epoch: &NewEpoch, passphrase: Option<&Passphrase>) -> Result<(), VaultError> {
        for listed in &epoch.recipients {
            let mut listed: Recipient = listed.recipient.parse()?;
            if let Some(passphrase) = passphrase {
                listed = listed.unlock(passphrase);
            }
            let wrapped = listed.wrap(epoch.secret.as_bytes())?;
            let key = layout::data_key(epoch.number, &listed.id(), &Sha256Digest::of(&wrapped));
            self.store_wrapped(key, wrapped).await?;
        }
        for group in self.restorer.groups() {
            self.wrap_full_group(group, &epoch.recipient).await?;
        }
        Ok(())
    }

    /// Wraps the root key and the data identity of every epoch to a new recipient.
    async fn wrap_everything(&self, recipient: &Recipient) -> Result<(), VaultError> {
        let wrapped = recipient.wrap(&self.restorer.session().root()?.to_pkcs8_der())?;
        let key = layout::root_key(&recipient.id(), &Sha256Digest::of(&wrapped));
        self.store_wrapped(key, wrapped).await?;
        for (epoch, secret) in self.restorer.data_secrets() {
            let wrapped = recipient.wrap(secret)?;
            let key = layout::data_key(epoch, &recipient.id(), &Sha256Digest::of(&wrapped));
            self.store_wrapped(key, wrapped).await?;
        }
        Ok(())
    }

    /// Wraps a new group's keys to the data recipient, and its index key to every keeper.
    async fn wrap_group(&self, keys: &GroupKeys, data_recipient: &Recipient) -> Result<(), VaultError> {
        self.wrap_full_group(keys, data_recipient).await?;
        for keeper in
            self.restorer.repository().roster.keepers.iter().filter(|keeper| keeper.removed.is_none())
        {
            self.wrap_index_key(keys, &keeper.recipient.parse()?).await?;
        }
        Ok(())
    }

    async fn wrap_full_group(&self, keys: &GroupKeys, recipient: &Recipient) -> Result<(), VaultError> {
        let wrapped = recipient.wrap(&keys.to_cbor())?;
        let key = layout::group_key(keys.id, &recipient.id(), &Sha256Digest::of(&wrapped));
        self.store_wrapped(key, wrapped).await
    }

    async fn wrap_index_key(&self, keys: &GroupKeys, recipient: &Recipient) -> Result<(), VaultError> {
        let wrapped = recipient.wrap(&keys.index_to_cbor())?;
        let key = layout::group_key(keys.id, &recipient.id(), &Sha256Digest::of(&wrapped));
        self.store_wrapped(key, wrapped).await
    }

    /// Deletes what was wrapped to a removed recipient. The recipient may have copies: this only tidies up.
    async fn drop_wraps_of(&self, recipient: &str) {
        let store = &self.restorer.repository().store;
        let Ok(entries) = listing::listed(store, "keys").await else { return };
        let prefix = format!("{recipient}-");
        let is_of = |key: &str| key.rsplit('/').next().is_some_and(|name| name.starts_with(&prefix));
        for entry in entries.iter().filter(|entry| is_of(&entry.key)) {
            if let Err(error) = store.delete(&entry.key).await {
                tracing::info!("`{}` stays: {error}", entry.key);
            }
        }
    }

    async fn store_wrapped(&self, key: String, wrapped: Vec<u8>) -> Result<(), VaultError> {
        self.restorer.repository().create_within(&key, wrapped, cap::KEY).await
    }

    /// Signs the next roster and checks that readers would accept it, before anything that it names is stored.
    fn next_roster(&self, roster: Roster) -> Result<NextRoster, VaultError> {
        let Repository { roster_pin, holes, .. } = self.restorer.repository();
        if let Some(hole) = holes.above.first() {
            // A successor of a roster other than the newest would undo the newest.
            return Err(hole.error.clone().into());
        }
        let number = roster_pin.number + 1;
        let roster =
            Roster { number, previous: Some(roster_pin.hash), time: self.context.clock.now(), ..roster };
        let bytes = roster.sign(self.restorer.session().root()?);
        check_size(&layout::roster(number), &bytes, cap::ROSTER)?;
        Ok(NextRoster { number, bytes })
    }

    /// Stores the next roster. Fails if another one was stored in the meantime: that one must be read first.
    async fn publish(&self, next: NextRoster) -> Result<(), VaultError> {
        let NextRoster { number, bytes } = next;
        match self.restorer.repository().store.create_alone(&layout::roster(number), bytes.into()).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists { .. }) => Err(VaultError::RosterChanged { number }),
            Err(error) => Err(error.into()),
        }
    }
}

/// A signed roster that is not yet stored.
struct NextRoster {
    number: u64,
    bytes: Vec<u8>,
}

/// A data identity that is not yet wrapped to anyone.
struct NewEpoch {
    number: u32,
    secret: Zeroizing<String>,
    recipient: Recipient,
    recipients: Vec<RosterRecipient>,
}
