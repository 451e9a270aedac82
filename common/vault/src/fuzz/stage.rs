//! The repository, the keys and the members that the fuzz targets use. All of it is fixed, so that an input always has
//! the same effect.

use std::sync::LazyLock;

use jiff::Timestamp;
use lifeboat_core::random::Entropy;
use lifeboat_trust::key::SigningKey;
use zeroize::Zeroizing;

use crate::format::floor::Floor;
use crate::format::roster::{Epoch, Keeper, Roster, RosterRecipient, Writer, key_text};
use crate::format::seal::SealKey;
use crate::ids::{GroupId, KeeperId, RepositoryId, RunId, WriterId};
use crate::keys::{self, GroupKeys, Identity};

pub(super) const WRITER: WriterId = WriterId::from_bytes([0x11; 16]);
pub(super) const KEEPER: KeeperId = KeeperId::from_bytes([0x22; 16]);
pub(super) const GROUP: GroupId = GroupId::from_bytes([0x33; 16]);
pub(super) const RUN: RunId = RunId::from_bytes([0x44; 16]);

/// The stage.
pub(super) static STAGE: LazyLock<Stage> = LazyLock::new(Stage::new);

/// Everything that is fixed.
pub(super) struct Stage {
    /// The root's key, which is also the writer's and the keeper's.
    pub(super) key: SigningKey,
    pub(super) repository: RepositoryId,
    pub(super) group: GroupKeys,
    pub(super) run_key: SealKey,
    pub(super) roster: Roster,
    /// A hybrid identity and a classical one.
    pub(super) identity: Identity,
}

struct Constant(u8);

impl Entropy for Constant {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0);
    }
}

/// A P-256 private key in PKCS#8 (RFC 5958) around a SEC 1 key (RFC 5915) of 32 bytes, all of them 1.
fn signing_key() -> SigningKey {
    const START: &[u8] =
        b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\
        \xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
    SigningKey::from_pkcs8_der(&[START, &[1; 32]].concat()).expect("a number below the order is a key")
}

impl Stage {
    fn new() -> Self {
        let key = signing_key();
        let repository = key.verification_key().id();
        let (chunk_id_key, chunker_seed) = (Zeroizing::new([0x55; 32]), Zeroizing::new([0x66; 32]));
        let group = GroupKeys::from_parts(GROUP, chunk_id_key, chunker_seed, &Zeroizing::new([0x77; 32]));
        let (secret, recipient) = keys::generate(&Constant(0x88));
        let lines = format!("{}\n{CLASSICAL}\n", *secret);
        let identity = Identity::parse(lines.as_bytes()).expect("both lines are identities");
        let public = key_text(key.verification_key());
        let text = recipient.as_str().to_owned();
        let roster = Roster {
            format: crate::format::FORMAT_VERSION,
            repository,
            number: 0,
            previous: None,
            time: Timestamp::UNIX_EPOCH,
            root_key: public.clone(),
            recipients: vec![RosterRecipient { id: recipient.id(), recipient: text.clone(), name: None }],
            epochs: vec![Epoch { epoch: 0, recipient: text.clone() }],
            groups: vec![group.listed()],
            writers: vec![Writer {
                id: WRITER,
                group: GROUP,
                key: public.clone(),
                name: None,
                revoked: None,
            }],
            keepers: vec![Keeper { id: KEEPER, key: public, recipient: text, name: None, removed: None }],
            floor: Floor::default(),
            required: Vec::new(),
        };
        Self { key, repository, group, run_key: SealKey::from_bytes(&[0x99; 32]), roster, identity }
    }
}

/// The X25519 identity of age's own test vectors.
const CLASSICAL: &str = "AGE-SECRET-KEY-1XMWWC06LY3EE5RYTXM9MFLAZ2U56JJJ36S0MYPDRWSVLUL66MV4QX3S7F6";
