//! A browser: Debian's chromium, driven through chromedriver in the words of W3C's WebDriver protocol.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::wait_for;

/// What the page's system prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

/// A window of a browser; both end when it is dropped.
pub(crate) struct Browser {
    driver: RefCell<Child>,
    /// chromedriver goes on writing to it.
    _said: BufReader<ChildStdout>,
    port: u16,
    session: String,
    /// Where chromium puts its profile, of which it leaves a part behind.
    _folder: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "chromedriver ended");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim().trim_end_matches('.').parse().unwrap();
            }
        };
        let mut browser = Self {
            driver: RefCell::new(driver),
            _said: said,
            port,
            session: String::new(),
            _folder: folder,
        };
        // Without a sandbox, because root has none in chromium; it sees nothing but our own pages.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
        ];
        let wanted = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": wanted}});
        let session = browser.ask("POST", "/session", &wanted).unwrap();
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Asks chromedriver; returns the answer's value, or what is wrong.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let told = |error: std::io::Error| format!("chromedriver: {error}");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(told)?;
        stream.set_read_timeout(Some(Duration::from_secs(90))).map_err(told)?;
        let body = if method == "POST" { body.to_string() } else { String::new() };
        write!(
            stream,
            "{method} {}{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.session,
            body.len()
        )
        .map_err(told)?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).map_err(told)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut text = vec![0; length];
        answer.read_exact(&mut text).map_err(told)?;
        let mut answer: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        match value.get("error") {
            Some(error) => Err(format!("{method} {path}: {error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    #[track_caller]
    fn told(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, body).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks the browser itself, in the words of its developer tools.
    #[track_caller]
    pub(crate) fn order(&self, command: &str, parameters: &Value) -> Value {
        self.told("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.told("POST", "/url", &json!({"url": url}));
    }

    /// Runs a script in the page; returns what it returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.told("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true in the page, whichever that is by then.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, expression: &str) {
        let script = json!({"script": format!("return {expression}"), "args": []});
        wait_for(what, || {
            (self.ask("POST", "/execute/sync", &script) == Ok(Value::Bool(true))).then_some(())
        });
    }

    /// The window's size in pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.order("Emulation.setDeviceMetricsOverride", &size);
    }

    pub(crate) fn prefer(&self, theme: Theme) {
        let value = match theme {
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        let feature = json!({"name": "prefers-color-scheme", "value": value});
        self.order("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
    }

    /// Presses keys, one after the other; U+E004 is the tabulator, U+E007 the enter key.
    #[track_caller]
    pub(crate) fn press(&self, keys: &str) {
        let both = |key: char| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key}));
        let actions: Vec<Value> = keys.chars().flat_map(both).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.told("POST", "/actions", &json!({"actions": [keyboard]}));
    }

    /// Keeps a picture of the window, for people, in the tests' folder below `target`.
    pub(crate) fn keep(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        let picture = self.told("GET", "/screenshot", &Value::Null);
        let bytes = BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What the browser has complained about since it was asked last: errors of scripts, what the content security policy
    /// has forbidden, what could not be loaded. Each with its source.
    pub(crate) fn complaints(&self) -> Vec<(String, String)> {
        let all = self.told("POST", "/se/log", &json!({"type": "browser"}));
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let all = all.as_array().unwrap().iter();
        all.map(|entry| (text(entry, "source"), text(entry, "message"))).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("DELETE", "", &Value::Null);
        let mut driver = self.driver.borrow_mut();
        let _ = driver.kill();
        let _ = driver.wait();
    }
}
