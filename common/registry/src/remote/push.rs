//! Writing to a registry: blobs and manifests (distribution specification, "Push").

use std::time::Duration;

use lifeboat_core::Sha256Digest;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::{Purpose, Remote};
use crate::RegistryError;
use crate::artifact::{Artifact, Attached, Discovery, EMPTY};
use crate::content::{Descriptor, OCI_MANIFEST};
use crate::legacy::{self, LegacyArtifact, LegacyKind, LegacyLayer, LegacyManifest};

/// Pauses before a manifest is sent again to a registry that answers 400. If several clients upload one blob at the
/// same time, registries report it as present before it is in place, and refuse a manifest that names it.
const BLOB_WAITS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

impl Remote {
    pub(crate) async fn attach(
        &self,
        subject: &Descriptor,
        artifact: &Artifact,
    ) -> Result<Attached, RegistryError> {
        tokio::try_join!(self.push_blob(EMPTY), self.push_blob(&artifact.content))?;
        let bytes = artifact.manifest(subject);
        let manifest = Descriptor::of(OCI_MANIFEST, &bytes);
        let headers = self.push_manifest(&manifest.digest.to_oci(), OCI_MANIFEST, bytes).await?;
        // "If the registry supports the referrers API, it MUST respond with OCI-Subject". Some that do support it
        // don't, so without that header, ask.
        let listed = headers.contains_key("OCI-Subject")
            || self.referrers_by_api(subject.digest).await?.is_some_and(|list| {
                list.manifests.iter().any(|descriptor| descriptor.digest == manifest.digest)
            });
        let discovery = if listed {
            Discovery::ReferrersApi
        } else {
            self.add_to_fallback(subject.digest, &manifest, artifact.index_entry(&manifest)).await?
        };
        Ok(Attached { manifest: manifest.digest, discovery })
    }

    pub(crate) async fn attach_legacy(
        &self,
        subject: Sha256Digest,
        artifact: &LegacyArtifact,
    ) -> Result<Attached, RegistryError> {
        let tag = artifact.kind.tag(subject);
        self.push_blob(&artifact.content).await?;
        let id = Sha256Digest::of(artifact.layer().to_string().as_bytes());
        self.add_to_tag::<LegacyManifest>(&tag, artifact.layer(), id).await?;
        let (manifest, _) = self.manifest_by_tag(&tag).await?;
        Ok(Attached { manifest: manifest.digest, discovery: Discovery::LegacyTag(tag) })
    }

    /// The layers under the legacy tag of `subject`, and whether there are more than are listed.
    pub(crate) async fn legacy(
        &self,
        subject: Sha256Digest,
        kind: LegacyKind,
    ) -> Result<(Vec<LegacyLayer>, bool), RegistryError> {
        let tag = kind.tag(subject);
        match self.optional_manifest_by_tag(&tag).await? {
            Some((_, bytes)) => legacy::layers(&format!("the manifest under the tag `{tag}`"), &bytes),
            None => Ok((Vec::new(), false)),
        }
    }

    /// Uploads a blob in one piece, unless it exists.
    pub(super) async fn push_blob(&self, bytes: &[u8]) -> Result<(), RegistryError> {
        let digest = Sha256Digest::of(bytes).to_oci();
        let what = format!("the blob {digest}");
        let known = self.url(&format!("blobs/{digest}"));
        let there = self.send(Purpose::Write, &what, Method::HEAD, &known, |request| request).await?;
        if there.status() == StatusCode::OK {
            return Ok(());
        }
        let what = format!("an upload of {what}");
        let begin = self.url("blobs/uploads/");
        let session = self.send(Purpose::Write, &what, Method::POST, &begin, |r| r.body("")).await?;
        if session.status() != StatusCode::ACCEPTED {
            return Err(self.unavailable(&what, session.status()));
        }
        let mut upload = self.location(&what, &begin, session.headers())?;
        upload.query_pairs_mut().append_pair("digest", &digest);
        let done = self
            .send(Purpose::Write, &what, Method::PUT, &upload, |request| {
                request.header(CONTENT_TYPE, "application/octet-stream").body(bytes.to_vec())
            })
            .await?;
        if done.status() == StatusCode::CREATED {
            Ok(())
        } else {
            Err(self.unavailable(&what, done.status()))
        }
    }

    fn location(&self, what: &str, base: &Url, headers: &HeaderMap) -> Result<Url, RegistryError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let malformed =
            |reason: &str| RegistryError::Malformed { what: what.to_owned(), reason: reason.to_owned() };
        let location = location.ok_or_else(|| malformed("the registry names no place for it"))?;
        let url =
            base.join(location).map_err(|_| malformed("the registry names a place that is not a URL"))?;
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(malformed("the registry names a place without TLS"));
        }
        Ok(url)
    }

    pub(super) async fn push_manifest(
        &self,
        name: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<HeaderMap, RegistryError> {
        let what = format!("an upload of the manifest {name}");
        let url = self.url(&format!("manifests/{name}"));
        let bytes = &bytes;
        let mut waits = BLOB_WAITS.iter();
        loop {
            let done = self
                .send(Purpose::Write, &what, Method::PUT, &url, |request| {
                    request.header(CONTENT_TYPE, media_type).body(bytes.clone())
                })
                .await?;
            match (done.status(), waits.next()) {
                (StatusCode::CREATED | StatusCode::OK, _) => return Ok(done.headers().clone()),
                (StatusCode::BAD_REQUEST, Some(wait)) => tokio::time::sleep(*wait).await,
                (status, _) => return Err(self.unavailable(&what, status)),
            }
        }
    }
}
