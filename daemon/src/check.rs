//! What the station needs on this machine, all of it looked for before anything is changed: the start ends, and `--check`
//! says so, where something cannot work.

use std::path::Path;

use anyhow::Error;
use config::{Config, ConfigError};
use media::tools::Tools;
use media::worker::account::{self, AccountError};
use media::worker::pool::Workers;
use media::worker::{Probe, Probed};
use model::account::Account;
use model::hint::Hint as _;

use crate::doors::Visitors;
use crate::signers::{self, Trust};
use crate::suitability::{self, doubts};

/// What is said of a kernel before the name of what it lacks.
pub(crate) const LACKING: &str = "workers are not fully kept apart: this kernel lacks";

/// What a station runs with.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Found {
    pub tools: Tools,
    pub workers: Workers,
    pub probed: Probed,
}

/// Finds the programs, the accounts and libwim, and what workers have on this machine, without changing anything.
///
/// # Errors
/// All that is missing or wrong, each with a hint how to mend it. What only the gate would stumble over is not among it:
/// see [`gate::mistakes`].
pub async fn check(config: &Config) -> Result<Found, Vec<Error>> {
    let mut mistakes: Vec<Error> = Vec::new();
    mistakes.extend(suitability::check(config).into_iter().map(Error::from));
    let known = record::signer_list::peek(&config.ledger.path);
    let trust = signers::read(config);
    let trust = trust.and_then(|trust| trust.goes_on_from(config, known.as_ref()));
    mistakes.extend(trust.err().map(Error::from));
    let tools = Tools::find(&config.tools.search).map_err(|error| mistakes.push(error.into())).ok();
    let account = Visitors::of(config).and_then(|visitors| for_workers(config, &visitors));
    let workers = account.map_err(Error::from).map(Workers::new);
    let workers = workers.map_err(|error| mistakes.push(error)).ok();
    let probed = match &workers {
        Some(workers) => workers.run(&Probe {}, |_| ()).await,
        None => return Err(mistakes),
    };
    let probed = probed.map_err(|error| mistakes.push(error.into())).ok();
    match (tools, workers, probed) {
        (Some(tools), Some(workers), Some(probed)) if mistakes.is_empty() => {
            Ok(Found { tools, workers, probed })
        }
        _ => Err(mistakes),
    }
}

/// The account of workers, who must be able to ask for nothing on the sockets.
fn for_workers(config: &Config, visitors: &Visitors) -> Result<Option<Account>, ConfigError> {
    let account = account::for_workers(config.tools.user.as_deref(), visitors.group);
    let account = account.map_err(|error| placed(config, &error))?;
    let uid = account.map(|account| account.uid);
    if uid.is_some() && uid == visitors.gate {
        let what = "the gate's user also reads media (tools.user), and media comes from outside";
        return Err(config.mistake("gate.user", what, OWN_USER));
    }
    Ok(account)
}

/// What to do about a `gate.user` who is somebody else.
pub(crate) const OWN_USER: &str = "leave gate.user out, and make the user: `useradd --system prestaged-gate`; or name one that is the gate's alone";

/// The number of the group whose members may control the station.
pub(crate) fn control_group(config: &Config) -> Result<Option<u32>, ConfigError> {
    let group = config.control.group.as_deref();
    let group = group.map(|name| account::group("control.group", name)).transpose();
    group.map_err(|error| placed(config, &error))
}

/// An error about an account, with the place where the account is named.
pub(crate) fn placed(config: &Config, error: &AccountError) -> ConfigError {
    config.mistake(error.key(), error.to_string(), &error.hint().unwrap_or_default())
}

