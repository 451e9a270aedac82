//! Splits the bytes of an item stream into its records as they arrive.

use crate::format::item::{Item, MAX_ITEM, MalformedItem, TOO_LONG, path_order};

/// Parses the bytes of an item stream, in pieces of any size, into its items. Checks each item, and their order.
#[derive(Default)]
pub(crate) struct ItemRecords {
    pending: Vec<u8>,
    /// The start of the next record in `pending`.
    start: usize,
    last: Option<Vec<u8>>,
}

impl ItemRecords {
    /// Adds the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.start);
        self.start = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next item; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, MalformedItem> {
        let Some((length, rest)) = self.pending[self.start..].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_ITEM {
            return Err(MalformedItem(TOO_LONG));
        }
        let Some(record) = rest.get(..length) else { return Ok(None) };
        let item = Item::from_cbor(record)?;
        if self.last.as_ref().is_some_and(|last| path_order(last, &item.path).is_ge()) {
            return Err(MalformedItem("it is not in order"));
        }
        self.start += 4 + length;
        self.last = Some(item.path.to_vec());
        Ok(Some(item))
    }

    /// Whether the stream may end here.
    pub(crate) fn finish(&self) -> Result<(), MalformedItem> {
        if self.start == self.pending.len() {
            Ok(())
        } else {
            Err(MalformedItem("the stream ends within it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::item::tests::file;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Item>, MalformedItem> {
        let (mut records, mut items) = (ItemRecords::default(), Vec::new());
        for piece in pieces {
            records.push(piece);
            while let Some(item) = records.next()? {
                items.push(item);
            }
        }
        records.finish().map(|()| items)
    }

    #[test]
    fn items_are_parsed_wherever_the_stream_is_cut() {
        let items = [file(b"a"), file(b"a-b"), file(b"b")];
        let stream: Vec<u8> = items.iter().flat_map(Item::to_record).collect();
        for cut in 0..stream.len() {
            assert_eq!(read(&[&stream[..cut], &stream[cut..]]).unwrap(), items);
        }
    }

    #[test]
    fn a_stream_that_is_cut_or_out_of_order_or_too_long_is_refused() {
        let stream = [file(b"a").to_record(), file(b"b").to_record()].concat();
        read(&[&stream[..stream.len() - 1]]).unwrap_err();
        read(&[&file(b"b").to_record(), &file(b"a").to_record()]).unwrap_err();
        read(&[&file(b"a").to_record(), &file(b"a").to_record()]).unwrap_err();
        let length = u32::try_from(MAX_ITEM + 1).unwrap();
        read(&[&length.to_le_bytes()]).unwrap_err();
    }
}
