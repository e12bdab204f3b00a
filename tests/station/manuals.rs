//! README.md and the pages in `daemon/manual` tell of commands, files and keys that are there, and show what is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use config::Config;
use macro_rules_attribute::apply;
use model::advice::{self, Kind};
use model::code::{FindingCode, ReasonCode};
use strum::VariantArray as _;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(top().join("daemon/manual").join(name)).unwrap()
}

/// README.md, CONTRIBUTING.md and all pages, with their paths.
fn pages() -> Vec<(PathBuf, String)> {
    let manual = fs::read_dir(top().join("daemon/manual")).unwrap();
    let manual = manual.map(|entry| entry.unwrap().path());
    let all = ["README.md", "daemon/CONTRIBUTING.md"].map(|name| top().join(name));
    let all: Vec<PathBuf> = manual.chain(all).collect();
    assert!(all.len() > 8, "{all:?}");
    all.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The rows of the table under a heading, or at the beginning of a page.
fn table<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, after) = page.split_once(&format!("{heading}\n")).unwrap();
    let section = after.split("\n#").next().unwrap();
    section.lines().filter(|line| line.starts_with("| `")).collect()
}

/// Factory systems compare codes, so each stands there with what it means.
#[apply(test!)]
fn every_code_is_told() {
    let codes = page("codes.md");
    let verdicts = |code: ReasonCode| {
        code.verdicts().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let meaning = |text: &str| text.trim_end_matches('.').to_owned();
    let reasons: Vec<String> = ReasonCode::VARIANTS
        .iter()
        .map(|code| format!("| `{code}` | {} | {} |", verdicts(*code), meaning(code.meaning())))
        .collect();
    assert_eq!(table(&codes, "# Codes"), reasons, "it should be\n{}", reasons.join("\n"));
    let findings: Vec<String> = FindingCode::VARIANTS
        .iter()
        .map(|code| format!("| `{code}` | {} |", meaning(code.meaning())))
        .collect();
    let media = page("media.md");
    assert_eq!(table(&media, "# Media"), findings, "it should be\n{}", findings.join("\n"));
    let others: Vec<String> = advice::all()
        .iter()
        .filter(|entry| {
            !matches!(entry.kind, Kind::Drive | Kind::MediaProblem | Kind::MediaWarning)
        })
        .map(|entry| {
            format!("| `{}` | {} | {} |", entry.code, entry.kind.word(), meaning(entry.meaning))
        })
        .collect();
    assert_eq!(table(&codes, "## Other codes"), others, "it should be\n{}", others.join("\n"));
}

#[apply(test!)]
fn every_key_is_told() {
    let text = page("configuration.md");
    let row = |line: &&str| line.starts_with("| `") && line.matches(" | ").count() == 2;
    let found: Vec<&str> = text.lines().filter(row).collect();
    let expected: Vec<String> = config::keys::KEYS.iter().map(|key| key.row()).collect();
    assert_eq!(found, expected, "the table should be\n{}", expected.join("\n"));
    assert!(text.contains(config::DEFAULT_LAYOUT.replace('\n', "\n    ").trim_end()));
}

/// What is written as code in a page: spans between back quotes, and lines of indented blocks.
fn code(text: &str) -> Vec<String> {
    let blocks = text.lines().filter(|line| line.starts_with("    ")).map(|line| line.trim());
    let prose: String =
        text.lines().filter(|line| !line.starts_with("    ")).collect::<Vec<_>>().join(" ");
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    blocks.map(str::to_owned).chain(spans).collect()
}

/// The command lines of both programs in a line of code, as words.
fn command_lines(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" # ").next().unwrap();
    let commands = line.split("&&").flat_map(|part| part.split(';')).map(str::trim);
    let commands = commands.map(|part| part.strip_prefix("sudo ").unwrap_or(part));
    commands.filter_map(words).filter(|words| words.len() > 1).collect()
}

