//! One progress bar, on a terminal that standard error is.

use std::io;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use model::api::line::Line;
use serde::de::DeserializeOwned;

use super::client::{ClientError, Lines};
use super::{CommandError, exit};

/// A bar that goes away when nobody follows any more.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(name: &str, shown: bool) -> Self {
        let bar = ProgressBar::new(100)
            .with_prefix(name.to_owned())
            .with_finish(ProgressFinish::AndClear);
        if !shown {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let size = terminal_size::terminal_size_of(io::stderr());
        let width = size.map_or(80, |(width, _)| usize::from(width.0));
        if let Ok(style) = ProgressStyle::with_template(&template(width)) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn set(&self, percent: f64, message: String) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        self.0.set_position(percent.clamp(0.0, 100.0) as u64);
        let plain = AutoStream::choice(&io::stderr()) == ColorChoice::Never;
        self.0.set_message(match plain {
            true => anstream::adapter::strip_str(&message).to_string(),
            false => message,
        });
    }
}

/// Waits until something that the daemon does is done, and shows how far it is.
pub(super) async fn follow<T: DeserializeOwned>(
    name: &str,
    mut lines: Lines,
    shown: bool,
) -> Result<T, CommandError> {
    let bar = Progress::new(name, shown);
    while let Some(line) = lines.next::<Line>().await? {
        match line {
            Line::Progress(progress) => bar.set(progress.fraction * 100.0, progress.step),
            Line::Done(report) => {
                return Ok(serde_json::from_value(report).map_err(ClientError::from)?);
            }
            Line::Failed(failure) => return Err(CommandError::failed(name, failure)),
        }
    }
    Err(CommandError::new(exit::UNAVAILABLE, format!("the {name} ended early")))
}

/// Name, bar and message on one line. The bar gives way to the message, which needs about 36 columns.
fn template(width: usize) -> String {
    let name = if width < 80 { 18 } else { 24 };
    let bar = width.saturating_sub(name + 44).clamp(6, 30);
    format!("{{prefix:{name}!}} {{bar:{bar}}} {{percent:>3}}% {{wide_msg}}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bar_gives_way_to_the_message() {
        let bars = [60, 80, 120].map(super::template);
        assert_eq!(bars[0], "{prefix:18!} {bar:6} {percent:>3}% {wide_msg}");
        assert_eq!(bars[1], "{prefix:24!} {bar:12} {percent:>3}% {wide_msg}");
        assert_eq!(bars[2], "{prefix:24!} {bar:30} {percent:>3}% {wide_msg}");
    }
}
