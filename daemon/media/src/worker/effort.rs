//! Whether a worker does anything: a process that waits in the kernel for a file uses no processor time.

use std::path::{Path, PathBuf};

/// The processor time that a process has used.
pub(super) struct Effort {
    stat: Option<PathBuf>,
    last: Option<u64>,
}

impl Effort {
    pub(super) fn of(process: Option<u32>) -> Self {
        let stat = process.map(|id| PathBuf::from(format!("/proc/{id}/stat")));
        Self { last: stat.as_deref().and_then(ticks), stat }
    }

    /// Whether the process has used any since this was last asked. One of which that is not known counts as busy.
    pub(super) fn has_grown(&mut self) -> bool {
        let now = self.stat.as_deref().and_then(ticks);
        let grown = now.is_none() || now != self.last;
        self.last = now;
        grown
    }
}

/// User and system time of a process in ticks, from its file `stat` (proc(5)): the 14th and the 15th field, where the
/// second is a name in brackets that may hold anything.
fn ticks(stat: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(stat).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_is_told_from_who_waits() {
        let mut own = Effort::of(Some(std::process::id()));
        // A tick is a hundredth of a second.
        while !own.has_grown() {
            std::hint::black_box((0..1_000_000_u64).sum::<u64>());
        }
        let mut asleep = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut effort = Effort::of(Some(asleep.id()));
        let quiet = (0..1000).any(|_| !effort.has_grown());
        asleep.kill().unwrap();
        asleep.wait().unwrap();
        assert!(quiet);
        assert!(Effort::of(None).has_grown(), "what is not known counts as busy");
    }
}
