//! What of the lamps' configuration cannot work.

use std::time::Duration;

use model::hint::Hint as _;
use model::lamp::Place;

use super::Config;
use super::check::Wrong;
use super::error::Mistake;

/// The user who switches the lamps, unless the configuration names another.
pub const LAMPS_USER: &str = "prestaged-lamps";

/// Nobody finds a bay within less time than the least; a lamp that blinks for longer than the most is taken for a fault.
const LOCATE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60 * 60)];

impl Config {
    /// Where the lamps of bays are, as far as the configuration names it.
    pub fn lamp_of(&self, bay: &str) -> Option<Place> {
        let bay = self.bay.iter().find(|named| named.name.trim() == bay)?;
        let named = bay.lamp.as_deref().and_then(|text| text.parse().ok());
        named.or_else(|| Place::of_path(&bay.path))
    }

    pub(super) fn check_lamps(&self) -> Result<(), Wrong> {
        let period = self.lamps.locate_for.0;
        if !(LOCATE[0]..=LOCATE[1]).contains(&period) {
            let what = format!("{period:?} are no time in which somebody finds a bay");
            let hint = "write a time from \"1s\" to \"1h\"";
            return Err(Wrong::value("lamps.locate_for", &what, hint));
        }
        let mut known: Vec<(Place, &str)> = Vec::new();
        for (index, bay) in self.bay.iter().enumerate() {
            let Some(text) = &bay.lamp else { continue };
            let wrong = |what: String, hint: &str| {
                let mistake = Mistake::unusable("[[bay]] lamp", what, hint);
                Wrong::new(format!("bay.{index}.lamp"), mistake)
            };
            let place: Place = text.parse().map_err(|error: model::lamp::PlaceError| {
                wrong(error.to_string(), &error.hint().unwrap_or_default())
            })?;
            if let Some((_, other)) = known.iter().find(|(one, _)| *one == place) {
                let what = format!("{place} is the lamp of {other:?}, too");
                return Err(wrong(what, "each bay has lamps of its own; correct one of them"));
            }
            known.push((place, &bay.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn config(text: &str) -> Result<Config, String> {
        Config::from_table(text.parse().unwrap()).map_err(|error| error.to_string())
    }

    fn bays(lamps: &[&str]) -> String {
        let bay = |(at, lamp): (usize, &&str)| {
            format!("[[bay]]\nname = \"{at}\"\npath = \"pci-{at}\"\nlamp = \"{lamp}\"\n")
        };
        lamps.iter().enumerate().map(bay).collect()
    }

    #[test]
    fn lamps_are_named_once_each() {
        let good = bays(&["ses:0x5003/Slot 01", "ses:0x5003/Slot 02", "npem:0000:3b:00.0"]);
        let good = config(&good).unwrap();
        assert_eq!(good.lamp_of("1").unwrap().to_string(), "ses:0x5003/Slot 02");
        assert_eq!(good.lamp_of("9"), None);
        for (bad, what) in [
            (bays(&["Slot 1"]), "names no lamps"),
            (bays(&["ses:0x5003/1", "ses:0x5003/2", "ses:0x5003/1"]), "is the lamp of \"0\", too"),
            ("lamps.locate_for = \"0s\"".to_owned(), "lamps.locate_for"),
            ("lamps.locate_for = \"2h\"".to_owned(), "lamps.locate_for"),
            ("lamps.passed = \"blink\"".to_owned(), "blink"),
        ] {
            let told = config(&bad).expect_err(&bad);
            assert!(told.contains(what), "{bad}: {told}");
        }
    }

    #[test]
    fn a_sata_port_s_lamps_are_where_its_path_says() {
        let text = "[[bay]]\nname = \"a\"\npath = \"pci-0000:00:17.0-ata-3\"";
        let place = config(text).unwrap().lamp_of("a").unwrap();
        assert_eq!(place.to_string(), "ahci:0000:00:17.0/3");
    }
}
