//! Transparency logs: whether an entry is in exactly the log that it names.
//!
//! Each entry is checked with the key and the name of its own log; `sigstore-merkle` computes the hashes of a proof.
//! Whether an entry is about the signature that it came with is checked in `body`.

pub(crate) mod body;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use sigstore_merkle::{hash_leaf, verify_inclusion_proof};
use sigstore_verify::types::Sha256Hash;

use crate::bundle::{Bundle, Checkpoint, EntryKind, LogEntry, Proof, Version};
use crate::json::printable;
use crate::key::VerificationKey;
use crate::path::Window;
use crate::refusal::Refusal;
use crate::step;
use crate::trusted_root::{TrustedRoot, wire};
use crate::witness::{Cosignature, Quorum};

/// The signature type of a log's own Ed25519 signatures under a checkpoint (C2SP, "Note", section "Signature types").
const NOTE: u8 = 1;

/// A log of the trusted root.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Its id, by which entries name it.
    pub(crate) id: Sha256Digest,
    /// The key id of its signatures under checkpoints, if the trusted root gives it.
    checkpoint_id: Option<[u8; 4]>,
    /// Its key. `None` for a key of an unsupported kind, whose log proves nothing.
    key: Option<VerificationKey>,
    /// The host and port of its URL.
    authority: String,
    /// When it is trusted.
    window: Option<Window>,
}

impl Log {
    pub(crate) fn read(log: &wire::Log) -> Result<Self, String> {
        let id = wire::log_id(&log.log_id)?;
        let checkpoint_id = match &log.checkpoint_key_id {
            None => None,
            Some(id) => {
                let id = wire::decode("the checkpoint key id of a log", &id.key_id)?;
                let first = id.first_chunk::<4>().copied();
                Some(first.ok_or_else(|| "the checkpoint key id of a log has less than 4 bytes".to_owned())?)
            }
        };
        let key = wire::decode("the key of a log", &log.public_key.raw_bytes)?;
        let url = log.base_url.as_str();
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        Ok(Self {
            id,
            checkpoint_id,
            key: VerificationKey::from_any_spki_der(&key).ok(),
            authority: rest.split('/').next().unwrap_or_default().to_owned(),
            window: wire::window(log.public_key.valid_for.as_ref())?,
        })
    }

    /// Whether this is its name: its host, with or without the port, or the name that its id was made from.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        let by_id = || {
            let Some(raw) = self.key.as_ref().and_then(VerificationKey::to_ed25519) else { return false };
            // C2SP, "Note": a key's id depends on the name.
            Sha256Digest::of(&[name.as_bytes(), b"\n", &[NOTE], &raw[..]].concat()) == self.id
        };
        !name.is_empty() && (name == self.authority || name == host || by_id())
    }
}

/// What an entry proves about its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The entry is in the log, whose checkpoint is signed.
    Inclusion,
    /// The log promised to include it.
    Promise,
}

/// The rules for the log entries of a signature.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'p> {
    pub(crate) root: &'p TrustedRoot,
    /// Whether an entry of a known log is needed.
    pub(crate) is_needed: bool,
    /// The start of the validity of the signer's certificate, if there is one. The signature cannot be older.
    pub(crate) certified: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// The findings from the log entries of a signature.
#[derive(Debug, Default)]
pub(crate) struct Shown<'b> {
    /// The entries of known logs, with what each proves and when its log is trusted.
    known: Vec<(&'b LogEntry, Shows, Option<Window>)>,
    /// How many entries are of logs that the trusted root does not know.
    pub(crate) unknown: usize,
    /// When logs received the signature, according to their promises.
    pub(crate) times: Vec<Timestamp>,
}

/// The witnesses' signatures under the checkpoints.
#[derive(Debug, Default)]
pub(crate) struct Witnessed {
    pub(crate) cosignatures: Vec<Cosignature>,
    pub(crate) unchecked: usize,
}

