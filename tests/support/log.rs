//! A transparency log of the first generation, made by hand: its promises, its proofs and its trusted root. A real one
//! needs a database and a tree server.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_trust::key::SigningKey;
use lifeboat_trust::key_file::write_public;
use serde_json::{Value, json};

use crate::http::{Answer, serve_bodies};

/// A log with one entry, which is its whole tree.
#[derive(Debug, Clone)]
pub struct TestLog {
    key: Arc<SigningKey>,
}

impl Default for TestLog {
    fn default() -> Self {
        Self { key: Arc::new(SigningKey::generate()) }
    }
}

impl TestLog {
    /// The log's id: the digest of its key.
    pub fn id(&self) -> Sha256Digest {
        self.key.verification_key().id()
    }

    /// The log's key in PEM.
    pub fn public_key(&self) -> String {
        write_public(self.key.verification_key())
    }

    /// The promise to log `body` (Rekor, "Signed Entry Timestamp"): a signature over its canonical JSON.
    pub fn promise(&self, body: &[u8], time: i64, index: u64) -> Vec<u8> {
        let (body, id) = (STANDARD.encode(body), self.id());
        let payload =
            format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#);
        self.key.sign(payload.as_bytes())
    }

    /// The checkpoint of the log whose only entry is `body`.
    pub fn checkpoint_body(body: &[u8]) -> String {
        format!("log.example - 1\n1\n{}\n", STANDARD.encode(root(body).as_bytes()))
    }

    /// A line under a checkpoint by this log, with the key id of the log `id`.
    pub fn sign_checkpoint(&self, checkpoint: &str, id: Sha256Digest) -> String {
        let signature = [&id.as_bytes()[..4], &self.key.sign(checkpoint.as_bytes())].concat();
        format!("— log.example {}", STANDARD.encode(signature))
    }

    /// The log entry of `body` with its promise and its proof, under a checkpoint with `cosignatures` in addition to
    /// the log's own signature.
    pub fn entry(&self, kind: [&str; 2], body: &[u8], time: i64, cosignatures: &[String]) -> Value {
        let id = self.id();
        let checkpoint = Self::checkpoint_body(body);
        let mut note = format!("{checkpoint}\n{}\n", self.sign_checkpoint(&checkpoint, id));
        note.extend(cosignatures.iter().map(|line| format!("{line}\n")));
        json!({
            "logIndex": "0",
            "logId": {"keyId": STANDARD.encode(id.as_bytes())},
            "kindVersion": {"kind": kind[0], "version": kind[1]},
            "integratedTime": time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": STANDARD.encode(self.promise(body, time, 0))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": STANDARD.encode(root(body).as_bytes()),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": note},
            },
            "canonicalizedBody": STANDARD.encode(body),
        })
    }

    /// Starts a server that receives entries like such a log (Rekor, `/api/v1/log/entries`) and promises to log them,
    /// until the test's process ends. Returns its URL.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub fn serve(&self) -> String {
        let log = self.clone();
        let address = serve_bodies(move |method, path, body| {
            let entry = serde_json::from_slice::<Value>(body).ok().and_then(|entry| logged_form(&entry));
            match (method, path, entry) {
                ("POST", "/api/v1/log/entries", Some(entry)) => log.answer(&entry),
                _ => Answer::new(404, ""),
            }
        });
        format!("http://{address}")
    }

    fn answer(&self, entry: &Value) -> Answer {
        let body = entry.to_string().into_bytes();
        let time = SystemClock.now().as_second();
        let name = Sha256Digest::of(&body).to_string();
        let answer = json!({&name: {
            "body": STANDARD.encode(&body),
            "integratedTime": time,
            "logID": self.id().to_string(),
            "logIndex": 0,
            "verification": {"signedEntryTimestamp": STANDARD.encode(self.promise(&body, time, 0))},
        }});
        let place = format!("/api/v1/log/entries/{name}");
        Answer::new(201, answer.to_string())
            .header("Content-Type", "application/json")
            .header("Location", place)
    }

    /// A trusted root with only this log.
    pub fn trusted_root(&self) -> Value {
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(self.key.verification_key().to_spki_der()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": "2020-01-01T00:00:00Z"},
                },
                "logId": {"keyId": STANDARD.encode(self.id().as_bytes())},
            }],
        })
    }
}

/// The root of a tree of one leaf (RFC 6962, section 2.1): the leaf's hash.
fn root(body: &[u8]) -> Sha256Digest {
    Sha256Digest::of(&[&[0], body].concat())
}

/// The part of a proposed entry that a log keeps: all of a file's signature, but only hashes and signatures of an
/// envelope.
fn logged_form(proposed: &Value) -> Option<Value> {
    match proposed["kind"].as_str()? {
        "hashedrekord" => Some(proposed.clone()),
        "dsse" => {
            let content = &proposed["spec"]["proposedContent"];
            let text = content["envelope"].as_str()?;
            let envelope: Value = serde_json::from_str(text).ok()?;
            let payload = STANDARD.decode(envelope["payload"].as_str()?).ok()?;
            let hash =
                |bytes: &[u8]| json!({"algorithm": "sha256", "value": Sha256Digest::of(bytes).to_string()});
            let signature = json!({
                "signature": envelope["signatures"][0]["sig"],
                "verifier": content["verifiers"][0],
            });
            Some(json!({
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": hash(text.as_bytes()),
                    "payloadHash": hash(&payload),
                    "signatures": [signature],
                },
            }))
        }
        _ => None,
    }
}
