//! Writes a worker's lines to its standard output.

use std::io::Write as _;
use std::time::Instant;

use model::api::line::{Line, Progress};

/// Writes a task's progress, ten lines a second at most.
#[derive(Debug, Default)]
pub struct Reporter {
    last: Option<Instant>,
}

impl Reporter {
    /// Reports that `fraction` of all work is done, unless another line was written less than 100 ms ago.
    pub fn report(&mut self, step: &str, fraction: f64) {
        let now = Instant::now();
        let due = self.last.is_none_or(|last| now.duration_since(last).as_millis() >= 100);
        if due {
            self.last = Some(now);
            emit(&Line::Progress(Progress { step: step.into(), fraction }));
        }
    }
}

/// Writes a line to standard output. If nobody reads it, the station is gone, and the worker ends.
pub fn emit(line: &Line) {
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
