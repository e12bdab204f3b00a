//! What is selected and what is being typed, without a terminal: a key in, what to do out.

use std::collections::HashMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use model::api::snapshot::Snapshot;
use uuid::Uuid;
use view::rack::Rack;
use view::tile::{Content, Tile};

/// What is asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Image a drive once more.
    Retry(String),
    /// Stop a drive.
    Stop(String),
    /// Have the lamp of a bay blink.
    Locate(String),
    /// No longer.
    Unlocate(String),
    /// Acknowledge what a bay shows of a drive that was pulled.
    Release(String),
    Arm,
    Disarm,
}

/// What a key comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    End,
    Ask(Ask),
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Screen {
    #[default]
    Rack,
    Bay,
    Help,
}

/// Which bays are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shown {
    #[default]
    All,
    /// Those that need somebody.
    Hands,
}

/// How large tiles are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Size {
    #[default]
    Large,
    /// A line for each bay.
    Lines,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    /// The number of a bay, counted from 1.
    Number(String),
    /// The end of a serial number.
    Serial(String),
    /// The name that confirms something.
    Confirm { ask: Ask, expected: String, typed: String },
}

#[derive(Clone, Debug, Default)]
pub(super) struct App {
    /// The selected bay, by its place in the rack.
    pub(super) at: usize,
    pub(super) screen: Screen,
    pub(super) shown: Shown,
    pub(super) size: Size,
    pub(super) typing: Option<Typing>,
    /// What became of what was asked last.
    pub(super) said: String,
    /// How many tiles stand side by side, as they were drawn.
    pub(super) columns: usize,
    /// The places of tiles in the order in which they were drawn.
    pub(super) order: Vec<usize>,
    /// How fast the job of each drive has been, in bytes a second.
    pub(super) rates: HashMap<Uuid, Vec<u64>>,
}

/// The curve of a job has so many points; when there are more, every second one goes.
const MOST_RATES: usize = 160;

impl App {
    /// What was asked has come to this.
    pub(super) fn told(&mut self, said: String) {
        self.said = said;
    }

    /// Takes up how fast each drive is now, and forgets drives that are gone.
    pub(super) fn note(&mut self, snapshot: &Snapshot) {
        let departed = snapshot.departed.iter().map(|view| &view.drive);
        let drives: Vec<_> = snapshot.drives.iter().chain(departed).collect();
        self.rates.retain(|job, _| drives.iter().any(|drive| drive.job == Some(*job)));
        for drive in drives.iter().filter(|drive| drive.verdict.is_none()) {
            let (Some(job), Some(rate)) = (drive.job, drive.bytes_per_second) else { continue };
            let rates = self.rates.entry(job).or_default();
            rates.push(rate.0);
            if rates.len() > MOST_RATES {
                *rates = rates.iter().copied().step_by(2).collect();
            }
        }
    }

