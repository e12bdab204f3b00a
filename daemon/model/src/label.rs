//! Templates of labels: ZPL with placeholders, read so that a value can never be a command. A station may have one, and an
//! order.

use std::str::FromStr;

use strum::VariantArray as _;

use crate::hint::Hint;

/// No template is longer.
pub const LONGEST: usize = 1 << 16;

/// What a placeholder stands for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::Display, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Placeholder {
    /// The serial number.
    Serial,
    /// `PASS`, `FAIL`, `REFUSED` or `STOPPED`.
    Verdict,
    /// The code of the reason; nothing for a drive that has passed.
    Reason,
    /// Name of the media.
    Media,
    /// Version of the media, where it is known.
    Version,
    /// When the record was closed: the day, in UTC.
    Date,
    /// The time of the day, in UTC.
    Time,
    /// The last eight digits of the job.
    Job,
    /// Number of the order.
    Order,
    /// The part that the drive becomes, where the order says it.
    Part,
    /// For whom the order is.
    Customer,
    /// Who asked for the attempt.
    Operator,
    /// The drive's model.
    Model,
    /// The drive's capacity, as it is sold.
    Capacity,
    /// Name of the station.
    Station,
    /// The signed short form of the record, for a code.
    Short,
}

/// A template that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such placeholder.
    #[error("line {line}: there is no ${name}")]
    #[expect(missing_docs, reason = "the names say it")]
    Unknown { line: usize, name: String },
    /// There is no such condition.
    #[error("line {line}: there is no @{name}")]
    #[expect(missing_docs, reason = "the names say it")]
    Condition { line: usize, name: String },
    /// A placeholder would become a command, or a part of one.
    #[error("line {line}: ${name} does not stand in the data of a field that takes digits")]
    #[expect(missing_docs, reason = "the names say it")]
    Place { line: usize, name: String },
    /// A field goes on to the next line, or has a command in its data.
    #[error("line {line}: a field does not end with ^FS")]
    #[expect(missing_docs, reason = "the names say it")]
    Open { line: usize },
    /// What commands begin with would change.
    #[error("line {line}: ^{name} changes how commands are read")]
    #[expect(missing_docs, reason = "the names say it")]
    Changes { line: usize, name: String },
    /// A DataMatrix does not say how its data is escaped.
    #[error("line {line}: ^BX does not name an escape character")]
    #[expect(missing_docs, reason = "the names say it")]
    Escape { line: usize },
    /// No template is as long.
    #[error("the template is too long")]
    Long,
}

impl Hint for TemplateError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { .. } => {
                let all: Vec<String> =
                    Placeholder::VARIANTS.iter().map(|own| format!("${own}")).collect();
                format!("there are {}, and $$ for a dollar sign", all.join(", "))
            }
            Self::Condition { .. } => "there are @passed, @not_passed and @copy".into(),
            Self::Place { name, .. } => format!("write ^FH^FD${name}^FS"),
            Self::Open { .. } => "end each field on its line".into(),
            Self::Changes { .. } => "leave it out".into(),
            Self::Escape { .. } => "write ^BXN,6,200,,,,_ with another size where you like".into(),
            Self::Long => format!("no label needs more than {LONGEST} bytes"),
        })
    }
}

/// When a line is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Condition {
    Passed,
    NotPassed,
    Copy,
}

/// What reads the data of a field after its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A printer's font.
    Text,
    /// A block of text, which has backslashes of its own.
    Block,
    /// A bar code that holds ASCII alone.
    Code128,
    /// A DataMatrix, with its escape character.
    DataMatrix(char),
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Sent to the printer as it is.
    Zpl(String),
    /// A value, cut to `most` characters, as hexadecimal digits that begin with `digits`.
    #[expect(missing_docs, reason = "the names say it")]
    Value { what: Placeholder, most: Option<usize>, digits: char, reader: Reader },
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its lines, each with when it is printed; `None` for always.
    pub lines: Vec<(Option<Condition>, Vec<Piece>)>,
}

