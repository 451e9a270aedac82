//! Which snapshots of a listing are meant.

use crate::VaultError;
use crate::view::{Listing, Snapshot};

impl Snapshot {
    /// Whether it is of `host`, where one is asked for, and bears all of `tags`.
    pub fn is_of(&self, host: Option<&str>, tags: &[String]) -> bool {
        host.is_none_or(|host| self.host() == host) && tags.iter().all(|tag| self.tags().contains(tag))
    }
}

impl Listing {
    /// Keeps the snapshots of `host` that bear all of `tags`. Where `names` are given, keeps of those the ones that
    /// [`Listing::find`] takes them to mean, in the order of the names.
    pub fn select(
        mut self,
        host: Option<&str>,
        tags: &[String],
        names: &[String],
    ) -> Result<Self, VaultError> {
        let doubt = self.doubt(host).map(VaultError::again);
        self.snapshots.retain(|snapshot| snapshot.is_of(host, tags));
        if names.is_empty() {
            return Ok(self);
        }
        // A snapshot that cannot be read may be the latest: whoever asks for the latest is told so first. Where
        // nobody does, it is passed over.
        let is_latest = |name: &&String| *name == "latest" || name.starts_with("latest:");
        if let (Some(doubt), Some(_)) = (doubt, names.iter().find(is_latest)) {
            return Err(doubt);
        }
        let chosen = Self { snapshots: self.snapshots, ..Self::default() };
        let find = |name: &String| chosen.find(name, None);
        let snapshots = names.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self { snapshots, ..Self::default() })
    }
}
