//! The image to be signed: found once, signed by digest, and the bundle attached to it.

use std::collections::BTreeMap;

use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_registry::{
    Access, Artifact, Attached, Credentials, Discovery, Reference, RegistryError, Repository, Resolved,
};
use lifeboat_report::signature::{Signature, StoredBundle};
use lifeboat_shell::Failure;
use lifeboat_trust::bundle::{self, Bundle};
use lifeboat_trust::key::Sign;
use lifeboat_trust::statement::PredicateType;

/// An image whose reference has been resolved.
pub(crate) struct Target {
    reference: Reference,
    repository: Repository,
    resolved: Resolved,
}

impl Target {
    /// Resolves the reference.
    pub(crate) async fn resolve(reference: Reference, allow_http: bool) -> Result<Self, RegistryError> {
        let credentials = match &reference {
            Reference::Registry(registry) => Credentials::from_login(registry.registry())?,
            Reference::Layout(_) => Credentials::Anonymous,
        };
        let repository = Repository::open(&reference, Access { allow_http, credentials })?;
        let resolved = repository.resolve(&reference).await?;
        Ok(Self { reference, repository, resolved })
    }

    /// The digest that is signed.
    pub(crate) fn digest(&self) -> lifeboat_core::Sha256Digest {
        self.resolved.descriptor.digest
    }

    /// The name that an attestation calls its subject.
    pub(crate) fn name(&self) -> String {
        self.reference.name()
    }

    /// Signs the statement and attaches the bundle to the image, in the shape that cosign 3 gives it.
    pub(crate) async fn attach(
        self,
        statement: Vec<u8>,
        predicate_type: &PredicateType,
        key: &dyn Sign,
    ) -> Result<Signature, Failure> {
        let annotations = [
            ("dev.sigstore.bundle.content", "dsse-envelope"),
            ("dev.sigstore.bundle.predicateType", predicate_type.uri()),
        ];
        let artifact = Artifact {
            media_type: bundle::MEDIA_TYPE.to_owned(),
            content: Bundle::sign_statement(statement, key)?.to_json(),
            annotations: BTreeMap::from(annotations.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            created: SystemClock.now(),
        };
        let Attached { manifest, discovery } =
            self.repository.attach(&self.resolved.descriptor, &artifact).await?;
        let manifest = manifest.to_oci();
        let is_plain = *predicate_type == PredicateType::image_signature();
        Ok(Signature {
            subject: self.reference.to_string(),
            digest: self.digest().to_oci(),
            tag: self.resolved.tag,
            predicate_type: (!is_plain).then(|| predicate_type.uri().to_owned()),
            key_id: key.verification_key().id().to_string(),
            bundle: match discovery {
                Discovery::ReferrersApi => StoredBundle::Registry { manifest, fallback_tag: None },
                Discovery::FallbackTag(tag) => StoredBundle::Registry { manifest, fallback_tag: Some(tag) },
                Discovery::LayoutIndex => StoredBundle::Layout { manifest },
            },
        })
    }
}
