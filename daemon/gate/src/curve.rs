//! How fast each drive was while it was written and read back, as far as the gate has seen it.

use std::collections::BTreeMap;

use model::api::snapshot::Snapshot;
use model::job::State;
use model::units::ByteRate;
use uuid::Uuid;

/// The curve of a job has so many points; when there are more, every second one goes.
const MOST: usize = 240;

/// One moment of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) state: State,
    /// How much of the job was done, 0 to 100.
    pub(crate) percent: f64,
    pub(crate) rate: ByteRate,
}

/// The curves of the jobs whose drives are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curves(BTreeMap<Uuid, Vec<Point>>);

impl Curves {
    /// The curves with what a snapshot adds; those of jobs that are not shown any more are gone.
    pub(crate) fn with(&self, snapshot: &Snapshot) -> Self {
        let departed = snapshot.departed.iter().map(|view| &view.drive);
        let mut next = Self::default();
        for drive in snapshot.drives.iter().chain(departed) {
            let Some(job) = drive.job else { continue };
            let mut points = self.0.get(&job).cloned().unwrap_or_default();
            if let (None, Some(rate)) = (drive.verdict, drive.bytes_per_second) {
                let point = Point { state: drive.state, percent: drive.percent, rate };
                if points.last().is_none_or(|last| last.percent < point.percent) {
                    points.push(point);
                }
            }
            if points.len() > MOST {
                points = points.into_iter().step_by(2).collect();
            }
            next.0.insert(job, points);
        }
        next
    }

    pub(crate) fn of(&self, job: Uuid) -> &[Point] {
        self.0.get(&job).map_or(&[], Vec::as_slice)
    }
}
