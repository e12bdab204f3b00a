//! A rack to play with: the machine of the tests, and a prompt to plug drives from. `scripts/rack` builds what it needs.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use prestaged_rack::{Bus, Cargo, Fault, Machine, Ready, Spec, ready};

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
}

const HELP: &str = "\
plug BUS SERIAL [OPTION...]   BUS: nvme, scsi, usb, or sata (only SATA0001 and SATA0002)
    mib=N (512) sector=512|4096 bay=N rate=MEBIBYTES-PER-SECOND wwn=HEX ro bad-read=SECTOR bad-write=SECTOR
unplug SERIAL                 pulls it; its content stays, and plugging it again brings it back
rate SERIAL MEBIBYTES         makes a drive that was plugged with a rate slower or faster
status                        prestagectl status
reset                         pulls the plug of the whole machine, and starts it again
quit                          ends the machine and forgets it
anything else                 runs in the guest as root: prestagectl records, journalctl -u prestaged, lsblk";

fn spec(words: &[&str]) -> Result<Spec> {
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
    let mut spec = Spec::new(bus, serial);
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

/// Does what a line says; whether to go on.
fn execute(machine: &mut Machine, line: &str) -> Result<bool> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => {}
        ["quit" | "exit"] => return Ok(false),
        ["help" | "?"] => println!("{HELP}"),
        ["plug", words @ ..] => machine.plug(&spec(words)?)?,
        ["unplug", serial] => machine.unplug(serial)?,
        ["rate", serial, rate] => machine.set_rate(serial, rate.parse::<u64>()? << 20)?,
        ["reset"] => machine.reset()?,
        ["status"] => print!("{}", machine.guest().run("prestagectl status")?.text),
        _ => {
            let output = machine.guest().run(line)?;
            print!("{}", output.text);
            if output.code != 0 {
                println!("(exit code {})", output.code);
            }
        }
    }
    Ok(true)
}

fn main() -> Result<()> {
    let Arguments { cache, package, media } = Arguments::parse();
    println!("The first start takes a few minutes: Debian is installed, started and saved.");
    let start = Instant::now();
    let cargo = Cargo::default().with(ready::PACKAGE, &package).with(ready::MEDIA, &media);
    let mut machine = Ready::made(&cache, "play", &cargo)?.machine()?;
    println!(
        "The rack is ready after {:.1} s; its console and drives lie in {}.\n{HELP}",
        start.elapsed().as_secs_f64(),
        machine.folder().display()
    );
    let mut lines = std::io::stdin().lock().lines();
    loop {
        print!("rack> ");
        std::io::stdout().flush()?;
        let Some(line) = lines.next() else { return Ok(()) };
        match execute(&mut machine, &line?) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => println!("{error:#}"),
        }
    }
}