/// Where in a line a field stands.
#[derive(Debug, Default)]
struct Field {
    /// What digits begin with, if the field takes some.
    digits: Option<char>,
    is_block: bool,
    is_code128: bool,
    data_matrix: Option<Option<char>>,
    /// Whether its data has begun.
    is_open: bool,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::Long);
        }
        let lines = text.lines().enumerate().map(|(at, text)| line(at + 1, text));
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }
}

fn line(line: usize, text: &str) -> Result<(Option<Condition>, Vec<Piece>), TemplateError> {
    let (condition, mut rest) = match text.strip_prefix('@') {
        Some(text) => {
            let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
            let known =
                name.parse().map_err(|_| TemplateError::Condition { line, name: name.into() });
            (Some(known?), rest)
        }
        None => (None, text),
    };
    let (mut field, mut pieces, mut zpl) = (Field::default(), Vec::new(), String::new());
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '^' | '~' => field.command(rest, line)?,
            '$' => {
                let (name, most, end) = placeholder(rest);
                if name == "$" {
                    zpl.push('$');
                } else {
                    let known = name.parse::<Placeholder>();
                    let unknown = || TemplateError::Unknown { line, name: name.into() };
                    let what = known.map_err(|_| unknown())?;
                    let place = TemplateError::Place { line, name: name.into() };
                    let digits = field.digits.filter(|_| field.is_open).ok_or(place)?;
                    let reader = field.reader(line)?;
                    pieces.push(Piece::Zpl(std::mem::take(&mut zpl)));
                    pieces.push(Piece::Value { what, most, digits, reader });
                }
                rest = &rest[end..];
                continue;
            }
            _ => first.len_utf8(),
        };
        zpl += &rest[..end];
        rest = &rest[end..];
    }
    if field.is_open {
        return Err(TemplateError::Open { line });
    }
    pieces.push(Piece::Zpl(zpl));
    Ok((condition, pieces))
}

/// The name after a dollar sign, how many characters of the value are wanted, and where it ends.
fn placeholder(text: &str) -> (&str, Option<usize>, usize) {
    let text = &text[1..];
    if text.starts_with('$') {
        return ("$", None, 2);
    }
    if let Some((inside, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        let (name, most) = inside.split_once(':').unwrap_or((inside, ""));
        let count = most.parse().ok();
        // What is not a number makes it a name that nobody knows.
        let name = if most.is_empty() || count.is_some() { name } else { inside };
        return (name, count, inside.len() + 3);
    }
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    (&text[..end], None, end + 1)
}

impl Field {
    /// Takes a command in; returns where its name, or all that is read of it here, ends.
    fn command(&mut self, text: &str, line: usize) -> Result<usize, TemplateError> {
        let letters = text.chars().skip(1).take(2).take_while(|letter| !"^~".contains(*letter));
        let name = letters.clone().collect::<String>().to_ascii_uppercase();
        if self.is_open && !(text.starts_with('^') && name == "FS") {
            return Err(TemplateError::Open { line });
        }
        let length = 1 + letters.map(char::len_utf8).sum::<usize>();
        let after = &text[length..];
        let end = after.find(['^', '~']).unwrap_or(after.len());
        match name.as_str() {
            "CC" | "CD" | "CT" => return Err(TemplateError::Changes { line, name }),
            "FS" => *self = Self::default(),
            "FD" | "FV" => self.is_open = true,
            "FB" | "TB" => self.is_block = true,
            "BC" => self.is_code128 = true,
            "BX" => {
                let escape = after[..end].split(',').nth(6).and_then(|text| text.chars().next());
                self.data_matrix = Some(escape.filter(char::is_ascii_punctuation));
            }
            "FH" => {
                let own = after.chars().next().filter(|c| c.is_ascii() && !"^~".contains(*c));
                self.digits = Some(own.unwrap_or('_'));
                return Ok(length + own.map_or(0, char::len_utf8));
            }
            _ => {}
        }
        Ok(length)
    }

    fn reader(&self, line: usize) -> Result<Reader, TemplateError> {
        Ok(match (self.data_matrix, self.is_code128, self.is_block) {
            (Some(escape), ..) => Reader::DataMatrix(escape.ok_or(TemplateError::Escape { line })?),
            (None, true, _) => Reader::Code128,
            (None, false, true) => Reader::Block,
            (None, false, false) => Reader::Text,
        })
    }
}
