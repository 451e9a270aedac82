//! Writes valid and invalid tar archives by hand.

use std::fs;
use std::path::Path;

/// A member of an archive, with its extension headers.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The type in its header.
    pub kind: u8,
    /// The name in its header.
    pub name: String,
    /// Its target, if it is a link.
    pub link: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Records of the pax format before it.
    pub records: Vec<(String, String)>,
    /// A long name of the GNU format before it.
    pub long_name: Option<String>,
}

impl Entry {
    /// A file.
    #[must_use]
    pub fn file(name: &str, content: &[u8]) -> Self {
        Self {
            kind: b'0',
            name: name.to_owned(),
            link: String::new(),
            content: content.to_vec(),
            records: Vec::new(),
            long_name: None,
        }
    }

    /// A symbolic link, or a hard one.
    #[must_use]
    pub fn link(name: &str, target: &str, is_symbolic: bool) -> Self {
        let kind = if is_symbolic { b'2' } else { b'1' };
        Self { kind, link: target.to_owned(), ..Self::file(name, b"") }
    }

    /// The same with another type.
    #[must_use]
    pub fn of_kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// The same with a record of the pax format before it.
    #[must_use]
    pub fn with_record(mut self, key: &str, value: &str) -> Self {
        self.records.push((key.to_owned(), value.to_owned()));
        self
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.records.is_empty() {
            let records: Vec<u8> = self.records.iter().flat_map(|(key, value)| record(key, value)).collect();
            bytes.extend(block(b'x', "pax", "", &records));
        }
        if let Some(name) = &self.long_name {
            bytes.extend(block(b'L', "././@LongLink", "", format!("{name}\0").as_bytes()));
        }
        bytes.extend(block(self.kind, &self.name, &self.link, &self.content));
        bytes
    }
}

/// A record of the pax format.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..rest + 20)
        .find(|length: &usize| length.to_string().len() + rest == *length)
        .unwrap_or_default();
    format!("{length} {key}={value}\n").into_bytes()
}

fn block(kind: u8, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    set_checksum(&mut block);
    let padding = vec![0; content.len().div_ceil(512) * 512 - content.len()];
    [&block[..], content, &padding].concat()
}

/// Corrects the checksum of a header.
pub fn set_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The archive of these members.
#[must_use]
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
    bytes.extend([0; 1024]);
    bytes
}

/// The files of a folder, as members.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn entries_of(folder: &Path, prefix: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            entries.extend(entries_of(&path, &format!("{name}/")));
        } else {
            let content = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            entries.push(Entry::file(&name, &content));
        }
    }
    entries
}
