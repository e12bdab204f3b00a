//! Orders as they are written, right and wrong.

use model::hint::Hint as _;
use model::offer::Offer;
use model::units::Bytes;

use super::*;

const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn lists(name: &str) -> Result<String, String> {
    match name {
        "serials.csv" => Ok("serial,comment\nS4EV0001,first\n\"S4EV0002\"\n\n# no\n".into()),
        "empty.csv" => Ok("serial\n".into()),
        "label.zpl" => Ok("@copy ^FO1,1^FDCOPY^FS\n^FO1,9^FH^FD$serial^FS\n".into()),
        "wrong.zpl" => Ok("^XA\n^FO1,9^FH^FD$seriall^FS\n".into()),
        _ => Err("there is no such file".into()),
    }
}

fn toml(text: &str) -> Result<Vec<Order>, Mistake> {
    parse(text, Form::Toml, &lists)
}

fn csv(text: &str) -> Result<Vec<Order>, Mistake> {
    parse(text, Form::Csv, &lists)
}

#[test]
fn both_forms_say_the_same() {
    let whole = format!(
        r#"
number = "PO-4711"
customer = "Contoso"
part = "P/N 7"
media = "{SHA}"
media_name = "win11.wim"
image = 1
layout = "uefi"
quantity = 500
overrun = 2
attempts = 2
first_article = 1
not_before = "2026-12-01"
expires = "2027-06-30T17:00:00Z"
offer = "by_hand"
label_template = "@label.zpl"
[match]
bays = ["left *", "b"]
models = ["Samsung*"]
sizes = ["512GB"]
serials = ["S5*", "@serials.csv"]
"#
    );
    let [order] = &toml(&whole).unwrap()[..] else { panic!("one") };
    assert_eq!((order.quantity, order.attempts, order.offer), (500, 2, Offer::ByHand));
    assert_eq!(order.conditions.listed_serials.len(), 2);
    assert_eq!(order.conditions.sizes, [Bytes(512_000_000_000)]);
    assert_eq!(order.label_template, lists("label.zpl").ok());
    let sheet = format!(
        "number,customer,part,media,media_name,image,layout,quantity,overrun,attempts,first_article,not_before,expires,offer,label_template,bays,models,sizes,serials\n\
         PO-4711,Contoso,P/N 7,{SHA},win11.wim,1,uefi,500,2,2,1,2026-12-01,2027-06-30T17:00:00Z,by_hand,@label.zpl,left * | b,Samsung*,512GB,S5*|@serials.csv\n\
         PO-4712,,,{SHA},,,,1,,,,,,,,,,,\n"
    );
    let rows = csv(&sheet).unwrap();
    assert_eq!((&rows[0], rows.len()), (order, 2));
    assert_eq!((rows[1].attempts, rows[1].offer), (3, Offer::Automatic));
    let german = format!("number;media;quantity\nPO-1;{SHA};5\n");
    assert_eq!(csv(&german).unwrap()[0].quantity, 5);
}

