//! The keys of the gate.

use super::Fallback::{Absent, Required, Value};
use super::Kind::{OneOf, Path, Switch, Text, Texts, Time, Webhooks};
use super::{Key, key};

/// In the order in which they are explained.
pub(super) const GATE: [Key; 19] = [
    key(
        "gate",
        "listen",
        Text,
        Absent("the gate does not start"),
        "address and port on which [the gate](gate.md) shows the station: `\"127.0.0.1:8480\"`; another address than this machine's own needs a certificate",
    ),
    key(
        "gate",
        "certificate",
        Path,
        Absent("none"),
        "file with the gate's certificate and those between it and a root, as PEM; read anew when it changes",
    ),
    key(
        "gate",
        "key",
        Path,
        Absent("none"),
        "file with the private key of that certificate, as PEM",
    ),
    key(
        "gate",
        "accounts",
        Path,
        Absent("none"),
        "file with who may sign in at the gate, made by `prestaged-gate account`",
    ),
    key(
        "gate",
        "guests",
        OneOf(&["nobody", "loopback", "everybody"]),
        Value("\"loopback\""),
        "who may look without signing in: whoever sits at this machine; `nobody`, which is right behind a proxy; or `everybody`",
    ),
    key(
        "gate",
        "hosts",
        Texts,
        Absent("none"),
        "names under which browsers reach the gate, beside the address that it listens on",
    ),
    key(
        "gate",
        "origins",
        Texts,
        Absent("none"),
        "origins from which requests may come beside the gate's own, where a proxy stands before it: `\"https://rack.example\"`",
    ),
    key(
        "gate",
        "operate",
        Switch,
        Value("false"),
        "whether people who have signed in may also ask for something: retry, stop, release",
    ),
    key(
        "gate",
        "arming",
        Switch,
        Value("false"),
        "whether administrators may arm the station through the gate; disarming it needs only `gate.operate`",
    ),
    key(
        "gate",
        "user",
        Text,
        Absent("`prestaged-gate`"),
        "user as whom the gate runs; the daemon believes it, and nobody else, who has signed in",
    ),
    key(
        "gate",
        "state",
        Path,
        Value("\"/var/lib/prestaged-gate\""),
        "folder in which the gate remembers what it has told to whom; it is needed where somebody is told",
    ),
    key(
        "gate",
        "webhooks",
        Webhooks,
        Absent("none"),
        "who is told of each record that is closed and of what operators do, a table `[[gate.webhooks]]` each. [Events](gate.md#events)",
    ),
    key(
        "gate.webhooks",
        "name",
        Text,
        Required,
        "name of the receiver in metrics and messages: small letters, digits and hyphens. Under another name it is another receiver",
    ),
    key(
        "gate.webhooks",
        "url",
        Text,
        Required,
        "where events are sent to: `\"https://mes.example/prestaged\"`; without TLS only on this machine. Redirects are not followed",
    ),
    key(
        "gate.webhooks",
        "secret",
        Path,
        Required,
        "file with the secret by which the receiver knows that an event is from here: `whsec_` and 24 to 64 bytes in base64. Several lines: each signs, so that one can be replaced",
    ),
    key(
        "gate.webhooks",
        "events",
        Texts,
        Absent("all"),
        "which events are sent, as glob patterns: `[\"record.closed\", \"order.*\"]`",
    ),
    key(
        "gate.webhooks",
        "ca",
        Path,
        Absent("those of the system"),
        "file with the certificates of who may vouch for the receiver, as PEM",
    ),
    key(
        "gate.webhooks",
        "timeout",
        Time,
        Value("\"15s\""),
        "how long an event may take, from connecting to the answer",
    ),
    key(
        "gate.webhooks",
        "history",
        Switch,
        Value("false"),
        "whether a new receiver also gets what the log holds already",
    ),
];
