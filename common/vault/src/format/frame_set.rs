//! Sets of frames: those that a snapshot needs, condemned ones, lost ones.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use roaring::RoaringBitmap;

use crate::ids::{FrameName, RunId};

/// One more than the highest ordinal of a run: a run of 128 TiB. It limits the memory that a bitmap can make us
/// allocate.
pub(crate) const MAX_FRAMES: u32 = 1 << 27;

/// A stored bitmap may always have this many bytes, plus [`BITMAP_BYTES_A_FRAME`] for each frame in it.
const BITMAP_BYTES: u64 = 4096;
const BITMAP_BYTES_A_FRAME: u64 = 64;

/// Frames by run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FrameSet {
    runs: BTreeMap<RunId, RoaringBitmap>,
}

/// Frames of one run in their stored form.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RunFrames {
    #[n(0)]
    pub(crate) run: RunId,
    /// Bit `n` (of byte `n / 8`, counted from the lowest) is set when frame `n` is in the set.
    #[n(1)]
    pub(crate) frames: ByteVec,
}

impl FrameSet {
    pub(crate) fn insert(&mut self, frame: FrameName) -> bool {
        self.runs.entry(frame.run).or_default().insert(frame.ordinal)
    }

    /// Adds the frames of a stored bitmap.
    pub(crate) fn insert_bitmap(&mut self, run: RunId, bitmap: &[u8]) {
        *self.runs.entry(run).or_default() |= bits(bitmap);
    }

    pub(crate) fn contains(&self, frame: FrameName) -> bool {
        self.runs.get(&frame.run).is_some_and(|ordinals| ordinals.contains(frame.ordinal))
    }

    pub(crate) fn has_run(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|ordinals| !ordinals.is_empty())
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (run, ordinals) in &other.runs {
            *self.runs.entry(*run).or_default() |= ordinals;
        }
    }

    /// The frames that are in this set and not in `other`.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let rest = |(run, ordinals): (&RunId, &RoaringBitmap)| match other.runs.get(run) {
            Some(others) => (*run, ordinals - others),
            None => (*run, ordinals.clone()),
        };
        Self { runs: self.runs.iter().map(rest).filter(|(_, ordinals)| !ordinals.is_empty()).collect() }
    }

    /// The frames that are in both sets.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let in_both = |(run, ordinals): (&RunId, &RoaringBitmap)| {
            other.runs.get(run).map(|others| (*run, ordinals & others))
        };
        Self {
            runs: self.runs.iter().filter_map(in_both).filter(|(_, ordinals)| !ordinals.is_empty()).collect(),
        }
    }

    /// Whether any frame is in both sets.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let (few, many) = if self.runs.len() < other.runs.len() { (self, other) } else { (other, self) };
        few.runs
            .iter()
            .any(|(run, ordinals)| many.runs.get(run).is_some_and(|others| !ordinals.is_disjoint(others)))
    }

    /// The runs that have frames in the set.
    pub(crate) fn runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.runs.iter().filter(|(_, ordinals)| !ordinals.is_empty()).map(|(run, _)| *run)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.values().all(RoaringBitmap::is_empty)
    }

    /// How many frames are in the set.
    pub(crate) fn len(&self) -> u64 {
        self.runs.values().map(RoaringBitmap::len).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = FrameName> + '_ {
        self.runs.iter().flat_map(|(run, ordinals)| ordinals.iter().map(|ordinal| run.frame(ordinal)))
    }

    /// The stored form, runs in order.
    pub(crate) fn to_records(&self) -> Vec<RunFrames> {
        let with_frames = self.runs.iter().filter(|(_, ordinals)| !ordinals.is_empty());
        with_frames.map(|(run, ordinals)| RunFrames { run: *run, frames: bitmap(ordinals.iter()) }).collect()
    }

    /// Without the runs whose stored form would be disproportionate to the number of their frames: one high ordinal
    /// makes a bitmap of 16 MiB.
    pub(crate) fn in_proportion(&self) -> Self {
        let is_fine = |ordinals: &RoaringBitmap| {
            let bytes = u64::from(ordinals.max().unwrap_or_default() / 8);
            bytes <= BITMAP_BYTES + ordinals.len().saturating_mul(BITMAP_BYTES_A_FRAME)
        };
        let runs = self.runs.iter().filter(|(_, ordinals)| is_fine(ordinals));
        Self { runs: runs.map(|(run, ordinals)| (*run, ordinals.clone())).collect() }
    }

    pub(crate) fn add_records(&mut self, records: &[RunFrames]) {
        for record in records {
            self.insert_bitmap(record.run, &record.frames);
        }
    }
}

