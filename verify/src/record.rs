//! Evidence as it was read, kept so that it can be examined again.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

use crate::item::Item;

/// The evidence of one verification, in the order in which it was judged.
#[derive(Debug, Default)]
pub(crate) struct Record {
    is_kept: bool,
    pub(crate) items: Vec<Item>,
    /// The bytes of the items, and of everything else that affects the decision, by digest.
    pub(crate) contents: BTreeMap<Sha256Digest, Vec<u8>>,
}

impl Record {
    /// A record that keeps what it is given only if `is_kept`.
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { is_kept, ..Self::default() }
    }

    /// Keeps an item with its bytes.
    pub(crate) fn add(&mut self, item: Item, content: &[u8]) {
        if self.is_kept {
            self.contents.entry(item.content).or_insert_with(|| content.to_vec());
            self.items.push(item);
        }
    }

    /// Keeps other bytes, and returns their digest.
    pub(crate) fn keep(&mut self, content: &[u8]) -> Sha256Digest {
        let digest = Sha256Digest::of(content);
        if self.is_kept {
            self.contents.entry(digest).or_insert_with(|| content.to_vec());
        }
        digest
    }
}
