//! What is told of each key, with a wrong value or misspelt.

use super::super::*;
use super::mistakes::mistake;
use keys::KEYS;

/// A file in which this line stands among the keys of its section, and the line's number.
fn among(section: &str, name: &str, line: &str) -> (String, usize) {
    let filled = |keys: &[(&str, &str)]| -> String {
        let others = keys.iter().filter(|(key, _)| *key != name);
        others.map(|(key, value)| format!("{key} = {value}\n")).collect()
    };
    let list = "[{ type = \"windows\", size = \"rest\" }]";
    let text = match section {
        "bay" => "[[bay]]\n".to_owned() + &filled(&[("name", "\"x\""), ("path", "\"y\"")]),
        "layout" => {
            let keys = [("name", "\"x\""), ("boot", "\"none\""), ("partitions", list)];
            "[[layout]]\n".to_owned() + &filled(&keys)
        }
        "layout.partitions" => {
            "[[layout]]\nname = \"x\"\nboot = \"none\"\n[[layout.partitions]]\n".to_owned()
                + &filled(&[("type", "\"windows\""), ("size", "\"rest\"")])
        }
        "media.signers" => {
            "[[media.signers]]\n".to_owned() + &filled(&[("name", "\"x\""), ("key", "\"/x.pub\"")])
        }
        "gate.webhooks" => {
            let keys = [("name", "\"x\""), ("url", "\"http://localhost/\""), ("secret", "\"/s\"")];
            "[[gate.webhooks]]\n".to_owned() + &filled(&keys)
        }
        "gate.brokers" => {
            let keys = [("name", "\"x\""), ("url", "\"mqtt://localhost\"")];
            "[[gate.brokers]]\n".to_owned() + &filled(&keys)
        }
        section => format!("[{section}]\n"),
    };
    let number = text.lines().count() + 1;
    (text + line, number)
}

#[test]
fn a_wrong_value_of_any_key_is_told_in_its_words() {
    for key in KEYS {
        let (text, line) = among(key.section, key.name, &format!("{} = -1.5", key.name));
        let found = mistake(&[("a.toml", &text)]);
        let expected = format!("a.toml:{line}: {}: -1.5 is not {}", key.path(), key.kind.noun());
        let hint = key.kind.hint("-1.5").map(|hint| format!("\nhint: {hint}"));
        assert_eq!(found, expected + &hint.unwrap_or_default(), "{text}");
    }
}

#[test]
fn an_unknown_key_in_any_section_is_found() {
    for key in KEYS {
        let misspelt = format!("{}q", key.name);
        let (text, line) = among(key.section, "", &format!("{misspelt} = 1"));
        let expected = format!(
            "a.toml:{line}: {}q: no such key\nhint: did you mean {:?}?",
            key.path(),
            key.name
        );
        assert_eq!(mistake(&[("a.toml", &text)]), expected, "{text}");
    }
}
