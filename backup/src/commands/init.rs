//! `init`: makes a repository and the keys that go with it.

use std::path::{Path, PathBuf};

use lifeboat_report::backup::{InitReport, recipient_warnings};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, describe, recipient};
use lifeboat_vault::{
    Floor, NO_CONDITIONAL_WRITES, NewRepository, Recipient, RecipientKind, Repository, VaultError,
    write_private,
};

use crate::floor::FloorFlags;

/// Make a repository, its recovery keys and this host's writer key
///
/// A recovery key can read every backup; the writer key can only add to them. Lose all recovery keys, lose
/// everything: nobody can make them again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lifeboat-backup init -r s3://bucket/backups \\
      --recovery-key safe-1.key --recovery-key safe-2.key \\
      --writer-key /etc/lifeboat/writer.key")]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    /// Make a new recovery key and write it here; give it twice, and keep the files apart
    #[arg(long, value_name = "FILE")]
    recovery_key: Vec<PathBuf>,
    /// Let someone else recover too: an age or SSH public key, or `passphrase`; no file is written
    ///
    /// The passphrase comes from `LIFEBOAT_PASSPHRASE` or is asked on the terminal. Keys of age's post-quantum kind
    /// (age1pq1…, `age-keygen -pq`) withstand quantum computers; other public keys do not.
    #[arg(long, value_name = "R")]
    recipient: Vec<String>,
    /// Where to write this host's writer key
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_WRITER_KEY", hide_env_values = true)]
    writer_key: PathBuf,
    /// Accept that losing the one recovery key loses everything
    #[arg(long)]
    single_recipient: bool,
    #[command(flatten)]
    floor: FloorFlags,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let files: Vec<&Path> =
        args.recovery_key.iter().chain([&args.writer_key]).map(PathBuf::as_path).collect();
    check_free(&files)?;
    let recipients = read_recipients(&args.recipient)?;
    let lines: Vec<_> = recipients.iter().map(describe::recipient_line).collect();
    let (store, new_folders) = args.repository.create().await?;
    let new = NewRepository {
        recipients,
        recovery_keys: args.recovery_key.len(),
        single_recipient: args.single_recipient,
        floor: args.floor.over(Floor { days: Floor::USUAL_DAYS, ..Floor::default() }),
    };
    let made = Repository::create(store, new, &ui.context(), |made| {
        for (path, text) in args.recovery_key.iter().zip(&made.recovery_keys) {
            write_private(path, text)?;
        }
        write_private(&args.writer_key, &made.writer_key.to_text())
    })
    .await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            // Creating the repository failed, so the keys open nothing. `check_free` made sure that these files did not
            // exist before.
            for path in &files {
                let _ = std::fs::remove_file(path);
            }
            new_folders.take_away();
            return Err(error.into());
        }
    };
    let mut warnings = recipient_warnings(&lines);
    match made.repository.has_conditional_writes().await {
        Ok(true) => {}
        Ok(false) => warnings.push(NO_CONDITIONAL_WRITES.to_owned()),
        // The repository and its keys exist, and every run tries this again.
        Err(error) => ui.warn(&format!("whether the storage knows conditional writes is not known: {error}")),
    }
    let shown = |path: &PathBuf| path.display().to_string();
    ui.report(&InitReport {
        location: made.repository.location().to_owned(),
        repository: made.repository.id().to_string(),
        recovery_keys: args.recovery_key.iter().map(shown).collect(),
        warnings,
        recipients: lines,
        writer_key: shown(&args.writer_key),
    });
    Ok(Outcome::Done)
}

/// Reads the recipients, and checks that they can be used before anything is created. A recipient that is given twice
/// would count as two.
fn read_recipients(texts: &[String]) -> Result<Vec<Recipient>, Failure> {
    let mut recipients: Vec<Recipient> = Vec::new();
    for text in texts {
        let is_second_passphrase =
            || text == "passphrase" && recipients.iter().any(|r| r.kind() == RecipientKind::Passphrase);
        if is_second_passphrase() {
            return Err(named_twice("a passphrase"));
        }
        let mut recipient = recipient(text)?;
        if recipients.iter().any(|other| other.id() == recipient.id()) {
            return Err(named_twice(&format!("recipient {}", recipient.id())));
        }
        recipient.prepare()?;
        recipients.push(recipient);
    }
    Ok(recipients)
}

fn named_twice(what: &str) -> Failure {
    Failure::usage(format!("{what} is named twice"), "name each recipient once")
}

/// Checks before anything is created that the key files can be written.
fn check_free(files: &[&Path]) -> Result<(), VaultError> {
    let refuse = |path: &Path, reason: &str| {
        Err(VaultError::KeyFile { path: path.to_owned(), reason: reason.to_owned() })
    };
    for (number, path) in files.iter().enumerate() {
        if files[..number].contains(path) {
            return refuse(path, "it is named twice");
        }
        if path.symlink_metadata().is_ok() {
            return refuse(path, "it already exists, and key files are never overwritten");
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return refuse(path, "its folder does not exist");
        }
    }
    Ok(())
}
