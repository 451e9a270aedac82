//! The image to sign: resolved once, signed by digest, and the signature attached to it.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_registry::{
    Access, Artifact, Attached, Descriptor, Discovery, LegacyArtifact, LegacyKind, Reference, Repository,
    Resolved,
};
use lifeboat_report::signature::{Signature, StoredBundle};
use lifeboat_shell::{Failure, RegistryFlags};
use lifeboat_trust::bundle::{self, Bundle};
use lifeboat_trust::dsse::{self, Envelope};
use lifeboat_trust::key::Sign;
use lifeboat_trust::legacy;
use lifeboat_trust::statement::{PredicateType, Statement};

/// In which form signatures are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Sigstore bundles that refer to the image
    Bundle,
    /// The older tags `sha256-….sig` and `.att`, which cosign before 3 reads
    Legacy,
    /// Both
    Both,
}

/// An image whose reference has been resolved.
pub(crate) struct Target {
    reference: Reference,
    repository: Repository,
    resolved: Resolved,
}

/// What to state about an image, for each form in which it can be attached.
pub(crate) struct Saying<'a> {
    pub(crate) predicate_type: &'a PredicateType,
    /// The statement about an image of this digest.
    pub(crate) statement: &'a dyn Fn(Sha256Digest) -> Vec<u8>,
    /// The annotations of a plain signature.
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

impl Target {
    /// Resolves the reference while `open` opens the key, which is deliberately slow.
    pub(crate) async fn resolve_beside<K>(
        reference: Reference,
        registry: RegistryFlags,
        open: impl FnOnce() -> Result<K, Failure>,
    ) -> Result<(Self, K), Failure> {
        let resolving = tokio::spawn(Self::resolve(reference, registry));
        let key = open()?;
        let target = resolving.await.map_err(|error| {
            Failure::refused(format!("the image could not be looked up: {error}"), "report this")
        })??;
        Ok((target, key))
    }

    /// Resolves the reference.
    async fn resolve(reference: Reference, registry: RegistryFlags) -> Result<Self, Failure> {
        let reference = reference.locate(lifeboat_shell::engine_address().as_deref()).await?;
        let access = Access::from_login(&reference, registry.allow_http, &registry.allowed_realms)?;
        let repository = Repository::open(&reference, access)?;
        let resolved = repository.resolve(&reference).await?;
        Ok(Self { reference, repository, resolved })
    }

    /// The subject's name in an attestation.
    pub(crate) fn name(&self) -> String {
        self.reference.name()
    }

    /// Signs the image, and every image of an index if `recursive`.
    pub(crate) async fn sign(
        &self,
        saying: &Saying<'_>,
        key: &dyn Sign,
        format: Format,
        recursive: bool,
    ) -> Result<Signature, Failure> {
        let mut children = Vec::new();
        if recursive {
            // The index last: once it is signed, everything in it is.
            let index = self.repository.index(&self.resolved.descriptor).await?;
            for child in index.into_iter().flat_map(|index| index.children) {
                children.push(self.sign_one(&child.descriptor, saying, key, format).await?);
            }
        }
        let signature = self.sign_one(&self.resolved.descriptor, saying, key, format).await?;
        Ok(Signature { children, ..signature })
    }

    async fn sign_one(
        &self,
        image: &Descriptor,
        saying: &Saying<'_>,
        key: &dyn Sign,
        format: Format,
    ) -> Result<Signature, Failure> {
        // The verifier must be able to read what is signed: a predicate may be nested too deeply, or contain a member
        // twice.
        Statement::parse(&(saying.statement)(image.digest)).map_err(|error| {
            Failure::usage(
                format!("what is to be signed would be refused when it is verified: {error}"),
                "fix the predicate, or make it again with another program",
            )
        })?;
        let mut places = Vec::new();
        if format != Format::Legacy {
            places.push(self.attach_bundle(image, saying, key).await?);
        }
        if format != Format::Bundle {
            places.push(self.attach_legacy(image.digest, saying, key).await?);
        }
        let mut places = places.into_iter();
        let is_plain = *saying.predicate_type == PredicateType::image_signature();
        Ok(Signature {
            subject: self.reference.to_string(),
            digest: image.digest.to_oci(),
            tag: self.resolved.tag.clone(),
            predicate_type: (!is_plain).then(|| saying.predicate_type.uri().to_owned()),
            key_id: key.verification_key().id().to_string(),
            bundle: places.next().expect("every format is attached somewhere"),
            also: places.next(),
            children: Vec::new(),
        })
    }

    /// Attaches a bundle in the same shape as cosign 3.
    async fn attach_bundle(
        &self,
        image: &Descriptor,
        saying: &Saying<'_>,
        key: &dyn Sign,
    ) -> Result<StoredBundle, Failure> {
        let annotations = [
            ("dev.sigstore.bundle.content", "dsse-envelope"),
            (bundle::PREDICATE_TYPE, saying.predicate_type.uri()),
        ];
        let artifact = Artifact {
            media_type: bundle::MEDIA_TYPE.to_owned(),
            content: Bundle::sign_statement((saying.statement)(image.digest), key)?.to_json(),
            annotations: BTreeMap::from(annotations.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            created: SystemClock.now(),
        };
        Ok(stored(self.repository.attach(image, &artifact).await?))
    }

    /// Adds a layer under the legacy tag in the same shape as cosign 2.
    async fn attach_legacy(
        &self,
        image: Sha256Digest,
        saying: &Saying<'_>,
        key: &dyn Sign,
    ) -> Result<StoredBundle, Failure> {
        use base64::Engine as _;
        let is_plain = *saying.predicate_type == PredicateType::image_signature();
        let artifact = if is_plain {
            let content = legacy::payload(image, &self.name(), saying.annotations);
            let signature = key.sign_digest(Sha256Digest::of(&content))?;
            let signature = base64::engine::general_purpose::STANDARD.encode(signature);
            LegacyArtifact {
                kind: LegacyKind::Signatures,
                media_type: legacy::PAYLOAD_TYPE.to_owned(),
                content,
                annotations: BTreeMap::from([(legacy::SIGNATURE.to_owned(), signature)]),
            }
        } else {
            let envelope = Envelope::sign_with(dsse::IN_TOTO, (saying.statement)(image), key)?;
            let annotations =
                [(legacy::SIGNATURE, ""), (legacy::PREDICATE_TYPE, saying.predicate_type.uri())];
            LegacyArtifact {
                kind: LegacyKind::Attestations,
                media_type: legacy::ENVELOPE_TYPE.to_owned(),
                content: envelope.to_json(),
                annotations: BTreeMap::from(
                    annotations.map(|(name, value)| (name.to_owned(), value.to_owned())),
                ),
            }
        };
        Ok(stored(self.repository.attach_legacy(image, &artifact).await?))
    }
}

fn stored(attached: Attached) -> StoredBundle {
    let manifest = attached.manifest.to_oci();
    match attached.discovery {
        Discovery::ReferrersApi => StoredBundle::Registry { manifest, fallback_tag: None },
        Discovery::FallbackTag(tag) => StoredBundle::Registry { manifest, fallback_tag: Some(tag) },
        Discovery::LayoutIndex => StoredBundle::Layout { manifest },
        Discovery::LegacyTag(tag) => StoredBundle::Legacy { manifest, tag },
    }
}