impl<'b> Shown<'b> {
    /// Checks each entry by itself. A bad entry of a known log refuses the signature; an entry of an unknown log says
    /// nothing.
    pub(crate) fn of(bundle: &'b Bundle<'_>, rules: Rules<'_>) -> Result<Self, Refusal> {
        let Rules { root, is_needed, certified, now } = rules;
        let mut shown = Self::default();
        for (place, entry) in bundle.log_entries.iter().enumerate() {
            let is_same = |other: &LogEntry| other.log == entry.log && other.body == entry.body;
            if bundle.log_entries[..place].iter().any(is_same) {
                return Err(Refusal::unproven(step::LOG_ENTRY, "it carries one log entry twice".to_owned()));
            }
            let Some(log) = entry.log.and_then(|log| root.prepared().logs.get(&log)) else {
                shown.unknown += 1;
                continue;
            };
            let proves = match bundle.version {
                Version::V0_1 => entry.promise.is_some(),
                Version::V0_2 | Version::V0_3 => entry.proof.is_some(),
            };
            // A certificate needs the time in a promise, even if no log is demanded.
            let is_time = certified.is_some() && entry.promise.is_some() && !is_needed;
            if !proves && !is_time {
                let reason = "one of its log entries does not prove that it is in the log";
                return Err(Refusal::unproven(step::INCLUSION, reason.to_owned()));
            }
            let (shows, time) = check_entry(entry, log, certified, now)?;
            shown.known.push((entry, shows, log.window));
            shown.times.extend(time);
        }
        if shown.known.is_empty() && is_needed {
            let reason = match shown.unknown {
                0 => "it carries no log entry".to_owned(),
                _ => format!("its log entry is not of a log that {} knows", root.name()),
            };
            return Err(Refusal::unproven(step::INCLUSION, reason));
        }
        // Version 0.1 relies on logs: its other evidence counts only together with one.
        let rests = certified.is_some() || !bundle.timestamps.is_empty();
        if bundle.version == Version::V0_1 && rests && shown.known.is_empty() {
            let reason = "no known log promised to take it, as its version demands";
            return Err(Refusal::unproven(step::INCLUSION, reason.to_owned()));
        }
        Ok(shown)
    }

    /// Checks that a log whose window has ended received the signature before that. A proof does not show when it was
    /// made, and someone who has since stolen the log's key can make one. `times` are when the signature was seen.
    pub(crate) fn check_times(&self, times: &BTreeSet<Timestamp>) -> Result<(), Refusal> {
        for (.., window) in &self.known {
            let Some((window, end)) = window.and_then(|window| Some((window, window.end?))) else { continue };
            if !times.iter().any(|time| window.contains(*time)) {
                let reason = format!(
                    "its log is believed until {end}, and nothing shows that it took the entry before"
                );
                return Err(Refusal::unproven(step::INCLUSION, reason));
            }
        }
        Ok(())
    }

