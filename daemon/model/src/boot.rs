//! Boot managers: which of the media's a drive gets, and by whom the programs on an ESP are signed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of Microsoft's certificates by which UEFI firmware trusts a boot manager.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    schemars::JsonSchema,
)]
pub enum Certificate {
    /// The one that expires in 2026.
    #[serde(rename = "2011")]
    #[strum(serialize = "2011")]
    Of2011,
    /// Its successor, which older firmware does not know.
    #[serde(rename = "2023")]
    #[strum(serialize = "2023")]
    Of2023,
}

impl Certificate {
    /// What the certificate calls itself (its common name).
    pub fn name(self) -> &'static str {
        match self {
            Self::Of2011 => "Microsoft Windows Production PCA 2011",
            Self::Of2023 => "Windows UEFI CA 2023",
        }
    }
}

/// Which boot manager a drive gets where the media holds several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum BootManagerRule {
    /// One that is signed by the certificate of 2023 if there is one, and else any.
    #[default]
    #[serde(rename = "newest")]
    Newest,
    /// One that is signed by this certificate; media without one cannot be used.
    #[serde(untagged)]
    Signed(Certificate),
}

impl BootManagerRule {
    /// The place in `found` of the boot manager that is taken, the certificates of which stand there; the first of equals.
    pub fn choose(self, found: &[Vec<Certificate>]) -> Option<usize> {
        let signed = |wanted| found.iter().position(|own| own.contains(&wanted));
        match self {
            Self::Newest => signed(Certificate::Of2023).or((!found.is_empty()).then_some(0)),
            Self::Signed(wanted) => signed(wanted),
        }
    }
}

/// A program on the EFI system partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BootProgram {
    /// With backslashes.
    pub path: String,
    /// The certificates that its signature names; none if it is not signed by Microsoft, or not at all.
    pub certificates: Vec<Certificate>,
}

impl fmt::Display for BootProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.certificates.iter().map(Certificate::to_string).collect();
        let names = if names.is_empty() { "no certificate".into() } else { names.join(" and ") };
        write!(f, "{}: {names}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Certificate = Certificate::Of2011;
    const NEW: Certificate = Certificate::Of2023;

    #[test]
    fn the_rule_chooses() {
        let found = [vec![], vec![OLD], vec![NEW], vec![OLD, NEW]];
        assert_eq!(BootManagerRule::Newest.choose(&found), Some(2));
        assert_eq!(BootManagerRule::Newest.choose(&found[..2]), Some(0));
        assert_eq!(BootManagerRule::Newest.choose(&[]), None);
        assert_eq!(BootManagerRule::Signed(OLD).choose(&found), Some(1));
        assert_eq!(BootManagerRule::Signed(OLD).choose(&found[2..]), Some(1));
        assert_eq!(BootManagerRule::Signed(NEW).choose(&found[..2]), None);
    }

    #[test]
    fn wire_names_are_pinned() {
        let named = [
            (BootManagerRule::Newest, "\"newest\""),
            (BootManagerRule::Signed(OLD), "\"2011\""),
            (BootManagerRule::Signed(NEW), "\"2023\""),
        ];
        for (rule, text) in named {
            assert_eq!(serde_json::to_string(&rule).unwrap(), text);
            assert_eq!(serde_json::from_str::<BootManagerRule>(text).unwrap(), rule);
        }
        assert!(serde_json::from_str::<BootManagerRule>("\"2012\"").is_err());
    }
}
