//! `find`, shared by two of the programs: items by path, in all snapshots.

use std::ffi::OsString;

use lifeboat_report::search::{FindReport, FoundLine};
use lifeboat_vault::item::Item;
use lifeboat_vault::{Listing, NamedStream, OpenSnapshot, Patterns, RecoverySession, Snapshot, VaultError};

use crate::{Failure, Outcome, RecoveryFlags, RepositoryFlags, Ui, describe};

/// What is searched for, and where.
#[derive(Debug, clap::Args)]
pub struct FindArgs {
    /// What to find, as in a .gitignore file: a name (`*.sql`), or a path below a captured folder or volume
    /// (`base/*/pg_control`), or with a slash in front also one on the host (`/etc/**/*.conf`). `\xHH` is the byte HH
    #[arg(value_name = "PATTERN")]
    pattern: OsString,
    /// Take small and capital letters for the same
    #[arg(short, long)]
    ignore_case: bool,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: RecoveryFlags,
    /// Only snapshots of this host
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// Only snapshots with this tag; give it more than once to ask for all of them
    #[arg(long, value_name = "T", value_parser = crate::tag)]
    tag: Vec<String>,
    /// Only this snapshot: an id, the first digits of one, `latest` or `latest:VOLUME`; can be given more than once
    #[arg(long, value_name = "SNAP")]
    snapshot: Vec<String>,
}

/// Searches all snapshots, or the ones that were named.
pub async fn find(args: FindArgs, ui: &Ui) -> Result<Outcome, Failure> {
    if args.pattern.as_encoded_bytes().starts_with(b"!") {
        return Err(Failure::usage(
            format!("`{}` says what is not wanted, and nothing that is", args.pattern.display()),
            "write `\\!` for a name that begins with an exclamation mark",
        ));
    }
    let patterns = Patterns::parse([&args.pattern], args.ignore_case)?;
    let restorer = args.keys.open_to_read(&args.repository).await?;
    let listing = Listing::read(restorer.session()).await?;
    let listing = listing.select(args.host.as_deref(), &args.tag, &args.snapshot)?;
    let mut report = FindReport {
        pattern: args.pattern.to_string_lossy().into_owned(),
        snapshots: 0,
        found: 0,
        matches: Vec::new(),
        unreadable: listing.unreadable.iter().map(ToString::to_string).collect(),
    };
    for snapshot in listing.snapshots {
        let name = snapshot.short_id();
        match search(&restorer, snapshot, &patterns, &mut report, ui).await {
            Ok(()) => report.snapshots += 1,
            Err(VaultError::Object(error)) => report.unreadable.push(format!("snapshot {name}: {error}")),
            Err(error) => return Err(error.into()),
        }
    }
    ui.report(&report);
    Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::Negative })
}

async fn search(
    restorer: &RecoverySession,
    snapshot: Snapshot,
    patterns: &Patterns,
    report: &mut FindReport,
    ui: &Ui,
) -> Result<(), VaultError> {
    let open = OpenSnapshot::open(restorer, snapshot).await?;
    let each = |stream: &NamedStream, item: &Item| {
        let found = line(open.snapshot(), stream, item);
        ui.line(&found.text());
        report.found += 1;
        if ui.is_json() {
            report.matches.push(found);
        }
    };
    open.find(patterns, &ui.context(), each).await
}

fn line(snapshot: &Snapshot, stream: &NamedStream, item: &Item) -> FoundLine {
    let (path, path_hex) = describe::bytes(&item.path);
    FoundLine {
        address: FoundLine::address(&snapshot.id().to_string(), &stream.name, &item.path),
        snapshot: snapshot.id().to_string(),
        time: snapshot.time(),
        host: snapshot.host().to_owned(),
        kind: describe::item_kind(item.kind).to_owned(),
        size_bytes: item.size,
        stream: stream.name.clone(),
        path,
        path_hex,
    }
}