    /// Whether any entry is of a known log.
    pub(crate) fn is_known(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether a known log gave a promise.
    pub(crate) fn is_promised(&self) -> bool {
        self.known.iter().any(|(entry, ..)| entry.promise.is_some())
    }

    /// How many entries of known logs prove this.
    pub(crate) fn count(&self, shows: Shows) -> usize {
        self.known.iter().filter(|(_, found, _)| *found == shows).count()
    }

    /// The witnesses' signatures under the checkpoints. They were verified, and each checkpoint has enough of them.
    pub(crate) fn witnessed(&self, quorum: &Quorum) -> Result<Witnessed, Refusal> {
        let mut all = Witnessed::default();
        for (entry, ..) in &self.known {
            let witnessed = quorum.check(entry.proof.as_ref().and_then(|proof| proof.checkpoint.as_ref()))?;
            all.cosignatures.extend(witnessed.cosignatures);
            all.unchecked += witnessed.unchecked;
        }
        Ok(all)
    }
}

/// Checks an entry's claims against its log. Returns what it proves, and when the log received it, if it says so.
///
/// `signed_after` is a time before which the signature cannot have been made, if one is known.
fn check_entry(
    entry: &LogEntry,
    log: &Log,
    signed_after: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Shows, Option<Timestamp>), Refusal> {
    if let Some(window) = log.window {
        let refused = |reason: String| Err(Refusal::unproven(step::INCLUSION, reason));
        if now < window.start {
            return refused(format!("its log is not believed before {}", window.start));
        }
        if let (Some(end), Some(after)) = (window.end, signed_after)
            && end < after
        {
            return refused(format!("it was signed after {after}, and its log is believed until {end} only"));
        }
    }
    let mut time = None;
    if let Some(promise) = &entry.promise {
        time = check_promise(entry, promise, log, now)
            .map_err(|reason| Refusal::unproven(step::LOG_TIME, reason))?;
    }
    let Some(proof) = &entry.proof else { return Ok((Shows::Promise, time)) };
    check_proof(entry, proof, log).map_err(|reason| Refusal::unproven(step::INCLUSION, reason))?;
    Ok((Shows::Inclusion, time))
}

/// Verifies that the entry is in the tree that the log's own checkpoint states.
fn check_proof(entry: &LogEntry, proof: &Proof, log: &Log) -> Result<(), String> {
    let Some(checkpoint) = &proof.checkpoint else {
        return Err("its proof of inclusion has no checkpoint".to_owned());
    };
    check_checkpoint(checkpoint, log)?;
    let hash = |hash: &Sha256Digest| Sha256Hash::new(*hash.as_bytes());
    let hashes: Vec<_> = proof.hashes.iter().map(hash).collect();
    verify_inclusion_proof(&hash_leaf(&entry.body), proof.index, proof.size, &hashes, &hash(&proof.root))
        .map_err(|error| format!("its proof of inclusion is wrong: {error}"))
}

/// Verifies a log's promise to include an entry, and returns the time in it (Rekor, "Signed Entry Timestamp"). Logs of
/// the second generation give no time, and a zero does not count as one.
fn check_promise(
    entry: &LogEntry,
    promise: &[u8],
    log: &Log,
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    let time = i64::try_from(entry.integrated_time).ok().and_then(|time| Timestamp::from_second(time).ok());
    let time = time.ok_or_else(|| "the time of its log entry lies out of reach".to_owned())?;
    if log.window.is_some_and(|window| !window.contains(time)) {
        return Err(format!("its log is not believed at {time}, when it took the entry"));
    }
    let (body, id) = (STANDARD.encode(&entry.body), log.id);
    // Canonical JSON (RFC 8785): members sorted by name, without white space.
    let promised = format!(
        r#"{{"body":"{body}","integratedTime":{},"logID":"{id}","logIndex":{}}}"#,
        entry.integrated_time, entry.index
    );
    let key =
        log.key.as_ref().ok_or_else(|| "the key of its log is of a kind that is not read".to_owned())?;
    let wrong = |_| "the promise (SET) of its log entry is not by the log that the entry names".to_owned();
    key.verify(promised.as_bytes(), promise).map_err(wrong)?;
    if entry.kind == EntryKind::HashedRekordV2 || entry.integrated_time == 0 {
        return Ok(None);
    }
    if time > now {
        return Err(format!("its log took it at {time}, and now is {now}: check the clock of this machine"));
    }
    Ok(Some(time))
}

/// Verifies a checkpoint with exactly the key and the name of `log` (C2SP, "Note" and "Checkpoint").
fn check_checkpoint(checkpoint: &Checkpoint, log: &Log) -> Result<(), String> {
    let name = &checkpoint.log_name;
    if !log.is_named(name) {
        return Err(format!(
            "its checkpoint is signed in the name of `{}`, and its log is `{}`",
            printable(name),
            printable(&log.authority)
        ));
    }
    let origin = checkpoint.body.lines().next().unwrap_or_default();
    // A log of the first generation appends the number of its present tree.
    let is_own = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix(" - ")
                .is_some_and(|tree| !tree.is_empty() && tree.bytes().all(|b| b.is_ascii_digit()))
    };
    if !origin.strip_prefix(name.as_str()).is_some_and(is_own) {
        let origin = printable(origin);
        return Err(format!("its checkpoint is of `{origin}`, and its log is `{}`", printable(name)));
    }
    let Some(key) = &log.key else {
        return Err("the key of its log is of a kind that is not read".to_owned());
    };
    let id =
        log.checkpoint_id.unwrap_or_else(|| *log.id.as_bytes().first_chunk().expect("32 are more than 4"));
    let by_log = |signature: &&crate::bundle::NoteSignature| signature.id == id;
    if checkpoint
        .log_signatures
        .iter()
        .filter(by_log)
        .any(|signature| key.verify(checkpoint.body.as_bytes(), &signature.bytes).is_ok())
    {
        Ok(())
    } else {
        Err("its checkpoint is not signed by the log that the entry names".to_owned())
    }
}

#[cfg(test)]
mod tests;
