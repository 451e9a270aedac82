//! Witnesses of transparency logs (C2SP, "Transparency Log Cosignatures", the Ed25519 form).
//!
//! A log proves with a signed checkpoint that it contains an entry. A log that lies could show everyone a different
//! history. A witness signs a checkpoint only if it continues all those that it signed before, so an entry under a
//! checkpoint with enough cosignatures is in the one history that the witnesses saw as well.
//!
//! Sigstore's trusted root has no place for witnesses, so the verifier names them separately.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::{Fault, Kind, Sha256Digest};

use crate::bundle::{Checkpoint, NoteSignature, is_no_part_of_a_name};
use crate::json::printable;
use crate::key::VerificationKey;
use crate::refusal::Refusal;
use crate::step;

/// The type of this kind of signature in keys and key ids.
const COSIGNATURE: u8 = 4;
/// The type of a log's own Ed25519 signatures.
const NOTE: u8 = 1;
/// The type of cosignatures with ML-DSA-44.
const ML_DSA: u8 = 6;

/// The longest name of a witness, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A trusted witness.
#[derive(Clone)]
pub struct Witness {
    name: String,
    id: [u8; 4],
    key: VerificationKey,
}

/// A text that is not a witness's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the key of a witness ({reason})")]
pub struct NotAWitness {
    /// What was found instead.
    reason: String,
}

impl Fault for NotAWitness {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some(
            "give the verifier key that the witness publishes: one line, `name+hash+key`, of the Ed25519 kind"
                .to_owned(),
        )
    }
}

/// Why witnesses cannot form a quorum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoQuorum {
    /// None is required, which every log fulfils.
    #[error("a threshold of 0 witnesses would accept what none of them saw")]
    None,
    /// More are required than there are.
    #[error("{threshold} witnesses must have signed, and the keys of {named} are given")]
    Unreachable {
        /// How many must have signed.
        threshold: usize,
        /// How many keys are named.
        named: usize,
    },
}

impl Fault for NoQuorum {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some("name as many witnesses as must have signed, or leave the threshold out".to_owned())
    }
}

/// A verified cosignature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness's name.
    pub witness: String,
    /// When it signed the checkpoint, by its own clock.
    pub time: Timestamp,
}

/// The trusted witnesses, and how many of them must have signed a checkpoint. By default none.
#[derive(Debug, Clone, Default)]
pub struct Quorum {
    witnesses: Vec<Witness>,
    threshold: usize,
}

/// The signatures under a checkpoint, after checking.
#[derive(Debug, Default)]
pub(crate) struct Witnessed {
    /// By the quorum's witnesses; each once.
    pub(crate) cosignatures: Vec<Cosignature>,
    /// By others than the log and the quorum's witnesses.
    pub(crate) unchecked: usize,
}

impl Witness {
    /// Parses a verifier key (C2SP, "Note", section "Verifier keys"): the name, its key id in hexadecimal, and the kind
    /// and key in base64, joined by `+`.
    pub fn from_vkey(text: &str) -> Result<Self, NotAWitness> {
        let refused = |reason: String| NotAWitness { reason };
        let text = text.trim();
        if text.contains('\n') {
            return Err(refused("it is more than one line".to_owned()));
        }
        let parts: Vec<&str> = text.splitn(3, '+').collect();
        let [name, hash, key] = parts.as_slice() else {
            return Err(refused("it is not of the form `name+hash+key`".to_owned()));
        };
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(is_no_part_of_a_name) {
            return Err(refused("its name is empty, too long, or holds spaces".to_owned()));
        }
        let key = STANDARD.decode(key).map_err(|error| refused(format!("its key is not base64: {error}")))?;
        let raw = match key.split_first() {
            Some((&COSIGNATURE, raw)) => raw,
            Some((&NOTE, _)) => return Err(refused("it is the key of a log, not of a witness".to_owned())),
            Some((&ML_DSA, _)) => {
                return Err(refused("it is an ML-DSA key, which is not supported".to_owned()));
            }
            _ => return Err(refused("its key is of an unknown kind".to_owned())),
        };
        let raw = <[u8; 32]>::try_from(raw)
            .map_err(|_| refused(format!("its key has {} bytes, not 32", raw.len())))?;
        let id = key_id(name, &key);
        if !hash.eq_ignore_ascii_case(&hexadecimal(id)) {
            let reason = format!("it says that its id is {}, but {} it is", printable(hash), hexadecimal(id));
            return Err(refused(reason));
        }
        let key = VerificationKey::from_ed25519(raw).map_err(|error| refused(error.to_string()))?;
        Ok(Self { name: (*name).to_owned(), id, key })
    }

