//! Answers that come, come too late, or make no sense.

use std::io::BufRead as _;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use super::*;

/// A program that answers each question with what the next of these functions does with its connection.
fn program(socket: &Path, answers: Vec<Box<dyn Fn(UnixStream) + Send>>) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            io::BufReader::new(&stream).read_line(&mut line).unwrap();
            assert_eq!(line, "sda 17\n");
            answer(stream);
        }
    })
}

const GOOD: &str = r#"{"smartctl": {"exit_status": 0}, "device": {"protocol": "ATA"},
    "smart_status": {"passed": true}, "temperature": {"current": 30}}"#;

fn say(text: String) -> Box<dyn Fn(UnixStream) + Send> {
    Box::new(move |mut stream| stream.write_all(text.as_bytes()).unwrap())
}

fn asking(socket: &Path, patience: u64) -> Asking {
    let patience = Duration::from_millis(patience);
    Asking { socket: socket.to_owned(), patience, open: Mutex::default() }
}

#[test]
fn only_a_whole_answer_counts() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("health");
    let length = GOOD.len();
    let answers = [
        (format!("answer {length}\n{GOOD}"), None),
        (String::new(), Some("has ended without an answer")),
        (format!("answer {}\n{GOOD}", length + 1), Some("ends too early")),
        (format!("answer {}\n{GOOD}", length - 1), Some("ends too early")),
        (GOOD.into(), Some("in an unknown way")),
        (format!("answer -1\n{GOOD}"), Some("in an unknown way")),
        (format!("hello\n{GOOD}"), Some("in an unknown way")),
        ("unknown there is \u{1b}[2J no drive\n".into(), Some("there is ?[2J no drive")),
        ("x".repeat(1 << 20), Some("does not end")),
    ];
    let said = answers.iter().map(|(text, _)| {
        let text = text.clone();
        // It may be cut off before it has said everything.
        Box::new(move |mut stream: UnixStream| drop(stream.write_all(text.as_bytes())))
            as Box<dyn Fn(UnixStream) + Send>
    });
    let program = program(&socket, said.collect());
    let asking = asking(&socket, 5000);
    for (text, why) in &answers {
        let health = asking.ask("sda", Diskseq(17));
        let text: String = text.chars().take(40).collect();
        match why {
            None => assert_eq!((health.temperature_celsius, health.unknown), (Some(30), None)),
            Some(why) => {
                let unknown = health.unknown.unwrap();
                assert!(unknown.contains(why), "{text:?}: {unknown}");
            }
        }
    }
    program.join().unwrap();
    assert!(asking.open.lock().is_empty());
}

#[test]
fn without_a_socket_nobody_is_asked_and_without_a_program_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = asking(&folder.path().join("none"), 5000);
    let unknown = nobody.ask("sda", Diskseq(17)).unknown.unwrap();
    assert!(unknown.starts_with("nobody answers on "), "{unknown}");
    assert!(HealthReader::new(None, Duration::ZERO).0.is_none());
}

/// One question per drive is open at most, whatever happens; a drive that answers again is asked again.
#[test]
fn a_drive_that_hangs_is_not_asked_again_until_its_question_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("health");
    let (go, wait) = mpsc::channel::<()>();
    let (gone, left) = mpsc::channel();
    let wait = Mutex::new(wait);
    let hang: Box<dyn Fn(UnixStream) + Send> = Box::new(move |mut stream| {
        wait.lock().recv().unwrap();
        stream.write_all(b"unknown too late\n").unwrap();
        drop(stream);
        gone.send(()).unwrap();
    });
    let good = say(format!("answer {}\n{GOOD}", GOOD.len()));
    let program = program(&socket, vec![hang, good]);
    let asking = asking(&socket, 50);
    let why = |health: Health| health.unknown.unwrap();
    let first = why(asking.ask("sda", Diskseq(17)));
    assert_eq!(first, "the drive has not answered for 0.05 s (health.timeout)");
    for _ in 0..3 {
        assert!(why(asking.ask("sda", Diskseq(17))).contains("an earlier question"));
    }
    go.send(()).unwrap();
    left.recv().unwrap();
    let asking = Asking { patience: Duration::from_secs(5), ..asking };
    assert_eq!(asking.ask("sda", Diskseq(17)).temperature_celsius, Some(30));
    program.join().unwrap();
}
