//! Releases that have a report, in the order of their versions.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::COMPARISON;
use crate::documents::{Comparison, Document};

/// One release with its comparison.
pub(super) struct Release {
    /// Version of the release.
    pub(super) name: String,
    /// Comparison measured for the release.
    pub(super) comparison: Comparison,
}

/// Returns the releases below `reports`, the oldest first. Folders whose names are no versions hold reports from before
/// the releases, and are left out.
pub(super) fn find(reports: &Path) -> Result<Vec<Release>, Box<dyn Error>> {
    let mut releases = Vec::new();
    for entry in fs::read_dir(reports).map_err(|error| format!("{}: {error}", reports.display()))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if version(&name).is_some() {
            releases.push(Release { name, comparison: Comparison::read(&entry.path().join(COMPARISON))? });
        }
    }
    releases.sort_by(|left, right| version(&left.name).cmp(&version(&right.name)));
    Ok(releases)
}

/// Parses a version into its sort key: the three numbers, whether it is a release, and the name of the candidate if it
/// is not.
fn version(name: &str) -> Option<([u64; 3], bool, &str)> {
    let (numbers, candidate) = name.split_once('-').unwrap_or((name, ""));
    let numbers: Option<Vec<u64>> = numbers.split('.').map(|number| number.parse().ok()).collect();
    Some((numbers?.try_into().ok()?, candidate.is_empty(), candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order_and_other_names_none() {
        let mut names = ["0.10.0", "0.2.0", "0.2.0-rc.1", "0.1.0"];
        names.sort_by_key(|name| version(name));
        assert_eq!(names, ["0.1.0", "0.2.0-rc.1", "0.2.0", "0.10.0"]);
        assert!(["first", "0.1", "1.2.x", ""].iter().all(|name| version(name).is_none()));
    }
}
