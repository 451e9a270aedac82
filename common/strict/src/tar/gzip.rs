//! Members compressed with gzip (RFC 1952), unpacked the way image loaders unpack layers: one gzip file, or several in
//! a row, and nothing after them.

use std::io::{self, BufReader, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use lifeboat_core::Sha256Digest;

use super::Section;
use crate::Refusal;

/// How many bytes the compressed members of an archive of this length may unpack to in total: layers of zeros have been
/// seen at a ratio of 200, and the limit of gzip bombs is 1,032.
pub(super) const fn most(archive: u64) -> u64 {
    archive.saturating_mul(256).saturating_add(64 << 20)
}

/// Whether a file starts like a gzip file.
pub(super) fn begins(file: &Section<'_>) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.clone().take(2).read_to_end(&mut magic)?;
    Ok(magic == [0x1f, 0x8b])
}

/// The digest of a file's unpacked content, whose size is taken from `room`.
pub(super) fn digest(file: Section<'_>, room: &AtomicU64) -> io::Result<Sha256Digest> {
    let most = room.load(Ordering::Relaxed);
    let mut unpacked = MultiGzDecoder::new(BufReader::new(file)).take(most);
    let digest = match Sha256Digest::of_reader(&mut unpacked) {
        Ok(digest) => digest,
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(error) => {
            let reason = format!("what gzip packed cannot be unpacked: {error}");
            return Err(Refusal::malformed(reason).into());
        }
    };
    let left = unpacked.limit();
    let used = most - left;
    // Relaxed: the number only limits what may still be unpacked.
    let _ = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| Some(room.saturating_sub(used)));
    if left == 0 {
        let reason = "what gzip packed unpacks to more than 256 times the length of the archive";
        return Err(Refusal::malformed(reason.to_owned()).into());
    }
    Ok(digest)
}
