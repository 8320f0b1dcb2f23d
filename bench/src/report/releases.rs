//! Releases that there are reports of, in the order of their versions.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::COMPARISON;
use crate::documents::{Comparison, Document};

/// One release, with what was measured of it.
pub(super) struct Release {
    /// Its version.
    pub(super) name: String,
    /// What was measured.
    pub(super) comparison: Comparison,
}

/// The folders whose names are versions, the oldest first. Other folders hold what came before the releases.
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

/// The numbers of a version; whether it is a release, and what it is called if it is not.
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
