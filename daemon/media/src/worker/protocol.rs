//! What a worker says on its standard output.

use std::io::Write as _;
use std::time::Instant;

use model::api::line::{Line, Progress};

/// Where a worker's task reports to; at most ten lines a second.
#[derive(Debug, Default)]
pub struct Reporter {
    last: Option<Instant>,
}

impl Reporter {
    /// Reports `fraction` of all work done. Skipped if another line has just gone out.
    pub fn report(&mut self, step: &str, fraction: f64) {
        let now = Instant::now();
        let due = self.last.is_none_or(|last| now.duration_since(last).as_millis() >= 100);
        if due {
            self.last = Some(now);
            emit(&Line::Progress(Progress { step: step.into(), fraction }));
        }
    }
}

/// Writes a line to standard output. Nobody reading it means that the station is gone; so goes the worker.
pub fn emit(line: &Line) {
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
