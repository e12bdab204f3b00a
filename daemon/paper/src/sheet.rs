//! One page of A4 on which text, lines and codes are put. Lengths are points (1/72 inch), counted from the upper left corner.
//! What is put there says the same bytes each time: nothing asks for the time or draws a number.

use std::collections::BTreeMap;

use pdf_writer::types::TextRenderingMode;
use pdf_writer::{Content, Name, Str, TextStr};
use qrcodegen::QrCode;
use subsetter::GlyphRemapper;

use crate::fonts::{FontId, Fonts, Style};
use crate::text::{Glyph, Line, Run, Setter};

/// The size of A4.
pub(crate) const PAGE: (f32, f32) = (595.28, 841.89);

/// A colour: red, green, blue, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ink(pub(crate) f32, pub(crate) f32, pub(crate) f32);

pub(crate) const WHITE: Ink = Ink(1.0, 1.0, 1.0);
pub(crate) const BLACK: Ink = Ink(0.09, 0.10, 0.12);
pub(crate) const GREY: Ink = Ink(0.40, 0.43, 0.47);
pub(crate) const HAIR: Ink = Ink(0.80, 0.82, 0.84);

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) style: Style,
    pub(crate) size: f32,
    pub(crate) ink: Ink,
}

/// The glyphs of a font that are on the page.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) remapper: GlyphRemapper,
    /// What each glyph says, by its number in the page's font, with its width there.
    pub(crate) told: BTreeMap<u16, (String, f32)>,
}

/// A page that is being filled.
pub(crate) struct Sheet<'a> {
    pub(crate) fonts: &'a Fonts,
    pub(crate) setter: Setter<'a>,
    pub(crate) content: Content,
    pub(crate) used: BTreeMap<FontId, Used>,
    /// The lowest and the rightmost place with something on it.
    pub(crate) reach: (f32, f32),
}

impl<'a> Sheet<'a> {
    pub(crate) fn new(fonts: &'a Fonts) -> Self {
        Self {
            fonts,
            setter: Setter::new(fonts),
            content: Content::new(),
            used: BTreeMap::new(),
            reach: (0.0, 0.0),
        }
    }

    /// The name by which the page calls a font.
    pub(crate) fn name(font: FontId) -> String {
        format!("F{}", font.0)
    }

    fn reaches(&mut self, x: f32, y: f32) {
        self.reach = (self.reach.0.max(x), self.reach.1.max(y));
    }

    /// Fills a rectangle.
    pub(crate) fn fill(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), ink: Ink) {
        self.reaches(x + width, y + height);
        let Ink(r, g, b) = ink;
        self.content.set_fill_rgb(r, g, b);
        self.content.rect(x, PAGE.1 - y - height, width, height).fill_nonzero();
    }

    /// A path through these places, as wide as that.
    pub(crate) fn stroke(&mut self, places: &[(f32, f32)], width: f32, ink: Ink) {
        let Ink(r, g, b) = ink;
        self.content.save_state().set_stroke_rgb(r, g, b).set_line_width(width);
        for (at, (x, y)) in places.iter().enumerate() {
            self.reaches(*x, *y);
            let y = PAGE.1 - y;
            match at {
                0 => self.content.move_to(*x, y),
                _ => self.content.line_to(*x, y),
            };
        }
        self.content.stroke().restore_state();
    }

    /// A code whose modules fill a square, without the quiet zone around it.
    pub(crate) fn code(&mut self, code: &QrCode, (x, y): (f32, f32), side: f32) {
        let size = code.size();
        let small = |count: i32| f32::from(i16::try_from(count).unwrap_or_default());
        let module = side / small(size);
        self.reaches(x + side, y + side);
        let Ink(r, g, b) = Ink(0.0, 0.0, 0.0);
        self.content.set_fill_rgb(r, g, b);
        for row in 0..size {
            let mut column = 0;
            while column < size {
                let dark = (column..size).take_while(|at| code.get_module(*at, row)).count();
                let dark = i32::try_from(dark).unwrap_or_default();
                if dark > 0 {
                    let top = PAGE.1 - y - small(row + 1) * module;
                    self.content.rect(
                        x + small(column) * module,
                        top,
                        small(dark) * module,
                        module,
                    );
                }
                column += dark + 1;
            }
        }
        self.content.fill_nonzero();
    }

    /// Puts a text on one line, with its foot at `y`, cut where it would be wider than `width`. Returns how wide it is.
    pub(crate) fn put(&mut self, text: &str, look: Look, (x, y): (f32, f32), width: f32) -> f32 {
        let line = self.setter.lines(text, look.style, width / look.size * 1000.0, 1);
        line.first().map_or(0.0, |line| self.put_line(line, look, (x, y)))
    }

    /// Puts a text on one line that ends at `x`.
    pub(crate) fn put_before(&mut self, text: &str, look: Look, (x, y): (f32, f32), width: f32) {
        let lines = self.setter.lines(text, look.style, width / look.size * 1000.0, 1);
        if let Some(line) = lines.first() {
            self.put_line(line, look, (x - line.width * look.size / 1000.0, y));
        }
    }

    /// Puts a line with its foot at `y`. Returns how wide it is.
    pub(crate) fn put_line(&mut self, line: &Line, look: Look, (x, y): (f32, f32)) -> f32 {
        let width = line.width * look.size / 1000.0;
        self.reaches(x + width, y);
        let Ink(r, g, b) = look.ink;
        self.content.set_fill_rgb(r, g, b);
        self.content.begin_text();
        self.content.set_text_rendering_mode(TextRenderingMode::Fill);
        self.content.set_text_matrix([1.0, 0.0, 0.0, 1.0, x, PAGE.1 - y]);
        for run in &line.runs {
            self.show(run, look.size);
        }
        self.content.end_text();
        width
    }

    fn show(&mut self, run: &Run, size: f32) {
        let used = self.used.entry(run.font).or_default();
        let glyphs: Vec<(u16, &Glyph)> = run
            .glyphs
            .iter()
            .map(|glyph| {
                let id = used.remapper.remap(glyph.id);
                let told = used.told.entry(id).or_insert_with(|| (String::new(), glyph.width));
                if told.0.is_empty() {
                    told.0.clone_from(&glyph.text);
                }
                (id, glyph)
            })
            .collect();
        // Where glyphs do not say by themselves what is written, it is said beside them.
        let says = |(id, glyph): &(u16, &Glyph)| {
            used.told.get(id).is_some_and(|(text, _)| *text == glyph.text)
        };
        let is_beside = run.is_rightward && !glyphs.iter().all(says);
        if is_beside {
            let mut mark = self.content.begin_marked_content_with_properties(Name(b"Span"));
            mark.properties().actual_text(TextStr(&run.text));
        }
        let name = Self::name(run.font);
        self.content.set_font(Name(name.as_bytes()), size);
        let mut rise = 0.0;
        for (id, glyph) in glyphs {
            if (glyph.off.1 - rise).abs() > f32::EPSILON {
                rise = glyph.off.1;
                self.content.set_rise(rise * size / 1000.0);
            }
            let mut shown = self.content.show_positioned();
            let mut items = shown.items();
            if glyph.off.0 != 0.0 {
                items.adjust(-glyph.off.0);
            }
            items.show(Str(&id.to_be_bytes()));
            let after = glyph.width + glyph.off.0 - glyph.advance;
            if after.abs() > 0.01 {
                items.adjust(after);
            }
        }
        if rise != 0.0 {
            self.content.set_rise(0.0);
        }
        if is_beside {
            self.content.end_marked_content();
        }
    }
}
