//! Members that gzip packed (RFC 1952), as those who load an image unpack its layers: one gzip file, or several in a row,
//! and nothing behind them.

use std::io::{self, BufReader, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use lifeboat_core::Sha256Digest;

use super::Section;
use crate::Refusal;

/// How many bytes the packed members of an archive of this length may unpack to, all together: layers of zeros have been
/// seen at 200 for one, and a bomb's limit is 1,032.
pub(super) const fn most(archive: u64) -> u64 {
    archive.saturating_mul(256).saturating_add(64 << 20)
}

/// Whether a file begins as gzip's do.
pub(super) fn begins(file: &Section<'_>) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.clone().take(2).read_to_end(&mut magic)?;
    Ok(magic == [0x1f, 0x8b])
}

/// The digest of what a file unpacks to, which is taken from what may be unpacked still.
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
    // Relaxed: the number decides nothing but what may be unpacked still.
    let _ = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| Some(room.saturating_sub(used)));
    if left == 0 {
        let reason = "what gzip packed unpacks to more than 256 times the length of the archive";
        return Err(Refusal::malformed(reason.to_owned()).into());
    }
    Ok(digest)
}
