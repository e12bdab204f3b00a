//! A line for each media, press and bay whose state has changed: for pipes and for terminals that can do no more.

use std::collections::{HashMap, HashSet};

use model::api::snapshot::{MasterView, Snapshot};
use view::tile::{self, Content, Tile};

use super::{Lost, press_line};
use crate::media;
use crate::output::put_styled;
use crate::words::{self, Standing};

#[derive(Debug, Default)]
pub(super) struct News {
    said: HashMap<String, String>,
    lost: bool,
}

impl News {
    pub(super) fn show(&mut self, snapshot: &Snapshot, lost: Option<&Lost>) {
        self.lines(snapshot, lost).iter().for_each(|line| put_styled(line));
    }

    /// What is new since the last call.
    fn lines(&mut self, snapshot: &Snapshot, lost: Option<&Lost>) -> Vec<String> {
        if let Some(lost) = lost {
            let first = !std::mem::replace(&mut self.lost, true);
            let line = format!("no data since {}: {}", words::clock(lost.since), lost.why);
            return first.then_some(line).into_iter().collect();
        }
        let mut lines = Vec::new();
        if std::mem::take(&mut self.lost) {
            lines.push("the daemon is there again".to_owned());
        }
        let items = items(snapshot);
        let names: HashSet<&String> = items.iter().map(|(name, _)| name).collect();
        let gone = self.said.keys().filter(|name| !names.contains(name)).cloned();
        let mut gone: Vec<String> = gone.collect();
        gone.sort();
        for name in gone {
            self.said.remove(&name);
            // A press that has ended well is listed no more.
            let is_ready = |master: &MasterView| name == format!("master {}", master.id);
            let state = if snapshot.masters.iter().any(is_ready) { "ready" } else { "gone" };
            lines.push(format!("{name}: {state}"));
        }
        for (name, state) in items {
            // An empty bay is no news before something has been in it.
            let known = self.said.get(&name).map_or("empty", String::as_str);
            if known != state {
                lines.push(format!("{name}: {state}"));
            }
            self.said.insert(name, state);
        }
        lines
    }
}

/// Everything that has a state of its own, with that state in words.
fn items(snapshot: &Snapshot) -> Vec<(String, String)> {
    let (station, style) = words::station(snapshot);
    let ledger = snapshot.ledger.as_ref().map(|reason| format!("; no records: {}", reason.detail));
    let station = format!("{style}{station}{style:#}{}", ledger.unwrap_or_default());
    let media = snapshot.media.iter().map(|m| (format!("media {}", m.name), media::line(m)));
    let presses = snapshot.presses.iter();
    let presses = presses.map(|press| (format!("master {}", press.id), press_line(press)));
    let tiles = tile::tiles(snapshot);
    let bays = tiles.iter().map(|tile| (name(tile, &tiles), state(tile)));
    let station = [(format!("station {}", snapshot.station), station)];
    station.into_iter().chain(media).chain(presses).chain(bays).collect()
}

/// A bay's name; where several drives are in one, with the drive's.
fn name(tile: &Tile<'_>, all: &[Tile<'_>]) -> String {
    let several = all.iter().filter(|other| other.bay == tile.bay).count() > 1;
    match tile.drive().filter(|_| several) {
        Some(drive) => format!("{} ({})", tile.bay, drive.name()),
        None => tile.bay.to_owned(),
    }
}

fn state(tile: &Tile<'_>) -> String {
    match tile.content {
        Content::Empty => "empty".to_owned(),
        Content::Drive(drive) => format!("{} {}", drive.name(), Standing::of_tile(tile).line()),
        Content::Departed(view) => {
            format!("{} {}", view.drive.name(), Standing::of_tile(tile).line())
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::job::State;

    use super::{Lost, News};
    use crate::fixture;

    #[test]
    fn changes_are_said_once() {
        let mut station = fixture::station();
        let mut news = News::default();
        let mut text = news.lines(&station, None).join("\n");
        assert!(news.lines(&station, None).is_empty());
        station.drives[2].percent += 1.0;
        assert!(news.lines(&station, None).is_empty(), "a percent more is no news");
        station.drives.swap_remove(2);
        station.drives[0].state = State::ReadingBack;
        text += "\n-- then\n";
        text += &news.lines(&station, None).join("\n");
        let why = "the daemon has ended".to_owned();
        let lost = Lost { since: Timestamp::UNIX_EPOCH, why };
        let first = news.lines(&station, Some(&lost));
        assert!(first.len() == 1 && first[0].ends_with("the daemon has ended"), "{first:?}");
        assert!(news.lines(&station, Some(&lost)).is_empty());
        assert_eq!(news.lines(&station, None), ["the daemon is there again"]);
        fixture::snapshot("watch-piped", &fixture::plain(&text));
    }
}
