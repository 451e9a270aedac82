//! Converts the vault's differences to the report's.

use lifeboat_report::restore::DifferenceLine;
use lifeboat_shell::describe;
use lifeboat_vault::{Difference, What};

/// A difference in the form that reports show.
pub(crate) fn line(difference: Difference) -> DifferenceLine {
    let (what, aspects) = match difference.what {
        What::Missing => ("missing", Vec::new()),
        What::Extra => ("extra", Vec::new()),
        What::Changed(aspects) => ("changed", aspects.into_iter().map(str::to_owned).collect()),
        What::Unreadable(reason) => ("unreadable", vec![reason]),
    };
    let (path, path_hex) = describe::bytes(&difference.path);
    DifferenceLine { path, path_hex, what: what.to_owned(), aspects }
}
