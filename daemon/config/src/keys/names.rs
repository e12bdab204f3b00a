//! The names of keys as people write them, and what may be meant by a name that nobody knows.

use super::Fallback::Required;
use super::Key;

pub(super) fn is_repeated(section: &str) -> bool {
    matches!(
        section,
        "bay"
            | "layout"
            | "layout.partitions"
            | "media.signers"
            | "gate.webhooks"
            | "gate.brokers"
            | "package"
            | "file"
    )
}

/// The full name of a key of a section, known or not; the empty section is the file itself.
pub(crate) fn path(section: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let quoted = name.is_empty() || !name.chars().all(bare);
    let name = if quoted { format!("{name:?}") } else { name.to_owned() };
    match section.split_once('.') {
        _ if section.is_empty() => name,
        Some((table, _)) if !is_repeated(table) => format!("[[{section}]] {name}"),
        Some((table, inner)) => format!("[[{table}]] {inner}.{name}"),
        None if is_repeated(section) => format!("[[{section}]] {name}"),
        None => format!("{section}.{name}"),
    }
}

/// The names that a section knows; the empty section is the file itself.
pub(crate) fn names(known: &[Key], section: &str) -> Vec<&'static str> {
    let keys = known.iter().filter(|key| key.section == section).map(|key| key.name);
    let mut names: Vec<&str> = keys.collect();
    if section.is_empty() {
        names.extend(known.iter().map(|key| key.section));
        names.retain(|name| !name.contains('.') && !name.is_empty());
        names.dedup();
    }
    names
}

/// What may have been meant by a name that a section does not know.
pub(crate) fn nearest(known: &[Key], section: &str, name: &str) -> Option<String> {
    let mut elsewhere = known.iter().filter(|key| key.name == name);
    let (first, second) = (elsewhere.next(), elsewhere.next());
    match (first, second) {
        (Some(key), None) => Some(key.path()),
        // It stands in several sections; a slip in this one is likelier.
        _ => near(name, &names(known, section)).map(str::to_owned).or(first.map(Key::path)),
    }
}

/// The known text that another is most like, if it is like any.
pub fn near<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|known| (strsim::jaro_winkler(text, known), *known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then_some(best.1)
}

/// Which keys each table of a section needs, in words.
pub(crate) fn required(known: &[Key], section: &str) -> String {
    let needed = known.iter().filter(|key| key.section == section && key.fallback == Required);
    let needed: Vec<&str> = needed.map(|key| key.name).collect();
    let table = match section.split_once('.') {
        Some((_, inner)) => format!("each table of {inner}"),
        None if is_repeated(section) => format!("each table [[{section}]]"),
        None => format!("the table [{section}]"),
    };
    format!("{table} needs {}", needed.join(" and "))
}
