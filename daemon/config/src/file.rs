//! One file of the configuration, or a recipe, checked on its own, so that every mistake is found where somebody wrote it.
//!
//! Unknown and missing keys are found with the table of keys. Values are judged by their types alone: the table only
//! lends the words for what was expected.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::check::Wrong;
use super::dates;
use super::error::{ConfigError, Mistake, Place};
use super::keys::{self, Fallback, KEYS, Key};

/// A file whose keys are known and whose values can be used.
#[derive(Clone, Debug)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
    /// The keys that it may have.
    known: &'static [Key],
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<(Self, toml::Table), ConfigError> {
        Self::parse(path, text_of(path)?)
    }

    pub(super) fn parse(path: &Path, text: String) -> Result<(Self, toml::Table), ConfigError> {
        let source = Self::new(path, &text, &KEYS);
        source.read_as(Config::check)?;
        let table = source.text.parse().map_err(|error| source.syntax(&error))?;
        Ok((source, table))
    }

    /// A file with this text.
    pub(super) fn new(path: &Path, text: &str, known: &'static [Key]) -> Self {
        Self { path: path.to_owned(), text: dates::quoted(text), known }
    }

    /// What the file says; `check` judges what its type alone cannot.
    pub(super) fn read_as<T: DeserializeOwned>(
        &self,
        check: impl FnOnce(&T) -> Vec<Wrong>,
    ) -> Result<T, ConfigError> {
        let tree = DeTable::parse(&self.text).map_err(|error| self.syntax(&error))?.into_inner();
        let mut found = Vec::new();
        check_names(self.known, &tree, "", 0, &mut found);
        found.sort_by_key(|(at, _)| *at);
        let misnamed = |(at, mistake)| ConfigError::new(self.place(Some(at)), mistake);
        ConfigError::joined(found.into_iter().map(misnamed).collect())?;
        let read: Result<T, _> = toml::from_str(&self.text);
        let value = read.map_err(|error| match self.wrong_value(&tree, &error) {
            Some(mistake) => {
                ConfigError::new(self.place(error.span().map(|span| span.start)), mistake)
            }
            None => self.syntax(&error),
        })?;
        let placed = |wrong: Wrong| {
            let place = self.place_of(&wrong.at).unwrap_or_else(|| self.place(None));
            ConfigError::new(place, wrong.mistake)
        };
        ConfigError::joined(check(&value).into_iter().map(placed).collect())?;
        Ok(value)
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let what = error.message().trim().replace('\n', ", ");
        let about = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
        let alone = !about.trim().is_empty() && !about.contains('\n');
        let what = if alone { format!("{}: {what}", short(about)) } else { what };
        ConfigError::new(self.place(error.span().map(|span| span.start)), Mistake::Toml(what))
    }

    /// The line with this byte of the text.
    fn place(&self, at: Option<usize>) -> Place {
        let before = at.and_then(|at| self.text.get(..at));
        let line = before.map(|before| before.matches('\n').count() + 1);
        Place { file: self.path.clone(), line }
    }

    /// The line of a key such as `bay.1.path`, if the file gives it.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        let tree = DeTable::parse(&self.text).ok()?;
        let mut steps = key.split('.');
        let mut found = entry(tree.get_ref(), steps.next()?)?;
        for step in steps {
            found = match found.1 {
                DeValue::Table(table) => entry(table, step)?,
                DeValue::Array(items) => {
                    let item = items.get(step.parse::<usize>().ok()?)?;
                    (item.span(), item.get_ref())
                }
                _ => return None,
            };
        }
        Some(self.place(Some(found.0.start)))
    }

    /// The texts in the list of a key such as `admission.bays`; `None` if the file does not give it.
    pub(super) fn texts(&self, section: &str, name: &str) -> Option<Vec<String>> {
        let table: toml::Table = self.text.parse().ok()?;
        let list = table.get(section)?.get(name)?.as_array()?;
        Some(list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
    }

    /// The number of the bay of this name among those in the file.
    pub(super) fn bay(&self, name: &str) -> Option<usize> {
        let table: toml::Table = self.text.parse().ok()?;
        let called = |bay: &toml::Value| bay.get("name")?.as_str().map(|text| text.trim() == name);
        table.get("bay")?.as_array()?.iter().position(|bay| called(bay) == Some(true))
    }

    /// What is wrong with the value that serde could not read, in the words of the table of keys.
    fn wrong_value(&self, tree: &DeTable<'_>, error: &toml::de::Error) -> Option<Mistake> {
        let span = error.span()?;
        let steps = steps(tree, &span)?;
        let names: Vec<&str> = steps.iter().flatten().map(String::as_str).collect();
        let written = short(self.text.get(span)?);
        let (section, name, inner) = match names.as_slice() {
            ["layout", "partitions", name, rest @ ..] => ("layout.partitions", *name, rest),
            ["media", "signers", name, rest @ ..] => ("media.signers", *name, rest),
            ["gate", "webhooks", name, rest @ ..] => ("gate.webhooks", *name, rest),
            ["gate", "brokers", name, rest @ ..] => ("gate.brokers", *name, rest),
            [section, name, rest @ ..] => (*section, *name, rest),
            [name] if self.known.iter().any(|key| key.section.is_empty() && key.name == *name) => {
                ("", *name, &[][..])
            }
            [section] => return Some(not_a_table(self.known, section, &written)),
            [] => return None,
        };
        let key = self.known.iter().find(|key| key.section == section && key.name == name)?;
        let (path, kind) = (key.path(), key.kind);
        // TOML takes a dot outside of quotes for a table's.
        let dotted = |inner: &str| inner.to_lowercase().ends_with(".wim");
        if let ([first], Some((_, DeValue::Table(table)))) = (inner, entry(tree, section))
            && let Some((_, DeValue::Table(table))) = entry(table, name)
            && let Some((_, DeValue::Table(rest))) = entry(table, first)
            && let [(last, _)] = &rest.iter().collect::<Vec<_>>()[..]
            && dotted(&format!("{first}.{}", last.get_ref()))
        {
            let name = format!("{first}.{}", last.get_ref());
            let what = format!("{name} is written without quotes");
            return Some(Mistake::unusable(&path, what, &format!("write {name:?} = ...")));
        }
        let inner: String = inner.iter().map(|name| format!(".{name:?}")).collect();
        let inside = !inner.is_empty() || steps.last().is_some_and(Option::is_none);
        let kind = if inside { kind.element() } else { kind };
        Some(Mistake::NotOfKind { key: path + &inner, written, kind })
    }
}

