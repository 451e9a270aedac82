//! Transparency logs: whether an entry is in exactly the log that it names.
//!
//! The Merkle proofs and the promises are verified by `sigstore-verify`. It takes a checkpoint of any log of the trusted
//! root for any entry, and never compares the kind of an entry with what the log says. That is done here, for each entry
//! with the key and the name of its own log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use serde::Deserialize;

use crate::bundle::{Checkpoint, LogEntry};
use crate::json::{check_object, printable};
use crate::key::VerificationKey;
use crate::path::Window;
use crate::refusal::Refusal;
use crate::step;
use crate::trusted_root::wire;

/// The kind of entry whose certificate `sigstore-verify` does not compare.
const INTOTO: &str = "intoto";

/// The byte of a log's own Ed25519 signatures under a checkpoint (C2SP, "Note", section "Signature types").
const NOTE: u8 = 1;

/// A log of the trusted root.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Its id: what entries name it by.
    pub(crate) id: Sha256Digest,
    /// What its signatures under checkpoints are named by, where the trusted root says it.
    checkpoint_id: Option<[u8; 4]>,
    /// Its key. None for a key of a kind that is not read, whose log proves nothing.
    key: Option<VerificationKey>,
    /// Host and port of its URL.
    authority: String,
    /// When it is believed.
    window: Option<Window>,
}

impl Log {
    pub(crate) fn read(log: &wire::Log) -> Result<Self, String> {
        let id = wire::decode("the id of a log", &log.log_id.key_id)?;
        let id = <[u8; 32]>::try_from(id)
            .map_err(|id| format!("the id of a log has {} bytes, not 32", id.len()))?;
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
            id: Sha256Digest::from_bytes(id),
            checkpoint_id,
            key: VerificationKey::from_any_spki_der(&key).ok(),
            authority: rest.split('/').next().unwrap_or_default().to_owned(),
            window: wire::window(log.public_key.valid_for.as_ref())?,
        })
    }

    /// Whether it goes by this name: its host, with or without the port, or the name that its id was made from.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        let by_id = || {
            let Some(raw) = self.key.as_ref().and_then(VerificationKey::to_ed25519) else { return false };
            // C2SP, "Note": the id of a key holds the name.
            Sha256Digest::of(&[name.as_bytes(), b"\n", &[NOTE], &raw[..]].concat()) == self.id
        };
        !name.is_empty() && (name == self.authority || name == host || by_id())
    }
}

/// What an entry shows of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// That it is in the log, whose checkpoint is signed.
    Inclusion,
    /// That the log promised to take it.
    Promise,
}

/// Checks what an entry says of itself against its log; `certificate` is the signer's, if there is one.
///
/// `signed_after` is a time before which the signature cannot have been made, if one is known.
pub(crate) fn check_entry(
    entry: &LogEntry,
    log: &Log,
    certificate: Option<&[u8]>,
    signed_after: Option<Timestamp>,
    now: Timestamp,
) -> Result<Shows, Refusal> {
    let wrong = |reason: String| Refusal::unproven(step::LOG_ENTRY, reason);
    check_body(entry, certificate).map_err(wrong)?;
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
    if let Some(promise) = &entry.promise {
        check_promise(entry, promise, log).map_err(|reason| Refusal::unproven(step::LOG_TIME, reason))?;
    }
    match &entry.checkpoint {
        _ if !entry.has_proof => Ok(Shows::Promise),
        None => {
            Err(Refusal::unproven(step::INCLUSION, "its proof of inclusion has no checkpoint".to_owned()))
        }
        Some(checkpoint) => check_checkpoint(checkpoint, log)
            .map(|()| Shows::Inclusion)
            .map_err(|reason| Refusal::unproven(step::INCLUSION, reason)),
    }
}

#[derive(Deserialize)]
struct Body {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
    #[serde(default)]
    spec: serde_json::Value,
}

/// Compares the body of an entry with what stands around it: the log answers for the body only.
fn check_body(entry: &LogEntry, certificate: Option<&[u8]>) -> Result<(), String> {
    check_object(&entry.body).map_err(|reason| format!("its log entry is malformed: {reason}"))?;
    let body: Body = serde_json::from_slice(&entry.body)
        .map_err(|error| format!("its log entry is malformed: {error}"))?;
    if body.kind != entry.kind || body.version != entry.kind_version {
        return Err(format!(
            "its log entry is {}/{}, and is presented as {}/{}",
            printable(&body.kind),
            printable(&body.version),
            printable(&entry.kind),
            printable(&entry.kind_version)
        ));
    }
    if let Some(certificate) = certificate.filter(|_| body.kind == INTOTO) {
        let signatures = body.spec.pointer("/content/envelope/signatures").and_then(|all| all.as_array());
        let logged = signatures.into_iter().flatten().map(|one| {
            let pem = STANDARD.decode(one.get("publicKey")?.as_str()?).ok()?;
            Some(pem::parse(pem).ok()?.into_contents())
        });
        let logged: Vec<_> = logged.collect();
        if logged.is_empty() || logged.iter().any(|one| one.as_deref() != Some(certificate)) {
            return Err("its log entry is about a signature with another certificate".to_owned());
        }
    }
    Ok(())
}

/// Verifies a log's promise to take an entry, which bears the time (Rekor, "Signed Entry Timestamp").
fn check_promise(entry: &LogEntry, promise: &[u8], log: &Log) -> Result<(), String> {
    let time = i64::try_from(entry.integrated_time).ok().and_then(|time| Timestamp::from_second(time).ok());
    let time = time.ok_or_else(|| "the time of its log entry lies out of reach".to_owned())?;
    if log.window.is_some_and(|window| !window.contains(time)) {
        return Err(format!("its log is not believed at {time}, when it took the entry"));
    }
    let (body, id) = (STANDARD.encode(&entry.body), log.id);
    // Canonical JSON (RFC 8785): the members in the order of their names, and nothing between them.
    let promised = format!(
        r#"{{"body":"{body}","integratedTime":{},"logID":"{id}","logIndex":{}}}"#,
        entry.integrated_time, entry.index
    );
    let key =
        log.key.as_ref().ok_or_else(|| "the key of its log is of a kind that is not read".to_owned())?;
    let wrong = |_| "the promise (SET) of its log entry is not by the log that the entry names".to_owned();
    key.verify(promised.as_bytes(), promise).map_err(wrong)
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
    // A log of the first generation adds the number of its present tree.
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
