//! Listings: the objects, and what was passed over.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures::TryStreamExt;
use object_store::path::Path;

use crate::diagnosis::{AttemptError, within};
use crate::error::Effort;
use crate::folder::Folder;
use crate::obstacle::InTheWay;
use crate::store::BASE_DEADLINE;
use crate::{Entry, Obstacle, Store, StoreError, name};

/// The longest listing: a longer one would fill the memory, or never end.
const MOST_ENTRIES: usize = 10_000_000;

/// How many places warnings name while a store is open.
const MOST_WARNINGS: usize = 20;

/// The objects below a prefix, and what else was found there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The objects, sorted by name.
    pub entries: Vec<Entry>,
    /// Things that are not objects, and folders that could not be read; sorted by place.
    pub passed_over: Vec<PassedOver>,
}

/// Something that a listing passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its place, escaped where it is not valid in an object's name.
    pub place: String,
    /// Why it was passed over.
    pub obstacle: Obstacle,
}

impl Listing {
    /// A place in, at or above `folder` that may hide objects below it: if there is one, an object that is not listed
    /// may still exist.
    pub fn gap_in(&self, folder: &str) -> Option<&PassedOver> {
        self.passed_over.iter().find(|passed| passed.may_hide_below(folder))
    }
}

impl PassedOver {
    pub(crate) fn unnamed(place: &str) -> Self {
        Self { place: shown(place), obstacle: Obstacle::Name }
    }

    /// Whether objects below `folder` may be hidden here.
    pub fn may_hide_below(&self, folder: &str) -> bool {
        self.obstacle.may_hide_objects() && (is_within(&self.place, folder) || is_within(folder, &self.place))
    }
}

impl From<InTheWay> for PassedOver {
    fn from(InTheWay { place, obstacle }: InTheWay) -> Self {
        Self { place, obstacle }
    }
}

/// Whether `place` is `folder`, or below it.
fn is_within(place: &str, folder: &str) -> bool {
    folder.is_empty()
        || place.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A name that anybody may have chosen, made safe to print on one line.
fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

impl Store {
    /// All objects below `prefix` (a whole number of path parts), sorted by name: those that can be read, deleted and
    /// created by the names under which they are listed. Warns about what is passed over, with a limited number of
    /// warnings; see [`Store::listing`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let listing = self.listing(prefix).await?;
        self.warnings().of(self.name(), &listing.passed_over);
        Ok(listing.entries)
    }

    /// The same, together with what was passed over. One odd thing does not prevent the rest of the listing. Before
    /// concluding from it that an object does not exist, ask [`Listing::gap_in`].
    pub async fn listing(&self, prefix: &str) -> Result<Listing, StoreError> {
        let path = if prefix.is_empty() { None } else { Some(name::path(prefix)?) };
        let mut listing = match self.folder() {
            Some(folder) => self.list_folder(folder.clone(), prefix).await?,
            None => self.list_bucket(path.as_ref(), prefix).await?,
        };
        listing.entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        // While objects come and go, a page can start before the previous one ended.
        listing.entries.dedup_by(|later, earlier| later.key == earlier.key);
        listing.passed_over.sort_unstable_by(|a, b| a.place.cmp(&b.place));
        listing.passed_over.dedup();
        Ok(listing)
    }

    async fn list_folder(&self, folder: Folder, prefix: &str) -> Result<Listing, StoreError> {
        let below = prefix.to_owned();
        let listed = crate::folder::unblocked(move || folder.list(&below)).await;
        listed.map_err(|wrong| self.told("list", prefix, wrong))
    }

    async fn list_bucket(&self, path: Option<&Path>, prefix: &str) -> Result<Listing, StoreError> {
        let refused =
            |said: String| AttemptError::Settled(self.failed("list", prefix, Effort::default(), said));
        let refused = &refused;
        self.attempt("list", prefix, || async move {
            let mut pages = self.backend().list(path);
            let mut listing = Listing::default();
            // The length of a listing is not known in advance, so each page has a deadline of its own.
            while let Some(meta) = within(BASE_DEADLINE, pages.try_next()).await? {
                if path.is_some_and(|path| !is_below(&meta.location, path)) {
                    return Err(refused(format!("it lists `{}`, which does not lie there", meta.location)));
                }
                if listing.entries.len() + listing.passed_over.len() == MOST_ENTRIES {
                    return Err(refused(format!("it lists more than {MOST_ENTRIES} objects")));
                }
                match name::check(meta.location.as_ref()) {
                    Ok(()) => listing.entries.push(meta.into()),
                    Err(_) => listing.passed_over.push(PassedOver::unnamed(meta.location.as_ref())),
                }
            }
            Ok(listing)
        })
        .await
    }
}

fn is_below(location: &Path, prefix: &Path) -> bool {
    location.prefix_match(prefix).is_some_and(|mut rest| rest.next().is_some())
}

/// The places about which a warning was given.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<HashSet<String>>);

impl Warnings {
    fn of(&self, store: &str, passed_over: &[PassedOver]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for PassedOver { place, obstacle } in passed_over {
            if told.len() > MOST_WARNINGS {
                return;
            }
            if !told.insert(place.clone()) {
                continue;
            }
            if told.len() > MOST_WARNINGS {
                tracing::warn!("{store}: more is passed over than these {MOST_WARNINGS} things");
            } else {
                let advice = obstacle.advice();
                tracing::warn!("{store}: `{place}` is passed over, as it {obstacle}. What to do: {advice}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(place: &str, obstacle: Obstacle) -> PassedOver {
        PassedOver { place: place.to_owned(), obstacle }
    }

    #[test]
    fn a_gap_counts_for_what_is_above_and_below_it_and_for_nothing_else() {
        let listing = Listing {
            passed_over: vec![passed("packs/G2/xx", Obstacle::Link), passed("packs/G1/a b", Obstacle::Name)],
            ..Listing::default()
        };
        for (folder, is) in [
            ("", true),
            ("packs", true),
            ("packs/G2", true),
            ("packs/G2/xx", true),
            ("packs/G2/xx/y", true),
            ("packs/G2/x", false),
            ("packs/G", false),
            ("packs/G1", false),
            ("parts/G2", false),
        ] {
            assert_eq!(listing.gap_in(folder).is_some(), is, "{folder}");
        }
    }

    #[test]
    fn warnings_are_few_and_none_comes_twice() {
        let warnings = Warnings::default();
        let many: Vec<_> = (0..1000).map(|n| passed(&format!("a b{n}"), Obstacle::Name)).collect();
        warnings.of("store", &many[..3]);
        warnings.of("store", &many[..3]);
        assert_eq!(warnings.0.lock().unwrap().len(), 3);
        warnings.of("store", &many);
        // The last warning says that there are more.
        assert_eq!(warnings.0.lock().unwrap().len(), MOST_WARNINGS + 1);
    }
}