    /// The verifier key in the form that [`Witness::from_vkey`] parses.
    pub fn to_vkey(&self) -> String {
        let raw = self.key.to_ed25519().unwrap_or_default();
        let key = STANDARD.encode([&[COSIGNATURE], &raw[..]].concat());
        format!("{}+{}+{key}", self.name, hexadecimal(self.id))
    }

    /// The name in the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a signature claims to be this witness's. A name or an id alone may be another's.
    fn is_named_by(&self, signature: &NoteSignature) -> bool {
        signature.id == self.id && signature.name == self.name
    }

    /// The cosignature, if the witness made it over this body.
    fn verify(&self, body: &str, signature: &NoteSignature) -> Option<Cosignature> {
        let (time, signature) = signature.bytes.split_first_chunk::<8>()?;
        let seconds = i64::try_from(u64::from_be_bytes(*time)).ok()?;
        let message = format!("cosignature/v1\ntime {seconds}\n{body}");
        self.key.verify(message.as_bytes(), signature).ok()?;
        Some(Cosignature { witness: self.name.clone(), time: Timestamp::from_second(seconds).ok()? })
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({}+{})", self.name, hexadecimal(self.id))
    }
}

impl Quorum {
    /// A quorum of `threshold` of these witnesses, or of all of them. A key that is given twice is one witness.
    pub fn new(witnesses: Vec<Witness>, threshold: Option<usize>) -> Result<Self, NoQuorum> {
        let mut distinct: Vec<Witness> = Vec::new();
        for witness in witnesses {
            if !distinct.iter().any(|known| known.key == witness.key) {
                distinct.push(witness);
            }
        }
        let named = distinct.len();
        match threshold.unwrap_or(named) {
            0 if threshold.is_some() => Err(NoQuorum::None),
            threshold if threshold > named => Err(NoQuorum::Unreachable { threshold, named }),
            threshold => Ok(Self { witnesses: distinct, threshold }),
        }
    }

    /// The witnesses, each once.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// How many of them must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether any witness must have signed.
    pub fn is_needed(&self) -> bool {
        self.threshold > 0
    }

    /// Checks the signatures under the checkpoint of a log entry. The log's own is verified already.
    pub(crate) fn check(&self, checkpoint: Option<&Checkpoint>) -> Result<Witnessed, Refusal> {
        let refused = |reason: String| Refusal::unproven(step::WITNESSES, reason);
        let wrong = |name: &str| refused(format!("the cosignature of {name} under its checkpoint is wrong"));
        let Some(checkpoint) = checkpoint else {
            if self.is_needed() {
                let reason = "its log entry has no checkpoint that a witness could have signed";
                return Err(refused(reason.to_owned()));
            }
            return Ok(Witnessed::default());
        };
        let mut witnessed = Witnessed::default();
        for witness in &self.witnesses {
            let mut own = checkpoint.cosignatures.iter().filter(|signature| witness.is_named_by(signature));
            let verified = own
                .try_fold(None, |_, signature| witness.verify(&checkpoint.body, signature).map(Some))
                .ok_or_else(|| wrong(&witness.name))?;
            witnessed.cosignatures.extend(verified);
        }
        let is_known = |signature: &&NoteSignature| self.witnesses.iter().any(|w| w.is_named_by(signature));
        let all = checkpoint.cosignatures.len();
        witnessed.unchecked = all - checkpoint.cosignatures.iter().filter(is_known).count();
        if witnessed.cosignatures.len() < self.threshold {
            let found = witnessed.cosignatures.len();
            let needed = self.threshold;
            return Err(refused(format!(
                "{found} of the {needed} witnesses that are needed signed its checkpoint"
            )));
        }
        Ok(witnessed)
    }
}

