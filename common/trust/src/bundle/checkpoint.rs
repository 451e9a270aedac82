//! Checkpoints of transparency logs (C2SP, "Note" and "Checkpoint"): a body that states the size and the root of a log,
//! and the signatures of the log and of its witnesses under it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::NotABundle;
use super::wire::refused;

/// How many signatures may stand under a checkpoint.
const MAX_SIGNATURES: usize = 64;

/// A checkpoint that agrees with the proof that contains it, and has a signature that claims to be from the log that
/// the entry names. No signature is verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The signed text, including its final newline. Its first line is the origin: the log and, for a log of the first
    /// generation, the number of its tree.
    pub body: String,
    /// The name of the key that claims to be the log's.
    pub log_name: String,
    /// The signatures with that name.
    pub log_signatures: Vec<NoteSignature>,
    /// The signatures that do not claim to be from the log.
    pub cosignatures: Vec<NoteSignature>,
}

/// A signature under a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key that made it.
    pub name: String,
    /// The id of that key.
    pub id: [u8; 4],
    /// The signature, in its kind's own form.
    pub bytes: Vec<u8>,
}

/// Whether a character is not allowed in the name of a key.
pub(crate) fn is_no_part_of_a_name(character: char) -> bool {
    character.is_whitespace() || character.is_control() || character == '+'
}

impl NoteSignature {
    /// Parses a line with an em dash, a name, and the id and the signature in base64.
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        if name.is_empty() || name.contains(is_no_part_of_a_name) {
            return None;
        }
        let decoded = STANDARD.decode(signature).ok()?;
        let (id, bytes) = decoded.split_first_chunk::<4>().filter(|(_, bytes)| !bytes.is_empty())?;
        Some(Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }
}

impl Checkpoint {
    /// Parses the checkpoint in the proof for a tree of this size and root; `log` is the id in the entry.
    pub(super) fn parse(note: &str, size: u64, root_hash: &str, log: &[u8]) -> Result<Self, NotABundle> {
        let (body, signatures) =
            note.split_once("\n\n").ok_or_else(|| refused("its checkpoint is not a signed note"))?;
        if signatures.contains("\n\n") || !signatures.ends_with('\n') {
            return Err(refused("its checkpoint is not a signed note"));
        }
        let mut lines = body.lines().skip(1);
        let (stated_size, stated_hash) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let is_number = stated_size.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || stated_size.parse() != Ok(size) || stated_hash != root_hash {
            return Err(refused("its checkpoint and its inclusion proof speak of different trees"));
        }
        if signatures.lines().count() > MAX_SIGNATURES {
            return Err(refused(format!("its checkpoint bears more than {MAX_SIGNATURES} signatures")));
        }
        let signatures = signatures
            .lines()
            .map(|line| {
                NoteSignature::parse(line)
                    .ok_or_else(|| refused("its checkpoint bears what is not a signature"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // A log's key id is longer in an entry than under a checkpoint, and another key may have the same one.
        let origin = body.lines().next().unwrap_or_default();
        let is_origin = |name: &str| {
            origin.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(" - "))
        };
        let mut claimed = signatures.iter().filter(|signature| log.get(..4) == Some(&signature.id));
        let named = claimed.clone().find(|signature| is_origin(&signature.name));
        let Some(log_name) = named.or_else(|| claimed.next()).map(|signature| signature.name.clone()) else {
            return Err(refused("its checkpoint bears no signature of the log that it names"));
        };
        // A log may sign with several keys, all under its one name.
        let (log_signatures, cosignatures) =
            signatures.into_iter().partition(|signature| signature.name == log_name);
        Ok(Self { body: format!("{body}\n"), log_name, log_signatures, cosignatures })
    }
}
