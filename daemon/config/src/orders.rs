//! Orders as people write them: TOML for one order, CSV for several. Every mistake is told with its line and key, and
//! nothing of a file with a mistake counts.

pub mod file;
mod sheet;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use model::hint::Hint;
use model::orders::{Moment, Order, OrderError};
use toml::de::{DeTable, DeValue};

use crate::dates;
use crate::keys::near;

/// The keys of an order.
const KEYS: [&str; 17] = [
    "number",
    "customer",
    "part",
    "media",
    "media_name",
    "image",
    "layout",
    "quantity",
    "overrun",
    "attempts",
    "first_article",
    "not_before",
    "expires",
    "offer",
    "label_template",
    "match",
    // So that it is known to stand elsewhere.
    "bays",
];
/// The keys of `[match]`.
const CONDITIONS: [&str; 4] = ["bays", "models", "sizes", "serials"];
/// The keys that every order has.
const NEEDED: [&str; 3] = ["number", "media", "quantity"];
/// No file of orders is larger.
pub const LARGEST_FILE: u64 = 4 << 20;

/// In which form orders are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One order.
    Toml,
    /// An order on each line, under a line of names.
    Csv,
}

impl Form {
    /// The form of a file by its name; `None` for any other file.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "toml" => Some(Self::Toml),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// A mistake in a file of orders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// Counted from 1; absent if it is the whole file.
    pub line: Option<usize>,
    what: String,
    hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl Hint for Mistake {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl Mistake {
    fn new(line: impl Into<Option<usize>>, what: impl Into<String>) -> Self {
        Self { line: line.into(), what: what.into(), hint: None }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn of(line: impl Into<Option<usize>>, error: &OrderError) -> Self {
        Self { hint: error.hint(), ..Self::new(line, error.to_string()) }
    }

    fn no_such_key(line: usize, name: &str, section: &str) -> Self {
        let known: &[&str] = if section.is_empty() { &KEYS[..16] } else { &CONDITIONS };
        let mistake = Self::new(line, format!("{section}{name}: no such key"));
        if section.is_empty() && CONDITIONS.contains(&name) {
            return mistake.with_hint(format!("write {name} below [match]"));
        }
        match near(name, known) {
            Some(near) => mistake.with_hint(format!("did you mean {near:?}?")),
            None => mistake.with_hint(format!("keys are {}", known.join(", "))),
        }
    }

    fn missing(line: impl Into<Option<usize>>, name: &str) -> Self {
        let needed = format!("an order needs {}", NEEDED.join(", "));
        Self::new(line, format!("{name}: missing")).with_hint(needed)
    }
}

/// Reads orders. `list` gives the text of a list or a template that an order names as `@NAME`, or why it cannot be had.
///
/// # Errors
/// The first mistake.
pub fn parse(
    text: &str,
    form: Form,
    list: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Vec<Order>, Mistake> {
    match form {
        Form::Toml => one(text, list).map(|order| vec![order]),
        Form::Csv => sheet::parse(text, list),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

fn one(text: &str, list: &dyn Fn(&str) -> Result<String, String>) -> Result<Order, Mistake> {
    let text = &dates::quoted(text);
    let syntax = |error: toml::de::Error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let what = error.message().trim().replace('\n', ", ");
        let key = error.span().and_then(|span| key_at(text, span.start));
        let mistake = Mistake::new(line, key.map_or(what.clone(), |key| format!("{key}: {what}")));
        match key {
            Some("not_before" | "expires") => mistake.with_hint(Moment::HINT),
            _ => mistake,
        }
    };
    let tree = DeTable::parse(text).map_err(syntax)?.into_inner();
    check_names(text, &tree, "", &KEYS[..16])?;
    for name in NEEDED {
        if !tree.keys().any(|key| key.get_ref() == name) {
            return Err(Mistake::missing(1, name));
        }
    }
    let order: Order = toml::from_str(text).map_err(syntax)?;
    let line = |key: &str| {
        let mut names = key.split('.');
        let (key, value) =
            tree.iter().find(|(key, _)| names.clone().next() == Some(key.get_ref()))?;
        let inner = match (value.get_ref(), names.nth(1)) {
            (DeValue::Table(table), Some(name)) => {
                table.iter().find(|(key, _)| key.get_ref() == name).map(|(key, _)| key.span().start)
            }
            _ => None,
        };
        Some(line_of(text, inner.unwrap_or(key.span().start)))
    };
    let conditions = tree.iter().find(|(key, _)| key.get_ref() == "match");
    let given = |name: &str| match conditions.map(|(_, value)| value.get_ref()) {
        Some(DeValue::Table(table)) => table.keys().any(|key| key.get_ref() == name),
        _ => false,
    };
    finish(order, list, &|key| line(key), &given)
}

/// The key on whose line a place is.
fn key_at(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..)?.lines().next()?;
    let name = line.split_once('=')?.0.trim();
    KEYS.iter().chain(&CONDITIONS).find(|key| **key == name).copied()
}

fn check_names(
    text: &str,
    table: &DeTable<'_>,
    section: &str,
    known: &[&str],
) -> Result<(), Mistake> {
    let mut unknown: Vec<_> =
        table.iter().filter(|(key, _)| !known.contains(&&**key.get_ref())).collect();
    unknown.sort_by_key(|(key, _)| key.span().start);
    if let Some((key, _)) = unknown.first() {
        let line = line_of(text, key.span().start);
        return Err(Mistake::no_such_key(line, key.get_ref(), section));
    }
    for (key, value) in table {
        if section.is_empty()
            && key.get_ref() == "match"
            && let DeValue::Table(table) = value.get_ref()
        {
            check_names(text, table, "match.", &CONDITIONS)?;
        }
    }
    Ok(())
}

/// Reads the lists and the template that an order names, and checks all values. `given` says whether a condition is there, and may be empty.
fn finish(
    mut order: Order,
    list: &dyn Fn(&str) -> Result<String, String>,
    line: &dyn Fn(&str) -> Option<usize>,
    given: &dyn Fn(&str) -> bool,
) -> Result<Order, Mistake> {
    let conditions = &mut order.conditions;
    for name in CONDITIONS {
        let is_empty = match name {
            "bays" => conditions.bays.is_empty(),
            "models" => conditions.models.is_empty(),
            "sizes" => conditions.sizes.is_empty(),
            _ => conditions.serials.is_empty(),
        };
        let key = format!("match.{name}");
        if let Some(line) = line(&key).filter(|_| is_empty && given(name)) {
            let mistake = Mistake::new(line, format!("{key}: it is empty"));
            return Err(mistake.with_hint("leave it out if it does not matter"));
        }
    }
    if !conditions.listed_serials.is_empty() {
        return Err(Mistake::new(line("match"), "match.listed_serials: no such key"));
    }
    let (lists, patterns): (Vec<String>, Vec<String>) =
        conditions.serials.drain(..).partition(|text| text.starts_with('@'));
    conditions.serials = patterns;
    for name in lists {
        let wrong = |what: String| {
            Mistake::new(line("match.serials"), format!("match.serials: {name}: {what}"))
        };
        let text = list(&name[1..]).map_err(&wrong)?;
        let serials = serials(&text);
        if serials.is_empty() {
            let mistake = wrong("the list has no serial number".into());
            return Err(mistake.with_hint("write a serial number on each line"));
        }
        order.conditions.listed_serials.extend(serials);
    }
    if let Some(name) = order.label_template.as_deref().and_then(file_named) {
        let wrong =
            |what| Mistake::new(line("label_template"), format!("label_template: @{name}: {what}"));
        order.label_template = Some(list(name).map_err(wrong)?);
    }
    order.check().map_err(|error| Mistake::of(line(&error.key).or(Some(1)), &error))?;
    Ok(order)
}

/// The name of the file in which a template is, if it is not the template itself: that has spaces after `@` and what it asks.
fn file_named(template: &str) -> Option<&str> {
    template.trim().strip_prefix('@').filter(|name| !name.contains(char::is_whitespace))
}

/// The serial numbers of a list: the first field of each line; a line of names, blank lines and comments do not count.
fn serials(text: &str) -> BTreeSet<String> {
    let field = |line: &str| {
        let first = line.split([',', ';', '\t']).next().unwrap_or_default();
        first.trim().trim_matches('"').trim().to_owned()
    };
    let named =
        |text: &str| ["serial", "serial number", "serials"].contains(&&*text.to_lowercase());
    text.trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(field)
        .filter(|text| !text.is_empty() && !named(text))
        .collect()
}
