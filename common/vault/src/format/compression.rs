//! The one form of compressed data that readers accept: a single zstd frame (RFC 8878) with a bounded window, without a
//! dictionary, and with nothing before or after it. Whatever else a zstd library decompresses is refused: readers with
//! different libraries would disagree about it.

use std::io::Read as _;

use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

/// The largest window of a frame of chunks, in bytes: RFC 8878, section 3.1.1.1.2, recommends that every decoder
/// supports it.
pub(crate) const FRAME_WINDOW: u64 = 8 << 20;
/// The largest window of everything else, in bytes.
pub(crate) const OBJECT_WINDOW: u64 = 32 << 20;

const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// Compresses index objects and trailers, which are sealed after that.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("compressing in memory does not fail")
}

/// The counterpart of [`compress`], with limits on the decompressed size and the window, in bytes.
pub(crate) fn decompress(bytes: &[u8], cap: usize, largest_window: u64) -> Option<Vec<u8>> {
    if window(bytes)? > largest_window || find_frame_compressed_size(bytes).ok()? != bytes.len() {
        return None;
    }
    if let Some(size) = get_frame_content_size(bytes).ok()? {
        let size = usize::try_from(size).ok().filter(|size| *size <= cap)?;
        return zstd::bulk::decompress(bytes, size).ok();
    }
    let mut plain = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).ok()?.single_frame();
    decoder.window_log_max(largest_window.ilog2()).ok()?;
    decoder.take(cap as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= cap).then_some(plain)
}

/// The size of the window that a zstd frame asks for, in bytes, from its header (RFC 8878, section 3.1.1.1). `None` if it
/// is another kind of frame, is cut, names a dictionary, or uses the reserved bit.
fn window(frame: &[u8]) -> Option<u64> {
    let (descriptor, header) = frame.strip_prefix(&MAGIC)?.split_first()?;
    let has_reserved_bit = descriptor & 0b1000 != 0;
    let has_dictionary = descriptor & 0b11 != 0;
    if has_reserved_bit || has_dictionary {
        return None;
    }
    let is_single_segment = descriptor & 0b10_0000 != 0;
    if !is_single_segment {
        let window = header.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 0b111));
    }
    // The window is as large as the content.
    let size = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| bytes.iter().rev().fold(0, |size, byte| size << 8 | u64::from(*byte)))
    };
    match descriptor >> 6 {
        0 => size(header.get(..1)),
        1 => size(header.get(..2)).map(|size| size + 256),
        2 => size(header.get(..4)),
        _ => size(header.get(..8)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zstd::stream::raw::CParameter;
    use zstd::stream::write::Encoder;

    use super::*;

    const CAP: usize = 1 << 20;

    /// Compresses without stating the size of the content, as a program does that streams.
    fn streamed(bytes: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), 3).unwrap();
        encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn with_dictionary(bytes: &[u8], dictionary: &[u8]) -> Vec<u8> {
        zstd::bulk::Compressor::with_dictionary(3, dictionary).unwrap().compress(bytes).unwrap()
    }

    #[test]
    fn one_frame_is_accepted_and_nothing_else_that_zstd_would_decompress() {
        let text = b"some text that is compressed, some text that is compressed".repeat(20);
        let frame = compress(&text);
        let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let mut reserved = frame.clone();
        reserved[4] |= 0b1000;
        let rows: [(&str, Vec<u8>, bool); 12] = [
            ("one frame", frame.clone(), true),
            ("one that does not state its size", streamed(&text, 20), true),
            ("one of nothing", compress(b""), true),
            ("the largest window", streamed(&text, 23), true),
            ("a larger window", streamed(&text, 24), false),
            ("two frames", [frame.clone(), frame.clone()].concat(), false),
            ("a skippable frame before it", [skippable.clone(), frame.clone()].concat(), false),
            ("a skippable frame after it", [frame.clone(), skippable.clone()].concat(), false),
            ("a skippable frame alone", skippable, false),
            ("a byte after it", [frame.clone(), vec![0]].concat(), false),
            ("a reserved bit", reserved, false),
            ("nothing", Vec::new(), false),
        ];
        for (what, bytes, is_accepted) in rows {
            assert_eq!(decompress(&bytes, CAP, FRAME_WINDOW).is_some(), is_accepted, "{what}");
        }
        assert_eq!(decompress(&frame, CAP, FRAME_WINDOW).unwrap(), text);
        for cut in 0..frame.len() {
            assert_eq!(decompress(&frame[..cut], CAP, FRAME_WINDOW), None, "{cut} of {} bytes", frame.len());
        }
    }

    #[test]
    fn a_frame_names_no_dictionary() {
        let samples: Vec<Vec<u8>> = (0_u32..1000)
            .map(|number| format!("the sample with number {number}, and so on").into_bytes())
            .collect();
        let dictionary = zstd::dict::from_samples(&samples, 4096).unwrap();
        let frame = with_dictionary(&samples[7], &dictionary);
        assert_eq!(window(&frame), None);
        assert_eq!(decompress(&frame, CAP, FRAME_WINDOW), None);
    }

    #[test]
    fn the_cap_and_the_window_are_exact() {
        let zeros = vec![0; CAP];
        let frame = compress(&zeros);
        assert!(decompress(&frame, CAP, FRAME_WINDOW).is_some());
        assert!(decompress(&frame, CAP - 1, FRAME_WINDOW).is_none());
        // A single segment has a window of its content's size.
        assert_eq!(window(&frame), Some(CAP as u64));
        assert!(decompress(&frame, CAP, CAP as u64).is_some());
        assert!(decompress(&frame, CAP, CAP as u64 - 1).is_none());
    }

    /// The fields of RFC 8878, section 3.1.1.1, written by hand.
    #[test]
    fn a_window_is_read_from_each_form_of_header() {
        let header = |bytes: &[u8]| window(&[&MAGIC[..], bytes].concat());
        let rows: &[(&[u8], Option<u64>)] = &[
            (&[0b0000_0000, 0b0000_0000], Some(1 << 10)),
            (&[0b0000_0000, 0b0110_1000], Some(8 << 20)),
            (&[0b0000_0000, 0b0110_1001], Some(9 << 20)),
            (&[0b0000_0000, 0b1111_1111], Some((1 << 41) + 7 * (1 << 38))),
            (&[0b0010_0000, 200], Some(200)),
            (&[0b0110_0000, 0x01, 0x02], Some(0x0201 + 256)),
            (&[0b1010_0000, 0x01, 0x02, 0x03, 0x04], Some(0x0403_0201)),
            (&[0b1110_0000, 1, 0, 0, 0, 0, 0, 0, 0x80], Some((1 << 63) + 1)),
            (&[0b0010_0001, 200], None),
            (&[0b0010_1000, 200], None),
            (&[0b1010_0000, 1, 2, 3], None),
            (&[0b0000_0000], None),
            (&[], None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(header(bytes), *expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn everything_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..3000), log in 10_u32..24) {
            prop_assert_eq!(decompress(&compress(&bytes), CAP, FRAME_WINDOW), Some(bytes.clone()));
            prop_assert_eq!(decompress(&streamed(&bytes, log), CAP, FRAME_WINDOW), Some(bytes));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decompress(&[&MAGIC[..], &bytes].concat(), CAP, FRAME_WINDOW);
        }
    }
}
