//! Text as glyphs: in the order in which it is read, with a font for each letter, joined as its script asks for, and no wider
//! than its place. A letter that no font has is printed as its code point, and told; so are letters that cannot be seen and
//! change how others are read.

use std::collections::BTreeSet;
use std::ops::Range;

use rustybuzz::{Direction, UnicodeBuffer};
use unicode_bidi::BidiInfo;
use unicode_script::{Script, UnicodeScript as _};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::fonts::{FontId, Fonts, Style};

/// One glyph, in thousandths of the size of its text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Glyph {
    pub(crate) id: u16,
    pub(crate) advance: f32,
    /// As wide as the font has it, without what its neighbours change.
    pub(crate) width: f32,
    /// Off its place, to the right and upwards.
    pub(crate) off: (f32, f32),
    /// The text that it stands for; empty if an earlier glyph stands for it.
    pub(crate) text: String,
}

/// Glyphs of one font, from left to right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) font: FontId,
    pub(crate) glyphs: Vec<Glyph>,
    /// What they say, in the order of reading.
    pub(crate) text: String,
    pub(crate) is_rightward: bool,
}

/// One line of text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) runs: Vec<Run>,
    /// In thousandths of the size of its text.
    pub(crate) width: f32,
}

/// Makes glyphs of text.
#[derive(Debug)]
pub(crate) struct Setter<'a> {
    fonts: &'a Fonts,
    /// The letters that no font has.
    missing: BTreeSet<char>,
}

