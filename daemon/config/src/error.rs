//! A configuration that cannot be used: the file and the line, the key, what is wrong, and how to mend it.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use super::keys::{self, Kind};
use model::hint::Hint;
use model::layout::LayoutError;

/// Where a mistake stands: `FILE:LINE`, or `FILE` where the line is unknown, or nothing where there is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A configuration that cannot be used: the first of its mistakes, with those that were found beside it.
#[derive(Debug)]
pub struct ConfigError {
    place: Place,
    mistake: Box<Mistake>,
    others: Vec<ConfigError>,
}

impl ConfigError {
    pub(super) fn new(place: Place, mistake: Mistake) -> Self {
        Self { place, mistake: Box::new(mistake), others: Vec::new() }
    }

    /// All of these mistakes as one error; nothing if there are none.
    pub(super) fn joined(mistakes: Vec<Self>) -> Result<(), Self> {
        let mut all = mistakes.into_iter().flat_map(Self::each);
        let Some(first) = all.next() else { return Ok(()) };
        Err(Self { others: all.collect(), ..first })
    }

    /// Every mistake as an error of its own, in the order in which they were found.
    pub fn each(mut self) -> Vec<Self> {
        let others = std::mem::take(&mut self.others);
        std::iter::once(self).chain(others).collect()
    }
}

impl Hint for ConfigError {
    fn hint(&self) -> Option<String> {
        let is_drop_in = self
            .place
            .file
            .parent()
            .is_some_and(|folder| folder.extension().is_some_and(|extension| extension == "d"));
        match &*self.mistake {
            // It was listed a moment ago, so it is a link.
            Mistake::Read(error) if is_drop_in && error.kind() == std::io::ErrorKind::NotFound => {
                Some("it is a link that leads nowhere: mend or remove it".into())
            }
            mistake => mistake.hint(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place == Place::default() {
            return self.mistake.fmt(f);
        }
        write!(f, "{}: {}", self.place, self.mistake)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.mistake.source()
    }
}

/// What can be used as it stands, and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    place: Option<Place>,
    text: String,
}

impl Doubt {
    pub(super) fn new(place: Option<Place>, key: &str, what: impl Into<String>) -> Self {
        Self { place, text: format!("{key}: {}", what.into()) }
    }

    /// A doubt about a whole file.
    pub(super) fn of_file(file: PathBuf, text: impl Into<String>) -> Self {
        Self { place: Some(Place { file, line: None }), text: text.into() }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => self.text.fmt(f),
        }
    }
}

/// What is wrong at a place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mistake {
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    /// A recipe of media, which is named on the command line and nowhere else.
    #[error("cannot be read")]
    Recipe(#[source] std::io::Error),
    #[error("{0}")]
    Toml(String),
    #[error("{}: no such key", keys::path(section, name))]
    NoSuchKey { section: String, name: String, near: Option<String> },
    #[error("{}: missing", keys::path(section, name))]
    Missing { section: String, name: String, needed: String },
    /// A value that cannot be read as what the key takes.
    #[error("{key}: {written} is not {}", kind.noun())]
    NotOfKind { key: String, written: String, kind: Kind },
    /// A value that can be read and still cannot be used.
    #[error("{key}: {what}")]
    Unusable { key: String, what: String, hint: Option<String> },
    #[error("{key}: {pattern:?} is not a glob pattern")]
    Pattern {
        key: &'static str,
        pattern: String,
        #[source]
        source: glob::PatternError,
    },
    #[error("{0}")]
    Layout(LayoutError),
}

impl Mistake {
    pub(super) fn unusable(key: &str, what: impl Into<String>, hint: &str) -> Self {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Self::Unusable { key: key.to_owned(), what: what.into(), hint }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) if error.kind() == std::io::ErrorKind::NotFound => Some(
                "name the right file with --config or PRESTAGED_CONFIG".into(),
            ),
            Self::Recipe(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some("name the file with the recipe; prestaged-recipe(5) says what stands in it".into())
            }
            Self::Read(_) | Self::Recipe(_) | Self::Toml(_) => None,
            Self::NoSuchKey { near, .. } => {
                near.as_ref().map(|near| format!("did you mean {near:?}?"))
            }
            Self::Missing { needed, .. } => Some(needed.clone()),
            Self::NotOfKind { written, kind, .. } => kind.hint(written),
            Self::Unusable { hint, .. } => hint.clone(),
            Self::Pattern { .. } => Some(
                "* stands for any text, ? for one character, [ab] for a or b, and [[] for a bracket"
                    .into(),
            ),
            Self::Layout(error) => error.hint(),
        }
    }
}
