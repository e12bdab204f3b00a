//! Labels, and templates that are wrong.

use model::api::evidence::Beside;
use model::label::{LONGEST, TemplateError};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{certificate, record};

fn built_in(fields: Value, print: Print) -> String {
    let template: Template = BUILT_IN.parse().unwrap();
    label(&certificate(&record(fields), Beside::default()), &template, print).unwrap()
}

#[test]
fn a_label_is_as_the_template_has_it() {
    let zpl = built_in(json!({ "order": "PO-4711" }), Print::First);
    assert_eq!(
        zpl,
        "^XA
^CI28
^PW609^LL406^LH0,0
^FO24,20^A0N,110,100^FH^FDPASS^FS
^FO24,144^BXN,6,200,,,,_^FH^FDS4EVNX0M^FS
^FO184,144^A0N,40,36^FH^FDS4EVNX0M^FS
^FO184,190^A0N,28,26^FH^FDSamsung SSD 970 EVO Plus^FS
^FO184,226^A0N,28,26^FH^FDwin11.wim^FS
^FO24,314^GB561,2,2^FS
^FO24,330^A0N,28,26^FH^FDPO-4711^FS
^FO330,330^A0N,28,26^FH^FD2026-11-22^FS
^FO484,330^A0N,28,26^FH^FD00000001^FS
^XZ
"
    );
}

#[test]
fn a_drive_that_has_not_passed_is_in_reverse_and_a_reprint_says_so() {
    let reason = json!({ "code": "mismatch", "detail": "", "hint": null });
    let failed = built_in(json!({ "verdict": "failed", "reason": reason }), Print::Copy);
    assert!(failed.contains("^GB430,112,112^FS\n^FO32,24^FR^A0N,100,88^FH^FDFAIL^FS"));
    assert!(failed.contains("^FDmismatch^FS") && failed.contains("^FDCOPY^FS"), "{failed}");
    let passed = built_in(json!({}), Print::First);
    assert!(!passed.contains("^FR") && !passed.contains("COPY"), "{passed}");
}

#[test]
fn what_is_wrong_with_a_template_is_told() {
    for (text, told) in [
        ("^XA\n^FH^FD$seriel^FS", "line 2: there is no $seriel"),
        ("^FH^FD${serial:x}^FS", "line 1: there is no $serial:x"),
        ("@pass ^XA", "line 1: there is no @pass"),
        ("$serial", "line 1: $serial does not stand in the data"),
        ("^FD$serial^FS", "line 1: $serial does not stand in the data"),
        ("^FO$serial^FS", "line 1: $serial does not stand in the data"),
        ("^FH^FD$serial^FS$job", "line 1: $job does not stand in the data"),
        ("^FH^FD^FS^FD$serial^FS", "line 1: $serial does not stand in the data"),
        ("^FH^FD$serial\n^FS", "line 1: a field does not end with ^FS"),
        ("^FH^FD$serial^XZ^FS", "line 1: a field does not end with ^FS"),
        ("^FH^FD~JA$serial^FS", "line 1: a field does not end with ^FS"),
        ("~CC+", "line 1: ^CC changes how"),
        ("^cd;", "line 1: ^CD changes how"),
        ("^BXN,6,200^FH^FD$serial^FS", "line 1: ^BX does not name"),
        ("^BXN,6,200,,,,~^FH^FD$serial^FS", "line 1: ^BX does not name"),
    ] {
        let error = text.parse::<Template>().unwrap_err();
        assert!(error.to_string().starts_with(told), "{text}: {error}");
        assert!(error.hint().is_some());
    }
    assert_eq!("x".repeat(LONGEST + 1).parse::<Template>(), Err(TemplateError::Long));
}

/// What a field says once the printer has read its digits.
fn read(data: &str, sign: char) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), data);
    while let Some(first) = rest.chars().next() {
        if first == sign {
            bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
            rest = &rest[3..];
        } else {
            assert!(first.is_ascii(), "{data}");
            bytes.push(u8::try_from(u32::from(first)).unwrap());
            rest = &rest[1..];
        }
    }
    bytes
}

