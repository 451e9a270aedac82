//! The flags of the retention floor, shared by `init` and `key floor`.

use lifeboat_vault::Floor;

/// What no backup host and no keeper can have forgotten. What is not given stays as it is.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct FloorFlags {
    /// Keep every snapshot for this many days, whatever a backup host or a keeper asks [a new repository: 14]
    #[arg(long, value_name = "DAYS", aliases = ["days", "keep-days-at-least"])]
    floor_days: Option<u32>,
    /// Keep this many of every host's newest snapshots, whatever a backup host or a keeper asks [a new repository: 1]
    #[arg(long, value_name = "N", alias = "snapshots")]
    floor_snapshots: Option<u32>,
}

impl FloorFlags {
    /// Whether nothing was given.
    pub(crate) fn is_empty(self) -> bool {
        self.floor_days.is_none() && self.floor_snapshots.is_none()
    }

    /// The resulting floor if `before` is in force.
    pub(crate) fn over(self, before: Floor) -> Floor {
        Floor {
            days: self.floor_days.unwrap_or(before.days),
            snapshots: self.floor_snapshots.unwrap_or(before.snapshots),
        }
    }
}

/// The consequence of going from one floor to another, if that keeps less.
pub(crate) fn lowering(before: Floor, after: Floor) -> Option<String> {
    if after.days >= before.days && after.snapshots >= before.snapshots {
        return None;
    }
    let said = |floor: Floor| format!("{} days and the newest {} of every host", floor.days, floor.snapshots);
    Some(format!(
        "this lowers the retention floor from {} to {}: who has the key of a host or a keeper can then have more snapshots \
         forgotten",
        said(before),
        said(after)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_and_only_lowering_is_to_be_confirmed() {
        let floor = |days, snapshots| Floor { days, snapshots };
        for (floor_days, floor_snapshots, after, is_lower) in [
            (Some(30), None, floor(30, 5), false),
            (None, Some(7), floor(14, 7), false),
            (Some(14), Some(5), floor(14, 5), false),
            (Some(13), None, floor(13, 5), true),
            (None, Some(4), floor(14, 4), true),
            (Some(365), Some(1), floor(365, 1), true),
        ] {
            let before = floor(14, 5);
            assert_eq!(FloorFlags { floor_days, floor_snapshots }.over(before), after);
            assert_eq!(lowering(before, after).is_some(), is_lower, "{after:?}");
        }
    }
}