impl FromIterator<FrameName> for FrameSet {
    fn from_iter<I: IntoIterator<Item = FrameName>>(frames: I) -> Self {
        let mut set = Self::default();
        for frame in frames {
            set.insert(frame);
        }
        set
    }
}

/// The stored form of a set of ordinals, all below [`MAX_FRAMES`].
pub(crate) fn bitmap(ordinals: impl IntoIterator<Item = u32>) -> ByteVec {
    let mut bytes = Vec::new();
    for ordinal in ordinals {
        debug_assert!(ordinal < MAX_FRAMES, "ordinals are checked when they are read");
        let at = ordinal as usize / 8;
        if bytes.len() <= at {
            bytes.resize(at + 1, 0_u8);
        }
        bytes[at] |= 1 << (ordinal % 8);
    }
    bytes.into()
}

/// The ordinals in a stored bitmap, as a set.
pub(crate) fn bits(bitmap: &[u8]) -> RoaringBitmap {
    RoaringBitmap::from_lsb0_bytes(0, &bitmap[..bitmap.len().min(MAX_FRAMES as usize / 8)])
}

/// The ordinals in a stored bitmap, lowest first.
pub(crate) fn ordinals(bitmap: &[u8]) -> impl Iterator<Item = u32> + '_ {
    (0_u32..)
        .zip(bitmap.iter().take(MAX_FRAMES as usize / 8))
        .flat_map(|(at, byte)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(run: u8, ordinal: u32) -> FrameName {
        RunId::from_bytes([run; 16]).frame(ordinal)
    }

    proptest! {
        #[test]
        fn a_set_survives_its_stored_form(frames in prop::collection::btree_set((0_u8..4, 0_u32..5000), 0..200)) {
            let set: FrameSet = frames.iter().map(|(run, ordinal)| frame(*run, *ordinal)).collect();
            let mut again = FrameSet::default();
            again.add_records(&set.to_records());
            prop_assert_eq!(again.len(), frames.len() as u64);
            for record in set.to_records() {
                prop_assert!(bits(&record.frames).iter().eq(ordinals(&record.frames)));
            }
            prop_assert!(frames.iter().all(|(run, ordinal)| again.contains(frame(*run, *ordinal))));
        }
    }

    #[test]
    fn a_run_with_one_high_ordinal_is_out_of_proportion() {
        let high = frame(1, MAX_FRAMES - 1);
        let few: FrameSet = [frame(0, 3), frame(0, 32_000), high].into_iter().collect();
        let kept: FrameSet = [frame(0, 3), frame(0, 32_000)].into_iter().collect();
        assert_eq!(few.in_proportion(), kept);
        let many: FrameSet = (0..300_000).map(|n| frame(1, n * 400)).collect();
        assert_eq!(many.in_proportion(), many);
    }

    #[test]
    fn frames_are_added_and_removed() {
        let mut set = FrameSet::default();
        assert!(set.insert(frame(1, 7)));
        assert!(!set.insert(frame(1, 7)));
        assert!(set.has_run(RunId::from_bytes([1; 16])));
        assert!(!set.has_run(RunId::from_bytes([2; 16])));
    }
}
