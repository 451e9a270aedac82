//! `forget`: requests that snapshots be forgotten, by rules or by id.

use jiff::SignedDuration;
use lifeboat_report::pruning::{ForgetLine, ForgetReport};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui, describe};
use lifeboat_vault::{Asked, Listing, Rules, Snapshot, apply_rules, forget, left_without};

/// Forget snapshots by rules or by id
///
/// Rules count within one host's snapshots of the same things. An incomplete snapshot displaces no complete one, and
/// one that claims an earlier time than those before it does not displace any of them. A forgotten snapshot is no
/// longer listed; what it alone needed is deleted by `prune`. A writer key can forget its own host's snapshots only,
/// and nobody goes below the retention floor of the repository (`key floor`) but a recovery key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-backup forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  lifeboat-backup forget 3f9a12c0 8d01b7aa")]
pub(crate) struct Args {
    /// Snapshots to forget: ids or first digits of them
    #[arg(value_name = "SNAP")]
    snapshots: Vec<String>,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    #[command(flatten)]
    rules: RuleFlags,
    /// Only snapshots of this host
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// Only snapshots with this tag
    #[arg(long, value_name = "T", value_parser = lifeboat_shell::tag)]
    tag: Vec<String>,
    /// Show what would be forgotten
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rules")]
struct RuleFlags {
    /// Keep the newest N
    #[arg(long = "keep-last", value_name = "N", default_value_t = 0)]
    last: u32,
    /// Keep the newest of each hour, for N hours that have one
    #[arg(long = "keep-hourly", value_name = "N", default_value_t = 0)]
    hourly: u32,
    /// Keep the newest of each day, for N days that have one
    #[arg(long = "keep-daily", value_name = "N", default_value_t = 0)]
    daily: u32,
    /// Keep the newest of each week, for N weeks that have one
    #[arg(long = "keep-weekly", value_name = "N", default_value_t = 0)]
    weekly: u32,
    /// Keep the newest of each month, for N months that have one
    #[arg(long = "keep-monthly", value_name = "N", default_value_t = 0)]
    monthly: u32,
    /// Keep the newest of each year, for N years that have one
    #[arg(long = "keep-yearly", value_name = "N", default_value_t = 0)]
    yearly: u32,
    /// Keep all that are at most this much older than the newest, such as 36h or 14d
    #[arg(long = "keep-within", value_name = "D", value_parser = crate::duration::duration)]
    within: Option<SignedDuration>,
    /// Keep all with this tag
    #[arg(long = "keep-tag", id = "keep_tag", value_name = "T", value_parser = lifeboat_shell::tag)]
    tag: Vec<String>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let rules = args.rules.to_rules();
    if rules.is_empty() == args.snapshots.is_empty() {
        return Err(Failure::usage(
            "it is not said which snapshots to forget",
            "give rules such as --keep-daily 7, or the ids of snapshots, and not both",
        ));
    }
    let session = args.keys.open(&args.repository).await?;
    let listing = Listing::read(&session).await?;
    for error in &listing.unreadable {
        ui.warn(&error.to_string());
    }
    let is_complete = listing.unreadable.is_empty();
    let mut lines = Vec::new();
    let wanted = |s: &Snapshot| s.is_of(args.host.as_deref(), &args.tag);
    let (chosen, kept): (Vec<Snapshot>, Vec<(Snapshot, Vec<&str>)>) = if rules.is_empty() {
        let mut chosen = Vec::new();
        for name in &args.snapshots {
            chosen.push(listing.find(name, args.host.as_deref())?);
        }
        (chosen, Vec::new())
    } else {
        let snapshots: Vec<Snapshot> = listing.snapshots.into_iter().filter(wanted).collect();
        let reasons = apply_rules(&rules, &snapshots);
        refuse_to_empty(&left_without(&snapshots, &reasons), &snapshots)?;
        let (kept, chosen): (Vec<_>, Vec<_>) =
            snapshots.into_iter().zip(reasons).partition(|(_, reasons)| !reasons.is_empty());
        (chosen.into_iter().map(|(snapshot, _)| snapshot).collect(), kept)
    };
    let asked = forget(&session, &chosen.iter().collect::<Vec<_>>(), args.dry_run, &ui.context()).await?;
    let (mut refused, mut failed) = (false, false);
    for (snapshot, asked) in chosen.iter().zip(asked) {
        let reasons = match asked {
            Asked::Forgotten => Vec::new(),
            Asked::Kept(reason) => {
                refused = true;
                vec![reason.to_owned()]
            }
            Asked::Occupied(why) => {
                failed = true;
                ui.warn(&format!("snapshot {} could not be forgotten: {why}", snapshot.short_id()));
                vec![why]
            }
        };
        lines.push(line(snapshot, reasons));
    }
    lines.extend(kept.iter().map(|(s, reasons)| line(s, reasons.iter().map(|r| (*r).to_owned()).collect())));
    lines.sort_by_key(|line| line.snapshot.time);
    ui.report(&ForgetReport { dry_run: args.dry_run, snapshots: lines });
    let named_and_refused = refused && !args.snapshots.is_empty();
    Ok(match (failed || named_and_refused, is_complete) {
        (true, _) => Outcome::Negative,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Incomplete,
    })
}

/// Rules that would keep none of a series of snapshots are usually a mistake.
fn refuse_to_empty(left_without: &[usize], snapshots: &[Snapshot]) -> Result<(), Failure> {
    let Some(newest) = left_without.first().map(|number| &snapshots[*number]) else { return Ok(()) };
    let what: Vec<&str> = newest.streams().map(|stream| stream.name).collect();
    Err(Failure::usage(
        format!(
            "the rules keep no snapshot at all of {} on {} (the newest is {} of {:.0})",
            what.join(", "),
            newest.host(),
            newest.short_id(),
            newest.time()
        ),
        "add a rule that keeps the newest, such as --keep-last 1, or name what is to be forgotten by its id",
    ))
}

impl RuleFlags {
    fn to_rules(&self) -> Rules {
        Rules {
            last: self.last,
            hourly: self.hourly,
            daily: self.daily,
            weekly: self.weekly,
            monthly: self.monthly,
            yearly: self.yearly,
            within: self.within,
            tags: self.tag.clone(),
        }
    }
}

fn line(snapshot: &Snapshot, reasons: Vec<String>) -> ForgetLine {
    ForgetLine { snapshot: describe::snapshot_line(snapshot), is_forgotten: reasons.is_empty(), reasons }
}
