//! Quantities that can be written and that no machine has.

use super::super::*;
use super::mistakes::{mistake, partitions};
use model::units::Bytes;

#[test]
fn absurd_quantities_are_mistakes() {
    let machine = rustix::system::sysinfo();
    let memory = machine.totalram.saturating_mul(machine.mem_unit.into()).max(1 << 30);
    for (text, expected) in [
        (
            "[replicate]\nmemory = \"1EiB\"",
            "a.toml:2: replicate.memory: 1152921504606846976 bytes are more than this machine has (MEMORY)\n\
             hint: write for example \"1GiB\"",
        ),
        (
            "[replicate]\nrewrites = 4294967295",
            "a.toml:2: replicate.rewrites: 4294967295 are too many\n\
             hint: write a number from 0 to 100",
        ),
        (
            "[replicate]\nmin_write_rate = \"15EiB/s\"",
            "a.toml:2: replicate.min_write_rate: no drive writes 17293822569102704640 bytes in a second\n\
             hint: write for example \"5MB/s\"",
        ),
        (
            "[replicate]\nstall_timeout = \"1ns\"",
            "a.toml:2: replicate.stall_timeout: 1ns are too short\n\
             hint: write a time from \"1s\" to \"24h\"",
        ),
        (
            "[replicate]\nrate_window = \"1000h\"",
            "a.toml:2: replicate.rate_window: 3600000s are too long\n\
             hint: write a time from \"100ms\" to \"1h\"",
        ),
        (
            "[store]\nbudget = \"15EiB\"",
            "a.toml:2: store.budget: 17293822569102704640 bytes are too many\n\
             hint: write \"1PiB\" or less",
        ),
        (
            "[store]\nbudget = 1",
            "a.toml:2: store.budget: 1 bytes are too few\n\
             hint: write \"64MiB\" or more",
        ),
        (
            "[admission]\nmax_size = \"15EiB\"",
            "a.toml:2: admission.max_size: 17293822569102704640 bytes are too many\n\
             hint: write \"1PiB\" or less",
        ),
        (
            "[admission]\nsizes = [\"512GB\", 512]",
            "a.toml:2: admission.sizes: 512 bytes are too few\n\
             hint: write \"1MiB\" or more",
        ),
        (
            "[[layout]]\nname = \"x\"\nboot = \"none\"\npartitions = [\n\
             { type = \"windows\", size = \"rest\" },\n{ type = \"recovery\", size = \"15EiB\" } ]",
            "a.toml:6: [[layout]] partitions.size: 17293822569102704640 bytes are too many\n\
             hint: write \"1PiB\" or less",
        ),
        (
            "[admission]\nmax_size = \"1GB\"",
            "a.toml:2: admission.max_size: 1000000000 bytes do not hold the layout \"uefi\", whose partitions have 1369440256 and more\n\
             hint: no drive can be admitted; change one of them",
        ),
        (
            &partitions(
                "{ type = \"esp\", size = \"99GiB\" }, { type = \"windows\", size = \"rest\" }",
            ),
            "a.toml:1: layout \"x\": the esp partition would have 106300440576 bytes; its file system has at most 34359738368\n\
             hint: set its size to \"32768MiB\" or less",
        ),
    ] {
        let expected = expected.replace("MEMORY", &memory.to_string());
        assert_eq!(mistake(&[("a.toml", text)]), expected, "{text}");
        assert!(Config::from_table(text.parse().unwrap()).is_err(), "{text}");
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    for text in [
        "replicate = { stall_timeout = \"1s\", rate_window = \"100ms\", memory = \"64MiB\" }",
        "replicate = { stall_timeout = \"24h\", rate_window = \"1h\", rewrites = 100 }",
        "replicate.min_write_rate = \"100GB/s\"",
        "store.budget = \"64MiB\"\nadmission = { min_size = \"1MiB\", max_size = \"1PiB\" }",
    ] {
        let config = Config::from_table(text.parse().unwrap());
        assert!(config.is_ok(), "{text}: {config:?}");
    }
    assert_eq!(Config::default().store.budget, Bytes(100 << 30));
}