/// Each is refused as a whole, with its line and what is wrong.
#[test]
fn every_mistake_is_told() {
    let good = format!("number = \"PO-1\"\nmedia = \"{SHA}\"\nquantity = 5\n");
    toml(&good).unwrap();
    let with = |more: &str| format!("{good}{more}");
    let cases = [
        (String::new(), 1, "number: missing", "an order needs"),
        (
            with("label_template = \"@wrong.zpl\"\n"),
            4,
            "label_template: line 2: there is no $seriall",
            "there are $serial, ",
        ),
        (
            with("label_template = \"@none.zpl\"\n"),
            4,
            "label_template: @none.zpl: there is no such file",
            "",
        ),
        (with("label_template = \" \"\n"), 4, "label_template: it is blank", ""),
        (
            with("label_template = \"@pased ^FDx^FS\"\n"),
            4,
            "label_template: line 1: there is no @pased",
            "@not_passed",
        ),
        (good.replace("number", "nubmer"), 1, "nubmer: no such key", "did you mean \"number\""),
        (good.replace("quantity = 5\n", ""), 1, "quantity: missing", ""),
        (good.replace(&format!("media = \"{SHA}\"\n"), ""), 1, "media: missing", ""),
        (good.replace("ba78", "xa78"), 2, "media: ", ""),
        (good.replace("ba78", ""), 2, "media: ", ""),
        (good.replace("= 5", "= 0"), 3, "quantity: 0 is too few", ""),
        (good.replace("= 5", "= -5"), 3, "quantity: ", ""),
        (good.replace("= 5", "= 4294967296"), 3, "quantity: ", ""),
        (good.replace("= 5", "= 99000000"), 3, "quantity: 99000000 is too many", ""),
        (good.replace("= 5", "= \"five\""), 3, "quantity: ", ""),
        (good.replace("= 5", "= 5.5"), 3, "quantity: ", ""),
        (good.replace("PO-1", "PO 1"), 1, "number: \"PO 1\" is not a number", "write 1 to 64"),
        (good.replace("PO-1", "../etc"), 1, "number: ", ""),
        (good.replace("PO-1", ""), 1, "number: ", ""),
        (good.replace("\"PO-1\"", "1"), 1, "number: ", ""),
        (with("quantity = 6\n"), 4, "duplicate", ""),
        (with("customer = \"\"\n"), 4, "customer: it is blank", ""),
        (with("customer = \"a\\u0007b\"\n"), 4, "customer: it has control characters", ""),
        (with("image = 0\n"), 4, "image: images are counted from 1", ""),
        (with("attempts = 0\n"), 4, "attempts: 0 is too few", ""),
        (with("first_article = 6\n"), 4, "first_article: 6 are more than the quantity", ""),
        (with("expires = \"tomorrow\"\n"), 4, "expires: \"tomorrow\" is neither", "2027-06-30T17"),
        (with("expires = 2027-06-30T17:00:00\n"), 4, "is neither a date nor", "2027-06-30T17"),
        (
            with("not_before = \"2027-02-01\"\nexpires = \"2027-01-01\"\n"),
            5,
            "expires: 2027-01-01 is before not_before",
            "",
        ),
        (with("offer = \"always\"\n"), 4, "offer: ", ""),
        (with("bays = [\"a\"]\n"), 4, "bays: no such key", "below [match]"),
        (with("[mach]\nbays = [\"a\"]\n"), 4, "mach: no such key", "did you mean \"match\""),
        (with("[match]\nbay = [\"a\"]\n"), 5, "match.bay: no such key", "did you mean \"bays\""),
        (with("[match]\nbays = \"a\"\n"), 5, "bays: ", ""),
        (with("[match]\nbays = [\"\"]\n"), 5, "match.bays: an empty pattern", ""),
        (with("[match]\nmodels = [\"[a\"]\n"), 5, "match.models: \"[a\" is not a glob", ""),
        (with("[match]\nserials = [\"a***b\"]\n"), 5, "match.serials: ", ""),
        (with("[match]\nserials = [\"@none.csv\"]\n"), 5, "@none.csv: there is no such file", ""),
        (with("[match]\nserials = [\"@empty.csv\"]\n"), 5, "the list has no serial number", ""),
        (with("[match]\nsizes = [\"big\"]\n"), 5, "sizes: ", ""),
        (with("[match]\nsizes = [1]\n"), 5, "match.sizes: no drive has 1 bytes", "512GB"),
        (with("[match]\nlisted_serials = [\"S\"]\n"), 5, "match.listed_serials: no such key", ""),
        (with("[match]\nserials = []\n"), 5, "match.serials: it is empty", "leave it out"),
        (with("[match]\nbays = []\n"), 5, "match.bays: it is empty", "leave it out"),
        (with("match = { models = [], sizes = [] }\n"), 4, "match.models: it is empty", ""),
        (with("match = 1\n"), 4, "match: ", ""),
        (with("[match\n"), 4, "", ""),
        (with("layout = [\"uefi\"]\n"), 4, "layout: ", ""),
        ("\u{0}".into(), 1, "", ""),
    ];
    // TOML has dates without quotes.
    let dates = ["2027-06-30", "2027-06-30T17:00:00Z"];
    for date in dates {
        let [bare, quoted] = [date.to_owned(), format!("\"{date}\"")]
            .map(|date| toml(&with(&format!("expires = {date}\n"))).unwrap());
        assert_eq!(bare, quoted);
    }
    for (text, line, what, hint) in cases {
        let mistake = toml(&text).expect_err(&text);
        let told = mistake.to_string();
        assert_eq!(mistake.line, Some(line), "{told}\n{text}");
        assert!(told.contains(what), "{told:?} lacks {what:?}\n{text}");
        assert!(mistake.hint().unwrap_or_default().contains(hint), "{mistake:?}");
    }
    let heads = "number,media,quantity";
    for (text, line, what) in [
        (String::new(), 1, "it is empty"),
        (format!("{heads}\n"), 1, "no order"),
        (format!("number,media\nPO-1,{SHA}\n"), 1, "quantity: missing"),
        (format!("{heads},bay\nPO-1,{SHA},5,a\n"), 1, "\"bay\": no such column"),
        (format!("{heads},number\nPO-1,{SHA},5,a\n"), 1, "the column is there twice"),
        (format!("{heads}\nPO-1,{SHA},5,6\n"), 2, "it has 4 cells and 3 columns"),
        (format!("{heads}\nPO-1,{SHA},five\n"), 2, "quantity: \"five\" is not a whole number"),
        (format!("{heads}\nPO-1,,5\n"), 2, "media: missing"),
        (format!("{heads}\nPO-1,abc,5\n"), 2, "media: \"abc\" is not a SHA-256"),
        (format!("{heads}\nPO-1,{SHA},5\n\nPO-1,{SHA},6\n"), 4, "PO-1 is there twice"),
        (format!("{heads}\nPO-1,{SHA},5\nPO-2,{SHA},0\n"), 3, "quantity: 0 is too few"),
        (format!("{heads},serials,bays\nPO-1,{SHA},5\n"), 2, "it has 3 cells and 5 columns"),
        (format!("{heads},serials\nPO-1,{SHA},5,|\n"), 2, "match.serials: it is empty"),
        (
            format!("{heads},serials\nPO-1,{SHA},5,\"a\nPO-2,{SHA},5,b\n"),
            2,
            "serials: it has control",
        ),
        (format!("{heads},sizes\nPO-1,{SHA},5,big\n"), 2, "sizes: \"big\" is not a size"),
        (format!("{heads},offer\nPO-1,{SHA},5,yes\n"), 2, "offer: \"yes\" is not an offer"),
        (format!("{heads},serials\nPO-1,{SHA},5,@none.csv\n"), 2, "there is no such file"),
    ] {
        let mistake = csv(&text).expect_err(&text);
        assert_eq!(mistake.line, Some(line), "{mistake}\n{text}");
        assert!(mistake.to_string().contains(what), "{mistake} lacks {what:?}");
    }
}