/// The words of a command line of ours, without its redirections; nothing if it is another's.
fn words(command: &str) -> Option<Vec<String>> {
    let ours = ["prestaged ", "prestagectl "].iter().any(|name| command.starts_with(name));
    let command = command.split(['>', '|']).next().unwrap();
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command.trim().chars() {
        match letter {
            '"' | '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    ours.then_some(words)
}

/// A page that tells of a verb or an option that is gone sends people astray.
#[apply(test!)]
fn every_command_is_one() {
    let mut verbs = BTreeSet::new();
    for (path, text) in pages() {
        for words in code(&text).iter().flat_map(|line| command_lines(line)) {
            // `prestagectl(1)` and the like are no commands; numbers stand for numbers.
            let number = |word: &String| match word.as_str() {
                "BYTES" => "64GB".to_owned(),
                "DATE" => "2030-12-31".to_owned(),
                "N" => "3".to_owned(),
                other => other.to_owned(),
            };
            let mut line: Vec<String> = words.iter().map(number).collect();
            // Of the words in capitals, only this one stands for one of a list.
            if let ["schema", name] = line[1..].iter().map(String::as_str).collect::<Vec<_>>()[..]
                && name == "NAME"
            {
                line[2] = "record".to_owned();
            }
            let parsed = match line[0].as_str() {
                "prestaged" => prestaged::service::Arguments::command().try_get_matches_from(&line),
                _ => ctl::Arguments::command().try_get_matches_from(&line),
            };
            match parsed {
                Ok(matches) => {
                    verbs.extend(matches.subcommand_name().map(str::to_owned));
                }
                // A verb that has verbs of its own, named alone.
                Err(error)
                    if error.kind()
                        == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {}
                Err(error)
                    if error.kind() == clap::error::ErrorKind::MissingRequiredArgument
                        && line.len() <= 3 => {}
                Err(error) => panic!("{}: {line:?}: {error}", path.display()),
            }
        }
    }
    assert!(verbs.len() > 8, "only {verbs:?} were found");
    // What is not a verb is found.
    let wrong = &command_lines("sudo prestagectl status --loud && prestagectl arm")[0];
    assert!(ctl::Arguments::command().try_get_matches_from(wrong).is_err());
}

/// Every verb of prestagectl is in the table of its page.
#[apply(test!)]
fn every_verb_is_told() {
    let text = page("prestagectl.md");
    let told = text.split("## Exit codes").next().unwrap();
    for verb in ctl::Arguments::command().get_subcommands() {
        let name = verb.get_name();
        let found = [format!("`{name}`"), format!("`{name} ")].iter().any(|t| told.contains(t));
        assert!(found || name == "help", "{name} is not in prestagectl.md");
    }
}

/// The configuration of the quick start, as somebody would copy it.
#[apply(test!)]
fn the_configuration_in_the_readme_works() {
    let text = fs::read_to_string(top().join("README.md")).unwrap();
    let (_, after) = text.split_once("\n    [station]\n").unwrap();
    let lines = after.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let lines: Vec<&str> = lines.map(str::trim_start).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prestaged.toml");
    fs::write(&path, format!("[station]\n{}\n", lines.join("\n"))).unwrap();
    let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.bay.len(), config.station.name.as_str()), (2, "rack-01"));
}

/// Links lead to files that are there, and to headings in them.
#[apply(test!)]
fn every_link_leads_somewhere() {
    let mut links = 0;
    let more = ["ARCHITECTURE.md", "CHANGELOG.md"].map(|name| top().join(name));
    let more = more.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
    for (path, text) in pages().into_iter().chain(more) {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !heading.is_empty() {
                let there = fs::read_to_string(&target).unwrap();
                let found = there.lines().filter(|line| line.starts_with('#')).any(|line| {
                    let line = line.trim_start_matches('#').trim().to_lowercase();
                    let kept = |letter: &char| letter.is_alphanumeric() || " -".contains(*letter);
                    line.chars().filter(kept).collect::<String>().replace(' ', "-") == heading
                });
                assert!(found, "{}: {link} leads to no heading", path.display());
            }
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links were found");
}

/// The pictures are what their scripts draw.
#[apply(test!)]
fn pictures_are_up_to_date() {
    for script in ["wings", "watch"] {
        let path = top().join("scripts/architecture").join(script);
        let output = Command::new("python3").arg("-B").arg(path).arg("--check").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
