//! What people call a drive: the one place that decides which attached drive a name means.

use crate::code::DenialCode;
use crate::failure::Denial;

/// All that an attached drive can be called.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Names<'a> {
    pub serial: Option<&'a str>,
    /// Kernel name, such as `sdb`.
    pub kernel: &'a str,
    pub bay: &'a str,
}

impl Names<'_> {
    fn place(&self) -> String {
        format!("/dev/{} in bay {}", self.kernel, self.bay)
    }

    fn whole(&self) -> String {
        let serial = self.serial.map(|serial| format!("{serial}, ")).unwrap_or_default();
        format!("/dev/{} ({serial}bay {})", self.kernel, self.bay)
    }
}

/// How many drives an answer lists.
const LISTED: usize = 8;

/// The drive that is called so: the one with this serial number; where none has it, the one with this node or kernel name, or
/// the one in this bay. Several are none: whoever gives a command means one, and nobody but him knows which.
///
/// # Errors
/// `ambiguous_drive` with the candidates, or `no_such_drive` with what is attached.
pub fn find<T>(called: &str, attached: &[(T, Names<'_>)]) -> Result<T, Denial>
where
    T: Clone,
{
    match &those(called, attached)[..] {
        [(one, _)] => Ok(one.clone()),
        [] => Err(nobody(called, attached)),
        several => {
            let places: Vec<String> = several.iter().map(|(_, names)| names.place()).collect();
            let detail = format!("{called:?} is {}", places.join(", and also "));
            let denial = Denial::new(DenialCode::AmbiguousDrive, detail);
            Err(denial.with_hint("name the one that is meant by its device"))
        }
    }
}

/// Every drive that is called so by the best of its names.
pub fn those<'a, T>(called: &str, attached: &'a [(T, Names<'a>)]) -> Vec<&'a (T, Names<'a>)> {
    let kernel = called.strip_prefix("/dev/").unwrap_or(called);
    let by = |is: &dyn Fn(&Names<'_>) -> bool| {
        attached.iter().filter(|(_, names)| is(names)).collect::<Vec<_>>()
    };
    [
        by(&|names| names.serial == Some(called)),
        by(&|names| names.kernel == kernel),
        by(&|names| names.bay == called),
    ]
    .into_iter()
    .find(|found| !found.is_empty())
    .unwrap_or_default()
}

/// Why no drive is called so: perhaps a partition of one is, and in any case it helps to know which there are.
pub fn nobody<T>(called: &str, attached: &[(T, Names<'_>)]) -> Denial {
    let denial = Denial::new(DenialCode::NoSuchDrive, format!("no drive {called:?} is attached"));
    let kernel = called.strip_prefix("/dev/").unwrap_or(called);
    let of = |names: &Names<'_>| {
        let rest = kernel.strip_prefix(names.kernel).filter(|_| !names.kernel.is_empty());
        rest.is_some_and(|rest| {
            let digits = rest.strip_prefix('p').unwrap_or(rest);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    if let Some((_, names)) = attached.iter().find(|(_, names)| of(names)) {
        let drive = names.kernel;
        return denial.with_hint(format!("{called} is a partition; name its drive, /dev/{drive}"));
    }
    let listed: Vec<String> =
        attached.iter().take(LISTED).map(|(_, names)| names.whole()).collect();
    denial.with_hint(match attached.len().saturating_sub(LISTED) {
        _ if attached.is_empty() => "no drive is attached at all; see `prestagectl drives`".into(),
        0 => format!("attached: {}", listed.join(", ")),
        more => {
            format!("attached: {}, and {more} more; see `prestagectl drives`", listed.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Names, find};
    use crate::code::DenialCode;

    const DRIVES: [(u8, Names<'static>); 4] = [
        (0, Names { serial: Some("S1"), kernel: "sda", bay: "left" }),
        (1, Names { serial: Some("S2"), kernel: "sdb", bay: "right" }),
        (2, Names { serial: Some("S2"), kernel: "nvme0n1", bay: "S1" }),
        (3, Names { serial: None, kernel: "loop7", bay: "right" }),
    ];

    #[test]
    fn a_serial_number_goes_before_a_node_and_a_node_before_a_bay() {
        for (called, is) in
            [("S1", 0), ("/dev/sda", 0), ("sdb", 1), ("left", 0), ("/dev/nvme0n1", 2), ("loop7", 3)]
        {
            assert_eq!(find(called, &DRIVES).unwrap(), is, "{called}");
        }
        for (called, detail) in [
            ("S2", r#""S2" is /dev/sdb in bay right, and also /dev/nvme0n1 in bay S1"#),
            ("right", r#""right" is /dev/sdb in bay right, and also /dev/loop7 in bay right"#),
        ] {
            let denial = find(called, &DRIVES).unwrap_err();
            assert_eq!((denial.code, &*denial.detail), (DenialCode::AmbiguousDrive, detail));
        }
    }

    #[test]
    fn who_is_not_there_hears_who_is() {
        for (called, hint) in [
            ("/dev/sdb1", "/dev/sdb1 is a partition; name its drive, /dev/sdb"),
            ("nvme0n1p2", "nvme0n1p2 is a partition; name its drive, /dev/nvme0n1"),
            (
                "sdbx",
                "attached: /dev/sda (S1, bay left), /dev/sdb (S2, bay right), /dev/nvme0n1 (S2, bay S1), \
                 /dev/loop7 (bay right)",
            ),
        ] {
            let denial = find(called, &DRIVES).unwrap_err();
            assert_eq!(denial.code, DenialCode::NoSuchDrive);
            assert_eq!(denial.hint.as_deref(), Some(hint));
        }
        let none: [(u8, Names<'_>); 0] = [];
        assert!(find("sda", &none).unwrap_err().hint.unwrap().starts_with("no drive is attached"));
        let many: Vec<_> = [DRIVES[0]; 20].to_vec();
        let hint = find("x", &many).unwrap_err().hint.unwrap();
        assert!(hint.ends_with("and 12 more; see `prestagectl drives`"), "{hint}");
    }
}
