//! Tar archives that hold an image, read strictly (POSIX.1-2024, `pax`, "ustar Interchange Format" and "pax Interchange
//! Format"; GNU tar manual, "Basic Tar Format").
//!
//! Container tools read such an archive in two ways: some unpack it into a folder and open files there, others scan it
//! for the first, or the last, member with a name. An [`Archive`] is one in which both find the same bytes: each name
//! occurs once after normalising, only files, links and folders have names, no member is reached through a link, and no
//! header is ambiguous. The archive is opened once and read from that open file, so replacing it has no effect.

mod gzip;
mod header;
mod names;
mod records;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_capped;

use self::header::{BLOCK, Extension, Header, Kind};
pub use self::names::normalise;
use self::records::Records;
use crate::{Refusal, printable};

/// How many members an archive may have.
const MAX_MEMBERS: usize = 1 << 16;

/// How many bytes the names of all members may have.
const MAX_NAMES: usize = 16 << 20;

/// The longest extension header, in bytes: the limit of Go's `archive/tar`.
const MAX_EXTENSION: u64 = 1 << 20;

/// How many links in a row are followed.
const MAX_LINKS: usize = 4;

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    file: File,
    members: BTreeMap<String, Member>,
    /// The names of global headers: some programs show those as members without content.
    global: Vec<String>,
    /// The digests of everything that was read completely, by position: many names may lead to it.
    digests: Mutex<BTreeMap<(u64, As), Sha256Digest>>,
    /// How many bytes its compressed members may still unpack to.
    room: AtomicU64,
}

/// Which bytes a digest covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum As {
    Stored,
    Unpacked,
}

#[derive(Debug)]
struct Member {
    /// Its position, including headers and padding.
    place: Range<u64>,
    content: Content,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Folder,
    /// The start and length of its content.
    File(u64, u64),
    /// Its target, as written.
    Link {
        target: String,
        is_symbolic: bool,
    },
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidData, refusal)
    }
}

/// The refusal in an error, if it is one.
pub fn refusal(error: &io::Error) -> Option<&Refusal> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

impl Archive {
    /// Opens the archive at `path` and checks all of its headers. A refusal is an error with a [`refusal`].
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// The archive in an open file.
    pub fn of(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut archive = Self {
            file,
            members: BTreeMap::new(),
            global: Vec::new(),
            digests: Mutex::default(),
            room: gzip::most(length).into(),
        };
        archive.check_beginning(length)?;
        archive.scan(length)?;
        archive.check_names()?;
        Ok(archive)
    }

    /// Whether the archive has a member with this name, of any kind.
    pub fn contains(&self, name: &str) -> bool {
        normalise(name).is_some_and(|name| self.members.contains_key(&name))
    }

    /// The names of the members, normalised.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Reads a file of at most `cap` bytes.
    pub fn read(&self, name: &str, cap: u64) -> io::Result<Vec<u8>> {
        read_capped(self.section(name)?, cap)
    }

    /// The digest of a file of any size.
    pub fn digest(&self, name: &str) -> io::Result<Sha256Digest> {
        let section = self.section(name)?;
        self.digest_of((section.at, As::Stored), || Sha256Digest::of_reader(section))
    }

    /// The digest of a gzip file's content, unpacked the way image loaders unpack layers; `None` for a file that does
    /// not start like gzip.
    pub fn unpacked_digest(&self, name: &str) -> io::Result<Option<Sha256Digest>> {
        let section = self.section(name)?;
        if !gzip::begins(&section)? {
            return Ok(None);
        }
        self.digest_of((section.at, As::Unpacked), || gzip::digest(section, &self.room)).map(Some)
    }

    fn digest_of(
        &self,
        what: (u64, As),
        digest: impl FnOnce() -> io::Result<Sha256Digest>,
    ) -> io::Result<Sha256Digest> {
        let known = || self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(&what).copied() {
            return Ok(digest);
        }
        let digest = digest()?;
        known().insert(what, digest);
        Ok(digest)
    }

