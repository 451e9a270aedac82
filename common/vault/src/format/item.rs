//! Items, the records of an item stream: everything in a captured tree except file contents.
//!
//! A stream lists a tree in one order: a folder before its contents, names of one folder by their bytes. It omits what
//! changes without the tree changing (access time, inode number, status-change time), so an unchanged tree is the same
//! stream, and no new data.

use minicbor::bytes::ByteVec;
use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};

use crate::ids::{FrameName, RunId, at_most, from_cbor, to_cbor};

/// The largest record of a stream, in bytes.
pub(crate) const MAX_ITEM: usize = 256 << 20;
/// Why a longer record is refused.
pub(crate) const TOO_LONG: &str = "its record is too long";
/// The longest path below a captured folder, in bytes.
const MAX_PATH: usize = 1 << 20;

/// The kinds of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ItemKind {
    /// A regular file with content.
    #[n(0)]
    File,
    /// A folder.
    #[n(1)]
    Folder,
    /// A symbolic link; `target` is its target.
    #[n(2)]
    Symlink,
    /// Another name of the file at the path `target`, which comes before it in the stream.
    #[n(3)]
    HardLink,
    /// A block device; `device` is its number.
    #[n(4)]
    BlockDevice,
    /// A character device; `device` is its number.
    #[n(5)]
    CharacterDevice,
    /// A named pipe.
    #[n(6)]
    Fifo,
    /// A socket's name.
    #[n(7)]
    Socket,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Item {
    /// The path below the captured folder, components separated by `/`; empty for the folder itself. Any bytes but NUL.
    #[n(0)]
    pub path: ByteVec,
    /// Its kind.
    #[n(1)]
    pub kind: ItemKind,
    /// The permission bits with setuid, setgid and sticky.
    #[n(2)]
    pub mode: u32,
    /// The owner's number.
    #[n(3)]
    pub uid: u32,
    /// The group's number.
    #[n(4)]
    pub gid: u32,
    /// Modification time, whole seconds since 1970.
    #[n(5)]
    pub mtime: i64,
    /// The nanoseconds of the modification time.
    #[n(6)]
    pub mtime_ns: u32,
    /// Extended attributes by name, POSIX ACLs and file capabilities among them.
    #[n(7)]
    #[cbor(decode_with = "few_xattrs", nil = "no_xattrs")]
    pub xattrs: Option<Vec<Xattr>>,
    /// A file's length in bytes.
    #[n(8)]
    pub size: Option<u64>,
    /// A file's content; absent if it has no bytes.
    #[n(9)]
    pub content: Option<Content>,
    /// A sparse file's data; everything else in it is holes. Absent for a file without holes.
    #[n(10)]
    pub segments: Option<Vec<Segment>>,
    /// A link's target.
    #[n(11)]
    pub target: Option<ByteVec>,
    /// A device's major and minor number.
    #[n(12)]
    pub device: Option<Device>,
    /// The captured folder's own path on its host, in the first item.
    #[n(13)]
    pub origin: Option<ByteVec>,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Xattr {
    /// Its full name, such as `user.comment` or `system.posix_acl_access`.
    #[n(0)]
    pub name: ByteVec,
    /// Its value in the kernel's form.
    #[n(1)]
    pub value: ByteVec,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Device {
    /// The major number.
    #[n(0)]
    pub major: u32,
    /// The minor number.
    #[n(1)]
    pub minor: u32,
}

/// A run of bytes in a sparse file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Segment {
    /// Its offset.
    #[n(0)]
    pub offset: u64,
    /// Its length in bytes.
    #[n(1)]
    pub length: u64,
}

/// The content of a file or stream: chunks in order, identified by where they were first stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Content {
    /// The runs that the extents index into.
    #[n(0)]
    pub runs: Vec<RunId>,
    /// Consecutive chunks of one frame each.
    #[n(1)]
    pub extents: Vec<Extent>,
    /// BLAKE3 over the chunk ids in order.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// Consecutive chunks of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Extent {
    /// The index of the run in the content's runs.
    #[n(0)]
    pub run: u32,
    /// The frame's ordinal in that run.
    #[n(1)]
    pub ordinal: u32,
    /// The first chunk's slot.
    #[n(2)]
    pub slot: u32,
    /// How many chunks.
    #[n(3)]
    pub chunks: u32,
    /// Their total length in bytes.
    #[n(4)]
    pub bytes: u64,
}

