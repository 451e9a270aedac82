//! Ceilings for input from outside: read with a cap first, parse afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest key, policy, plan or configuration file that is read, in bytes.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Reads all of `reader`, or fails with [`io::ErrorKind::FileTooLarge`] once it gives more than `cap` bytes.
pub fn read_capped(reader: impl Read, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(cap.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > cap {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {cap} bytes")));
    }
    Ok(bytes)
}

/// Reads the file at `path` under the same ceiling.
pub fn read_file_capped(path: &Path, cap: u64) -> io::Result<Vec<u8>> {
    read_capped(File::open(path)?, cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_at_the_cap_is_read_and_one_byte_more_is_refused() {
        assert_eq!(read_capped(&b"12345"[..], 5).unwrap(), b"12345");
        assert_eq!(read_capped(&b"123456"[..], 5).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