    /// All members except the named ones, in order, byte for byte, without the blocks that end an archive.
    pub fn without<'a>(&'a self, left_out: &[&str]) -> impl Read + use<'a> {
        let is_kept = |(name, _): &(&String, &Member)| !left_out.contains(&name.as_str());
        let mut places: Vec<Range<u64>> =
            self.members.iter().filter(is_kept).map(|(_, member)| member.place.clone()).collect();
        places.sort_by_key(|place| place.start);
        let mut all: Box<dyn Read + 'a> = Box::new(io::empty());
        let mut run: Option<Range<u64>> = None;
        let mut runs = Vec::new();
        for place in places {
            match &mut run {
                Some(run) if run.end == place.start => run.end = place.end,
                _ => runs.extend(run.replace(place)),
            }
        }
        runs.extend(run);
        for run in runs {
            let section = Section { file: &self.file, at: run.start, left: run.end - run.start };
            all = Box::new(all.chain(section));
        }
        all
    }

    fn section(&self, name: &str) -> io::Result<Section<'_>> {
        let name = normalise(name).ok_or(io::ErrorKind::NotFound)?;
        let (at, left) = self.resolve(&name, &name, MAX_LINKS)?;
        Ok(Section { file: &self.file, at, left })
    }

    /// The position of a member's content, following links.
    fn resolve(&self, asked: &str, name: &str, links: usize) -> io::Result<(u64, u64)> {
        let nowhere = || {
            Refusal::malformed(format!("`{}` is a link to what the archive does not hold", printable(asked)))
        };
        let Some(member) = self.members.get(name) else {
            return Err(if asked == name { io::ErrorKind::NotFound.into() } else { nowhere().into() });
        };
        let (target, is_symbolic) = match &member.content {
            Content::File(at, size) => return Ok((*at, *size)),
            Content::Folder => {
                return Err(Refusal::malformed(format!("`{}` is a folder", printable(asked))).into());
            }
            Content::Link { target, is_symbolic } => (target, *is_symbolic),
        };
        if links == 0 {
            let reason = format!("`{}` is a link that leads from link to link", printable(asked));
            return Err(Refusal::malformed(reason).into());
        }
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        // A symbolic link is relative to its folder, a hard link to the archive's root.
        let from_folder = self.follow(folder, target);
        let meant = if is_symbolic { from_folder.clone() } else { self.follow("", target) };
        let meant = meant.filter(|meant| self.members.contains_key(meant)).ok_or_else(nowhere)?;
        let found = self.resolve(asked, &meant, links - 1)?;
        if !is_symbolic {
            // Programs that scan an archive resolve both relative to the link's folder, and one that unpacks it creates
            // another symbolic link under the hard link's name.
            let other = from_folder.filter(|other| self.members.contains_key(other));
            let other = other.map(|other| self.resolve(asked, &other, links - 1)).transpose()?;
            let is_file = matches!(self.members[&meant].content, Content::File(..));
            if !is_file || other.is_some_and(|other| other != found) {
                let reason = format!("the hard link `{}` leads to two places", printable(name));
                return Err(Refusal::ambiguous(reason).into());
            }
        }
        Ok(found)
    }

    /// The path that `target` leads to from `folder`, if it stays in the archive and passes through no link.
    fn follow(&self, folder: &str, target: &str) -> Option<String> {
        if target.starts_with('/') {
            return None;
        }
        let mut way: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        let mut parts = target.split('/').filter(|part| !matches!(*part, "" | ".")).peekable();
        while let Some(part) = parts.next() {
            if part == ".." {
                way.pop()?;
                continue;
            }
            way.push(part);
            let is_on_the_way = parts.peek().is_some();
            let member = is_on_the_way.then(|| self.members.get(&way.join("/"))).flatten();
            if member.is_some_and(|member| member.content != Content::Folder) {
                return None;
            }
        }
        Some(way.join("/"))
    }

    /// A program that unpacks the archive follows a link on the path of a member.
    fn check_names(&self) -> Result<(), Refusal> {
        if let Some(name) = self.global.iter().find(|name| self.contains(name)) {
            let name = printable(name);
            return Err(Refusal::ambiguous(format!(
                "the archive holds `{name}` twice, once as a header for all of it"
            )));
        }
        // Sorted so that the content of a folder comes right after it, before any other name with the same prefix.
        let in_order =
            |name: &str| name.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect::<Vec<_>>();
        let mut names: Vec<_> = self.members.iter().collect();
        names.sort_by_cached_key(|(name, _)| in_order(name));
        for pair in names.windows(2) {
            let ((folder, member), (name, _)) = (pair[0], pair[1]);
            let is_within = name.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if is_within && member.content != Content::Folder {
                let (name, folder) = (printable(name), printable(folder));
                return Err(Refusal::ambiguous(format!("`{name}` is in `{folder}`, which is not a folder")));
            }
        }
        Ok(())
    }

    /// Container tools unpack anything that starts like a compressed file.
    fn check_beginning(&self, length: u64) -> io::Result<()> {
        let mut first = [0; 6];
        let count = first.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut first[..count], 0)?;
        let Some(format) = compressed_format(&first[..count]) else { return Ok(()) };
        let reason =
            format!("it begins as a file that {format} compressed, which programs unpack; unpack it first");
        Err(Refusal::ambiguous(reason).into())
    }

    fn scan(&mut self, length: u64) -> io::Result<()> {
        let mut at = 0;
        let mut size_of_names = 0;
        while at < length {
            let start = at;
            let mut extensions = Records::default();
            let (header, data) = loop {
                let header = self.header(at, length)?;
                let Some(header) = header else {
                    if extensions.is_empty() {
                        return self.check_end(at, length);
                    }
                    return Err(Refusal::malformed("it ends after a header that belongs to another").into());
                };
                let data = at + BLOCK;
                match header.kind {
                    Kind::Extension(kind) => {
                        if kind == Extension::Global {
                            self.global.push(header.name.clone());
                        }
                        let content = self.extension(data, &header)?;
                        extensions.add(kind, &content)?;
                        at = self.check_padding(data, &header, length)?;
                    }
                    _ => break (header, data),
                }
            };
            let header = extensions.complete(header)?;
            at = self.check_padding(data, &header, length)?;
            size_of_names += header.name.len() + header.link.len();
            if self.members.len() >= MAX_MEMBERS || size_of_names > MAX_NAMES {
                return Err(
                    Refusal::too_large(format!("the archive holds more than {MAX_MEMBERS} files")).into()
                );
            }
            self.add(header, start..at, data)?;
        }
        Ok(())
    }

    fn add(&mut self, header: Header, place: Range<u64>, data: u64) -> Result<(), Refusal> {
        let shown = printable(&header.name);
        let is_folder = header.kind == Kind::Folder;
        let name = normalise(&header.name)
            .ok_or_else(|| Refusal::ambiguous(format!("the name `{shown}` leads out of the archive")))?;
        if header.name.contains('\0') || (name.is_empty() && !is_folder) {
            return Err(Refusal::malformed(format!("`{shown}` is not the name of a file")));
        }
        if header.name.ends_with('/') && !is_folder {
            return Err(Refusal::ambiguous(format!("`{shown}` has the name of a folder and is none")));
        }
        if header.kind != Kind::File && header.size != 0 {
            return Err(Refusal::ambiguous(format!("`{shown}` is not a file and has content")));
        }
        let content = match header.kind {
            Kind::File => Content::File(data, header.size),
            Kind::Folder => Content::Folder,
            Kind::Symbolic | Kind::Hard => {
                Content::Link { target: header.link, is_symbolic: header.kind == Kind::Symbolic }
            }
            Kind::Extension(_) => unreachable!("the headers before a member's own were taken before"),
        };
        // Programs differ in which of the two they use.
        match self.members.insert(name, Member { place, content }) {
            Some(_) => Err(Refusal::ambiguous(format!("the archive holds `{shown}` twice"))),
            None => Ok(()),
        }
    }

    /// The end of the content that starts at `data`, including the padding of its last block, which must be zero.
    fn check_padding(&self, data: u64, header: &Header, length: u64) -> io::Result<u64> {
        let end = data
            .checked_add(padded(header.size))
            .filter(|end| *end <= length)
            .ok_or_else(|| Refusal::malformed(format!("it ends within `{}`", printable(&header.name))))?;
        let mut padding = [0; 512];
        let from = data + header.size;
        let count = usize::try_from(end - from).unwrap_or_default().min(padding.len());
        self.file.read_exact_at(&mut padding[..count], from)?;
        if padding[..count].iter().all(|byte| *byte == 0) {
            return Ok(end);
        }
        Err(Refusal::ambiguous(format!("something follows after the end of `{}`", printable(&header.name)))
            .into())
    }

    fn block(&self, at: u64, length: u64) -> io::Result<[u8; 512]> {
        if at + BLOCK > length {
            return Err(Refusal::malformed("it ends within a header").into());
        }
        let mut block = [0; 512];
        self.file.read_exact_at(&mut block, at)?;
        Ok(block)
    }

    /// The header at `at`; `None` at the end of the archive.
    fn header(&self, at: u64, length: u64) -> io::Result<Option<Header>> {
        if at == length {
            return Ok(None);
        }
        let block = self.block(at, length)?;
        if block.iter().all(|byte| *byte == 0) { Ok(None) } else { Ok(Some(Header::parse(&block)?)) }
    }

    fn extension(&self, data: u64, header: &Header) -> io::Result<Vec<u8>> {
        if header.size > MAX_EXTENSION {
            return Err(Refusal::too_large(format!("a header has {} bytes", header.size)).into());
        }
        let section = Section { file: &self.file, at: data, left: header.size };
        let content = read_capped(section, MAX_EXTENSION)?;
        if content.len() as u64 != header.size {
            return Err(Refusal::malformed("it ends within a header").into());
        }
        Ok(content)
    }

    /// Some programs read on after the end of an archive.
    fn check_end(&self, at: u64, length: u64) -> io::Result<()> {
        let mut rest = Section { file: &self.file, at, left: length - at };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = rest.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            if buffer[..count].iter().any(|byte| *byte != 0) {
                return Err(Refusal::ambiguous("something follows after its end").into());
            }
        }
    }
}

/// The program whose compressed files start like this.
fn compressed_format(first: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&str, &[u8]); 12] = [
        ("gzip", b"\x1f\x8b"),
        ("bzip2", b"BZh"),
        ("xz", b"\xfd7zXZ\0"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("lz4", b"\x04\x22\x4d\x18"),
        ("lz4", b"\x02\x21\x4c\x18"),
        ("lzip", b"LZIP"),
        ("lzma", b"\x5d\0\0"),
        ("compress", b"\x1f\x9d"),
        ("compress", b"\x1f\xa0"),
        ("lzop", b"\x89LZO"),
        ("zip", b"PK\x03\x04"),
    ];
    // A frame that zstd and lz4 skip (RFC 8878, section 3.1.2).
    let is_skippable = first.len() >= 4 && first[0] & 0xf0 == 0x50 && first[1..4] == *b"\x2a\x4d\x18";
    let magic = MAGICS.iter().find(|(_, magic)| first.starts_with(magic)).map(|(format, _)| *format);
    magic.or(is_skippable.then_some("zstd"))
}

/// The size of content with its padding.
fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Part of a file, read without moving the file's own position.
#[derive(Debug, Clone)]
struct Section<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
