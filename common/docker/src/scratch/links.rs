//! Resolves a container's paths through the links of its image. A container whose working folder or mounts would be in
//! a system folder by way of a link is not started.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::permitted::{is_of_the_system, parts};
use crate::EngineError;
use crate::engine::{Engine, segment};

/// The header in which the engine describes the file at a path.
const STAT: &str = "x-docker-container-path-stat";

/// How many parts of a path are followed.
const MAX_PARTS: usize = 64;

/// The bit of Go's `fs.FileMode` for a symbolic link.
const LINK: u64 = 1 << 27;

/// A path of a container that leads to a system folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeadsOut {
    pub(super) path: String,
    pub(super) to: String,
}

/// The target of the link that a [`STAT`] header describes; `None` for anything else. The engine has resolved it
/// completely, within the container.
fn target(stat: &str) -> Option<String> {
    let stat: Value = serde_json::from_slice(&STANDARD.decode(stat).ok()?).ok()?;
    let is_link = stat["mode"].as_u64().is_some_and(|mode| mode & LINK != 0);
    stat["linkTarget"].as_str().filter(|target| is_link && target.starts_with('/')).map(str::to_owned)
}

impl Engine {
    /// Checks whether one of `paths` of a container that was not started leads to a system folder.
    pub(super) async fn leads_out(
        &self,
        container: &str,
        paths: impl IntoIterator<Item = &str>,
    ) -> Result<Option<LeadsOut>, EngineError> {
        // Paths share folders: request each only once.
        let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
        for path in paths {
            let mut at = String::new();
            for part in parts(path).into_iter().take(MAX_PARTS) {
                at = format!("{at}/{part}");
                let link = match known.entry(at.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        let asked =
                            format!("/containers/{}/archive?path={}", segment(container), segment(&at));
                        let stat = self.head(&asked, STAT, "describe a path").await?;
                        unknown.insert(stat.as_deref().and_then(target))
                    }
                };
                if let Some(to) = link {
                    at.clone_from(to);
                }
                if is_of_the_system(&at) {
                    return Ok(Some(LeadsOut { path: path.to_owned(), to: at }));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_are_told_from_all_else() {
        let stat = |mode: u64, to: &str| {
            STANDARD.encode(json!({"name": "x", "mode": mode, "linkTarget": to}).to_string())
        };
        assert_eq!(target(&stat(LINK | 0o777, "/proc/self/fd/7")), Some("/proc/self/fd/7".to_owned()));
        assert_eq!(target(&stat(0o755, "/proc")), None);
        assert_eq!(target(&stat(LINK, "")), None);
        assert_eq!(target("no base64"), None);
    }
}
