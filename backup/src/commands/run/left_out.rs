//! The part of a run that deals with excludes: the flags, the pattern files, and the report about both.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_core::limits::{SMALL_FILE_BYTES, read_file_capped};
use lifeboat_report::backup::LeftOutLine;
use lifeboat_shell::{Failure, Ui, describe};
use lifeboat_vault::{ExcludeOptions, Excludes, Patterns};

/// What is left out of every folder and volume.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is left out")]
pub(super) struct LeaveOut {
    /// Leave out what matches this pattern, as in a .gitignore file; can be given more than once
    ///
    /// A pattern without a slash matches a name at any depth: `*.tmp`. One with a slash begins at each captured folder
    /// or volume: `/cache`, `var/log/*.gz`; `**/` stands for any number of folders. A slash at the end matches folders
    /// only; what is in a folder that is left out is left out with it. `!` in front keeps what an earlier pattern would
    /// leave out; the last pattern that matches counts, those of --exclude-from before those of --exclude. `\xHH` is the byte
    /// of these hexadecimal digits, for names that are not UTF-8.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<OsString>,
    /// Leave out what the patterns in this file match, one a line; `#` begins a comment
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,
    /// Of a folder that is marked as a cache by a CACHEDIR.TAG, keep the folder and the tag only
    #[arg(long)]
    exclude_caches: bool,
    /// Keep folders where another file system begins empty
    #[arg(long)]
    one_file_system: bool,
}

impl LeaveOut {
    /// Reads the patterns, so that a malformed one fails before anything is stored or stopped.
    pub(super) fn read(&self) -> Result<Arc<Excludes>, Failure> {
        let mut patterns = Vec::new();
        for file in &self.exclude_from {
            patterns.extend(read_file(file)?);
        }
        patterns.extend(self.exclude.iter().cloned());
        let options =
            ExcludeOptions { caches: self.exclude_caches, other_file_systems: self.one_file_system };
        Ok(Arc::new(Excludes::new(Patterns::parse(patterns, false)?, options)))
    }

    /// Warns about patterns without effect. Returns what the report says, if anything was to be left out.
    pub(super) fn tell(&self, excludes: &Excludes, ui: &Ui) -> Option<LeftOutLine> {
        for pattern in excludes.unused_patterns() {
            ui.warn(&match pattern.strip_prefix('!') {
                Some(_) => format!("the pattern `{pattern}` kept nothing that another one leaves out"),
                None => format!("the pattern `{pattern}` left nothing out"),
            });
        }
        if excludes.left_out().repositories > 0 {
            ui.note("the repository itself lies in what was captured: its folder is kept empty");
        }
        let guarded = excludes.guarded();
        if let Some(first) = guarded.first() {
            let more = if guarded.len() > 1 { " and others are" } else { " is" };
            ui.warn(&format!(
                "{}{more} immutable or append-only (chattr), which the snapshot does not keep: set it again after a restore",
                describe::path(first)
            ));
        }
        let asked = self.exclude_caches
            || self.one_file_system
            || !(self.exclude.is_empty() && self.exclude_from.is_empty());
        let left_out = excludes.left_out();
        asked.then_some(LeftOutLine {
            items: left_out.items,
            cache_folders: left_out.cache_folders,
            mount_points: left_out.mount_points,
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<OsString>, Failure> {
    let unusable = |reason: String| {
        Failure::usage(
            format!("the file of patterns {} cannot be used: {reason}", path.display()),
            "give a text file with one pattern a line, as --exclude takes them",
        )
    };
    let bytes = read_file_capped(path, SMALL_FILE_BYTES).map_err(|error| unusable(error.to_string()))?;
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_pattern = |line: &&[u8]| line.iter().any(|byte| *byte != b' ') && !line.starts_with(b"#");
    // Each line is parsed by itself first, to report where a malformed one is.
    lines
        .zip(1..)
        .filter(|(line, _)| is_pattern(line))
        .map(|(line, number)| match Patterns::parse([OsStr::from_bytes(line)], false) {
            Ok(_) => Ok(OsStr::from_bytes(line).to_owned()),
            Err(error) => Err(unusable(format!("line {number}: {error}"))),
        })
        .collect()
}