/// The text of a file.
fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(Place { file: path.to_owned(), line: None }, Mistake::Read(error))
    })
}

fn not_a_table(known: &[Key], section: &str, written: &str) -> Mistake {
    let repeated = known.iter().any(|key| key.section == section && key.is_repeated());
    let heading = if repeated { format!("[[{section}]]") } else { format!("[{section}]") };
    let what = format!("{written} does not begin a table of this name");
    Mistake::unusable(section, what, &format!("write {heading}, and its keys on the lines below"))
}

/// The value of a key, and where the key stands.
fn entry<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<(Range<usize>, &'a DeValue<'i>)> {
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    Some((key.span(), value.get_ref()))
}

/// Finds the names in a table that its section does not know, and those that it lacks, with their places in the text.
fn check_names(
    known: &[Key],
    table: &DeTable<'_>,
    section: &str,
    start: usize,
    found: &mut Vec<(usize, Mistake)>,
) {
    let names = keys::names(known, section);
    let section_of = |name: &str| match section {
        "" => Some(name.to_owned()),
        "layout" if name == "partitions" => Some("layout.partitions".to_owned()),
        "media" if name == "signers" => Some("media.signers".to_owned()),
        "gate" if matches!(name, "webhooks" | "brokers") => Some(format!("gate.{name}")),
        _ => None,
    };
    for (key, value) in table {
        let name: &str = key.get_ref();
        if !names.contains(&name) {
            let near = keys::nearest(known, section, name);
            let (section, name) = (section.to_owned(), name.to_owned());
            found.push((key.span().start, Mistake::NoSuchKey { section, name, near }));
        } else if let Some(inner) = section_of(name) {
            match value.get_ref() {
                DeValue::Table(table) => {
                    check_names(known, table, &inner, value.span().start, found);
                }
                DeValue::Array(items) => {
                    for item in items.iter() {
                        if let DeValue::Table(table) = item.get_ref() {
                            check_names(known, table, &inner, item.span().start, found);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let given = |name: &str| table.keys().any(|key| key.get_ref() == name);
    let needed = |key: &&Key| key.fallback == Fallback::Required;
    let here = known.iter().filter(needed).find(|key| key.section == section && !given(key.name));
    // A table that may be there once is needed if one of its keys is. That it is not there is seen at the end.
    let alone = |key: &&Key| section.is_empty() && !key.is_repeated() && !given(key.section);
    let elsewhere = known.iter().filter(needed).find(alone);
    for (at, key) in
        here.map(|key| (start, key)).into_iter().chain(elsewhere.map(|key| (usize::MAX, key)))
    {
        let needed = keys::required(known, key.section);
        let (section, name) = (key.section.to_owned(), key.name.to_owned());
        found.push((at, Mistake::Missing { section, name, needed }));
    }
}

/// The way to the innermost value around a piece of the text: names of keys, and `None` for an item of a list.
fn steps(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<Option<String>>> {
    let around = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let within = |value: &toml::Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Table(table) => steps(table, span),
        DeValue::Array(items) => items.iter().find_map(|item| {
            let deeper = match item.get_ref() {
                DeValue::Table(table) => steps(table, span),
                _ => None,
            };
            let deeper = deeper.or_else(|| around(item.span()).then(Vec::new))?;
            Some([vec![None], deeper].concat())
        }),
        _ => None,
    };
    table.iter().find_map(|(key, value)| {
        let deeper = within(value).or_else(|| around(value.span()).then(Vec::new))?;
        Some([vec![Some(key.get_ref().to_string())], deeper].concat())
    })
}

/// As much of a value as a message has room for.
fn short(written: &str) -> String {
    const MOST: usize = 60;
    let line = written.lines().next().unwrap_or_default();
    let mut text: String = line.chars().take(MOST).collect();
    if text.len() < written.len() {
        text.push('…');
    }
    text
}
