//! Lists the objects of the format.

use lifeboat_store::{Entry, Listing, Store, StoreError};

use crate::format::object_name::Name;

fn is_of_the_format(entry: &Entry) -> bool {
    Name::parse(&entry.key).is_some()
}

/// The objects of the format below a folder, in no order.
pub(crate) async fn listed(store: &Store, folder: &str) -> Result<Vec<Entry>, StoreError> {
    let mut entries = store.list(folder).await?;
    entries.retain(is_of_the_format);
    Ok(entries)
}

/// The same, with what the listing skipped.
pub(crate) async fn listing(store: &Store, folder: &str) -> Result<Listing, StoreError> {
    let mut listing = store.listing(folder).await?;
    listing.entries.retain(is_of_the_format);
    Ok(listing)
}
