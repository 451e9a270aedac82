//! Writes a file that the user asked for.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes a file as [`replace_file`] does. Anything else with that name, such as `/dev/stdout`, `/dev/null` or a link,
/// stays what it is and is written to.
///
/// # Errors
///
/// If the folder does not exist or cannot be written to, or the disk is full.
pub fn write_output_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let is_plain = match fs::symlink_metadata(path) {
        Ok(found) => found.is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_plain {
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    replace_file(path, bytes, mode)
}

/// Atomically replaces whatever has the name by a file with these permissions: readers see the old file or the complete
/// new one.
///
/// # Errors
///
/// If the folder does not exist or cannot be written to, or the disk is full.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_anything_else_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_output_file(&at("new"), b"one", 0o644).unwrap();
        fs::hard_link(at("new"), at("other name")).unwrap();
        write_output_file(&at("new"), b"two", 0o600).unwrap();
        assert_eq!(fs::read(at("new")).unwrap(), b"two");
        assert_eq!(fs::read(at("other name")).unwrap(), b"one", "the old file was not written over");
        assert_eq!(fs::metadata(at("new")).unwrap().permissions().mode() & 0o777, 0o600);

        symlink(at("new"), at("link")).unwrap();
        write_output_file(&at("link"), b"3", 0o644).unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::read(at("new")).unwrap(), b"3");
        symlink("/dev/null", at("nowhere")).unwrap();
        write_output_file(&at("nowhere"), b"x", 0o644).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());

        fs::create_dir(at("folder")).unwrap();
        write_output_file(&at("folder"), b"x", 0o644).unwrap_err();
        write_output_file(&at("absent/new"), b"x", 0o644).unwrap_err();
        assert!(!at("absent").exists());
    }
}