const EACH: &str = "^XA^FO1,1^FH^FD$serial^FS^FO1,1^FH\\^FD$$$model^FS
^FO1,1^FB9,9^FH^FD${order:7}^FS^FO1,1^BXN,6,200,,,,|^FH^FD$operator^FS
@not_passed ^FO1,1^FR^FH_^FDa$media b^FS
@copy ^FDCOPY^FS
^XZ";

/// The commands of a label, without the data of its fields, and that data.
fn parted(zpl: &str) -> (String, Vec<String>) {
    let (mut commands, mut data, mut rest) = (String::new(), Vec::new(), zpl);
    while let Some((before, after)) = rest.split_once("^FD") {
        let (inside, behind) = after.split_once("^FS").unwrap();
        commands += before;
        commands += "^FD^FS";
        data.push(inside.to_owned());
        rest = behind;
    }
    (commands + rest, data)
}

#[test]
fn what_code_128_cannot_hold_is_told() {
    let template: Template = "^BCN,80,Y,N,N,A^FH^FD$serial^FS".parse().unwrap();
    let printed = |serial: &str| fill(&template, Verdict::Passed, Print::First, &|_| serial.into());
    assert_eq!(printed("A>;~^B").unwrap(), "^BCN,80,Y,N,N,A^FH^FDA_3E0_3B_7E_5EB^FS\n");
    assert!(matches!(printed("Δ"), Err(LabelError::Code128(_))));
}

proptest! {
    /// Whatever the texts are, the commands are the template's, and the printer reads what was meant.
    #[test]
    fn no_text_is_ever_a_command(
        texts in prop::collection::vec("[\\^~\\\\_$@>A-Za-z0-9 \\n\u{e9}\u{65e5}]{0,12}|.{0,12}|\\^FS\\^XZ~JA", 5),
        verdict in prop::sample::select(vec![Verdict::Passed, Verdict::Failed, Verdict::Refused, Verdict::Stopped]),
        print in prop::sample::select(vec![Print::First, Print::Copy]),
    ) {
        let template: Template = EACH.parse().unwrap();
        let value = |what: Placeholder| match what {
            Placeholder::Serial => texts[0].clone(),
            Placeholder::Model => texts[1].clone(),
            Placeholder::Order => texts[2].clone(),
            Placeholder::Operator => texts[3].clone(),
            _ => texts[4].clone(),
        };
        let empty = |_: Placeholder| String::new();
        let (commands, data) = parted(&fill(&template, verdict, print, &value).unwrap());
        let (without, _) = parted(&fill(&template, verdict, print, &empty).unwrap());
        prop_assert_eq!(&commands, &without);
        prop_assert!(data.iter().all(|data| !data.contains(['^', '~', '\n'])), "{:?}", data);
        prop_assert_eq!(read(&data[0], '_'), cut(&texts[0], None).into_bytes());
        prop_assert_eq!(read(&data[1], '\\'), format!("${}", cut(&texts[1], None)).into_bytes());
        let block = cut(&texts[2], Some(7)).replace('\\', "\\\\");
        prop_assert_eq!(read(&data[2], '_'), block.into_bytes());
        // A DataMatrix reads its own escapes then.
        let matrix = String::from_utf8(read(&data[3], '_')).unwrap();
        let mut parts = matrix.split('|');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(part[1..4].parse().unwrap());
            bytes.extend(part[4..].bytes());
        }
        prop_assert_eq!(bytes, cut(&texts[3], None).into_bytes());
    }

    /// No template makes the program end, and what is taken never lets a value out of its field.
    #[test]
    fn any_template_is_taken_or_told(
        text in "(\\^F[DSHBO]|\\^BX|\\^BC|~CC|\\$serial|\\$\\{media:3\\}|@copy |[\\^~$_,a-z\\n]){0,20}",
    ) {
        if let Ok(template) = text.parse::<Template>() {
            let printed = |value: &str| {
                let zpl = fill(&template, Verdict::Passed, Print::Copy, &|_| value.to_owned());
                zpl.unwrap().matches(['^', '~']).count()
            };
            prop_assert_eq!(printed("^XA~JA"), printed(""));
        }
    }
}
