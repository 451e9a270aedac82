//! Reads many objects a few at a time, so that latency is shared and memory stays small.

use crate::format::pack::plain_cap;

/// The most objects that are read at once.
const MOST: usize = 16;
/// The most bytes that are read at once, stored and decompressed together, unless a single object has more.
const MOST_BYTES: u64 = 48 << 20;

/// How many bytes an object may take when it is read: the stored bytes, and the most that they may decompress to.
fn weight(stored: u64) -> u64 {
    let plain = plain_cap(usize::try_from(stored).unwrap_or(usize::MAX));
    stored.saturating_add(plain as u64)
}

/// Groups objects, in their order, into batches that are read at once.
pub(crate) fn batches<T>(objects: impl IntoIterator<Item = T>, size: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0_u64;
    for object in objects {
        let more = weight(size(&object));
        match batches.last_mut() {
            Some(batch) if batch.len() < MOST && bytes.saturating_add(more) <= MOST_BYTES => {
                bytes += more;
                batch.push(object);
            }
            _ => {
                bytes = more;
                batches.push(vec![object]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_count_and_by_bytes() {
        let of =
            |sizes: &[u64]| batches(sizes.to_vec(), |size| *size).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(of(&[]), Vec::<usize>::new());
        assert_eq!(of(&[1; 40]), [16, 16, 8]);
        assert_eq!(of(&[100 << 10; 20]), [16, 4]);
        assert_eq!(of(&[1 << 20; 6]), [5, 1], "a MiB may become eight");
        assert_eq!(of(&[8 << 20; 2]), [1, 1]);
        assert_eq!(of(&[1, u64::MAX, 1, 1]), [1, 1, 2]);
    }
}
