//! A rack to play with: the machine of the tests, and a prompt to plug drives from. `scripts/rack` builds what it needs.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use prestaged_rack::{Bus, Cargo, Fault, Machine, Ready, Session, Spec, ready};

/// Starts the rack and reads commands.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where images and saved machines are kept.
    #[arg(long)]
    cache: PathBuf,
    /// The package to install in the guest.
    #[arg(long)]
    package: PathBuf,
    /// Prestaged media for its inbox.
    #[arg(long)]
    media: PathBuf,
    /// Only install the package: the station is disarmed, has no bays, and its inbox is empty.
    #[arg(long)]
    fresh: bool,
}

/// What a station that is to be set up is told first.
const FRESH: &str = "\
The station is as its package leaves it: disarmed, without bays, with an empty inbox. Set it up as README.md says:
    sudo prestagectl bays learn --allow      then, at the same prompt, plug a drive, and answer:  plug nvme S4EV0001
    unplug S4EV0001                          the drive that showed its bay
    sudo prestaged --check
    sudo systemctl restart prestaged
    cp /mnt/cargo/win.wim /srv/prestaged/media/
    prestagectl status
    prestagectl arm
    plug nvme S4EV0001
    prestagectl watch                        until you type `end`
";

/// Commands that go on until they are ended, or ask; drives can be plugged meanwhile.
const LIVE: [&str; 4] = ["prestagectl watch", "prestagectl bays learn", "prestagectl top", "bash"];
/// How often a live command's output is looked for.
const PAUSE: Duration = Duration::from_millis(100);
/// Drives that hold the default layout, and those that hold the rack's.
const ROOMY: u64 = 4096;
const SMALL: u64 = 512;

const HELP: &str = "\
plug BUS SERIAL [OPTION...]   BUS: nvme, scsi, usb, or sata (only SATA0001 and SATA0002)
    mib=N (512; 4096 with --fresh) sector=512|4096 bay=N rate=MEBIBYTES-PER-SECOND wwn=HEX ro bad-read=SECTOR bad-write=SECTOR
unplug SERIAL                 pulls it; its content stays, and plugging it again brings it back
rate SERIAL MEBIBYTES         makes a drive that was plugged with a rate slower or faster
status                        prestagectl status
reset                         pulls the plug of the whole machine, and starts it again
quit                          ends the machine and forgets it
end                           types Ctrl-C to what runs in the guest
live COMMAND                  runs in the guest on a terminal, as prestagectl watch and bays learn do by themselves: what
                              is typed goes to it, but for the words above
anything else                 runs in the guest as root: prestagectl records, journalctl -u prestaged, lsblk";

fn spec(words: &[&str], mebibytes: u64) -> Result<Spec> {
    let [bus, serial, options @ ..] = words else { bail!("plug: which bus, which serial number?") };
    let bus = match *bus {
        "nvme" => Bus::Nvme,
        "scsi" | "sas" => Bus::Scsi,
        "usb" => Bus::Usb,
        "sata" => Bus::Sata,
        other => bail!("{other}: nvme, scsi, usb or sata"),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    ensure!(serial.chars().all(fits), "{serial}: letters, digits, - and _ only");
    let mut spec = Spec::new(bus, serial).mebibytes(mebibytes);
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || value.parse::<u64>().with_context(|| format!("{option}: a number"));
        spec = match name {
            "mib" => {
                ensure!(number()? >= 4, "{option}: at least 4");
                spec.mebibytes(number()?)
            }
            "sector" => spec.sector(u32::try_from(number()?)?),
            "bay" => spec.bay(usize::try_from(number()?)?),
            "rate" => spec.rate(number()? << 20),
            "wwn" => spec.wwn(u64::from_str_radix(value.trim_start_matches("0x"), 16)?),
            "ro" => spec.read_only(),
            "bad-read" => spec.fault(Fault::Read(number()?)),
            "bad-write" => spec.fault(Fault::Write(number()?)),
            _ => bail!("{option}: no such option"),
        };
    }
    Ok(spec)
}

