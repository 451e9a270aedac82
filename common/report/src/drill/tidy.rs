//! Keeps a report from flooding or deceiving its reader, because much of its text comes from the snapshot.

use lifeboat_core::text::{printable, printable_lines};

use super::{DrillReport, DrilledCheck, DrilledService};
use crate::restore::DifferenceLine;

/// The longest text of one line, in characters.
const MAX_TEXT: usize = 400;

/// The longest log, in characters.
const MAX_LOG: usize = 16 << 10;

/// The longest list.
const MAX_LIST: usize = 100;

/// Turns a text into one printable line, and cuts it.
fn line(text: &mut String) {
    let shown = printable(text);
    *text = cut(&shown, MAX_TEXT);
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn lines(list: &mut Vec<String>) {
    let left_out = list.len().saturating_sub(MAX_LIST);
    list.truncate(MAX_LIST);
    list.iter_mut().for_each(line);
    if left_out > 0 {
        list.push(format!("and {left_out} more"));
    }
}

/// Cuts a path but does not escape it: that is done where it is displayed.
fn difference(DifferenceLine { path, path_hex, aspects, .. }: &mut DifferenceLine) {
    *path = cut(path, MAX_TEXT);
    if let Some(hex) = path_hex {
        *hex = cut(hex, 2 * MAX_TEXT);
    }
    lines(aspects);
}

impl DrillReport {
    /// Makes every text printable, and limits the length of texts and lists. Call this after the verdict is decided,
    /// which depends on everything.
    pub fn tidy(&mut self) {
        let of_lists = [
            ("volume", shorten(&mut self.volumes)),
            ("image", shorten(&mut self.images)),
            ("service", shorten(&mut self.services)),
            ("check", shorten(&mut self.checks)),
        ];
        for (what, left_out) in of_lists.into_iter().filter(|(_, left_out)| *left_out > 0) {
            self.limits.push(format!("This report leaves {left_out} of a kind out: {what}."));
        }
        line(&mut self.reason);
        [&mut self.application, &mut self.host].into_iter().flatten().for_each(line);
        for volume in &mut self.volumes {
            line(&mut volume.name);
            if let Some(differences) = &mut volume.differences {
                let left_out = shorten(differences);
                if left_out > 0 {
                    let of = &volume.name;
                    self.limits.push(format!("This report leaves {left_out} differences of {of} out."));
                }
                differences.iter_mut().for_each(difference);
            }
        }
        for image in &mut self.images {
            line(&mut image.reference);
            line(&mut image.id);
            image.digest.iter_mut().for_each(line);
        }
        for DrilledService { name, image, problem, log, .. } in &mut self.services {
            [name, image].into_iter().chain(problem).for_each(line);
            if let Some(log) = log {
                *log = cut(&printable_lines(log), MAX_LOG);
            }
        }
        for DrilledCheck { name, service, action, expected, output, problem, .. } in &mut self.checks {
            [name, service, action, expected].into_iter().chain(problem).for_each(line);
            if let Some(output) = output {
                *output = cut(&printable_lines(output), MAX_TEXT);
            }
        }
        for problem in self.isolation.iter_mut().filter_map(|isolation| isolation.problem.as_mut()) {
            line(problem);
        }
        for list in [&mut self.not_tested, &mut self.limits, &mut self.leftovers] {
            lines(list);
        }
    }
}

/// Cuts a list, and returns how many items it removed.
fn shorten<T>(list: &mut Vec<T>) -> usize {
    let left_out = list.len().saturating_sub(MAX_LIST);
    list.truncate(MAX_LIST);
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printable_and_short() {
        let mut text = format!("a\u{1b}[2J\nverified{}", "x".repeat(1000));
        line(&mut text);
        assert!(text.starts_with("a\\u{1b}[2J\\nverified"), "{text}");
        assert_eq!(text.chars().count(), MAX_TEXT + 1);
        let mut list = vec!["x".to_owned(); 300_000];
        lines(&mut list);
        assert_eq!((list.len(), list.last().map(String::as_str)), (101, Some("and 299900 more")));
    }
}