/// The first four bytes of the digest of name and key, which distinguish keys and prove nothing.
fn key_id(name: &str, kind_and_key: &[u8]) -> [u8; 4] {
    let digest = Sha256Digest::of(&[name.as_bytes(), b"\n", kind_and_key].concat());
    let mut id = [0; 4];
    id.copy_from_slice(&digest.as_bytes()[..4]);
    id
}

fn hexadecimal(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    const BODY: &str = "log.example\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    struct Signer {
        pair: Ed25519KeyPair,
        name: &'static str,
    }

    impl Signer {
        fn new(name: &'static str) -> Self {
            Self { pair: Ed25519KeyPair::generate().unwrap(), name }
        }

        fn vkey_of_kind(&self, kind: u8) -> String {
            let key = [&[kind], self.pair.public_key().as_ref()].concat();
            format!("{}+{}+{}", self.name, hexadecimal(key_id(self.name, &key)), STANDARD.encode(key))
        }

        fn witness(&self) -> Witness {
            Witness::from_vkey(&self.vkey_of_kind(COSIGNATURE)).unwrap()
        }

        fn cosign(&self, body: &str, time: u64) -> NoteSignature {
            let message = format!("cosignature/v1\ntime {time}\n{body}");
            let signature = self.pair.sign(message.as_bytes());
            let bytes = [&time.to_be_bytes()[..], signature.as_ref()].concat();
            NoteSignature { name: self.name.to_owned(), id: self.witness().id, bytes }
        }
    }

    fn checkpoint(cosignatures: Vec<NoteSignature>) -> Checkpoint {
        let log_name = "log.example".to_owned();
        Checkpoint { body: BODY.to_owned(), log_name, log_signatures: Vec::new(), cosignatures }
    }

    fn quorum(witnesses: &[&Signer], threshold: Option<usize>) -> Quorum {
        Quorum::new(witnesses.iter().map(|signer| signer.witness()).collect(), threshold).unwrap()
    }

    #[test]
    fn the_keys_that_witnesses_publish_bear_the_ids_that_are_computed_here() {
        for vkey in [
            "witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G",
            "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv\n",
        ] {
            let witness = Witness::from_vkey(vkey).unwrap();
            assert_eq!(witness.to_vkey(), vkey.trim());
        }
    }

    #[test]
    fn cosignatures_of_named_witnesses_count_each_witness_once() {
        let (one, two, other) =
            (Signer::new("one.example"), Signer::new("two.example/w"), Signer::new("other"));
        let both = quorum(&[&one, &two], None);
        let good = checkpoint(vec![other.cosign(BODY, 5), one.cosign(BODY, 7), two.cosign(BODY, 9)]);
        let found = both.check(Some(&good)).unwrap();
        let names: Vec<(&str, i64)> =
            found.cosignatures.iter().map(|c| (c.witness.as_str(), c.time.as_second())).collect();
        assert_eq!((names, found.unchecked), (vec![("one.example", 7), ("two.example/w", 9)], 1));
        let twice = checkpoint(vec![one.cosign(BODY, 7), one.cosign(BODY, 8)]);
        insta::assert_snapshot!(both.check(Some(&twice)).unwrap_err(), @"1 of the 2 witnesses that are needed signed its checkpoint");
        quorum(&[&one, &two], Some(1)).check(Some(&twice)).unwrap();
        insta::assert_snapshot!(both.check(None).unwrap_err(), @"its log entry has no checkpoint that a witness could have signed");
    }

    #[test]
    fn without_witnesses_all_are_counted_and_none_is_needed() {
        let other = Signer::new("other.example");
        let quorum = Quorum::default();
        assert!(!quorum.is_needed());
        assert_eq!(quorum.check(Some(&checkpoint(vec![other.cosign("x", 1)]))).unwrap().unchecked, 1);
        assert_eq!(quorum.check(None).unwrap().unchecked, 0);
    }

    #[test]
    fn a_wrong_cosignature_of_a_named_witness_refuses_whatever_else_stands_there() {
        let (one, two) = (Signer::new("one.example"), Signer::new("two.example"));
        let quorum = quorum(&[&one, &two], Some(1));
        let good = two.cosign(BODY, 9);
        let mut other_time = one.cosign(BODY, 7);
        other_time.bytes[7] ^= 1;
        let mut by_another = Signer::new("one.example").cosign(BODY, 7);
        by_another.id = one.witness().id;
        let mut short = one.cosign(BODY, 7);
        short.bytes.truncate(7);
        let mut long = one.cosign(BODY, 7);
        long.bytes.push(0);
        // A log's own signature contains no time, and is not a cosignature.
        let mut plain = one.cosign(BODY, 7);
        plain.bytes = one.pair.sign(BODY.as_bytes()).as_ref().to_vec();
        let bad = [one.cosign("log.example\n8\nAA==\n", 7), other_time, by_another, short, long, plain];
        for bad in bad.into_iter().chain([one.cosign(BODY, u64::MAX), one.cosign(BODY, i64::MAX as u64)]) {
            let refusal = quorum.check(Some(&checkpoint(vec![good.clone(), bad.clone()]))).unwrap_err();
            assert_eq!(refusal.step(), step::WITNESSES, "{bad:?}");
            assert!(refusal.to_string().contains("one.example"), "{refusal}");
            // A good one next to it does not make up for it.
            let beside = vec![good.clone(), one.cosign(BODY, 7), bad.clone(), one.cosign(BODY, 8)];
            quorum.check(Some(&checkpoint(beside))).unwrap_err();
        }
    }

    #[test]
    fn a_name_or_an_id_alone_is_somebody_else() {
        let (one, two) = (Signer::new("one.example"), Signer::new("two.example"));
        let quorum = quorum(&[&one, &two], Some(1));
        let other_id = Signer::new("one.example").cosign(BODY, 7);
        let other_name = NoteSignature { name: "eve.example".to_owned(), ..one.cosign(BODY, 7) };
        let found = quorum.check(Some(&checkpoint(vec![other_id, other_name, two.cosign(BODY, 9)]))).unwrap();
        assert_eq!((found.cosignatures.len(), found.unchecked), (1, 2));
    }

    #[test]
    fn a_quorum_that_cannot_come_or_asks_for_nobody_is_refused() {
        let one = Signer::new("one.example").witness();
        let of = |threshold| Quorum::new(vec![one.clone(), one.clone()], threshold).map(|q| q.threshold);
        assert_eq!(of(None), Ok(1));
        assert_eq!(of(Some(2)), Err(NoQuorum::Unreachable { threshold: 2, named: 1 }));
        assert_eq!(of(Some(0)), Err(NoQuorum::None));
    }

    #[test]
    fn what_is_no_key_of_a_witness_is_refused_with_the_reason() {
        let signer = Signer::new("one.example");
        let good = signer.vkey_of_kind(COSIGNATURE);
        let reason = |vkey: &str| Witness::from_vkey(vkey).unwrap_err().to_string();
        insta::assert_snapshot!(reason("-----BEGIN PUBLIC KEY-----\na+b+c"), @"this is not the key of a witness (it is more than one line)");
        insta::assert_snapshot!(reason("one.example+0a8e4b9c"), @"this is not the key of a witness (it is not of the form `name+hash+key`)");
        insta::assert_snapshot!(reason(&signer.vkey_of_kind(NOTE)), @"this is not the key of a witness (it is the key of a log, not of a witness)");
        insta::assert_snapshot!(reason(&signer.vkey_of_kind(ML_DSA)), @"this is not the key of a witness (it is an ML-DSA key, which is not supported)");
        insta::assert_snapshot!(reason(&signer.vkey_of_kind(99)), @"this is not the key of a witness (its key is of an unknown kind)");
        insta::assert_snapshot!(reason("x+0a8e4b9c+BAAA"), @"this is not the key of a witness (its key has 2 bytes, not 32)");
        insta::assert_snapshot!(reason("x+0a8e4b9c+!"), @"this is not the key of a witness (its key is not base64: Invalid symbol 33, offset 0.)");
        for name in ["", "a b", "a\u{a0}b", &"x".repeat(257)] {
            assert!(reason(&good.replace("one.example", name)).contains("its name"), "{name:?}");
        }
        // The id binds the name and the key.
        assert!(reason(&good.replace("one.example", "two.example")).contains("it says that its id is"));
    }
}
