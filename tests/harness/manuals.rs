//! The manual pages and shell completions of the package. Command lines come from clap, keys from [`config::keys`], codes
//! from [`model::advice`]; what people must be told beside that comes from `daemon/manual`.

use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use config::keys;
use ctl::exit;
use prestaged::service;

#[path = "manuals/prose.rs"]
mod prose;
#[path = "manuals/recipe.rs"]
mod recipe;
#[path = "manuals/reference.rs"]
mod reference;

/// All pages, at the end of each.
const SEE_ALSO: &str = "`prestagectl`(1), `prestaged.toml`(5), `prestaged-station`(7), `prestaged-drives`(7), \
    `prestaged-media`(7), `prestaged-orders`(7), `prestaged-gate`(7), `prestaged-lamps`(7), `prestaged-creating`(7), `prestaged-recipe`(5), `prestaged-records`(7), `prestaged-codes`(7), `prestaged-api`(7), `prestaged`(8)";

/// The version that stands in the foot of every page.
const SOURCE: &str = concat!("prestaged ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "Prestaged media imaging station";

/// Writes all pages and completions into a folder that is there.
pub(crate) fn write(folder: &Path) {
    fs::write(folder.join("prestaged.8"), daemon()).unwrap();
    fs::write(folder.join("prestagectl.1"), operator()).unwrap();
    fs::write(folder.join("prestaged-gate.8"), gatekeeper()).unwrap();
    fs::write(folder.join("prestaged-lamps.8"), lamplighter()).unwrap();
    fs::write(folder.join("prestaged.toml.5"), configuration()).unwrap();
    fs::write(folder.join("prestaged-recipe.5"), recipe::page()).unwrap();
    fs::write(folder.join("prestaged-codes.7"), reference::codes()).unwrap();
    fs::write(folder.join("prestaged-api.7"), reference::api()).unwrap();
    for (name, about, text) in PROSE {
        fs::write(folder.join(format!("prestaged-{name}.7")), told(name, about, text)).unwrap();
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = service::Arguments::command();
        let name = command.get_name().to_owned();
        clap_complete::generate_to(shell, &mut command, name, folder).unwrap();
    }
    // prestagectl is asked by the shell, because the station alone knows what its drives are called.
    let shells: [(&str, &dyn EnvCompleter); 3] =
        [("prestagectl.bash", &Bash), ("_prestagectl", &Zsh), ("prestagectl.fish", &Fish)];
    for (name, shell) in shells {
        let (program, mut text) = ("prestagectl", Vec::new());
        let variable = ctl::completing::VARIABLE;
        shell.write_registration(variable, program, program, program, &mut text).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
}

/// What a manual page of section 7 is called, what it is about, and its text.
const PROSE: [(&str, &str, &str); 8] = [
    ("station", "the imaging station as a service", include_str!("../../daemon/manual/station.md")),
    (
        "drives",
        "which drives the imaging station touches",
        include_str!("../../daemon/manual/drives.md"),
    ),
    (
        "media",
        "what the imaging station makes of prestaged media",
        include_str!("../../daemon/manual/media.md"),
    ),
    (
        "orders",
        "which media goes to which drives, how often and for whom",
        include_str!("../../daemon/manual/orders.md"),
    ),
    ("gate", "the imaging station on web pages", include_str!("../../daemon/manual/gate.md")),
    ("lamps", "the lamps of the bays", include_str!("../../daemon/manual/lamps.md")),
    (
        "creating",
        "how prestaged media is made of its parts",
        include_str!("../../daemon/manual/creating.md"),
    ),
    (
        "records",
        "what the imaging station writes down, and what a pass proves",
        include_str!("../../daemon/manual/records.md"),
    ),
];

/// What clap does not know of prestagectl.
const OPERATING: &str = include_str!("../../daemon/manual/prestagectl.md");

/// One page's text behind what clap knows of it.
struct Page(Roff);

impl Page {
    fn section(&mut self, title: &str) {
        self.0.control("SH", [title]);
    }

    /// Paragraphs; a blank line begins a new one, back quotes make bold.
    fn text(&mut self, text: &str) {
        for (at, paragraph) in text.split("\n\n").enumerate() {
            if at > 0 {
                self.0.control("PP", []);
            }
            self.0.text(inlines(paragraph));
        }
    }

    /// A term and what it means.
    fn item(&mut self, term: Vec<Inline>, text: &str) {
        self.0.control("TP", []);
        self.0.text(term);
        self.0.text(inlines(text));
    }

    fn example(&mut self, text: &str) {
        self.0.control("PP", []);
        self.0.control("RS", ["4"]);
        self.0.control("nf", []);
        for line in text.lines() {
            self.0.text([roman(line)]);
        }
        self.0.control("fi", []);
        self.0.control("RE", []);
    }
}

/// Text with its back quotes made bold, and links to other pages made words.
fn inlines(text: &str) -> Vec<Inline> {
    let text = &unlinked(text);
    let part = |(at, part): (usize, &str)| if at % 2 == 1 { bold(part) } else { roman(part) };
    let text = text.replace('…', "...");
    text.split('`').enumerate().filter(|(_, part)| !part.is_empty()).map(part).collect()
}

/// Markdown's `[words](page)`, which are only in texts that the pages of `daemon/manual` share, as words.
fn unlinked(text: &str) -> String {
    let linked = text.split_once('[').and_then(|(before, rest)| {
        let (words, rest) = rest.split_once("](")?;
        let (page, after) = rest.split_once(')')?;
        let page = prose::installed(page)?;
        Some(format!("{before}{words}: see {page}{}", unlinked(after)))
    });
    linked.unwrap_or_else(|| text.to_owned())
}

/// Title, name, synopsis, description and options of a command; then the rest of its page.
fn page(
    command: Command,
    section: &str,
    description: &str,
    rest: impl FnOnce(&mut Page),
) -> Vec<u8> {
    let title = command.get_name().to_uppercase();
    let man = Man::new(command.clone()).title(title).section(section).source(SOURCE).manual(MANUAL);
    let mut out = Vec::new();
    man.render_title(&mut out).unwrap();
    man.render_name_section(&mut out).unwrap();
    let mut page = Page(Roff::new());
    page.section("SYNOPSIS");
    let options: Vec<String> =
        command.get_arguments().map(|option| format!("[{}]", shown(option))).collect();
    let verb = command.get_subcommand_value_name().filter(|_| command.has_subcommands());
    let verb = verb.map(|name| format!(" {name} …")).unwrap_or_default();
    page.0.text([bold(command.get_name()), roman(format!(" {}{verb}", options.join(" ")))]);
    page.section("DESCRIPTION");
    page.text(description);
    page.section("OPTIONS");
    arguments(&mut page, &command);
    page.item(
        vec![bold("-h, --help"), roman("; "), bold("-V, --version")],
        "print this or the version, and end",
    );
    rest(&mut page);
    page.0.to_writer(&mut out).unwrap();
    out
}

fn daemon() -> Vec<u8> {
    let about = "Lays the prestaged media in its inbox down on every drive that is plugged into one of its bays, reads \
        every byte back from the medium, and keeps a record of each drive in a ledger and in the journal. A fresh \
        installation is disarmed and allows no bus and no bay: it watches, reports, and writes to nothing.\n\n\
        It is started by systemd as `prestaged.service` and spoken to with `prestagectl`(1).";
    page(service::Arguments::command(), "8", about, |page| {
        page.section("SIGNALS");
        page.text(
            "At the first `SIGTERM` or `SIGINT` no new drive is taken, drives that are being written are \
             finished, and the daemon ends. At the second they are stopped and hold no partition table. At the \
             third, or ten seconds after the second, it does not wait for them. `systemctl restart` and an \
             upgrade of the package send one and give drives half an hour; `systemctl kill prestaged` sends \
             another one.",
        );
        page.section("EXIT STATUS");
        for (code, text) in [
            ("0", "it was told to end, or `--check` found everything in place"),
            ("64", "wrong command line"),
            (
                "78",
                "the configuration is wrong, or something that it needs is missing; systemd does not start it again by itself then",
            ),
        ] {
            page.item(vec![bold(code)], text);
        }
        environment(
            page,
            config::VARIABLE,
            "the configuration file, where `--config` is not given",
        );
        page.section("EXAMPLES");
        page.text("Check the configuration before the service reads it, and let it be read:");
        page.example("sudo prestaged --check && sudo systemctl restart prestaged");
        page.text("Why has the service not started?");
        page.example("prestagectl status\nsudo journalctl -u prestaged -e");
        page.text("Let the service write its store to another disk: set `store.path`, and");
        page.example(
            "sudo systemctl edit prestaged\n    [Service]\n    ReadWritePaths=/data/masters",
        );
        page.section("FILES");
        for (path, text) in [
            (config::DEFAULT_PATH, "the configuration; drop-ins beside it in `prestaged.toml.d`"),
            ("/srv/prestaged/media", "the inbox: copy prestaged WIM files here"),
            ("/var/lib/prestaged/ledger.db", "the ledger, in SQLite"),
            ("/var/lib/prestaged/masters", "masters; they can be pressed anew"),
            (config::DEFAULT_SOCKET, "the control socket"),
        ] {
            page.item(vec![italic(path)], text);
        }
        page.section("SEE ALSO");
        page.text(SEE_ALSO);
    })
}

/// Commands that are typed most, and what for.
const EXAMPLES: [(&str, &str); 6] = [
    (
        "A new station: name each bay and allow it by plugging a drive into one after the other, then take the drives out, \
         and let the station read its configuration anew:",
        "sudo prestagectl bays learn --allow\nsudo prestaged --check && sudo systemctl restart prestaged",
    ),
    (
        "A shift: see what is plugged in and would be imaged, arm, and watch:",
        "prestagectl status\nprestagectl arm\nprestagectl watch",
    ),
    (
        "Why a drive is refused, every reason on a line of its own; and once more, now that the cause is gone:",
        "prestagectl drives S4EVNX0M\nprestagectl retry S4EVNX0M",
    ),
    ("Is what is on a drive what the media holds?", "prestagectl audit /dev/sdb"),
    ("Is what is on a drive that came back what it was given?", "prestagectl verify /dev/sdb"),
    (
        "The records of the last eight hours for a table; those that failed, for a program:",
        "prestagectl records --since 8h --csv >shift.csv\nprestagectl --json records --verdict failed",
    ),
];

fn gatekeeper() -> Vec<u8> {
    let about = "Shows the station on web pages, as `prestaged-gate`(7) tells. It is started by systemd as \
        `prestaged-gate.service`, once it is configured and enabled.";
    page(gate::Arguments::command(), "8", about, |page| {
        page.section("EXIT STATUS");
        for (code, text) in [
            ("0", "it was told to end, or an account was printed"),
            ("64", "wrong command line"),
            ("78", "the gate is off, or its configuration is wrong"),
        ] {
            page.item(vec![bold(code)], text);
        }
    })
}

fn lamplighter() -> Vec<u8> {
    let about = "Switches the lamps of the station's bays, as `prestaged-lamps`(7) tells. It is started by systemd as \
        `prestaged-lamps.service`, once it is enabled.";
    page(lamps::Arguments::command(), "8", about, |page| {
        page.section("EXIT STATUS");
        for (code, text) in [
            ("0", "it was told to end, and all lamps are off"),
            ("64", "wrong command line"),
            ("78", "the configuration is wrong"),
        ] {
            page.item(vec![bold(code)], text);
        }
    })
}

fn operator() -> Vec<u8> {
    let about = "Shows and steers a running `prestaged`(8) over its control socket, which takes root and the members \
        of the group in `control.group`.";
    let command = ctl::Arguments::command().subcommand_value_name("VERB");
    page(command.clone(), "1", about, |page| {
        page.section("VERBS");
        verbs(page, &command, "");
        page.section("EXIT STATUS");
        for (code, text) in exit::MEANINGS {
            page.item(vec![bold(code.to_string())], text);
        }
        let (_, notes) = OPERATING.split_once("## How drives are called").unwrap();
        page.0.extend([prose::page(&format!("## How drives are called{notes}"))]);
        let socket = "the control socket, where `--socket` is not given";
        environment(page, "PRESTAGED_SOCKET", socket);
        page.section("EXAMPLES");
        for (text, lines) in EXAMPLES {
            page.text(text);
            page.example(lines);
            page.0.control("PP", []);
        }
        page.section("FILES");
        page.item(
            vec![italic(config::DEFAULT_SOCKET)],
            "the control socket; `control.socket` in the configuration",
        );
        page.item(
            vec![italic(format!("{}.d/{}", config::DEFAULT_PATH, config::learned::FILE))],
            "what `bays learn` writes",
        );
        page.section("SEE ALSO");
        page.text(SEE_ALSO);
    })
}

fn environment(page: &mut Page, name: &str, text: &str) {
    page.section("ENVIRONMENT");
    page.item(vec![bold(name)], text);
}

/// Every verb that does something, with its own options.
fn verbs(page: &mut Page, command: &Command, before: &str) {
    for verb in command.get_subcommands() {
        let name = format!("{before}{}", verb.get_name());
        if verb.has_subcommands() {
            verbs(page, verb, &format!("{name} "));
            continue;
        }
        let mut synopsis = name;
        for argument in verb.get_arguments() {
            let shown = shown(argument);
            synopsis += &if argument.is_required_set() {
                format!(" {shown}")
            } else {
                format!(" [{shown}]")
            };
        }
        page.0.control("SS", [synopsis.as_str()]);
        page.text(&format!("{}.", help(verb.get_about())));
        arguments(page, verb);
    }
}

/// What a command takes.
fn arguments(page: &mut Page, command: &Command) {
    for argument in command.get_arguments() {
        let default: Vec<_> =
            argument.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        let mut text = help(argument.get_help());
        let takes = argument.get_action().takes_values();
        if !default.is_empty() && takes {
            text += &format!(" (default: {})", default.join(" "));
        }
        page.item(vec![bold(shown(argument))], &text);
    }
}

fn help(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// An argument as it is given: `--media MEDIA`, `DEVICE`.
fn shown(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let value = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("{short}--{long} {value}"),
        Some(long) => format!("{short}--{long}"),
        None => value,
    }
}

fn configuration() -> Vec<u8> {
    let mut page = Page(Roff::new());
    page.0.control("TH", ["PRESTAGED.TOML", "5", "", SOURCE, MANUAL]);
    page.section("NAME");
    page.text("prestaged.toml - configuration of the imaging station");
    page.section("SYNOPSIS");
    page.0.text([italic(config::DEFAULT_PATH)]);
    page.0.control("PP", []);
    page.0.text([italic(format!("{}.d/*.toml", config::DEFAULT_PATH))]);
    page.section("DESCRIPTION");
    page.text(
        "TOML: the file, then its drop-ins in order of name. Later files win key by key; lists are replaced as a whole. \
         Only `[[bay]]` tables add up: those of a later file come first, and replace those with the same name or path. \
         Other files in the folder of drop-ins are ignored. What cannot work is an error, with file, line and key: the \
         daemon does not start. What works and is probably not meant is a warning, at the start and from \
         `prestaged --check`. The daemon reads the configuration at its start alone.\n\n\
         Sizes are numbers of bytes or text such as `\"512GB\"` and `\"20GiB\"`, rates such as `\"5MB/s\"`, times such as \
         `\"90s\"`, shares such as `\"2.5%\"`.",
    );
    let mut section = "";
    for key in keys::KEYS {
        if key.section != section {
            section = key.section;
            page.0.control("SH", [heading(&key).as_str()]);
        }
        described(&mut page, &key);
    }
    page.section("DEFAULT LAYOUT");
    page.text("Where no layout is given:");
    page.example(config::DEFAULT_LAYOUT);
    page.section("FILES");
    page.item(
        vec![italic(config::DEFAULT_PATH)],
        "the configuration, unless `--config` or `PRESTAGED_CONFIG` names another file",
    );
    page.item(
        vec![italic(format!("{}.d/{}", config::DEFAULT_PATH, config::learned::FILE))],
        "names of bays, written by `prestagectl bays learn`",
    );
    page.section("SEE ALSO");
    page.text(SEE_ALSO);
    let mut out = Vec::new();
    page.0.to_writer(&mut out).unwrap();
    out
}

/// A page of `daemon/manual`.
fn told(name: &str, about: &str, text: &str) -> Vec<u8> {
    let mut page = Page(Roff::new());
    let title = format!("PRESTAGED-{}", name.to_uppercase());
    page.0.control("TH", [title.as_str(), "7", "", SOURCE, MANUAL]);
    page.section("NAME");
    page.text(&format!("prestaged-{name} - {about}"));
    page.section("DESCRIPTION");
    page.0.extend([prose::page(text)]);
    page.section("SEE ALSO");
    page.text(SEE_ALSO);
    let mut out = Vec::new();
    page.0.to_writer(&mut out).unwrap();
    out
}

/// A key with what it does and its default.
fn described(page: &mut Page, key: &keys::Key) {
    let default = match key.fallback {
        keys::Fallback::Required => "This key must be given.".to_owned(),
        other => format!("Default: {}.", other.shown()),
    };
    let mut text: Vec<char> = key.text.chars().collect();
    text[0] = text[0].to_ascii_uppercase();
    let text: String = text.into_iter().collect();
    page.item(vec![bold(key.name)], &format!("{text}. {default}"));
}

/// How a key's table begins in the file.
fn heading(key: &keys::Key) -> String {
    match key.section.split_once('.') {
        _ if key.section.is_empty() => "BEFORE ALL TABLES".to_owned(),
        Some((table, inner)) => format!("EACH OF {} IN [[{table}]]", inner.to_uppercase()),
        None if key.is_repeated() => format!("[[{}]]", key.section),
        None => format!("[{}]", key.section),
    }
}
