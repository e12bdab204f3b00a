//! How fast this machine hashes read-back chunks: `hash-rate [--json]`.
//!
//! Compares the paths that this processor has with each other, and with `sha2` when it knows no SHA extensions, on one
//! thread and on every core.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of scripts/bench")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use drives::buffer::Buffer;
use model::digest::{HashPath, HashPaths, Lanes};
use model::ranges::CHUNK;
use sha2_soft::Digest as _;

/// What hashes chunks.
#[derive(Clone, Copy)]
enum Way {
    /// Without SHA extensions, whatever the processor has.
    Soft,
    Path(HashPath),
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Soft => "soft".to_owned(),
            Self::Path(path) => path.to_string(),
        }
    }

    fn lanes(self) -> usize {
        match self {
            Self::Soft => 1,
            Self::Path(path) => path.lanes(),
        }
    }

    fn hash(self, chunks: &[Buffer]) {
        match self {
            Self::Soft => chunks.iter().for_each(|chunk| {
                black_box(sha2_soft::Sha256::digest(black_box(&**chunk)));
            }),
            Self::Path(path) => {
                let mut lanes = Lanes::new(HashPaths::only(path));
                chunks.iter().for_each(|chunk| lanes.add(black_box(&**chunk)));
                black_box(lanes.advance(CHUNK));
            }
        }
    }
}

/// How long one figure is measured for, and how many times; the best counts, for others may want the machine too.
const SPAN: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;

/// Gigabytes per second of so many threads together, each with chunks of its own.
fn rate(threads: usize, way: Way) -> f64 {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let work = || {
            let mut chunks: Vec<Buffer> = (0..way.lanes()).map(|_| Buffer::zeroed(CHUNK)).collect();
            chunks.iter_mut().for_each(|chunk| chunk.fill(0xa5));
            start.wait();
            let (begin, mut bytes) = (Instant::now(), 0.0);
            while begin.elapsed() < SPAN {
                way.hash(&chunks);
                bytes += chunks.iter().map(|chunk| chunk.len() as f64).sum::<f64>();
            }
            bytes / begin.elapsed().as_secs_f64() / 1e9
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).sum()
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => {
            eprintln!("usage: hash-rate [--json]");
            return ExitCode::from(64);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ways: Vec<Way> =
        [Way::Soft].into_iter().chain(HashPath::available().map(Way::Path)).collect();
    let counts = [("one_thread", 1), ("all_cores", cores)];
    let mut best: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, threads) in counts {
            for way in &ways {
                let best = best.entry(name).or_default().entry(way.name()).or_default();
                *best = best.max(rate(threads, *way));
            }
        }
    }
    if json {
        let mut found = serde_json::json!({ "unit": "GB/s", "cores": cores });
        for (name, rates) in best {
            found[name] = serde_json::json!(rates);
        }
        println!("{found}");
    } else {
        for (name, rates) in best {
            let rates: Vec<String> =
                rates.iter().map(|(way, rate)| format!("{way} {rate:.2}")).collect();
            println!("{name}: {} GB/s", rates.join(", "));
        }
    }
    ExitCode::SUCCESS
}
