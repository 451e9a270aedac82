//! Reading many objects a few at a time, so that latency is shared and memory stays small.

/// The most objects that are read at once.
const MOST: usize = 16;
/// The most bytes that are read at once, unless one object alone has more.
const MOST_BYTES: u64 = 16 << 20;

/// Puts objects together, in their order, into batches that are read at once.
pub(crate) fn batches<T>(objects: impl IntoIterator<Item = T>, size: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0_u64;
    for object in objects {
        let more = size(&object);
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
        assert_eq!(of(&[MOST_BYTES / 2; 3]), [2, 1]);
        assert_eq!(of(&[1, u64::MAX, 1, 1]), [1, 1, 2]);
    }
}
