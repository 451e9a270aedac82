//! Where the paths of a container lead through the links of its image. A container that is told to work or to mount in a
//! folder of the system by way of a link is not started.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::permitted::is_of_the_system;
use crate::EngineError;
use crate::engine::{Engine, segment};

/// The header in which the engine tells what lies at a path.
const STAT: &str = "x-docker-container-path-stat";

/// How many parts of a path are followed.
const MAX_PARTS: usize = 64;

/// The bit of Go's `fs.FileMode` that tells a symbolic link.
const LINK: u64 = 1 << 27;

/// A way of a container that leads to a folder of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeadsOut {
    pub(super) path: String,
    pub(super) to: String,
}

/// The target of the link that a [`STAT`] header describes; none for anything else. The engine has followed it to its end,
/// within the container.
fn target(stat: &str) -> Option<String> {
    let stat: Value = serde_json::from_slice(&STANDARD.decode(stat).ok()?).ok()?;
    let is_link = stat["mode"].as_u64().is_some_and(|mode| mode & LINK != 0);
    stat["linkTarget"].as_str().filter(|target| is_link && target.starts_with('/')).map(str::to_owned)
}

/// The parts of a path, `..` worked out as the engine does.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts
}

impl Engine {
    /// Looks whether one of `paths` of a container that is not started leads to a folder of the system.
    pub(super) async fn leads_out(
        &self,
        container: &str,
        paths: impl IntoIterator<Item = &str>,
    ) -> Result<Option<LeadsOut>, EngineError> {
        for path in paths {
            let mut at = String::new();
            for part in parts(path).into_iter().take(MAX_PARTS) {
                at = format!("{at}/{part}");
                let asked = format!("/containers/{}/archive?path={}", segment(container), segment(&at));
                if let Some(to) =
                    self.head(&asked, STAT, "describe a path").await?.as_deref().and_then(target)
                {
                    at = to;
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
        assert_eq!(parts("/a//b/./../c"), ["a", "c"]);
        assert_eq!(parts("relative/x"), ["relative", "x"]);
    }
}
