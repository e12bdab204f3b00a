//! Dates without quotes, which TOML has as values of their own, are read like those with quotes.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The text with quotes around each date. No line is another than before.
pub(crate) fn quoted(text: &str) -> String {
    let mut places = Vec::new();
    // What is wrong with the text is told by whoever reads it.
    if let Ok(tree) = DeTable::parse(text) {
        find(&DeValue::Table(tree.into_inner()), 0..0, &mut places);
    }
    places.sort_unstable_by_key(|place| std::cmp::Reverse(place.start));
    let mut text = text.to_owned();
    for Range { start, end } in places {
        text.insert(end, '"');
        text.insert(start, '"');
    }
    text
}

fn find(value: &DeValue<'_>, place: Range<usize>, places: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Datetime(_) => places.push(place),
        DeValue::Array(values) => {
            values.iter().for_each(|value| find(value.get_ref(), value.span(), places));
        }
        DeValue::Table(table) => {
            table.iter().for_each(|(_, value)| find(value.get_ref(), value.span(), places));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_get_quotes_and_nothing_else_does() {
        let text =
            "a = 2027-06-30\n[b]\nc = [\"2027-06-30\", 1]\nd = { e = 2027-06-30T17:00:00Z }\n";
        let expected = "a = \"2027-06-30\"\n[b]\nc = [\"2027-06-30\", 1]\nd = { e = \"2027-06-30T17:00:00Z\" }\n";
        assert_eq!(quoted(text), expected);
        assert_eq!(quoted(expected), expected);
        assert_eq!(quoted("a = = 2027-06-30"), "a = = 2027-06-30");
    }
}
