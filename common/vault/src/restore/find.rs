//! Finds items by their paths. Paths are sealed to the data recipient, so this requires a recovery key.

use lifeboat_core::Context;
use lifeboat_core::progress::Unit;

use crate::error::VaultError;
use crate::format::item::{Item, ItemKind};
use crate::restore::open::OpenSnapshot;
use crate::restore::stream_name::NamedStream;
use crate::tree::Patterns;

impl OpenSnapshot {
    /// Calls `each` with every item that `patterns` match, in the order of the streams. A pattern that begins with a
    /// slash may also begin with the captured folder's own path on its host. One item is in memory at a time.
    pub async fn find(
        &self,
        patterns: &Patterns,
        context: &Context,
        mut each: impl FnMut(&NamedStream, &Item),
    ) -> Result<(), VaultError> {
        let total = self.snapshot().streams().map(|stream| stream.items).sum();
        context.progress.phase("searching", Unit::Items, Some(total));
        for stream in self.named_streams().await? {
            let mut items = self.items(stream.index)?;
            let mut origin = None;
            while let Some(item) = items.next().await? {
                if context.is_cancelled() {
                    return Err(VaultError::Interrupted);
                }
                if let Some(path) = &item.origin {
                    origin = Some(path.to_vec());
                }
                if is_wanted(patterns, origin.as_deref(), &item) {
                    each(&stream, &item);
                }
                context.progress.advance(1);
            }
        }
        Ok(())
    }
}

fn is_wanted(patterns: &Patterns, origin: Option<&[u8]>, item: &Item) -> bool {
    let is_folder = item.kind == ItemKind::Folder;
    if !item.path.is_empty() && patterns.matches(&item.path, is_folder) {
        return true;
    }
    let Some(origin) = origin.filter(|_| patterns.is_anchored()) else { return false };
    let mut path = origin.strip_prefix(b"/").unwrap_or(origin).to_vec();
    if !item.path.is_empty() {
        path.push(b'/');
        path.extend_from_slice(&item.path);
    }
    patterns.matches(&path, is_folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::item::tests::file;

    #[test]
    fn an_item_matches_its_name_its_path_and_its_path_on_the_host() {
        let item = file(b"etc/app/a.conf");
        let is_wanted = |pattern: &str| {
            is_wanted(&Patterns::parse([pattern], false).unwrap(), Some(b"/srv/files"), &item)
        };
        for right in
            ["*.conf", "a.conf", "etc/app/*", "/etc/**", "/srv/files/etc/app/a.conf", "/srv/**/a.conf"]
        {
            assert!(is_wanted(right), "{right}");
        }
        for wrong in ["a", "app", "app/a.conf", "srv/files/etc/app/a.conf", "/app/a.conf", "a.conf/"] {
            assert!(!is_wanted(wrong), "{wrong}");
        }
    }
}