/// The output of `--check`: the configuration in words.
pub fn summary(config: &Config, found: &Found) -> String {
    let Found { tools, probed, .. } = found;
    let list = |items: &[String]| if items.is_empty() { "none".into() } else { items.join(", ") };
    // What may be written is worth knowing where it stands: any of several files may have the last word.
    let from =
        |key: &str| config.place(key).map(|place| format!("  ({place})")).unwrap_or_default();
    let layout = config.chosen_layout();
    let partitions: Vec<String> = layout.partitions.iter().map(|p| p.role.to_string()).collect();
    let admission = &config.admission;
    let names: Vec<String> =
        config.bay.iter().map(|bay| format!("{} ({})", bay.name.trim(), bay.path)).collect();
    let path = |path: Option<&Path>| path.map_or("none".into(), |path| path.display().to_string());
    let webhooks = config.gate.webhooks.iter().map(|hook| format!("{} ({})", hook.name, hook.url));
    let webhooks: Vec<String> = webhooks.collect();
    let brokers = config.gate.brokers.iter().map(|one| format!("{} ({})", one.name, one.url));
    let brokers: Vec<String> = brokers.collect();
    // What is wrong with them was told before.
    let trust = signers::read(config).ok();
    let signers: Vec<String> = trust.iter().flat_map(Trust::names).collect();
    let number = trust.as_ref().and_then(Trust::number);
    let known = record::signer_list::peek(&config.ledger.path);
    let anew = trust.as_ref().and_then(|trust| trust.begins_anew(known.as_ref()));
    let of_list = number.map(|number| format!(" (list {number})")).unwrap_or_default();
    let labels = config.labels.template.as_ref().map(|path| path.display().to_string());
    [
        format!("station   {}", config.station.name),
        format!(
            "armed     {}{}",
            if admission.armed { "yes" } else { "no" },
            from("admission.armed")
        ),
        format!("buses     {}{}", list(&admission.buses), from("admission.buses")),
        format!("bays      {}{}", list(&admission.bays), from("admission.bays")),
        format!("names     {}", list(&names)),
        format!("inbox     {}", config.media.inbox.display()),
        format!("store     {} (budget {})", config.store.path.display(), config.store.budget),
        format!("ledger    {}", config.ledger.path.display()),
        format!("socket    {}", config.control.socket.display()),
        format!("view      {}", path(config.control.view_socket.as_deref())),
        format!("gate      {}", gate_line(config)),
        format!("webhooks  {}", list(&webhooks)),
        format!("brokers   {}", list(&brokers)),
        format!("orders    {}", path(config.orders.inbox.as_deref())),
        format!("results   {}", path(config.orders.results.as_deref())),
        format!("labels    {}", labels.unwrap_or_else(|| "the station's own template".into())),
        format!("signers   {}{of_list}", list(&signers)),
        format!("layout    {} ({})", layout.name, partitions.join(", ")),
        format!("libwim    {}", probed.libwim),
        format!("mkntfs    {}", tools.mkntfs.display()),
        format!("mkfs.vfat {}", tools.mkfs_vfat.display()),
        format!("mcopy     {}", tools.mcopy.display()),
        format!("hivexsh   {}", tools.hivexsh.display()),
        format!("blkid     {}", tools.blkid.display()),
    ]
    .into_iter()
    .chain(anew.map(|told| format!("warning   {told}")))
    .chain(doubts(config).iter().map(|doubt| format!("warning   {doubt}")))
    .chain(probed.lacking.iter().map(|what| format!("warning   {LACKING} {what}")))
    .collect::<Vec<_>>()
    .join("\n")
}

/// Where the gate listens, and as whom it is known.
fn gate_line(config: &Config) -> String {
    let gate = &config.gate;
    let Some(listen) = &gate.listen else { return "off".into() };
    let user = gate.user.as_deref().unwrap_or(config::GATE_USER);
    let may = match (gate.operate, gate.arming) {
        (false, _) => "looks only",
        (true, false) => "operates",
        (true, true) => "operates and arms",
    };
    let accounts = gate.accounts.as_ref().map(|path| format!(", accounts {}", path.display()));
    format!("{listen} as {user}, {may}{}", accounts.unwrap_or_default())
}
