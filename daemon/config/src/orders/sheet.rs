//! Orders from a spreadsheet: comma-separated, or with semicolons as some countries write them. Several values in a cell
//! are separated by `|`.

use model::offer::Offer;
use model::orders::{Conditions, Moment, Order};
use model::units::Bytes;

use super::{CONDITIONS, KEYS, Mistake, NEEDED, finish};
use crate::keys::near;

/// Reads an order from each line under the line of names.
pub(super) fn parse(
    text: &str,
    list: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Vec<Order>, Mistake> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().next().unwrap_or_default();
    let delimiter = if first.contains(';') && !first.contains(',') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| {
            let line = error.position().and_then(|at| usize::try_from(at.line()).ok());
            Mistake::new(line, format!("it is not comma-separated: {error}"))
        })?;
        let at = row.position().and_then(|at| usize::try_from(at.byte()).ok()).unwrap_or_default();
        // A row's place is before the blank lines above it.
        let blank = text.get(at..).unwrap_or_default();
        let blank = blank.len() - blank.trim_start_matches(['\r', '\n']).len();
        let line = super::line_of(text, at + blank);
        let fields: Vec<String> = row.iter().map(str::to_owned).collect();
        if fields.iter().any(|field| !field.is_empty()) {
            rows.push((line, fields));
        }
    }
    let Some(((_, names), rows)) = rows.split_first() else {
        return Err(Mistake::new(1, "it is empty").with_hint("the first line has the names"));
    };
    check_names(names)?;
    if rows.is_empty() {
        return Err(Mistake::new(1, "it has names and no order"));
    }
    let mut orders: Vec<Order> = Vec::new();
    for (line, fields) in rows {
        let order = row(*line, names, fields, list)?;
        if orders.iter().any(|other| other.number == order.number) {
            let what = format!("number: {} is there twice", order.number);
            return Err(Mistake::new(*line, what));
        }
        orders.push(order);
    }
    Ok(orders)
}

fn check_names(names: &[String]) -> Result<(), Mistake> {
    let known: Vec<&str> = KEYS[..15].iter().chain(&CONDITIONS).copied().collect();
    for (at, name) in names.iter().enumerate() {
        if !known.contains(&&**name) {
            let mistake = Mistake::new(1, format!("{name:?}: no such column"));
            return Err(match near(name, &known) {
                Some(near) => mistake.with_hint(format!("did you mean {near:?}?")),
                None => mistake.with_hint(format!("columns are {}", known.join(", "))),
            });
        }
        if names[..at].contains(name) {
            return Err(Mistake::new(1, format!("{name}: the column is there twice")));
        }
    }
    match NEEDED.iter().find(|needed| !names.iter().any(|name| name == *needed)) {
        Some(needed) => Err(Mistake::missing(1, needed)),
        None => Ok(()),
    }
}

fn row(
    line: usize,
    names: &[String],
    fields: &[String],
    list: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Order, Mistake> {
    if fields.len() > names.len() {
        let what = format!("it has {} cells and {} columns", fields.len(), names.len());
        let hint = "put a cell with a comma in double quotes";
        return Err(Mistake::new(line, what).with_hint(hint));
    }
    if fields.len() < names.len() {
        let what = format!("it has {} cells and {} columns", fields.len(), names.len());
        let hint =
            "write a delimiter for each empty cell, too: a line that was cut looks like this";
        return Err(Mistake::new(line, what).with_hint(hint));
    }
    if let Some((name, _)) =
        names.iter().zip(fields).find(|(_, field)| field.contains(char::is_control))
    {
        let mistake = Mistake::new(line, format!("{name}: it has control characters"));
        return Err(mistake.with_hint("a double quote that is not closed swallows the lines below"));
    }
    let cell = |name: &str| {
        let at = names.iter().position(|other| other == name)?;
        fields.get(at).map(String::as_str).filter(|text| !text.is_empty())
    };
    let wrong = |name: &str, text: &str, is: &str| {
        Mistake::new(line, format!("{name}: {text:?} is not {is}"))
    };
    let needed = |name: &str| cell(name).ok_or_else(|| Mistake::missing(line, name));
    let count = |name: &str, text: &str| {
        text.parse::<u32>().map_err(|_| wrong(name, text, "a whole number from 0 to 4294967295"))
    };
    let perhaps = |name: &str| cell(name).map(|text| count(name, text)).transpose();
    let text = |name: &str| cell(name).map(str::to_owned);
    let moment = |name: &str| {
        let read = |text: &str| {
            let wrong = |_| wrong(name, text, "a date or a time").with_hint(Moment::HINT);
            text.parse().map_err(wrong)
        };
        cell(name).map(read).transpose()
    };
    let several = |name: &str| {
        let parts = cell(name).unwrap_or_default().split('|').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let size = |text: &String| {
        let read = text.parse::<Bytes>();
        read.map_err(|_| wrong("sizes", text, "a size").with_hint("write for example 512GB"))
    };
    let offer = cell("offer").map(|text| {
        let hint = "write automatic, by_hand or hidden";
        text.parse::<Offer>().map_err(|_| wrong("offer", text, "an offer").with_hint(hint))
    });
    let media = needed("media")?;
    let order = Order {
        number: needed("number")?.to_owned(),
        customer: text("customer"),
        part: text("part"),
        media: media.parse().map_err(|_| {
            let hint = "write the 64 digits of the SHA-256 that `prestagectl media show` tells";
            wrong("media", media, "a SHA-256 digest").with_hint(hint)
        })?,
        media_name: text("media_name"),
        image: perhaps("image")?,
        layout: text("layout"),
        quantity: count("quantity", needed("quantity")?)?,
        overrun: perhaps("overrun")?.unwrap_or(0),
        attempts: perhaps("attempts")?.unwrap_or(Order::ATTEMPTS),
        first_article: perhaps("first_article")?.unwrap_or(0),
        not_before: moment("not_before")?,
        expires: moment("expires")?,
        offer: offer.transpose()?.unwrap_or_default(),
        label_template: text("label_template"),
        conditions: Conditions {
            bays: several("bays"),
            models: several("models"),
            sizes: several("sizes").iter().map(size).collect::<Result<_, _>>()?,
            serials: several("serials"),
            ..Conditions::default()
        },
    };
    // A cell of separators alone.
    let given = |name: &str| cell(name).is_some();
    finish(order, list, &|_| Some(line), &given)
}
