//! Referrers of an image: the registry's list (distribution specification, "Listing Referrers"), and the fallback tag
//! for registries without one ("Referrers Tag Schema").

use lifeboat_core::Sha256Digest;
use reqwest::header::LINK;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::Remote;
use super::fallback_index::FallbackIndex;
use super::shared_tag::SharedDocument as _;
use crate::RegistryError;
use crate::artifact::{Discovery, Referrers};
use crate::content::{Descriptor, INDEX_TYPES, MAX_MANIFEST_BYTES, Manifest, OCI_INDEX, RawDescriptor};

/// How many pages of the registry's list are read.
const MAX_PAGES: usize = 64;

/// The tag under which registries without the API keep the referrers of `subject`.
fn fallback_tag(subject: Sha256Digest) -> String {
    format!("sha256-{subject}")
}

/// The next page by the `Link` header (RFC 8288), if there is one.
fn next_page(url: &Url, link: Option<&str>) -> Option<Url> {
    let (target, parameters) = link?.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.split(';').any(|p| matches!(p.trim(), r#"rel="next""# | "rel=next"));
    url.join(target).ok().filter(|_| next)
}

impl Remote {
    /// Every manifest in either list. Both are read, because a registry that was upgraded to list referrers does not
    /// list those that were pushed before.
    pub(crate) async fn referrers(&self, subject: Sha256Digest) -> Result<Referrers, RegistryError> {
        let (listed, fallback) = tokio::join!(self.referrers_by_api(subject), self.fallback_index(subject));
        // What cannot be read in one list must not hide anything in the other.
        let mut unread = Vec::new();
        let listed = match (listed, &fallback) {
            (Ok(listed), _) => listed,
            (Err(error), Ok(Some(_))) => {
                unread.push(("the list of referrers".to_owned(), error));
                None
            }
            (Err(error), _) => return Err(error),
        };
        let mut referrers = listed.unwrap_or_default();
        match fallback {
            Err(error) => unread.push((format!("the tag `{}`", fallback_tag(subject)), error)),
            Ok(index) => {
                let entries = index.map(FallbackIndex::into_entries).unwrap_or_default();
                referrers.merge(entries.iter().filter_map(descriptor_of));
            }
        }
        referrers.unread = unread;
        Ok(referrers)
    }

    /// The registry's own list; `None` if it has none.
    pub(super) async fn referrers_by_api(
        &self,
        subject: Sha256Digest,
    ) -> Result<Option<Referrers>, RegistryError> {
        let what = "the list of referrers";
        let mut referrers = Referrers::default();
        let mut page = Some(self.url(&format!("referrers/{}", subject.to_oci())));
        for number in 0.. {
            let Some(url) = page else { break };
            if number >= MAX_PAGES || referrers.truncated {
                referrers.truncated = true;
                break;
            }
            let response = self.get(what, &url, &[OCI_INDEX]).await?;
            let unsupported =
                [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED];
            if number == 0 && unsupported.contains(&response.status()) {
                return Ok(None);
            }
            let response = self.expect_ok(what, response).await?;
            page = match next_page(&url, response.headers().get(LINK).and_then(|value| value.to_str().ok())) {
                // Nobody else speaks for the registry, so that page is not read.
                Some(next) if !self.is_own(&next) => {
                    referrers.truncated = true;
                    None
                }
                next => next,
            };
            let bytes = self.read(what, response, MAX_MANIFEST_BYTES).await?;
            let manifests = Manifest::parse_list(what, &bytes)?.manifests.ok_or_else(|| {
                RegistryError::Malformed { what: what.to_owned(), reason: "it has no `manifests`".to_owned() }
            })?;
            referrers.merge(manifests.iter().filter_map(RawDescriptor::typed));
        }
        Ok(Some(referrers))
    }

    async fn fallback_index(&self, subject: Sha256Digest) -> Result<Option<FallbackIndex>, RegistryError> {
        let tag = fallback_tag(subject);
        match self.optional_manifest_by_tag(&tag).await? {
            // Some registries resolve such a tag to the image with that digest.
            Some((found, _)) if !INDEX_TYPES.contains(&found.media_type.as_str()) => Ok(None),
            Some((_, bytes)) => FallbackIndex::parse(&tag, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Adds an entry to the index under the fallback tag without losing any.
    pub(super) async fn add_to_fallback(
        &self,
        subject: Sha256Digest,
        manifest: &Descriptor,
        entry: Value,
    ) -> Result<Discovery, RegistryError> {
        let tag = fallback_tag(subject);
        self.add_to_tag::<FallbackIndex>(&tag, entry, manifest.digest).await?;
        Ok(Discovery::FallbackTag(tag))
    }
}

fn descriptor_of(entry: &Value) -> Option<Descriptor> {
    serde_json::from_value::<RawDescriptor>(entry.clone()).ok()?.typed()
}
