//! Members that gzip packed (RFC 1952), as those who load an image unpack its layers: one gzip file, or several in a row,
//! and nothing behind them.

use std::io::{self, BufReader, Read as _};

use flate2::read::MultiGzDecoder;
use lifeboat_core::Sha256Digest;

use super::Section;
use crate::Refusal;

/// How many bytes a packed one may unpack to, and how many more in all: layers of zeros have been seen at 200, and a
/// bomb's limit is 1,032.
const MOST_FROM_ONE: u64 = 256;
const MOST_FROM_ANY: u64 = 64 << 20;

/// Whether a file begins as gzip's do.
pub(super) fn begins(file: &Section<'_>) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.clone().take(2).read_to_end(&mut magic)?;
    Ok(magic == [0x1f, 0x8b])
}

/// The digest of what a file unpacks to.
pub(super) fn digest(file: Section<'_>) -> io::Result<Sha256Digest> {
    let most = file.left.saturating_mul(MOST_FROM_ONE).saturating_add(MOST_FROM_ANY);
    let mut unpacked = MultiGzDecoder::new(BufReader::new(file)).take(most);
    let digest = match Sha256Digest::of_reader(&mut unpacked) {
        Ok(digest) => digest,
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(error) => {
            let reason = format!("what gzip packed cannot be unpacked: {error}");
            return Err(Refusal::malformed(reason).into());
        }
    };
    if unpacked.limit() == 0 {
        return Err(Refusal::malformed(format!("it unpacks to {most} bytes or more")).into());
    }
    Ok(digest)
}