/// Whether a letter cannot be seen, and changes how others are read or hides something.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a letter only says how its neighbours are joined or drawn.
fn is_joiner(letter: char) -> bool {
    matches!(letter, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

fn width(face: &rustybuzz::Face<'_>, glyph: u32) -> i32 {
    let glyph = rustybuzz::ttf_parser::GlyphId(u16::try_from(glyph).unwrap_or_default());
    face.glyph_hor_advance(glyph).unwrap_or_default().into()
}

/// A thousandth of the size for each unit of a font.
fn scaled(units: i32, per_em: i32) -> f32 {
    let small = |units: i32| f32::from(i16::try_from(units).unwrap_or(i16::MAX));
    small(units) * 1000.0 / small(per_em.max(1))
}

impl<'a> Setter<'a> {
    pub(crate) fn new(fonts: &'a Fonts) -> Self {
        Self { fonts, missing: BTreeSet::new() }
    }

    /// The letters that were printed as code points.
    pub(crate) fn missing(&self) -> &BTreeSet<char> {
        &self.missing
    }

    /// A letter as it is printed.
    fn printable(&mut self, text: &str, style: Style) -> String {
        let mut printed = String::with_capacity(text.len());
        for letter in text.chars() {
            if !is_unseen(letter) && (is_joiner(letter) || self.fonts.of(letter, style).is_some()) {
                printed.push(letter);
                continue;
            }
            self.missing.insert(letter);
            printed += &format!("[U+{:04X}]", u32::from(letter));
        }
        printed
    }

    /// Text on at most so many lines, none wider than `width` thousandths of its size. What has no room is cut, and how many
    /// characters that are stands at the end.
    pub(crate) fn lines(&mut self, text: &str, style: Style, width: f32, most: usize) -> Vec<Line> {
        let text = self.printable(text.trim(), style);
        let mut rest = text.as_str();
        let mut lines = Vec::new();
        while !rest.is_empty() && lines.len() < most {
            let whole = self.set(rest, style);
            if whole.width <= width {
                lines.push(whole);
                return lines;
            }
            if lines.len() + 1 == most {
                lines.push(self.cut(rest, style, width));
                return lines;
            }
            let end = self.fitting(rest, style, width, |head| head.to_owned());
            let space = rest[..end].rfind(' ').filter(|space| *space * 3 > end);
            let end = if rest[end..].starts_with(' ') { end } else { space.unwrap_or(end) };
            lines.push(self.set(&rest[..end], style));
            rest = rest[end..].trim_start();
        }
        lines
    }

    /// The beginning of a text, and how many characters follow.
    fn cut(&mut self, text: &str, style: Style, width: f32) -> Line {
        let dots = if self.fonts.of('\u{2026}', style).is_some() { "\u{2026}" } else { "..." };
        let count = text.chars().count();
        let with_count =
            |head: &str| format!("{} {dots}+{}", head.trim_end(), count - head.chars().count());
        let end = self.fitting(text, style, width, with_count);
        self.set(&with_count(&text[..end]), style)
    }

    /// The end of the longest beginning that fits, with what is added to it; one letter at least.
    fn fitting(
        &mut self,
        text: &str,
        style: Style,
        width: f32,
        with: impl Fn(&str) -> String,
    ) -> usize {
        let ends: Vec<usize> = text.grapheme_indices(true).map(|(at, g)| at + g.len()).collect();
        let fits = |end: &usize| self.set(&with(&text[..*end]), style).width <= width;
        let count = ends.partition_point(fits).max(1);
        ends.get(count - 1).copied().unwrap_or(text.len())
    }

    fn set(&self, text: &str, style: Style) -> Line {
        let bidi = BidiInfo::new(text, None);
        let mut line = Line::default();
        for paragraph in &bidi.paragraphs {
            let (levels, spans) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for span in spans {
                let is_leftward = levels.get(span.start).is_some_and(unicode_bidi::Level::is_rtl);
                let mut runs: Vec<Run> = self
                    .parts(text, span, style)
                    .into_iter()
                    .filter_map(|(font, part)| self.shape(font, &text[part], is_leftward))
                    .collect();
                if is_leftward {
                    runs.reverse();
                }
                line.runs.extend(runs);
            }
        }
        line.width = line.runs.iter().flat_map(|run| &run.glyphs).map(|glyph| glyph.advance).sum();
        line
    }

    /// Cuts a span where the font or the script changes. A mark stays with the letter before it.
    fn parts(&self, text: &str, span: Range<usize>, style: Style) -> Vec<(FontId, Range<usize>)> {
        let mut parts: Vec<(FontId, Script, Range<usize>)> = Vec::new();
        for (at, letter) in text[span.clone()].char_indices() {
            let (start, end) = (span.start + at, span.start + at + letter.len_utf8());
            let script = letter.script();
            let is_mark = script == Script::Inherited;
            if let Some((font, own, part)) = parts.last_mut() {
                let keeps = is_joiner(letter) || (is_mark && self.fonts.has(*font, letter));
                let same_font = self.fonts.of(letter, style) == Some(*font);
                let common = [script, *own].contains(&Script::Common) || script == *own;
                if keeps || (same_font && (common || is_mark)) {
                    if *own == Script::Common && !is_mark && !is_joiner(letter) {
                        *own = script;
                    }
                    part.end = end;
                    continue;
                }
            }
            // A joiner at the very start joins nothing.
            if let Some(font) = self.fonts.of(letter, style) {
                parts.push((font, script, start..end));
            }
        }
        parts.into_iter().map(|(font, _, part)| (font, part)).collect()
    }

    fn shape(&self, font: FontId, text: &str, is_leftward: bool) -> Option<Run> {
        let face = self.fonts.get(font)?.face()?;
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        let direction = if is_leftward { Direction::RightToLeft } else { Direction::LeftToRight };
        buffer.set_direction(direction);
        let shaped = rustybuzz::shape(&face, &[], buffer);
        let (infos, positions) = (shaped.glyph_infos(), shaped.glyph_positions());
        // Each glyph stands for the text from its cluster to the next one.
        let mut starts: Vec<usize> =
            infos.iter().filter_map(|info| usize::try_from(info.cluster).ok()).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut told = BTreeSet::new();
        let glyphs = infos.iter().zip(positions).map(|(info, place)| {
            let start = usize::try_from(info.cluster).unwrap_or_default();
            let end = starts.iter().find(|next| **next > start).copied().unwrap_or(text.len());
            let own = if told.insert(start) { text.get(start..end) } else { None };
            let scale = |units| scaled(units, face.units_per_em());
            Glyph {
                id: u16::try_from(info.glyph_id).unwrap_or_default(),
                advance: scale(place.x_advance),
                width: scale(width(&face, info.glyph_id)),
                off: (scale(place.x_offset), scale(place.y_offset)),
                text: own.unwrap_or_default().to_owned(),
            }
        });
        let glyphs = glyphs.collect();
        Some(Run { font, glyphs, text: text.to_owned(), is_rightward: !is_leftward })
    }
}
