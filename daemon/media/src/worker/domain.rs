//! The domain of a worker: what it may still do once it knows its task.
//!
//! All workers share one account, and what they read comes from outside. So each of them shuts itself in before it
//! touches media: it is not dumpable, it can neither trace nor signal another process, it reaches no files but those of
//! its task (Landlock), and neither it nor a program that it starts can leave its process group, by which the station
//! ends all of them at once (seccomp).

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, getpid, set_dumpable_behavior};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The files that a task needs, besides the system's own programs and libraries.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Files and folders to read.
    pub read: Vec<PathBuf>,
    /// Folders to write and make files in.
    pub write: Vec<PathBuf>,
    /// Programs to start. A worker without any can start no process at all.
    pub run: Vec<PathBuf>,
}

impl Reach {
    /// These media files and their folders, to read. Where a file is a link, so is its target.
    pub fn to_read<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut read = Vec::new();
        for file in files {
            read.extend(file.parent().map(Path::to_owned));
            read.extend(fs::canonicalize(file));
        }
        read.dedup();
        Self { read, ..Self::default() }
    }
}

/// A domain that cannot be entered.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DomainError {
    #[error("cannot keep other processes out of this one")]
    Dumpable(#[source] rustix::io::Errno),
    #[error("cannot restrict which files are reached")]
    Landlock(#[from] RulesetError),
    #[error("cannot restrict which system calls are made")]
    Filter(#[from] BackendError),
    #[error("cannot restrict which system calls are made")]
    Seccomp(#[from] seccompiler::Error),
}

/// Keeps every other process of this account out of this one: it cannot be traced, and its memory cannot be read. To
/// be called before anything else, because whoever traces a process already goes on doing so.
///
/// # Errors
/// [`DomainError::Dumpable`].
pub fn shut() -> Result<(), DomainError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(DomainError::Dumpable)
}

/// Enters the domain of a task, for ever. The process must have one thread, and no way to more rights. Returns what this
/// kernel lacks for it, in words.
///
/// # Errors
/// [`DomainError`] if the kernel has what it takes, but refuses.
pub fn enter(reach: &Reach) -> Result<Vec<String>, DomainError> {
    let mut lacking = Vec::new();
    if restrict_files(reach)? == RulesetStatus::NotEnforced {
        lacking.push(
            "Landlock (security/landlock), which keeps workers from each other's files".into(),
        );
    }
    match TargetArch::try_from(std::env::consts::ARCH) {
        Ok(arch) => restrict_calls(reach, arch)?,
        Err(_) => lacking.push("a seccomp filter for this processor".into()),
    }
    Ok(lacking)
}

/// Where the system keeps programs, libraries and their settings.
const SYSTEM: [&str; 6] = ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc"];

fn restrict_files(reach: &Reach) -> Result<RulesetStatus, RulesetError> {
    // Older kernels know less of this; the library then asks for what they know.
    let abi = ABI::V6;
    let all = AccessFs::from_all(abi);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute: BitFlags<AccessFs> = read | AccessFs::Execute;
    let programs = reach.run.iter().filter_map(|path| fs::canonicalize(path).ok());
    let status = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, execute))?
        .add_rules(path_beneath_rules(reach.run.iter().cloned().chain(programs), execute))?
        .add_rules(path_beneath_rules(["/dev/zero", "/dev/urandom"], AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&reach.read, read))?
        .add_rules(path_beneath_rules(&reach.write, all ^ AccessFs::Execute))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Calls that no worker needs and that reach another process, leave the process group, or widen what an attacker of the
/// kernel can touch.
const FORBIDDEN: [libc::c_long; 31] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_socket,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_name_to_handle_at,
];

/// Calls by which a process starts another one, or asks a device to do something: forbidden to whoever starts none.
const FORBIDDEN_ALONE: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ioctl,
];

/// Flags of clone(2) that make namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

fn restrict_calls(reach: &Reach, arch: TargetArch) -> Result<(), DomainError> {
    let bits = |flag: libc::c_int| u64::from(flag.unsigned_abs());
    let clones = |mask: u64, value: u64| rule(0, SeccompCmpOp::MaskedEq(mask), value);
    let mut rules: Vec<(i64, Vec<SeccompRule>)> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let clone = if reach.run.is_empty() {
        rules.extend(FORBIDDEN_ALONE.iter().map(|call| (*call, Vec::new())));
        vec![clones(bits(libc::CLONE_THREAD), 0)?]
    } else {
        let flags = NAMESPACES.iter().map(|flag| clones(bits(*flag), bits(*flag)));
        flags.collect::<Result<_, _>>()?
    };
    rules.push((libc::SYS_clone, clone));
    // A process may end itself with a signal, as abort(3) does, and nobody else.
    let own = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
    rules.push((libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Ne, own)?]));
    apply(rules, libc::EPERM, arch)?;
    // A filter cannot read the flags of clone3, which stand in memory. Told that the kernel does not have it, the C
    // library uses clone.
    apply(vec![(libc::SYS_clone3, Vec::new())], libc::ENOSYS, arch)
}

fn rule(argument: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    let length = SeccompCmpArgLen::Dword;
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operation, value)?])
}

/// Makes the calls that a rule is for fail with this error; a call without rules always does.
fn apply(
    rules: Vec<(i64, Vec<SeccompRule>)>,
    errno: libc::c_int,
    arch: TargetArch,
) -> Result<(), DomainError> {
    let deny = SeccompAction::Errno(errno.unsigned_abs());
    let rules = rules.into_iter().collect();
    let program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, deny, arch)?.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
