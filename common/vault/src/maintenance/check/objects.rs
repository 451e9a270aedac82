//! Checks single objects: the bytes against the name, the signature and the form.

use lifeboat_core::Sha256Digest;
use lifeboat_store::Entry;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::key::SigningKey;

use crate::error::{ObjectError, VaultError};
use crate::format::authority::{Belief, Word, belief};
use crate::format::condemnation::{Condemnation, Loss};
use crate::format::index::{Contents, Locations};
use crate::format::manifest::{self, Part};
use crate::format::object_name::{KeyFolder, Name};
use crate::format::registration::Registration;
use crate::format::request::Request;
use crate::format::run_end::RunEnd;
use crate::format::signed::{self, Place};
use crate::ids::{GroupId, Signer};
use crate::keys::GroupKeys;
use crate::keys::key_file::RecoveryKey;
use crate::repository::access::Session;
use crate::repository::locate::OF_ANOTHER_RUN;
use crate::repository::open::marker_of;
use crate::repository::recovery_session::RecoverySession;

/// The body of a valid object.
pub(crate) enum Body {
    Part(Signer, Part),
    Locations(Signer, Locations),
    Contents(Signer, Contents),
    Registration(Signer, Registration),
    Loss(Signer, Loss),
    /// Not used to check other objects, or not readable with this key.
    Other,
}

/// Why an object has no body.
pub(crate) enum ReadFault {
    /// It disappeared since it was listed.
    Gone,
    /// It is damaged.
    Altered(String),
    /// The store could not read it, or it is out of this user's reach.
    Unread(VaultError),
}

/// Reads and checks single objects with the keys at hand.
pub(crate) struct Objects<'a> {
    pub(crate) session: &'a Session,
    pub(crate) restorer: Option<&'a RecoverySession>,
    pub(crate) recovery: Option<&'a RecoveryKey>,
}

