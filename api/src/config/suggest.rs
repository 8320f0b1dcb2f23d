//! Suggestions for mistyped names.

/// Returns the known name nearest to an unknown one. It differs only in case, `_` and `-`, or in at most a third of its
/// characters.
pub(super) fn nearest<'k>(unknown: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if unknown.len() > MAX_LEN {
        return None;
    }
    let plain = plain(unknown);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&plain, &self::plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1) && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Formats names as a list, quoted: `"a", "b"`.
pub(super) fn list(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Longest name that is compared: longer than any known name, and cheap to compare.
const MAX_LEN: usize = 40;