/// The rack and its prompt.
struct Prompt {
    machine: Machine,
    /// How large drives are unless a line says it.
    mebibytes: u64,
    /// The live command, if one runs.
    session: Option<Session>,
}

impl Prompt {
    /// Does what a line says; whether to go on.
    fn execute(&mut self, line: &str) -> Result<bool> {
        let machine = &mut self.machine;
        // The guest has one user, who is root.
        let line = line.replace("sudo ", "");
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &self.session) {
            (["plug", words @ ..], _) => machine.plug(&spec(words, self.mebibytes)?)?,
            (["unplug", serial], _) => machine.unplug(serial)?,
            (["rate", serial, rate], _) => machine.set_rate(serial, rate.parse::<u64>()? << 20)?,
            (["reset"], _) => {
                self.session = None;
                println!("the machine starts anew (half a minute)");
                machine.reset()?;
            }
            (["end"], Some(session)) => session.interrupt(machine.guest())?,
            (_, Some(session)) => session.enter(machine.guest(), &format!("{line}\n"))?,
            ([] | ["end"], None) => {}
            (["quit" | "exit"], None) => return Ok(false),
            (["help" | "?"], None) => println!("{HELP}"),
            (["status"], None) => print!("{}", machine.guest().run("prestagectl status")?.text),
            (["live", command @ ..], None) => {
                self.session = Some(Session::start(machine.guest(), &command.join(" "))?);
            }
            (_, None) if LIVE.iter().any(|live| line.trim_start().starts_with(live)) => {
                self.session = Some(Session::start(machine.guest(), &line)?);
            }
            (_, None) => {
                let output = machine.guest().run(&line)?;
                print!("{}", output.text);
                if output.code != 0 {
                    println!("(exit code {})", output.code);
                }
            }
        }
        Ok(true)
    }

    /// Shows what the live command says, and notices its end.
    fn look(&mut self) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        let ended = session.ended(self.machine.guest());
        print!("{}", session.shown(self.machine.guest()).unwrap_or_default());
        if let Some(code) = ended? {
            self.session = None;
            println!("(ended with {code})");
            invite()?;
        }
        Ok(std::io::stdout().flush()?)
    }

    fn run(&mut self, lines: &Receiver<String>) -> Result<()> {
        invite()?;
        loop {
            let line = match lines.recv_timeout(PAUSE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    self.look()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) if self.session.is_some() => {
                    std::thread::sleep(PAUSE);
                    self.look()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            match self.execute(&line) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => println!("{error:#}"),
            }
            if self.session.is_none() {
                invite()?;
            }
        }
    }
}

fn invite() -> Result<()> {
    print!("rack> ");
    Ok(std::io::stdout().flush()?)
}

/// Standard input by lines, so that nobody waits for a line while a command goes on.
fn read_lines() -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn play(arguments: &Arguments) -> Result<()> {
    let Arguments { cache, package, media, fresh } = arguments;
    let start = Instant::now();
    let cargo = Cargo::default().with(ready::PACKAGE, package).with(ready::MEDIA, media);
    let ready = match fresh {
        true => Ready::fresh(cache, "fresh", &cargo)?,
        false => Ready::made(cache, "play", &cargo)?,
    };
    let machine = ready.machine()?;
    println!(
        "The rack is ready after {:.1} s; its console and drives lie in {}.\n{HELP}\n{}",
        start.elapsed().as_secs_f64(),
        machine.folder().display(),
        if *fresh { FRESH } else { "" }
    );
    let mebibytes = if *fresh { ROOMY } else { SMALL };
    Prompt { machine, mebibytes, session: None }.run(&read_lines())
}

fn main() -> ExitCode {
    let Err(error) = play(&Arguments::parse()) else { return ExitCode::SUCCESS };
    println!("rack: {error:#}");
    ExitCode::FAILURE
}
