//! Orders on drives that are plugged and pulled.

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Fault, Spec};
use serde_json::Value;

use super::Rack;

/// A sector of the Windows volume that is written before the commit; see `faults`.
const BAD: u64 = (1 + 300 + 16) * 2048 + 64;

fn standing(rack: &mut Rack, number: &str) -> Value {
    rack.ctl(&format!("order show {number}"))["standing"].clone()
}

/// Two orders for two media on one station, one by bays and one by a list of serial numbers: both are made to their quantity at
/// once. One drive too many is refused, and one that fails is exhausted until somebody says why it may try again.
#[apply(test!)]
#[needs(LONG, RACK)]
fn two_orders_at_once() {
    let mut rack = Rack::restored("two orders");
    let inbox = "/srv/prestaged/media";
    let media = rack.ctl("media list")[0]["name"].as_str().unwrap().to_owned();
    // Another GUID makes other media of the same files: nothing else is in the first bytes that its table of digests covers.
    rack.done(&format!(
        "cp {inbox}/{media} {inbox}/.other && printf other | dd of={inbox}/.other bs=1 seek=24 conv=notrunc && \
         mv {inbox}/.other {inbox}/other.wim"
    ));
    let sha256 = |rack: &mut Rack, name: &str| {
        rack.wait(&format!("{name} to be valid"), |rack| {
            let all = rack.ctl("media list");
            let found = all.as_array().unwrap().iter().find(|media| media["name"] == name)?.clone();
            (found["state"] == "valid").then(|| found["sha256"].as_str().unwrap().to_owned())
        })
    };
    let (first, second) = (sha256(&mut rack, &media), sha256(&mut rack, "other.wim"));
    rack.done(&format!(
        "prestagectl media offer {media} by_hand && prestagectl media offer other.wim by_hand && cd /root && \
         printf 'serial\\nSAS00001\\nSAS00002\\nSASBAD\\n' > list.csv && \
         printf 'number = \"PO-N\"\\nmedia = \"{first}\"\\nquantity = 2\\n[match]\\nbays = [\"*nvme*\"]\\n' > n.toml && \
         printf 'number = \"PO-S\"\\nmedia = \"{second}\"\\nquantity = 2\\nattempts = 1\\n[match]\\nserials = [\"@list.csv\"]\\n' > s.toml && \
         prestagectl order add n.toml && prestagectl order add s.toml"
    ));
    // Before the others come: the order has no place for three at once.
    rack.plug(&Spec::new(Bus::Scsi, "SASBAD").fault(Fault::Write(BAD)));
    let failed = rack.wait_verdict("SASBAD");
    assert_eq!((&failed["order"], &failed["verdict"]), (&"PO-S".into(), &"failed".into()));
    let good = [
        (Bus::Nvme, "NVME0001", "PO-N", media.as_str()),
        (Bus::Nvme, "NVME0002", "PO-N", media.as_str()),
        (Bus::Scsi, "SAS00001", "PO-S", "other.wim"),
        (Bus::Scsi, "SAS00002", "PO-S", "other.wim"),
    ];
    good.iter().for_each(|(bus, serial, ..)| rack.plug(&Spec::new(*bus, serial)));
    for (_, serial, order, media) in good {
        let record = rack.wait_pass(serial);
        let told = (&record["order"], &record["media"]["name"], &record["attempt"]);
        assert_eq!(told, (&order.into(), &media.into(), &1.into()), "{record:#}");
        rack.check_tables(serial);
    }
    for number in ["PO-N", "PO-S"] {
        let standing = standing(&mut rack, number);
        assert_eq!((&standing["passed"], &standing["running"]), (&2.into(), &0.into()));
    }
    // One too many.
    rack.plug(&Spec::new(Bus::Nvme, "NVME0003"));
    assert_eq!(rack.wait_decision("NVME0003"), "order_complete");
    rack.check_no_tables("NVME0003");
    // The failing one, repaired: it has had its attempt, whatever place is free.
    rack.done("prestagectl order quantity PO-S 3 --reason 'one more is wanted'");
    rack.unplug("SASBAD");
    rack.wait("the station to see it go", |rack| {
        let all = rack.ctl("drives");
        all.as_array().unwrap().iter().all(|drive| drive["serial"] != "SASBAD").then_some(())
    });
    std::fs::remove_file(rack.machine.file("SASBAD")).unwrap();
    rack.plug(&Spec::new(Bus::Scsi, "SASBAD"));
    assert_eq!(rack.wait_decision("SASBAD"), "attempts_exhausted");
    rack.check_no_tables("SASBAD");
    rack.done("prestagectl order release PO-S SASBAD --reason 'the cable was loose' && prestagectl retry SASBAD");
    let record = rack.wait_pass("SASBAD");
    assert_eq!((&record["order"], &record["attempt"]), (&"PO-S".into(), &2.into()), "{record:#}");
    assert_eq!(standing(&mut rack, "PO-S")["passed"], 3);
}
