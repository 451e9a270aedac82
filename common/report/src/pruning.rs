//! Reports of `lifeboat-backup forget` and `prune`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::figures::{TOLD, bytes, count, first_lines, printable, time};
use crate::snapshots::SnapshotLine;

/// What came of a `forget`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ForgetReport {
    /// Nothing was asked for, only worked out.
    pub dry_run: bool,
    /// Every snapshot that was looked at, oldest first.
    pub snapshots: Vec<ForgetLine>,
}

/// One snapshot and what becomes of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ForgetLine {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotLine,
    /// Whether it is forgotten.
    pub is_forgotten: bool,
    /// Why it is kept.
    pub reasons: Vec<String>,
}

impl Report for ForgetReport {
    const SCHEMA: &'static str = "lifeboat.forget/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.snapshots.is_empty() {
            let _ = writeln!(text, "snapshot      taken                 host          fate    what");
        }
        for ForgetLine { snapshot, is_forgotten, reasons } in &self.snapshots {
            let (fate, why) = if *is_forgotten {
                ("forget", String::new())
            } else {
                ("keep", format!("  ({})", printable(&reasons.join(", "))))
            };
            let _ = writeln!(
                text,
                "{:<12}  {}  {:<12}  {fate:<6}  {}{why}",
                &snapshot.id[..12.min(snapshot.id.len())],
                time(snapshot.time),
                printable(&snapshot.host),
                snapshot.what()
            );
        }
        let forgotten = self.snapshots.iter().filter(|line| line.is_forgotten).count() as u64;
        let verb = if self.dry_run { "would be forgotten" } else { "forgotten" };
        let _ = writeln!(text, "{} {verb}", count(forgotten, "snapshot"));
        if forgotten > 0 && !self.dry_run {
            text.push_str("`lifeboat-backup prune` with a keeper key frees what they alone needed.\n");
        }
        text
    }
}

/// What came of a `prune`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PruneReport {
    /// Nothing was changed, only worked out.
    pub dry_run: bool,
    /// Snapshots that were asked to be forgotten, or came from a removed host, and that were still there.
    pub forgotten_snapshots: u64,
    /// Snapshots that were asked to be forgotten and that the retention floor keeps.
    pub refused_snapshots: u64,
    /// Objects that are condemned and wait for the grace to pass.
    pub condemned_objects: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Objects that were deleted.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Bytes that were copied into new packs.
    pub repacked_bytes: u64,
    /// Unneeded bytes that stay in packs for now.
    pub unreclaimed_bytes: u64,
    /// Bytes in packs that stay since backups that run now have data in them.
    pub under_way_bytes: u64,
    /// Hosts of which backups run, or began in the last seven days and never ended.
    pub under_way: Vec<UnderWayLine>,
    /// When the oldest waiting condemnation may be carried out.
    #[cfg_attr(test, schemars(with = "Option<crate::schemas::Moment>"))]
    pub due_at: Option<Timestamp>,
    /// Groups of which nothing was deleted since something in them is damaged, and what.
    pub held_back: Vec<String>,
    /// What was passed over.
    pub warnings: Vec<String>,
}

/// The runs under way of one host.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnderWayLine {
    /// Who registered them; absent where that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// How many there are.
    pub runs: u64,
    /// When the oldest of them began.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub began_at: Timestamp,
}

impl UnderWayLine {
    fn text(&self) -> String {
        let whose = self.signer.as_deref().unwrap_or("a host that cannot be read");
        format!("{} of {} under way since {}", count(self.runs, "run"), printable(whose), time(self.began_at))
    }
}

impl Report for PruneReport {
    const SCHEMA: &'static str = "lifeboat.prune/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let objects = |n: u64| count(n, "object");
        if self.forgotten_snapshots > 0 {
            let _ = writeln!(text, "{} to forget", count(self.forgotten_snapshots, "snapshot"));
        }
        if self.refused_snapshots > 0 {
            let refused = count(self.refused_snapshots, "snapshot");
            let _ = writeln!(text, "{refused} kept by the retention floor, although asked to be forgotten");
        }
        if self.dry_run {
            let _ = writeln!(
                text,
                "would condemn {}, {}, and copy {}",
                objects(self.condemned_objects),
                bytes(self.condemned_bytes),
                bytes(self.repacked_bytes)
            );
        } else {
            let _ =
                writeln!(text, "deleted {}, {}", objects(self.deleted_objects), bytes(self.deleted_bytes));
            if self.repacked_bytes > 0 {
                let _ = writeln!(text, "copied {} into new packs", bytes(self.repacked_bytes));
            }
            if self.condemned_objects > 0 {
                let condemned = objects(self.condemned_objects);
                let _ = write!(text, "condemned {condemned}, {}", bytes(self.condemned_bytes));
                let _ = match self.due_at {
                    Some(due) => writeln!(text, ": prune again after {}", time(due)),
                    None => writeln!(text),
                };
            }
        }
        if self.unreclaimed_bytes > 0 {
            let _ =
                writeln!(text, "{} unneeded in packs that are mostly needed", bytes(self.unreclaimed_bytes));
        }
        if !self.under_way.is_empty() {
            let lines: Vec<_> = self.under_way.iter().map(UnderWayLine::text).collect();
            text.push_str(&first_lines(&lines, TOLD));
            let _ = writeln!(text, "  {} stay for them", bytes(self.under_way_bytes));
        }
        for warning in self.warnings.iter().take(TOLD) {
            let _ = writeln!(text, "warning: {}", printable(warning));
        }
        if self.warnings.len() > TOLD {
            let _ = writeln!(text, "and {} more warnings; --json tells all", self.warnings.len() - TOLD);
        }
        for reason in &self.held_back {
            let _ = writeln!(text, "NOT PRUNED: {}", printable(reason));
        }
        if !self.held_back.is_empty() {
            let _ = writeln!(text, "run `lifeboat-backup repair` with this key, then prune again");
        }
        text
    }
}
