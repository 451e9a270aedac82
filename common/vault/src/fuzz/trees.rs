//! Captured data: item streams, a host's cache of files, and exclude patterns.

use super::decoded;
use super::stage::RUN;
use crate::backup::file_cache::Entry;
use crate::format::item::{Item, ItemKind, has_holes, holes_of, path_order};
use crate::format::item_records::ItemRecords;
use crate::tree::Patterns;

/// An item stream.
pub fn items(stream: &[u8]) -> bool {
    let whole = read(&[stream]);
    let (first, second) = stream.split_at(stream.len() / 2);
    assert_eq!(read(&[first, second]), whole, "it does not matter where a stream is cut");
    let Some(items) = whole else { return false };
    for item in &items {
        examine(item);
    }
    let again: Vec<u8> = items.iter().flat_map(Item::to_record).collect();
    assert_eq!(read(&[&again]).as_ref(), Some(&items), "a stream that was written is read");
    true
}

fn read(pieces: &[&[u8]]) -> Option<Vec<Item>> {
    let (mut records, mut items) = (ItemRecords::default(), Vec::<Item>::new());
    for piece in pieces {
        records.push(piece);
        while let Some(item) = records.next().ok()? {
            assert!(items.last().is_none_or(|last| path_order(&last.path, &item.path).is_lt()));
            items.push(item);
        }
    }
    records.finish().ok().map(|()| items)
}

fn examine(item: &Item) {
    let parts = || item.path.split(|byte| *byte == b'/');
    assert!(item.path.is_empty() || parts().all(|part| !matches!(part, b"" | b"." | b"..")));
    assert!(parts().next_back() == Some(item.name()));
    let (segments, size) = (item.data_segments(), item.size.unwrap_or(0));
    let data: u64 = segments.iter().map(|segment| segment.length).sum();
    let holes: u64 = holes_of(&segments, size).iter().map(|hole| hole.length).sum();
    if item.kind == ItemKind::File {
        assert_eq!(data + holes, size, "data and holes make up the file");
        assert_eq!(has_holes(&segments, size), holes > 0, "a hole is a hole");
    }
    if let Some(content) = &item.content {
        assert_eq!(content.bytes(), data);
        for extent in &content.extents {
            let _ = content.frame(extent);
        }
    }
}

/// A host's cache of a stream, opened.
pub fn memory(cbor: &[u8]) -> bool {
    let Ok(entries) = Entry::all_of(cbor) else { return false };
    decoded::<Vec<Entry>>(cbor).expect("it decoded before");
    for entry in entries {
        let _ = entry.has_landed(RUN, &roaring::RoaringBitmap::new());
    }
    true
}

/// Patterns, one per line; the first line is the path that they are matched against.
pub fn patterns(bytes: &[u8]) -> bool {
    let (path, text) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    for ignore_case in [false, true] {
        let Ok(patterns) = Patterns::parse(&lines, ignore_case) else { return false };
        assert_eq!(patterns.texts().len(), lines.len());
        let again = Patterns::parse(patterns.texts(), ignore_case).expect("what was read is read again");
        for is_folder in [false, true] {
            let verdict = patterns.verdict(path, is_folder);
            assert_eq!(again.verdict(path, is_folder), verdict);
        }
    }
    true
}