    /// How fast the job of a bay's drive has been.
    pub(super) fn rates(&self, tile: &Tile<'_>) -> &[u64] {
        let job = tile.drive().and_then(|drive| drive.job);
        job.and_then(|job| self.rates.get(&job)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn selected<'r, 'a>(&self, rack: &'r Rack<'a>) -> Option<&'r Tile<'a>> {
        rack.tiles.get(self.at)
    }

    /// A key is pressed. What is old is no ground to ask for anything.
    pub(super) fn press(&mut self, key: KeyEvent, rack: &Rack<'_>, lost: bool) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Next::End;
        }
        self.at = self.at.min(rack.tiles.len().saturating_sub(1));
        if let Some(typing) = self.typing.take() {
            return self.type_on(typing, key.code, rack);
        }
        self.said.clear();
        match key.code {
            KeyCode::Char('q') => return Next::End,
            KeyCode::Esc if self.screen == Screen::Rack => return Next::End,
            KeyCode::Esc | KeyCode::Backspace => self.screen = Screen::Rack,
            KeyCode::Enter | KeyCode::Char('h') => self.screen = Screen::Bay,
            KeyCode::Char('?') => self.screen = Screen::Help,
            KeyCode::Left => self.step(rack, -1),
            KeyCode::Right | KeyCode::Tab => self.step(rack, 1),
            KeyCode::Up => self.step(rack, -self.row()),
            KeyCode::Down => self.step(rack, self.row()),
            KeyCode::Char('n') => self.go_to_next(rack),
            KeyCode::Char('f') => {
                self.shown = match self.shown {
                    Shown::All => Shown::Hands,
                    Shown::Hands => Shown::All,
                }
            }
            KeyCode::Char('+') => self.size = Size::Large,
            KeyCode::Char('-') => self.size = Size::Lines,
            KeyCode::Char('/') => self.typing = Some(Typing::Serial(String::new())),
            KeyCode::Char(digit) if digit.is_ascii_digit() => {
                self.typing = Some(Typing::Number(digit.to_string()));
            }
            KeyCode::Char(' ' | 'l' | 'R' | 'X' | 'A') if lost => {
                self.said = "no data: nothing can be asked for now".into();
            }
            KeyCode::Char(' ') => return self.acknowledge(rack),
            KeyCode::Char('l') => return self.locate(rack),
            KeyCode::Char('R') => self.confirm(rack, Ask::Retry),
            KeyCode::Char('X') => self.confirm(rack, Ask::Stop),
            KeyCode::Char('A') => {
                let ask = if rack.snapshot.armed { Ask::Disarm } else { Ask::Arm };
                let expected = rack.snapshot.station.clone();
                self.typing = Some(Typing::Confirm { ask, expected, typed: String::new() });
            }
            KeyCode::Char('r' | 'x' | 'a') => {
                self.said = "a capital letter changes something; a small one does nothing".into();
            }
            _ => {}
        }
        Next::Go
    }

    fn row(&self) -> isize {
        isize::try_from(self.columns.max(1)).unwrap_or(1)
    }

    fn step(&mut self, rack: &Rack<'_>, by: isize) {
        let drawn = self.order.iter().position(|place| *place == self.at);
        let next = match drawn {
            Some(at) => at.checked_add_signed(by).and_then(|at| self.order.get(at)).copied(),
            // The selected bay is not among those that are shown.
            None => self.order.first().copied().or_else(|| self.at.checked_add_signed(by)),
        };
        self.at = next.filter(|next| *next < rack.tiles.len()).unwrap_or(self.at);
    }

    /// Selects who needs hands next.
    fn go_to_next(&mut self, rack: &Rack<'_>) {
        let next = rack.hands().first().copied().copied();
        let place = next.and_then(|next| rack.tiles.iter().position(|tile| tile.is(&next)));
        self.at = place.unwrap_or(self.at);
    }

    /// Has the selected bay's lamp blink, or no longer if it does. It changes nothing at the drive, so it is not confirmed.
    fn locate(&self, rack: &Rack<'_>) -> Next {
        let Some(tile) = self.selected(rack) else { return Next::Go };
        let bay = tile.bay.to_owned();
        Next::Ask(if tile.located.is_some() { Ask::Unlocate(bay) } else { Ask::Locate(bay) })
    }

    fn acknowledge(&mut self, rack: &Rack<'_>) -> Next {
        let Some(tile) = self.selected(rack) else { return Next::Go };
        match tile.content {
            Content::Departed(_) => Next::Ask(Ask::Release(tile.bay.to_owned())),
            Content::Drive(_) | Content::Empty => match rack.unseen().first() {
                // The drive is somewhere else by now; its bay has another one.
                Some(view) if view.drive.bay.0 == tile.bay => {
                    Next::Ask(Ask::Release(view.drive.name().to_owned()))
                }
                _ => {
                    self.said =
                        "only the verdict of a drive that was pulled is acknowledged".into();
                    Next::Go
                }
            },
        }
    }

    /// Has the name of the selected bay typed.
    fn confirm(&mut self, rack: &Rack<'_>, ask: impl FnOnce(String) -> Ask) {
        let drive = self.selected(rack).and_then(|tile| match tile.content {
            Content::Drive(drive) => Some((tile.bay, drive)),
            Content::Departed(_) | Content::Empty => None,
        });
        match drive {
            Some((bay, drive)) => {
                // By its device: a serial number may be there twice.
                let ask = ask(drive.device.clone());
                let expected = bay.to_owned();
                self.typing = Some(Typing::Confirm { ask, expected, typed: String::new() });
            }
            None => self.said = "no drive is in this bay".into(),
        }
    }

    fn type_on(&mut self, typing: Typing, code: KeyCode, rack: &Rack<'_>) -> Next {
        let mut typing = typing;
        let text = match &mut typing {
            Typing::Number(text) | Typing::Serial(text) => text,
            Typing::Confirm { typed, .. } => typed,
        };
        match code {
            KeyCode::Esc => {
                self.said = "nothing was done".into();
                return Next::Go;
            }
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(letter) if !letter.is_control() => text.push(letter),
            KeyCode::Enter => return self.typed(typing, rack),
            _ => {}
        }
        self.typing = Some(typing);
        Next::Go
    }

    fn typed(&mut self, typing: Typing, rack: &Rack<'_>) -> Next {
        match typing {
            Typing::Number(text) => match text.parse::<usize>() {
                Ok(number) if (1..=rack.tiles.len()).contains(&number) => {
                    (self.at, self.screen) = (number - 1, Screen::Bay);
                }
                _ => self.said = format!("there is no bay {text}"),
            },
            Typing::Serial(text) => {
                let ends = |tile: &Tile<'_>| {
                    let name = tile.drive().map(|drive| drive.name().to_lowercase());
                    name.is_some_and(|name| name.ends_with(&text.to_lowercase()))
                };
                match rack.tiles.iter().position(ends).filter(|_| !text.is_empty()) {
                    // Whoever scans the label of a drive looks for its bay.
                    Some(at) => {
                        (self.at, self.screen) = (at, Screen::Bay);
                        return Next::Ask(Ask::Locate(rack.tiles[at].bay.to_owned()));
                    }
                    None => {
                        self.said =
                            format!("no drive here has a serial number that ends in {text:?}")
                    }
                }
            }
            Typing::Confirm { ask, expected, typed } if typed.trim() == expected => {
                return Next::Ask(ask);
            }
            Typing::Confirm { expected, .. } => {
                self.said = format!("nothing was done: {expected:?} was to be typed");
            }
        }
        Next::Go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn type_into(app: &mut App, station: &Snapshot, keys: &str) -> Vec<Ask> {
        let rack = Rack::of(station);
        let code = |letter| match letter {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '>' => KeyCode::Right,
            '<' => KeyCode::Left,
            letter => KeyCode::Char(letter),
        };
        let press = |letter| app.press(KeyEvent::from(code(letter)), &rack, false);
        keys.chars()
            .map(press)
            .filter_map(|next| match next {
                Next::Ask(ask) => Some(ask),
                Next::Go | Next::End => None,
            })
            .collect()
    }

    /// Nothing is changed by one key, nor by a small letter, nor with another name.
    #[test]
    fn what_changes_drives_is_confirmed() {
        let station = fixture::rack(24);
        let mut app = App::default();
        let device = Rack::of(&station).tiles[0].drive().unwrap().device.clone();
        for harmless in ["R", "\u{1b}r", "x", "a", "R\n", "Rbay 2\n", "X\u{1b}", "Abay 1\n"] {
            assert_eq!(type_into(&mut app, &station, harmless), [], "{harmless:?}");
            app.typing = None;
        }
        assert_eq!(type_into(&mut app, &station, "Rbay 1\n"), [Ask::Retry(device.clone())]);
        assert_eq!(type_into(&mut app, &station, "Xbay 1\n"), [Ask::Stop(device)]);
        assert_eq!(type_into(&mut app, &station, "Arack-01\n"), [Ask::Disarm]);
        let disarmed = Snapshot { armed: false, ..station };
        assert_eq!(type_into(&mut app, &disarmed, "Arack-01\n"), [Ask::Arm]);
    }

    #[test]
    fn without_data_nothing_is_asked_for() {
        let station = fixture::rack(24);
        let mut app = App::default();
        for letter in ['R', 'X', 'A', ' ', 'l'] {
            let key = KeyEvent::from(KeyCode::Char(letter));
            assert_eq!(app.press(key, &Rack::of(&station), true), Next::Go);
            assert!(app.typing.is_none() && app.said.starts_with("no data"), "{letter}");
        }
    }

    #[test]
    fn bays_are_found_by_number_and_serial() {
        let station = fixture::rack(24);
        let mut app = App::default();
        type_into(&mut app, &station, "24\n");
        assert_eq!((app.at, app.screen), (23, Screen::Bay));
        let asked = type_into(&mut app, &station, "\u{1b}/0002\n");
        let rack = Rack::of(&station);
        let bay = app.selected(&rack).unwrap().bay.to_owned();
        assert_eq!(asked, [Ask::Locate(bay)], "its lamp blinks");
        assert!(app.selected(&rack).unwrap().drive().unwrap().name().ends_with("0002"));
        type_into(&mut app, &station, "\u{1b}99\n");
        assert_eq!(app.said, "there is no bay 99");
        type_into(&mut app, &station, "n");
        let hands = rack.hands();
        assert!(app.selected(&rack).unwrap().is(hands[0]));
        // Beside the edges there is nothing.
        type_into(&mut app, &station, "1\n\u{1b}<<<");
        assert_eq!(app.at, 0);
        type_into(&mut app, &station, &">".repeat(99));
        assert_eq!(app.at, 23);
    }

    #[test]
    fn a_bay_is_looked_for_with_one_key_and_no_longer_with_the_same() {
        let mut station = fixture::rack(24);
        let mut app = App::default();
        assert_eq!(type_into(&mut app, &station, "l"), [Ask::Locate("bay 1".into())]);
        let bay = model::drive::Bay("bay 1".into());
        let until = jiff::Timestamp::MAX;
        station.located = vec![model::api::snapshot::LocatedView { bay, until }];
        assert_eq!(type_into(&mut app, &station, "l"), [Ask::Unlocate("bay 1".into())]);
    }

    #[test]
    fn only_what_was_pulled_is_acknowledged() {
        let station = fixture::rack(13);
        let mut app = App::default();
        assert_eq!(type_into(&mut app, &station, " "), []);
        assert_eq!(type_into(&mut app, &station, "24\n "), [Ask::Release("bay 24".into())]);
    }
}
