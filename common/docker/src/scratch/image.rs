//! Finds the image of this host that a captured container was made from. A snapshot's value is used only if it has the
//! form of an id or a digest, and the answer is compared with the request.

use crate::EngineError;
use crate::definitions::{ContainerParts, ImageParts};
use crate::engine::Engine;

/// An image that a rehearsal may use: named by id, never by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The name under which the application used it.
    pub reference: String,
    /// The engine's present description of it.
    pub parts: ImageParts,
    /// The digest by which a registry knows it, according to this host's engine, if it was ever in one.
    pub digest: Option<String>,
}

fn is_hash(text: &str) -> bool {
    let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(digits))
}

/// Whether this is `name@sha256:…` with a name that a registry could have.
fn is_digest(text: &str) -> bool {
    let Some((name, hash)) = text.split_once('@') else { return false };
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
    };
    is_hash(hash) && name.len() <= 255 && name.split('/').all(part)
}

/// Whether the engine's answer is about the image that was requested.
fn is_the_one(asked: &str, found: &ImageParts) -> bool {
    found.id == asked || found.digests.iter().any(|digest| digest == asked)
}

impl Engine {
    /// The image of a captured container: the one with the same id, or else one with a digest under which it was known.
    /// A tag is never followed.
    ///
    /// # Errors
    /// [`EngineError::ImageMissing`] when this host has neither.
    pub async fn resolve_image(
        &self,
        container: &ContainerParts,
        captured: Option<&ImageParts>,
    ) -> Result<ResolvedImage, EngineError> {
        let claimed = captured.map(|image| image.digests.clone()).unwrap_or_default();
        let id = Some(&container.image_id).filter(|id| is_hash(id));
        let candidates = id.into_iter().chain(claimed.iter().filter(|digest| is_digest(digest)));
        for candidate in candidates {
            let document = match self.image_document(candidate).await {
                Ok(document) => document,
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            let parts = ImageParts::from_document(&document);
            if !is_the_one(candidate, &parts) {
                continue;
            }
            if let Some(path) = parts.volumes.iter().find(|path| super::sanitise::is_of_the_system(path)) {
                return Err(EngineError::Definitions {
                    reason: format!(
                        "the image {} calls {path} a volume, which belongs to the system",
                        parts.id
                    ),
                });
            }
            let known = parts.digests.iter().find(|digest| claimed.contains(digest));
            let digest = known.or(parts.digests.first()).cloned();
            return Ok(ResolvedImage { reference: container.image_reference.clone(), parts, digest });
        }
        Err(EngineError::ImageMissing {
            reference: container.image_reference.clone(),
            id: container.image_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_and_digests_are_asked_for() {
        let hash = format!("sha256:{}", "ab".repeat(32));
        assert!(is_hash(&hash));
        for name in ["busybox", "registry.example:5000/team/app", "a/b_c/d-e.f"] {
            assert!(is_digest(&format!("{name}@{hash}")), "{name}");
        }
        let long = "a".repeat(300);
        for bad in [
            "",
            "busybox:1",
            "sha256:ab",
            &hash.to_uppercase(),
            "search?term=127.0.0.1:1&x=",
            "../version",
            &long,
        ] {
            assert!(!is_hash(bad), "{bad}");
            assert!(!is_digest(bad), "{bad}");
            assert!(!is_digest(&format!("{bad}?x@{hash}")), "{bad}");
        }
        for bad in ["", "a//b", "/a", "a/", "../a", "a b", "a%2e", "a?b"] {
            assert!(!is_digest(&format!("{bad}@{hash}")), "{bad}");
        }
        assert!(!is_digest(&format!("a@{hash}@{hash}")));
    }

    #[test]
    fn an_answer_about_another_image_does_not_count() {
        let found = ImageParts {
            id: "sha256:aa".into(),
            digests: vec!["app@sha256:bb".into()],
            volumes: vec![],
            env: vec![],
            platform: String::new(),
            labels: std::collections::BTreeMap::new(),
        };
        assert!(is_the_one("sha256:aa", &found) && is_the_one("app@sha256:bb", &found));
        assert!(!is_the_one("sha256:cc", &found) && !is_the_one("other@sha256:bb", &found));
    }
}
