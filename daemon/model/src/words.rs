//! Numbers in sentences.

/// A number with what is counted: `1 file`, `2 files`.
pub fn plural(count: impl TryInto<u64>, one: &str, several: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { several })
}
