//! A recovery sheet, and a bare machine on which it is followed.

#![expect(clippy::unwrap_used, reason = "a test whose surroundings cannot be made has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::command::{Output, run};

/// The commands that a sheet says to type, as people read them.
pub fn commands(sheet: &str) -> String {
    let blocks = sheet.split("<pre class=\"run\">").skip(1);
    let lines = blocks.filter_map(|block| Some(block.split_once("</pre>")?.0));
    let typed = lines.collect::<Vec<_>>().join("\n");
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.iter().fold(typed, |typed, (entity, letter)| typed.replace(entity, letter))
}

/// Types `typed` on a machine that has only the program at `restore`, a recovery key from the safe, and the storage's
/// `credentials`.
///
/// # Panics
///
/// When the machine cannot be made.
pub fn bare_machine(
    restore: &str,
    key: &Path,
    credentials: &[(String, String)],
    typed: &str,
) -> (TempDir, Output) {
    let machine = tempfile::tempdir().unwrap();
    let programs = machine.path().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink(restore, programs.join("lifeboat-restore")).unwrap();
    fs::copy(key, machine.path().join("recovery.key")).unwrap();
    // As copied from a memory stick without modes.
    fs::set_permissions(machine.path().join("recovery.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", typed]).current_dir(machine.path()).env_clear();
    shell.env("HOME", machine.path().join("home"));
    shell.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    shell.envs(credentials.iter().map(|(name, value)| (name, value)));
    let said = run(&mut shell);
    (machine, said)
}