impl Objects<'_> {
    /// Reads an object whole and checks it.
    pub(crate) async fn read(&self, entry: &Entry, name: &Name) -> Result<Body, ReadFault> {
        let read = self.session.repository().store.read(&entry.key, name.cap()).await;
        let bytes = match ObjectError::split(read).map_err(|error| ReadFault::Unread(error.into()))? {
            Ok(bytes) => bytes,
            Err(error @ ObjectError::OutOfReach { .. }) => return Err(ReadFault::Unread(error.into())),
            Err(ObjectError::Damaged { reason, .. }) => return Err(ReadFault::Altered(reason)),
            Err(ObjectError::Missing { .. } | ObjectError::LostFrame { .. }) => return Err(ReadFault::Gone),
        };
        if let Some(hash) = name.hash() {
            let found = Sha256Digest::of(&bytes);
            if found != *hash {
                return Err(ReadFault::Altered(format!("its SHA-256 is {found}, not {hash}")));
            }
        }
        self.check(name, &bytes).map_err(ReadFault::Altered)
    }

    fn check(&self, name: &Name, bytes: &[u8]) -> Result<Body, String> {
        let repository = self.session.repository();
        let believed = |word, signer, group| {
            belief(word, signer, repository.roster.standing(signer, group)) == Belief::Yes
        };
        match name {
            Name::Marker => {
                let right = bytes == marker_of(&repository.id);
                right
                    .then_some(Body::Other)
                    .ok_or_else(|| "it is not the marker of this repository".to_owned())
            }
            // The chain of rosters was followed when the repository was opened.
            Name::Roster(_) => sole_signature(bytes),
            Name::Key { folder, .. } => self.sealed_key(*folder, bytes),
            Name::Run { group, run } => {
                let Some(registration) = self.signed::<Registration>(*group, bytes)? else {
                    return Ok(Body::Other);
                };
                let (signer, registration) = registration;
                if registration.run != *run || registration.group != *group {
                    return Err("it belongs to another run".to_owned());
                }
                Ok(Body::Registration(signer, registration))
            }
            Name::RunEnd { group, run } => match self.signed::<RunEnd>(*group, bytes)? {
                Some((_, end)) if end.run != *run => Err("it belongs to another run".to_owned()),
                _ => Ok(Body::Other),
            },
            // Packs are not read here.
            Name::Pack { .. } => Ok(Body::Other),
            Name::Contents { group, .. } => match self.signed::<Contents>(*group, bytes)? {
                Some((signer, contents)) => Ok(Body::Contents(signer, contents)),
                None => Ok(Body::Other),
            },
            Name::Locations { group, run, .. } => match self.signed::<Locations>(*group, bytes)? {
                Some((signer, locations)) if locations.run == *run => Ok(Body::Locations(signer, locations)),
                Some((signer, _)) => Err(format!("{signer} signed it, but {OF_ANOTHER_RUN}")),
                None => Ok(Body::Other),
            },
            Name::Part { group, .. } => match self.signed::<Part>(*group, bytes)? {
                Some((signer, _)) if !matches!(signer, Signer::Writer(_)) => {
                    Err(format!("it is signed by {signer}, who may not take snapshots"))
                }
                Some((signer, part)) => Ok(Body::Part(signer, part)),
                None => Ok(Body::Other),
            },
            Name::Snapshot { writer, sequence } => {
                let Some(writer) = repository.roster.writer(*writer) else { return sole_signature(bytes) };
                let place = manifest::Place {
                    repository: repository.id,
                    writer: writer.id,
                    group: writer.group,
                    sequence: *sequence,
                };
                let key = writer.verification_key().ok_or("its writer's key is malformed")?;
                manifest::verify(bytes, &key, &place).map_err(|error| error.to_string())?;
                sole_signature(bytes)
            }
            Name::Countersignature { .. } => {
                Envelope::from_json(bytes).map_err(|error| error.to_string())?;
                Ok(Body::Other)
            }
            Name::Forget { writer, sequence } => {
                Request::verify(bytes, &repository.roster, *writer, *sequence)
                    .map_err(|error| error.to_string())?;
                sole_signature(bytes)
            }
            Name::Condemnation { group, .. } => {
                self.signed::<Condemnation>(*group, bytes)?;
                Ok(Body::Other)
            }
            Name::Loss { group, .. } => match self.signed::<Loss>(*group, bytes)? {
                Some((signer, loss)) if believed(Word::LostToRuns, signer, *group) => {
                    Ok(Body::Loss(signer, loss))
                }
                _ => Ok(Body::Other),
            },
        }
    }

    /// Checks the signature of a sealed object, and opens it if its group's index key is at hand.
    fn signed<T: signed::Body>(&self, group: GroupId, bytes: &[u8]) -> Result<Option<(Signer, T)>, String> {
        let repository = self.session.repository();
        let key_of = |signer| repository.roster.knows(group, signer);
        let read = if let Some(view) = self.session.group(group) {
            signed::read(&repository.id, group, &view.index_key, key_of, bytes).map(Some)
        } else {
            let place = Place { purpose: T::PURPOSE, repository: &repository.id, group };
            signed::verify(place, key_of, bytes).map(|_| None)
        };
        read.map_err(|error| error.to_string())
    }

    /// An age file. If this key opens it, its secret is compared with the roster.
    fn sealed_key(&self, folder: KeyFolder, bytes: &[u8]) -> Result<Body, String> {
        age::Decryptor::new(bytes).map_err(|error| format!("it is not an age file: {error}"))?;
        let repository = self.session.repository();
        let right = match folder {
            KeyFolder::Root => {
                let secret = self.recovery.and_then(|key| key.identity.unwrap(bytes));
                secret.is_none_or(|secret| {
                    SigningKey::from_pkcs8_der(&secret)
                        .is_ok_and(|root| root.verification_key().id() == repository.id)
                })
            }
            KeyFolder::Data(epoch) => {
                let secret = self.recovery.and_then(|key| key.identity.unwrap(bytes));
                let mut known = self.restorer.into_iter().flat_map(RecoverySession::data_secrets);
                secret.is_none_or(|secret| known.any(|(of, known)| of == epoch && known == &secret[..]))
            }
            KeyFolder::Group(id) => {
                let secret = self.restorer.and_then(|restorer| restorer.unwrap(bytes));
                let group = repository.roster.group(id);
                secret.is_none_or(|(_, secret)| {
                    GroupKeys::from_cbor(&secret).is_some_and(|keys| {
                        // A group that the roster does not name was left behind by a killed `key add`.
                        keys.id == id && group.is_none_or(|group| group.commitment == keys.commitment())
                    })
                })
            }
        };
        right.then_some(Body::Other).ok_or_else(|| "it contains another key than the roster names".to_owned())
    }
}

/// Signed objects of this format have exactly one encoding, so that no byte can change unnoticed.
fn sole_signature(bytes: &[u8]) -> Result<Body, String> {
    let envelope = Envelope::from_json(bytes).map_err(|error| error.to_string())?;
    let is_plain = envelope.signatures.len() == 1 && envelope.signatures[0].key_id.is_none();
    if is_plain && envelope.to_json() == bytes {
        Ok(Body::Other)
    } else {
        Err("it is not in the form in which it was signed".to_owned())
    }
}
