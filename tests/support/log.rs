//! A transparency log of the first generation, made by hand: its promises, its proofs and its trusted root. No such log
//! runs without a database and a tree server beside it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::key::SigningKey;
use lifeboat_trust::key_file::write_public;
use serde_json::{Value, json};

/// A log of one entry: its tree is that entry.
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

    /// What the checkpoint says of the log whose only entry is `body`.
    pub fn checkpoint_body(body: &[u8]) -> String {
        format!("log.example - 1\n1\n{}\n", STANDARD.encode(root(body).as_bytes()))
    }

    /// The log entry of `body` with its promise and its proof, under a checkpoint that bears `cosignatures` besides the
    /// log's own signature.
    pub fn entry(&self, kind: [&str; 2], body: &[u8], time: i64, cosignatures: &[String]) -> Value {
        let id = self.id();
        let checkpoint = Self::checkpoint_body(body);
        let signature = [&id.as_bytes()[..4], &self.key.sign(checkpoint.as_bytes())].concat();
        let mut note = format!("{checkpoint}\n— log.example {}\n", STANDARD.encode(signature));
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

    /// A trusted root that knows this log and nobody else.
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