/// The most attributes of an item. The kernel lists 64 KiB of names, each followed by a NUL.
const MOST_XATTRS: usize = 32 << 10;

fn few_xattrs<C>(d: &mut Decoder<'_>, context: &mut C) -> Result<Option<Vec<Xattr>>, DecodeError> {
    at_most::<MOST_XATTRS, C, Xattr>(d, context).map(Some)
}

#[expect(clippy::option_option, reason = "required by the decoder: the value of an omitted member")]
#[expect(clippy::unnecessary_wraps, reason = "the same")]
fn no_xattrs() -> Option<Option<Vec<Xattr>>> {
    Some(None)
}

/// Why a record of a stream is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an item of the snapshot is malformed ({0})")]
pub struct MalformedItem(pub(crate) &'static str);

impl Item {
    /// The record's form in a stream: its length (32 bits, little-endian), then its CBOR.
    pub(crate) fn to_record(&self) -> Vec<u8> {
        let cbor = to_cbor(self);
        let mut record = Vec::with_capacity(4 + cbor.len());
        record.extend_from_slice(&u32::try_from(cbor.len()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend_from_slice(&cbor);
        record
    }

    /// The record for a writer to store; fails if readers would refuse it.
    pub(crate) fn checked_record(&self) -> Result<Vec<u8>, MalformedItem> {
        self.record_of_at_most(MAX_ITEM)
    }

    fn record_of_at_most(&self, most: usize) -> Result<Vec<u8>, MalformedItem> {
        self.check()?;
        if self.xattrs.as_ref().is_some_and(|xattrs| xattrs.len() > MOST_XATTRS) {
            return Err(MalformedItem("it has too many extended attributes"));
        }
        let record = self.to_record();
        if record.len() - 4 > most {
            return Err(MalformedItem(TOO_LONG));
        }
        Ok(record)
    }

    /// Parses the CBOR of a record and checks everything that a restore relies on.
    pub(crate) fn from_cbor(cbor: &[u8]) -> Result<Self, MalformedItem> {
        let item: Self = from_cbor(cbor).map_err(|_| MalformedItem("it does not decode"))?;
        item.check()?;
        Ok(item)
    }

    fn check(&self) -> Result<(), MalformedItem> {
        check_path(&self.path, self.kind == ItemKind::Folder)?;
        if self.mode > 0o7777 || self.mtime_ns > 999_999_999 {
            return Err(MalformedItem("its mode or time is out of range"));
        }
        // chown(2) takes this number for "leave it unchanged".
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return Err(MalformedItem("its owner or group is invalid"));
        }
        let sane = match self.kind {
            ItemKind::File => self.size.is_some() && self.target.is_none() && self.device.is_none(),
            ItemKind::Symlink => self.target.as_ref().is_some_and(|t| !t.is_empty() && !t.contains(&0)),
            ItemKind::HardLink => match &self.target {
                Some(target) => check_path(target, false).map(|()| target != &self.path)?,
                None => false,
            },
            ItemKind::BlockDevice | ItemKind::CharacterDevice => self.device.is_some(),
            ItemKind::Folder | ItemKind::Fifo | ItemKind::Socket => true,
        };
        if !sane {
            return Err(MalformedItem("its fields do not match its kind"));
        }
        if let Some(xattrs) = &self.xattrs
            && xattrs.iter().any(|x| x.name.is_empty() || x.name.contains(&0))
        {
            return Err(MalformedItem("an extended attribute has no proper name"));
        }
        self.check_content()
    }

    fn check_content(&self) -> Result<(), MalformedItem> {
        let size = self.size.unwrap_or(0);
        if self.kind != ItemKind::File && (self.content.is_some() || self.segments.is_some()) {
            return Err(MalformedItem("it has content but is not a file"));
        }
        let mut stored = 0_u64;
        if let Some(content) = &self.content {
            content.check()?;
            stored = content.bytes();
        }
        let expected = match &self.segments {
            None => size,
            Some(segments) => {
                let mut end = 0_u64;
                let mut sum = 0_u64;
                for segment in segments {
                    let next = segment.offset.checked_add(segment.length);
                    match next {
                        Some(next) if segment.offset >= end && segment.length > 0 && next <= size => {
                            end = next;
                        }
                        _ => return Err(MalformedItem("its segments overlap or exceed the file")),
                    }
                    sum += segment.length;
                }
                sum
            }
        };
        if stored == expected {
            Ok(())
        } else {
            Err(MalformedItem("its content has another length than the file"))
        }
    }

    /// The segments with data: the recorded ones, or the whole file.
    pub fn data_segments(&self) -> Vec<Segment> {
        match (&self.segments, self.size) {
            (Some(segments), _) => segments.clone(),
            (None, Some(length)) if length > 0 => vec![Segment { offset: 0, length }],
            _ => Vec::new(),
        }
    }

    /// The name in its folder; empty for the captured folder itself.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }
}

impl Content {
    pub(crate) fn check(&self) -> Result<(), MalformedItem> {
        let mut sum = 0_u64;
        for extent in &self.extents {
            if extent.run as usize >= self.runs.len() || extent.chunks == 0 {
                return Err(MalformedItem("an extent names no chunk"));
            }
            sum = sum.checked_add(extent.bytes).ok_or(MalformedItem("its extents are too long"))?;
        }
        Ok(())
    }

    /// How many bytes the content has.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.bytes))
    }

    /// The frame of an extent.
    pub(crate) fn frame(&self, extent: &Extent) -> FrameName {
        self.runs[extent.run as usize].frame(extent.ordinal)
    }
}

/// Whether data at `segments` leaves holes in a file of `size` bytes.
pub(crate) fn has_holes(segments: &[Segment], size: u64) -> bool {
    size > 0 && !matches!(segments, [only] if only.offset == 0 && only.length == size)
}

/// The ranges of a file of `size` bytes that are not in `segments`.
pub(crate) fn holes_of(segments: &[Segment], size: u64) -> Vec<Segment> {
    let mut holes = Vec::new();
    let mut at = 0;
    for segment in segments.iter().chain([&Segment { offset: size, length: 0 }]) {
        if segment.offset > at {
            holes.push(Segment { offset: at, length: segment.offset - at });
        }
        at = segment.offset + segment.length;
    }
    holes
}

/// Checks that a path stays below its root: no component may be empty, `.`, `..` or contain a NUL.
fn check_path(path: &[u8], may_be_root: bool) -> Result<(), MalformedItem> {
    if path.is_empty() {
        let nameless = Err(MalformedItem("only the captured folder itself has an empty path"));
        return if may_be_root { Ok(()) } else { nameless };
    }
    let bad_part = |part: &[u8]| part.is_empty() || part == b"." || part == b".." || part.contains(&0);
    if path.len() > MAX_PATH {
        return Err(MalformedItem("its path is too long"));
    }
    if path.split(|b| *b == b'/').any(bad_part) {
        return Err(MalformedItem("its path leaves the captured folder"));
    }
    Ok(())
}

/// Whether `path` is that of `top` or below it; everything is below the empty path.
pub fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The order of a stream: folders before their contents, names by their bytes.
pub(crate) fn path_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    if a.is_empty() || b.is_empty() {
        return a.len().cmp(&b.len());
    }
    a.split(|c| *c == b'/').cmp(b.split(|c| *c == b'/'))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn file(path: &[u8]) -> Item {
        Item {
            path: path.to_vec().into(),
            kind: ItemKind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            mtime: -5,
            mtime_ns: 999_999_999,
            xattrs: Some(vec![Xattr { name: b"user.a".to_vec().into(), value: vec![0, 255].into() }]),
            size: Some(0),
            content: None,
            segments: None,
            target: None,
            device: None,
            origin: None,
        }
    }

    #[test]
    fn a_folder_includes_itself_and_its_contents_and_no_neighbour() {
        let is = is_at_or_below;
        assert!(is(b"etc", b"etc") && is(b"etc/a", b"etc") && is(b"x", b""));
        assert!(!is(b"etcetera", b"etc") && !is(b"a/etc", b"etc"));
    }

    #[test]
    fn an_item_survives_its_record() {
        let item = file(b"a/\xff\xfe");
        let record = item.to_record();
        assert_eq!(u32::from_le_bytes(record[..4].try_into().unwrap()) as usize, record.len() - 4);
        assert_eq!(Item::from_cbor(&record[4..]).unwrap(), item);
    }

    #[test]
    fn an_invalid_owner_is_refused() {
        for item in [Item { uid: u32::MAX, ..file(b"f") }, Item { gid: u32::MAX, ..file(b"f") }] {
            assert!(Item::from_cbor(&item.to_record()[4..]).is_err(), "{item:?}");
        }
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for bad in ["..", "a/../b", "/etc/passwd", "a//b", ".", "a/./b", "a/", "a\0b"] {
            assert!(Item::from_cbor(&file(bad.as_bytes()).to_record()[4..]).is_err(), "{bad:?}");
            let link = Item {
                kind: ItemKind::HardLink,
                size: None,
                target: Some(bad.as_bytes().to_vec().into()),
                ..file(b"link")
            };
            assert!(Item::from_cbor(&link.to_record()[4..]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn more_attributes_than_a_kernel_lists_are_refused_before_they_take_memory() {
        let empty = Xattr { name: b"a".to_vec().into(), value: Vec::new().into() };
        let with = |count| Item { xattrs: Some(vec![empty.clone(); count]), ..file(b"f") }.to_record();
        Item::from_cbor(&with(MOST_XATTRS)[4..]).unwrap();
        Item::from_cbor(&with(MOST_XATTRS + 1)[4..]).unwrap_err();
        let none = Item { xattrs: None, ..file(b"f") };
        assert_eq!(Item::from_cbor(&none.to_record()[4..]).unwrap(), none);
    }

    #[test]
    fn what_a_writer_stores_is_what_readers_accept() {
        let with_path = |length| file(&vec![b'p'; length]);
        let empty = Xattr { name: b"a".to_vec().into(), value: Vec::new().into() };
        let with_attributes = |count| Item { xattrs: Some(vec![empty.clone(); count]), ..file(b"f") };
        for (item, is_fine) in [
            (with_path(MAX_PATH), true),
            (with_path(MAX_PATH + 1), false),
            (with_attributes(MOST_XATTRS), true),
            (with_attributes(MOST_XATTRS + 1), false),
            (file(b""), false),
            (Item { kind: ItemKind::Folder, size: None, ..file(b"") }, true),
            (
                Item { kind: ItemKind::Symlink, size: None, target: Some(b"t".to_vec().into()), ..file(b"") },
                false,
            ),
            (Item { mode: 0o10000, ..file(b"f") }, false),
        ] {
            let read = Item::from_cbor(&item.to_record()[4..]);
            assert_eq!(read.is_ok(), is_fine, "{:?}", read.err());
            assert_eq!(item.checked_record().ok(), is_fine.then(|| item.to_record()));
        }
    }

    #[test]
    fn a_record_that_is_longer_than_readers_accept_is_refused_when_it_is_written() {
        let item = file(b"f");
        let length = item.to_record().len() - 4;
        assert_eq!(item.record_of_at_most(length), Ok(item.to_record()));
        assert_eq!(item.record_of_at_most(length - 1), Err(MalformedItem(TOO_LONG)));
    }

    #[test]
    fn content_must_be_as_long_as_the_file() {
        let extent = Extent { run: 0, ordinal: 0, slot: 0, chunks: 1, bytes: 10 };
        let content =
            Content { runs: vec![RunId::from_bytes([0; 16])], extents: vec![extent], hash: [0; 32] };
        let of_size = |size| Item { size: Some(size), content: Some(content.clone()), ..file(b"f") };
        of_size(10).check().unwrap();
        of_size(11).check().unwrap_err();
        let sparse = |segments| Item { segments: Some(segments), ..of_size(100) };
        sparse(vec![Segment { offset: 90, length: 10 }]).check().unwrap();
        sparse(vec![Segment { offset: 91, length: 10 }]).check().unwrap_err();
        sparse(vec![Segment { offset: 5, length: 5 }, Segment { offset: 9, length: 5 }]).check().unwrap_err();
    }

    #[test]
    fn a_folder_comes_before_its_content_and_its_content_before_its_longer_named_neighbour() {
        let mut paths = [&b"a-b"[..], b"a/b", b"a", b"", b"a/b/c", b"B"];
        paths.sort_by(|a, b| path_order(a, b));
        assert_eq!(paths, [&b""[..], b"B", b"a", b"a/b", b"a/b/c", b"a-b"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Item::from_cbor(&bytes);
        }
    }
}
