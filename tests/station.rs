//! The whole station from outside: the daemon and prestagectl as users run them.

#![expect(clippy::disallowed_methods, reason = "writes files of its own, and drives that it made")]
#![expect(clippy::unwrap_used, reason = "tests")]

#[macro_use]
mod harness;

#[path = "station/admission.rs"]
mod admission;
#[path = "station/audits.rs"]
mod audits;
#[path = "station/bays.rs"]
mod bays;
#[path = "station/boot.rs"]
mod boot;
#[path = "station/boot_managers.rs"]
mod boot_managers;
#[path = "station/boot_media.rs"]
mod boot_media;
#[path = "station/boot_walk.rs"]
mod boot_walk;
#[path = "station/corpus.rs"]
mod corpus;
#[path = "station/create.rs"]
mod create;
#[path = "station/crowd.rs"]
mod crowd;
#[path = "station/descriptors.rs"]
mod descriptors;
#[path = "station/events.rs"]
mod events;
#[path = "station/evidence.rs"]
mod evidence;
#[path = "station/faults.rs"]
mod faults;
#[path = "station/health.rs"]
mod health;
#[path = "station/hostile.rs"]
mod hostile;
#[path = "station/imaging.rs"]
mod imaging;
#[path = "station/kiosk.rs"]
mod kiosk;
#[path = "station/lamps.rs"]
mod lamps;
#[path = "station/machine.rs"]
mod machine;
#[path = "station/manuals.rs"]
mod manuals;
#[path = "station/matrix.rs"]
mod matrix;
#[path = "station/media.rs"]
mod media;
#[path = "station/odd_media.rs"]
mod odd_media;
#[path = "station/odd_names.rs"]
mod odd_names;
#[path = "station/odd_random.rs"]
mod odd_random;
#[path = "station/orders.rs"]
mod orders;
#[path = "station/package.rs"]
mod package;
#[path = "station/paper.rs"]
mod paper;
#[path = "station/parcel/mod.rs"]
mod parcel;
#[path = "station/pressing.rs"]
mod pressing;
#[path = "station/rack/mod.rs"]
mod rack;
#[path = "station/rights.rs"]
mod rights;
#[path = "station/service.rs"]
mod service;
#[path = "station/setting_up.rs"]
mod setting_up;
#[path = "station/sizes.rs"]
mod sizes;
#[path = "station/spoilt.rs"]
mod spoilt;
#[path = "station/tidy.rs"]
mod tidy;
#[path = "station/trouble.rs"]
mod trouble;
#[path = "station/trust/mod.rs"]
mod trust;
#[path = "station/verbs.rs"]
mod verbs;
#[path = "station/verify.rs"]
mod verify;
#[path = "station/views.rs"]
mod views;
#[path = "station/views_api.rs"]
mod views_api;
#[path = "station/views_browser.rs"]
mod views_browser;
#[path = "station/views_gate.rs"]
mod views_gate;
#[path = "station/views_metrics.rs"]
mod views_metrics;
#[path = "station/views_top.rs"]
mod views_top;

fn main() -> std::process::ExitCode {
    harness::registry::main()
}
