//! Fonts of the system, found by the names of their files: a few that are preferred, and every other one for characters that
//! these do not have. What is read is embedded, so that paper looks the same wherever it is printed.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::hint::Hint;
use rustybuzz::Face;
use rustybuzz::ttf_parser::{self, Permissions};

/// Where Debian's packages, and people, put fonts.
pub const FOLDERS: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];
/// Folders are not followed deeper, so that a link to a parent ends.
const DEEPEST: usize = 6;
/// No font is larger; the largest of Debian's has 20 MB.
const LARGEST: u64 = 64 << 20;

/// The way a text is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Style {
    Regular,
    Bold,
    /// All letters equally wide, for digests.
    Mono,
}

impl Style {
    /// The names of files, without their endings, in the order in which they are preferred. The last ones have the scripts of
    /// which there are too many letters for one font.
    fn preferred(self) -> &'static [&'static str] {
        const WIDE: [&str; 2] = ["NotoSansCJK-Regular", "DroidSansFallbackFull"];
        match self {
            Self::Regular => {
                &["NotoSans-Regular", "LiberationSans-Regular", "DejaVuSans", WIDE[0], WIDE[1]]
            }
            Self::Bold => &[
                "NotoSans-Bold",
                "LiberationSans-Bold",
                "DejaVuSans-Bold",
                "NotoSansCJK-Bold",
                WIDE[1],
            ],
            Self::Mono => &[
                "NotoSansMono-Regular",
                "LiberationMono-Regular",
                "DejaVuSansMono",
                WIDE[0],
                WIDE[1],
            ],
        }
    }
}

/// A font that was read.
#[derive(Debug)]
pub struct Font {
    pub(crate) data: Vec<u8>,
    /// Which font of a collection it is.
    pub(crate) index: u32,
}

impl Font {
    /// Reads one, if it can be set and may be embedded.
    fn read(path: &Path) -> Option<Self> {
        let size = fs::metadata(path).ok()?.len();
        let font = Self { data: (size <= LARGEST).then(|| fs::read(path).ok())??, index: 0 };
        let face = font.face()?;
        let may = !matches!(face.permissions(), Some(Permissions::Restricted));
        let has_outlines = face.tables().glyf.is_some() || face.tables().cff.is_some();
        let usable = may && face.is_subsetting_allowed() && has_outlines && !face.is_variable();
        drop(face);
        usable.then_some(font)
    }

    /// The font, ready for shaping.
    pub(crate) fn face(&self) -> Option<Face<'_>> {
        Face::from_slice(&self.data, self.index)
    }

    fn has(&self, letter: char) -> bool {
        let face = ttf_parser::Face::parse(&self.data, self.index).ok();
        face.and_then(|face| face.glyph_index(letter)).is_some_and(|glyph| glyph.0 != 0)
    }
}

/// There is no font.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no font is found below {}", folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "))]
pub struct NoFont {
    /// Where it was looked for.
    pub folders: Vec<PathBuf>,
}

impl Hint for NoFont {
    fn hint(&self) -> Option<String> {
        Some("install one, such as with `apt install fonts-dejavu-core`".into())
    }
}

/// Names a font that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FontId(pub(crate) usize);

/// All fonts that there are, read when they are needed.
#[derive(Debug)]
pub struct Fonts {
    /// The files, plain ones before those for some weight, by their names.
    files: Vec<(PathBuf, OnceCell<Option<Font>>)>,
    /// Which font has a letter; looking through all of them takes long.
    found: RefCell<BTreeMap<(Style, char), Option<FontId>>>,
}

impl Fonts {
    /// Looks for fonts in these folders and below, the first ones first.
    ///
    /// # Errors
    /// [`NoFont`] if there is none that has letters and digits.
    pub fn find(folders: &[PathBuf]) -> Result<Self, NoFont> {
        let mut files = Vec::new();
        for folder in folders {
            let mut own = Vec::new();
            list(folder, DEEPEST, &mut own);
            own.sort_by_key(|path| (is_special(path), path.clone()));
            files.extend(own);
        }
        let files = files.into_iter().map(|path| (path, OnceCell::new())).collect();
        let fonts = Self { files, found: RefCell::default() };
        let all = [Style::Regular, Style::Bold, Style::Mono].into_iter().all(|style| {
            ['A', 'z', '0', '[', ']', '+'].into_iter().all(|c| fonts.of(c, style).is_some())
        });
        if all { Ok(fonts) } else { Err(NoFont { folders: folders.to_vec() }) }
    }

    /// The font that has a letter; `None` if no font has it.
    pub(crate) fn of(&self, letter: char, style: Style) -> Option<FontId> {
        if let Some(known) = self.found.borrow().get(&(style, letter)) {
            return *known;
        }
        let named = |name: &&str| {
            self.files.iter().position(|(path, _)| path.file_stem().is_some_and(|own| own == *name))
        };
        let preferred = style.preferred().iter().filter_map(named);
        let mut all = preferred.chain(0..self.files.len()).map(FontId);
        let found = all.find(|id| self.get(*id).is_some_and(|font| font.has(letter)));
        self.found.borrow_mut().insert((style, letter), found);
        found
    }

    /// Whether a font has a letter.
    pub(crate) fn has(&self, id: FontId, letter: char) -> bool {
        self.get(id).is_some_and(|font| font.has(letter))
    }

    /// A font, read if that was not done before; `None` if it cannot be used.
    pub(crate) fn get(&self, id: FontId) -> Option<&Font> {
        let (path, font) = self.files.get(id.0)?;
        font.get_or_init(|| Font::read(path)).as_ref()
    }
}

/// Whether a font is rather for something else than plain text.
fn is_special(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let words =
        ["Bold", "Italic", "Oblique", "Light", "Thin", "Black", "Condensed", "Serif", "Math"];
    words.iter().any(|word| name.contains(word))
}

fn list(folder: &Path, deeper: usize, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if deeper > 0 {
                list(&path, deeper - 1, into);
            }
        } else if path
            .extension()
            .is_some_and(|e| ["ttf", "otf", "ttc"].iter().any(|own| e == *own))
        {
            into.push(path);
        }
    }
}
