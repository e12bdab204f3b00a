//! A scanner that is a keyboard. Its device is grabbed, so that what it types goes nowhere else: not into a login, and not
//! into a window that happens to have the focus.

use std::path::{Path, PathBuf};

use evdev::{Device, EventSummary, KeyCode};

/// A device that cannot be read as a scanner.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyboardError {
    #[error("{}: it cannot be opened as an input device", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{}: it types no letters and digits", path.display())]
    NoKeyboard { path: PathBuf },
    #[error("{}: another program has it for itself", path.display())]
    Taken { path: PathBuf, source: std::io::Error },
    #[error("{}: it does not answer any more", path.display())]
    Gone { path: PathBuf, source: std::io::Error },
}

impl model::hint::Hint for KeyboardError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Open { .. } | Self::NoKeyboard { .. } => {
                "scanners are in /dev/input/by-id, as usb-…-event-kbd; reading them takes the group input".into()
            }
            Self::Taken { .. } => "end the program that reads it; only one can".into(),
            Self::Gone { .. } => "plug the scanner in again".into(),
        })
    }
}

/// A scanner.
#[derive(Debug)]
pub(super) struct Keyboard {
    path: PathBuf,
    device: Device,
    typed: Typed,
    /// Texts that were typed and not taken yet.
    lines: std::collections::VecDeque<String>,
}

impl Keyboard {
    /// Takes the device for itself, until it is dropped.
    pub(super) fn open(path: &Path) -> Result<Self, KeyboardError> {
        let path = path.to_owned();
        let mut device = match Device::open(&path) {
            Ok(device) => device,
            Err(source) => return Err(KeyboardError::Open { path, source }),
        };
        let types = |keys: &evdev::AttributeSetRef<KeyCode>| {
            [KeyCode::KEY_A, KeyCode::KEY_1, KeyCode::KEY_ENTER]
                .iter()
                .all(|key| keys.contains(*key))
        };
        if !device.supported_keys().is_some_and(types) {
            return Err(KeyboardError::NoKeyboard { path });
        }
        if let Err(source) = device.grab() {
            return Err(KeyboardError::Taken { path, source });
        }
        Ok(Self { path, device, typed: Typed::default(), lines: Default::default() })
    }

    /// The next text that it has typed, up to Enter.
    pub(super) fn line(&mut self) -> Result<String, KeyboardError> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(line);
            }
            let events = self.device.fetch_events();
            let gone = |source| KeyboardError::Gone { path: self.path.clone(), source };
            for event in events.map_err(gone)? {
                if let EventSummary::Key(_, key, value) = event.destructure() {
                    self.lines.extend(self.typed.key(key, value != 0));
                }
            }
        }
    }
}

/// What has been typed since the last Enter, by the layout of keyboards in the United States, in which scanners are
/// delivered.
#[derive(Debug, Default)]
struct Typed {
    text: String,
    /// The Shift keys that are held.
    shifts: u8,
}

impl Typed {
    /// Takes a key that goes down or comes up; returns the text that Enter has ended.
    fn key(&mut self, key: KeyCode, down: bool) -> Option<String> {
        let shift = match key {
            KeyCode::KEY_LEFTSHIFT => 1,
            KeyCode::KEY_RIGHTSHIFT => 2,
            _ => 0,
        };
        if shift != 0 {
            self.shifts = if down { self.shifts | shift } else { self.shifts & !shift };
            return None;
        }
        if !down {
            return None;
        }
        if matches!(key, KeyCode::KEY_ENTER | KeyCode::KEY_KPENTER) {
            return Some(std::mem::take(&mut self.text));
        }
        // A key that no label has is still seen: the text is not taken for a shorter one.
        let typed = character(key, self.shifts != 0).unwrap_or('\u{fffd}');
        if self.text.chars().count() <= model::scan::LONGEST {
            self.text.push(typed);
        }
        None
    }
}

/// The character of a key.
fn character(key: KeyCode, shift: bool) -> Option<char> {
    // The keys of a row have numbers that follow one another (linux/input-event-codes.h).
    const ROWS: [(KeyCode, &str, &str); 5] = [
        (KeyCode::KEY_1, "1234567890-=", "!@#$%^&*()_+"),
        (KeyCode::KEY_Q, "qwertyuiop[]", "QWERTYUIOP{}"),
        (KeyCode::KEY_A, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
        (KeyCode::KEY_BACKSLASH, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
        (KeyCode::KEY_KP7, "789-456+1230.", "789-456+1230."),
    ];
    if key == KeyCode::KEY_SPACE {
        return Some(' ');
    }
    ROWS.iter().find_map(|(first, plain, shifted)| {
        let at = key.code().checked_sub(first.code())?;
        let row = if shift { shifted } else { plain };
        row.chars().nth(at.into())
    })
}

#[cfg(test)]
mod tests {
    use evdev::KeyCode as Key;

    use super::Typed;

    /// The keys of a text, as a scanner sends them.
    fn send(typed: &mut Typed, keys: &[Key]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut shift = false;
        for key in keys {
            if *key == Key::KEY_LEFTSHIFT {
                lines.extend(typed.key(*key, true));
                shift = true;
                continue;
            }
            lines.extend(typed.key(*key, true));
            lines.extend(typed.key(*key, false));
            if std::mem::take(&mut shift) {
                lines.extend(typed.key(Key::KEY_LEFTSHIFT, false));
            }
        }
        lines
    }

    #[test]
    fn keys_become_the_text_of_a_label() {
        let mut typed = Typed::default();
        let keys = [
            Key::KEY_LEFTSHIFT,
            Key::KEY_P,
            Key::KEY_LEFTSHIFT,
            Key::KEY_O,
            Key::KEY_MINUS,
            Key::KEY_4,
            Key::KEY_0,
            Key::KEY_ENTER,
            Key::KEY_Z,
            Key::KEY_LEFTSHIFT,
            Key::KEY_SEMICOLON,
            Key::KEY_SPACE,
            Key::KEY_SLASH,
            Key::KEY_KP7,
            Key::KEY_KP0,
            Key::KEY_KPDOT,
            Key::KEY_F1,
            Key::KEY_KPENTER,
        ];
        assert_eq!(send(&mut typed, &keys), ["PO-40", "z: /70.\u{fffd}"]);
        assert_eq!(send(&mut typed, &[Key::KEY_ENTER]), [""]);
    }

    #[test]
    fn no_text_grows_without_end() {
        let mut typed = Typed::default();
        let keys = [Key::KEY_A; 10_000];
        assert!(send(&mut typed, &keys).is_empty());
        let lines = send(&mut typed, &[Key::KEY_ENTER]);
        assert!(model::scan::Scan::read(&lines[0]).is_err(), "{}", lines[0].len());
    }
}
