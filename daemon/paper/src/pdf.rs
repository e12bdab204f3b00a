//! A filled page as a PDF: its fonts, cut down to what is on it, and files that go with it.

use pdf_writer::types::{AssociationKind, CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::writers::FontDescriptor;
use pdf_writer::{Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use rustybuzz::ttf_parser::{self, RawFace, Tag};

use crate::fonts::{FontId, Fonts};
use crate::sheet::{PAGE, Sheet, Used};

/// A file inside of a PDF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attachment<'a> {
    pub(crate) name: &'a str,
    pub(crate) about: &'a str,
    /// Its type, as a PDF's name writes it.
    pub(crate) kind: &'a str,
    pub(crate) data: &'a [u8],
}

/// What a document says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) title: &'a str,
    pub(crate) author: &'a str,
    pub(crate) producer: &'a str,
}

/// A font that cannot be embedded.
#[derive(Debug, thiserror::Error)]
#[error("a font cannot be embedded: {0}")]
pub struct Unembeddable(String);

/// Objects are numbered as they are asked for.
struct Numbers(i32);

impl Numbers {
    fn next(&mut self) -> Ref {
        self.0 += 1;
        Ref::new(self.0)
    }
}

const IDENTITY: SystemInfo<'static> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// The whole document.
pub(crate) fn document(
    sheet: Sheet<'_>,
    about: About<'_>,
    attachments: &[Attachment<'_>],
) -> Result<Vec<u8>, Unembeddable> {
    let mut numbers = Numbers(0);
    let [catalog, pages, page, content, info] = [(); 5].map(|()| numbers.next());
    let mut pdf = Pdf::new();
    let fonts: Vec<(FontId, Ref)> = sheet.used.keys().map(|font| (*font, numbers.next())).collect();
    for (font, at) in &fonts {
        embed(&mut pdf, &mut numbers, sheet.fonts, *font, &sheet.used[font], *at)?;
    }
    pdf.stream(content, &sheet.content.finish());
    let mut writing = pdf.page(page);
    writing.parent(pages).media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).contents(content);
    let mut resources = writing.resources();
    let mut named = resources.fonts();
    for (font, at) in &fonts {
        named.pair(Name(Sheet::name(*font).as_bytes()), *at);
    }
    named.finish();
    resources.finish();
    writing.finish();
    pdf.pages(pages).kids([page]).count(1);
    let mut files = Vec::new();
    for Attachment { name, about, kind, data } in attachments {
        let [file, spec] = [(); 2].map(|()| numbers.next());
        let mut stream = pdf.embedded_file(file, data);
        stream.subtype(Name(kind.as_bytes()));
        stream.params().size(i32::try_from(data.len()).unwrap_or(i32::MAX));
        stream.finish();
        let mut writing = pdf.file_spec(spec);
        writing.path(Str(name.as_bytes())).unic_file(TextStr(name)).description(TextStr(about));
        writing.embedded_file_with_unicode(file).association_kind(AssociationKind::Data);
        writing.finish();
        files.push((*name, spec));
    }
    let mut root = pdf.catalog(catalog);
    root.pages(pages).lang(TextStr("en"));
    root.viewer_preferences().display_doc_title(true);
    let mut names = root.names();
    let mut tree = names.embedded_files();
    let mut entries = tree.names();
    for (name, spec) in &files {
        entries.insert(Str(name.as_bytes()), *spec);
    }
    entries.finish();
    tree.finish();
    names.finish();
    root.insert(Name(b"AF")).array().items(files.iter().map(|(_, spec)| *spec));
    root.finish();
    let About { title, author, producer } = about;
    let mut writing = pdf.document_info(info);
    writing.title(TextStr(title)).author(TextStr(author)).producer(TextStr(producer));
    writing.finish();
    Ok(pdf.finish())
}

/// Embeds the glyphs of a font that are on the page.
fn embed(
    pdf: &mut Pdf,
    numbers: &mut Numbers,
    fonts: &Fonts,
    id: FontId,
    used: &Used,
    at: Ref,
) -> Result<(), Unembeddable> {
    let failed = |text: &dyn ToString| Unembeddable(text.to_string());
    let font = fonts.get(id).ok_or_else(|| failed(&"it cannot be read"))?;
    let face = ttf_parser::Face::parse(&font.data, font.index).map_err(|e| failed(&e))?;
    let subset =
        subsetter::subset(&font.data, font.index, &used.remapper).map_err(|e| failed(&e))?;
    // Outlines of the other kind go there without what is around them.
    let outlines = RawFace::parse(&subset, 0).ok();
    let outlines = outlines.and_then(|raw| raw.table(Tag::from_bytes(b"CFF "))).map(<[u8]>::to_vec);
    let is_cff = outlines.is_some();
    let data = outlines.unwrap_or(subset);

    let name = format!("PAPER{}+Font{}", tag(id), id.0);
    let name = Name(name.as_bytes());
    let [cid, descriptor, cmap, file] = [(); 4].map(|()| numbers.next());
    pdf.type0_font(at)
        .base_font(name)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid)
        .to_unicode(cmap);
    let mut writing = pdf.cid_font(cid);
    writing
        .subtype(if is_cff { CidFontType::Type0 } else { CidFontType::Type2 })
        .base_font(name)
        .system_info(IDENTITY)
        .font_descriptor(descriptor)
        .default_width(0.0);
    if !is_cff {
        writing.cid_to_gid_map_predefined(Name(b"Identity"));
    }
    let mut widths = writing.widths();
    for (glyph, (_, width)) in &used.told {
        widths.consecutive(*glyph, [*width]);
    }
    widths.finish();
    writing.finish();

    let scale = |units: i16| f32::from(units) * 1000.0 / f32::from(face.units_per_em());
    let bounds = face.global_bounding_box();
    let mut writing: FontDescriptor<'_> = pdf.font_descriptor(descriptor);
    writing
        .name(name)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(
            scale(bounds.x_min),
            scale(bounds.y_min),
            scale(bounds.x_max),
            scale(bounds.y_max),
        ))
        .italic_angle(0.0)
        .ascent(scale(face.ascender()))
        .descent(scale(face.descender()))
        .cap_height(scale(face.capital_height().unwrap_or_else(|| face.ascender())))
        .stem_v(95.0);
    if is_cff {
        writing.font_file3(file);
    } else {
        writing.font_file2(file);
    }
    writing.finish();

    let mut told = UnicodeCmap::new(Name(b"Custom"), IDENTITY);
    for (glyph, (text, _)) in &used.told {
        if !text.is_empty() {
            told.pair_with_multiple(*glyph, text.chars());
        }
    }
    pdf.cmap(cmap, &told.finish());
    let mut stream = pdf.stream(file, &data);
    if is_cff {
        stream.pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
    }
    stream.finish();
    Ok(())
}

/// A letter that tells the subsets of a page apart.
fn tag(id: FontId) -> char {
    u8::try_from(id.0 % 26).map_or('A', |at| char::from(b'A' + at))
}
