//! The gate from outside: its pages, its news, who may do what, and what becomes of requests that mean no good.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use macro_rules_attribute::apply;

use crate::harness::gate::{GAMES, PASSWORD, beat, for_games, rig, start_gate};
use crate::harness::signed::self_signed;
use crate::harness::teller::Teller;
use crate::harness::{Rig, Setup, group, wait_for};

/// Size of the drives.
const MIB: u64 = 160;

/// From the first drive to its verdict, as a person sees it; then the daemon stands still, ends, and comes back.
#[apply(test!)]
#[needs(ROOT, LOOP)]
fn verdicts_are_shown_and_nothing_old_is() {
    let (rig, port) = rig(&[]);
    rig.start_with_media();
    let gate = start_gate(&rig, port);
    let mut news = gate.news("/live");
    news.wait("an empty bay", |name, data| name == "grid" && data.contains("data-word=\"empty\""));
    let drive = rig.attached("A", MIB, 512);
    rig.wait_pass(&drive.serial);
    let tile =
        news.wait("PASS", |name, data| name == "grid" && data.contains("data-word=\"PASS\""));
    assert!(tile.contains("Take it out") && tile.contains("NEED HANDS"), "{tile}");
    let expected = [
        ("/", "data-word=\"PASS\""),
        ("/wall", "data-word=\"PASS\""),
        ("/bay/left", &*drive.serial),
        ("/records", &*drive.serial),
        ("/orders", "There are no orders"),
        ("/media", "win.wim"),
        ("/login", "Password"),
        ("/healthz", "live"),
        ("/style.css", ".passed"),
        ("/live.js", "EventSource"),
        ("/list.js", "EventSource"),
        ("/v1/status", "\"armed\":true"),
        ("/v1/records", &*drive.serial),
    ];
    for (path, text) in expected {
        let answer = gate.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.body.contains(text), "{path}: {text}: {}", answer.body);
        for header in ["content-security-policy", "x-frame-options", "x-content-type-options"] {
            assert!(answer.header(header).is_some(), "{path}: {header}: {}", answer.head);
        }
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert!(!answer.body.contains("<script>") && !answer.body.contains(" style="), "{path}");
    }
    let metrics = || gate.get("/metrics").body;
    let count = "prestaged_jobs_total{verdict=\"passed\",reason=\"\"} 1\n";
    assert!(metrics().contains(count) && metrics().contains("prestaged_armed 1"), "{}", metrics());
    let wall = gate.get("/wall").body;
    assert!(!wall.contains("<form") && !wall.contains("<a "), "nothing to press: {wall}");
    let page = gate.get("/").body;
    assert!(page.contains("role=\"status\""), "{page}");

    // The daemon stands still: it neither ends nor answers.
    let pid = rustix::process::Pid::from_raw(rig.pid()).unwrap();
    news.wait("a beat", |name, data| name == "beat" && beat(data)["lost"] == false);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let stopped = Instant::now();
    let lost = news.wait("NO DATA", |name, data| name == "beat" && beat(data)["lost"] == true);
    let took = stopped.elapsed();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    // What a page hears says how old the data is, so that it is off the screen in time even where a beat is late.
    assert!(beat(&lost)["age"].as_u64().unwrap() < 6000, "{lost}, after {took:?}");
    // Tiles come again only where others, without data, were sent meanwhile; a page that has blanked its own draws them.
    news.wait("news", |name, data| name == "beat" && beat(data)["lost"] == false);
    assert!(gate.get("/").body.contains("data-word=\"PASS\""));

    // The daemon is gone.
    rig.kill();
    let grid = news.wait("NO DATA", |name, data| name == "grid" && data.contains("NO DATA"));
    assert!(!grid.contains("PASS") && !grid.contains("passed"), "{grid}");
    for path in ["/", "/wall", "/bay/left"] {
        let page = gate.get(path).body;
        assert!(page.contains("NO DATA") && !page.contains("PASS"), "{path}: {page}");
    }
    assert_eq!(gate.get("/healthz").status, 503);
    let lost = metrics();
    assert!(lost.contains(count) && lost.contains("prestaged_gate_connected 0"), "{lost}");
    assert!(!lost.contains("prestaged_armed"), "{lost}");
    assert_eq!(gate.get("/media").status, 503);
    rig.start();
    news.wait("PASS again", |name, data| name == "grid" && data.contains("data-word=\"PASS\""));
}

/// What each request gets that no person at the gate has made.
#[apply(test!)]
#[needs(ROOT, LOOP)]
fn requests_that_mean_no_good() {
    let (rig, port) = rig(&[("gate.operate", true.into())]);
    rig.start_with_media();
    let gate = start_gate(&rig, port);
    wait_for("data", || (gate.get("/healthz").status == 200).then_some(()));
    let cookie = gate.sign_in("olga");
    let own = format!("origin: http://localhost:{port}");
    let same = "sec-fetch-site: same-origin";
    let release = "/bay/left/release";
    let rows: [(&str, &str, &[&str], u16); 47] = [
        // DNS rebinding: a page's own name leads here, and everything else is right.
        ("GET", "/", &["host: evil.example"], 421),
        ("GET", "/live", &["host: evil.example:80"], 421),
        ("GET", "/v1/status", &["host: 192.0.2.7"], 421),
        (
            "POST",
            release,
            &["host: evil.example", "origin: http://evil.example", same, &cookie],
            421,
        ),
        ("GET", "/", &["host: localhost", "host: evil.example"], 400),
        ("GET", "/", &["host: localhost.evil.example"], 421),
        ("GET", "http://evil.example/", &[], 421),
        ("GET", "/metrics", &["host: evil.example"], 421),
        ("GET", "/style.css", &["host: evil.example"], 421),
        // CSRF: the cookie goes along, and the person knows nothing of it.
        ("POST", release, &["origin: https://evil.example", &cookie], 403),
        ("POST", release, &["origin: null", &cookie], 403),
        ("POST", release, &["sec-fetch-site: cross-site", &cookie], 403),
        ("POST", release, &["sec-fetch-site: same-site", &cookie], 403),
        ("POST", "/login", &["origin: https://evil.example"], 403),
        ("POST", "/scan", &["origin: https://evil.example", &cookie], 403),
        ("GET", "/scan", &[&cookie], 405),
        ("POST", "/scan", &[&own], 401),
        ("GET", release, &[&cookie], 405),
        ("HEAD", release, &[&cookie], 405),
        ("PUT", release, &[&own, &cookie], 405),
        ("DELETE", "/", &[&own, &cookie], 405),
        ("TRACE", "/", &[&own, &cookie], 405),
        // Asking beforehand whether it may: there is no answer that allows it.
        ("OPTIONS", release, &["origin: https://evil.example", &cookie], 403),
        ("POST", release, &[&own, "sec-fetch-site: cross-site", &cookie], 403),
        ("POST", release, &["origin: https://evil.example", same, &cookie], 403),
        // What another site may ask for, it cannot read (the headers below).
        ("GET", "/v1/status", &["origin: https://evil.example"], 200),
        // Its own page: nothing is there to acknowledge, which the daemon says.
        ("POST", release, &[&own, same, &cookie], 404),
        ("POST", release, &[&cookie], 404),
        // Without a session, with one that nobody has, with too few rights.
        ("POST", release, &[&own], 401),
        ("POST", release, &[&own, "cookie: prestaged=00"], 401),
        // A cookie that somebody has put before the right one.
        ("POST", release, &[&own, "cookie: prestaged=00", &cookie], 401),
        ("POST", "/station/arm", &[&own, &cookie], 403),
        ("POST", "/orders/1/hold", &[&own, &cookie], 403),
        ("POST", "/bay/left/erase", &[&own, &cookie], 404),
        // Paths.
        ("GET", "/bay/..%2f..%2f..%2fetc%2fpasswd", &[], 404),
        ("GET", "/../../etc/passwd", &[], 404),
        ("GET", "/v1/../v1/status", &[], 404),
        ("GET", "/bay/%00", &[], 404),
        ("GET", "//evil.example/%2e%2e", &[], 404),
        ("GET", "/bay/left/../../login", &[], 404),
        ("GET", "/v1/%2e%2e/control", &[], 404),
        ("GET", "/v1/status%0d%0aset-cookie:x=1", &[], 404),
        ("GET", "/v1/records/..%2f..%2fledger.db", &[], 400),
        ("POST", "/bay/left%2Frelease", &[&own, &cookie], 405),
        ("POST", "/orders/..%2f..%2fv1%2farm/hold", &[&own, &cookie], 403),
        ("GET", "/bay/%ff", &[], 400),
        ("GET", "/bay/%3Cscript%3Ealert(1)%3C%2Fscript%3E", &[], 404),
    ];
    for (method, path, lines, expected) in rows {
        let answer = gate.ask(method, path, lines, "");
        assert_eq!(answer.status, expected, "{method} {path} {lines:?}: {answer:?}");
        assert!(!answer.body.contains("<script>alert"), "{path}: {}", answer.body);
        assert!(!answer.body.contains("root:"), "{path}: {}", answer.body);
        // Whatever the answer is: no other site frames it, reads it or makes it something else.
        let header = |name: &str| answer.header(name).unwrap_or_default();
        assert_eq!(header("x-frame-options"), "DENY", "{path}: {}", answer.head);
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("set-cookie"), None, "{path}");
        let _ = writeln!(
            std::io::stderr(),
            "gate {method:<5}{path:<40} {:<60} {expected}",
            lines.join(", ").replace(&cookie, "(cookie)")
        );
    }
    // The daemon's writing part is not behind the gate's reading one.
    for (method, path) in [("POST", "/v1/arm"), ("POST", "/v1/image"), ("DELETE", "/v1/masters/x")]
    {
        assert_eq!(gate.ask(method, path, &[&own, &cookie], "{}").status, 405, "{path}");
    }
    // A session that somebody else has chosen beforehand does not become that of who signs in, and two are two.
    let chosen = format!("cookie: prestaged={}", "ab".repeat(32));
    let form = format!("name=olga&password={}", PASSWORD.replace(' ', "+"));
    let signed: Vec<String> = [(); 2]
        .map(|()| gate.ask("POST", "/login", &[&own, &chosen], &form))
        .iter()
        .map(|answer| answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned())
        .collect();
    assert!(signed[0] != signed[1] && !signed.iter().any(|cookie| chosen.ends_with(cookie)));
    assert_eq!(gate.ask("POST", release, &[&own, &chosen], "").status, 401);
    assert!(gate.ask("GET", "/?prestaged=x", &[], "").body.contains("Sign in"));
    // What is too long.
    let long = "x".repeat(20 << 10);
    assert_eq!(gate.ask("POST", "/login", &[], &format!("name={long}&password=y")).status, 413);
    assert_eq!(gate.ask("GET", &format!("/bay/{}", "y".repeat(80 << 10)), &[], "").status, 414);
    // A password is guessed: after five wrong ones nobody from there may try, not even with the right one.
    for at in 0..8 {
        let answer = gate.ask("POST", "/login", &[], "name=adam&password=wrong+guess");
        assert_eq!(answer.status, if at < 5 { 403 } else { 429 }, "{at}: {answer:?}");
    }
    let body = format!("name=adam&password={}", PASSWORD.replace(' ', "+"));
    let answer = gate.ask("POST", "/login", &[], &body);
    assert!(answer.status == 429 && answer.header("retry-after").is_some(), "{answer:?}");
    // Who has signed in stays so, until signing out.
    assert_eq!(gate.ask("POST", "/logout", &[&cookie], "").status, 303);
    assert_eq!(gate.ask("POST", release, &[&own, &cookie], "").status, 401);
}

/// Who may do what, and whose name stands in the record.
#[apply(test!)]
#[needs(ROOT, LOOP)]
fn who_asks_stands_in_the_record() {
    let keys = [("gate.operate", true.into()), ("gate.guests", "nobody".into())];
    let (rig, port) = rig(&keys);
    rig.start_with_media();
    let gate = start_gate(&rig, port);
    for path in ["/", "/wall", "/live", "/records", "/bay/left", "/v1/status"] {
        assert_eq!(gate.get(path).status, 401, "{path}: guests are turned away");
    }
    let drive = rig.attached("A", MIB, 512);
    rig.wait_pass(&drive.serial);
    let (vera, olga, adam) = (gate.sign_in("vera"), gate.sign_in("olga"), gate.sign_in("adam"));
    assert_eq!(gate.ask("GET", "/", &[&vera], "").status, 200);
    let page = gate.ask("GET", "/bay/left", &[&vera], "").body;
    assert!(!page.contains("/retry"), "who only looks has no buttons: {page}");
    let retry = |cookie: &str, confirm: &str| {
        gate.ask("POST", "/bay/left/retry", &[cookie], &format!("confirm={confirm}")).status
    };
    assert_eq!(retry(&vera, "left"), 403);
    assert_eq!(retry(&olga, "right"), 400, "another name was typed");
    assert_eq!(rig.records(&drive.serial).len(), 1, "nothing has begun");
    assert_eq!(retry(&olga, "left"), 303);
    let record = wait_for("the second record", || {
        let records = rig.records(&drive.serial);
        records.get(1).filter(|record| !record["verdict"].is_null()).cloned()
    });
    assert_eq!(record["operator"], "olga (gate)", "{record:#}");
    let stop = gate.ask("POST", "/bay/left/stop", &[&olga], "confirm=left");
    assert_eq!(stop.status, 409, "it is done: {stop:?}");
    assert!(rig.log().contains("olga (gate) asks to stop drive"), "{}", rig.log());
    // A page has bays; what the daemon also calls a drive is nothing there.
    for called in [drive.node(), drive.serial.clone()] {
        let path = format!("/bay/{}/retry", called.replace('/', "%2F"));
        let answer = gate.ask("POST", &path, &[&olga], &format!("confirm={called}"));
        assert_eq!(answer.status, 404, "{called}: {answer:?}");
    }
    // What a scanner types is for who may operate, and the answer is shown.
    let shown = |cookie: &str| gate.ask("GET", "/", &[cookie], "").body.contains("\"/scan\"");
    assert!(shown(&olga) && !shown(&vera));
    let scan =
        |cookie: &str, text: &str| gate.ask("POST", "/scan", &[cookie], &format!("text={text}"));
    assert_eq!(scan(&vera, &drive.serial).status, 403);
    let told = scan(&olga, &drive.serial);
    assert!(told.status == 200 && told.body.contains("in bay left: PASS"), "{told:?}");
    let none = scan(&olga, "nothing");
    assert!((400..500).contains(&none.status), "{none:?}");
    assert!(none.body.contains("nothing is no order, no bay, and no drive"), "{none:?}");
    assert!(!scan(&olga, "%3Cscript%3E").body.contains("<script>"), "as text");
    // Arming needs more than a role.
    assert_eq!(gate.ask("POST", "/station/disarm", &[&olga], "").status, 303);
    assert_eq!(rig.json(&["status"])["armed"], false);
    let arm = gate.ask("POST", "/station/arm", &[&adam], &format!("confirm={}", rig.name));
    assert_eq!(arm.status, 403, "{arm:?}");
    assert_eq!(rig.json(&["status"])["armed"], false);

    // The gate's user is known whatever it asks for, and through whichever socket: it gets no more than it may.
    let ask = |socket: &str, lines: &str, path: &str| -> u16 {
        let script = format!(
            "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect({socket:?})\n\
             s.sendall(('POST {path} HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n{lines}content-length: 2\\r\\n\\r\\n{{}}').encode())\n\
             d=b''\nwhile True:\n  p=s.recv(4096)\n  if not p: break\n  d+=p\nprint(d.split()[1].decode())"
        );
        let output =
            Command::new("python3").args(["-c", &script]).uid(GAMES).gid(group("games")).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse()
            .unwrap_or_else(|_| panic!("{text}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    let named = "x-prestaged-actor: eve\\r\\n";
    for (socket, lines, path, expected) in [
        ("control.sock", named, "/v1/arm", 403),
        ("control.sock", named, "/v1/image", 403),
        ("control.sock", "", "/v1/disarm", 400),
        ("control.sock", named, "/v1/disarm", 200),
        ("view.sock", named, "/v1/disarm", 403),
        ("view.sock", named, "/v1/bays/left/release", 403),
    ] {
        assert_eq!(ask(&at(socket), lines, path), expected, "{socket} {path}");
    }
}

/// Browsers that are forgotten, and those that read nothing, must not keep others from seeing.
#[apply(test!)]
#[needs(ROOT, LOOP)]
fn a_thousand_pages_and_slow_readers_disturb_nobody() {
    let (rig, port) = rig(&[]);
    rig.start();
    let gate = start_gate(&rig, port);
    let most = rustix::process::Resource::Nofile;
    let limit = rustix::process::getrlimit(most);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(most, raised).unwrap();
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..1000 {
        let mut stream = gate.connect();
        write!(stream, "GET /live HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n").unwrap();
        idle.push(stream);
    }
    // Each of them is served.
    for at in [0, 500, 999] {
        let mut first = [0; 15];
        idle[at].read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
    }
    let mut news = gate.news("/live");
    news.wait("a beat", |name, data| name == "beat" && beat(data)["lost"] == false);
    assert_eq!(gate.get("/").status, 200);
    // Beyond the limit a page is told so, and shown all the same.
    for _ in 0..40 {
        let mut stream = gate.connect();
        write!(stream, "GET /live HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n").unwrap();
        idle.push(stream);
    }
    let mut last = [0; 12];
    idle.last_mut().unwrap().read_exact(&mut last).unwrap();
    assert_eq!(&last, b"HTTP/1.1 503");
    assert_eq!(gate.get("/wall").status, 200);
    // A request that does not come to its end holds up nobody either.
    let mut slow = gate.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: local").unwrap();
    let memory = || {
        let status =
            fs::read_to_string(format!("/proc/{}/status", gate.child.borrow().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    let before = memory();
    for _ in 0..3 {
        news.wait("a beat", |name, _| name == "beat");
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 32, "{before} MiB, and {grown} more for who reads nothing");
    drop(idle);
    wait_for("room again", || {
        let mut stream = gate.connect();
        write!(stream, "GET /live HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).ok()?;
        (&first == b"HTTP/1.1 200").then_some(())
    });
}

/// Who asks for nothing, and who takes nothing, is sent away in the end.
#[apply(test!)]
#[needs(ROOT, LONG)]
fn who_stands_still_is_sent_away() {
    let (rig, port) = rig(&[]);
    let _daemon = Teller::new(&rig.path("view.sock"));
    let gate = start_gate(&rig, port);
    let mut half = gate.connect();
    half.write_all(b"GET / HTTP/1.1\r\nhost: local").unwrap();
    // What it has not taken piles up at its own end first, so it asks again and again.
    let mut deaf = gate.connect();
    deaf.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
    let request = format!("GET /v1/status HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
    let error = loop {
        if let Err(error) = deaf.write_all(request.as_bytes()) {
            break error;
        }
    };
    let away = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(away.contains(&error.kind()), "it may go on for ever: {error}");
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest);
    assert_eq!(gate.get("/healthz").status, 200);
}

/// The gate does not show the station to the network by a slip of the configuration.
#[apply(test!)]
#[needs(ROOT)]
fn the_gate_is_off_until_it_is_configured() {
    let rig = Rig::new(Setup::default());
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_prestaged-gate"))
            .arg("--config")
            .arg(rig.path("prestaged.toml"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("the gate is off") && said.contains("hint: set gate.listen"), "{said}");
    rig.set("control.view_socket", rig.path("view.sock").to_str().unwrap());
    rig.set("gate.listen", "0.0.0.0:0");
    let (code, said) = run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("without a certificate"), "{said}");
    rig.set("gate.certificate", "/nonexistent/cert.pem");
    rig.set("gate.key", "/nonexistent/key.pem");
    let (code, said) = run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("cannot read /nonexistent/cert.pem"), "{said}");
}

/// With a certificate, cookies go nowhere else; what is not TLS gets no answer.
#[apply(test!)]
#[needs(ROOT)]
fn a_certificate_makes_it_https() {
    let (rig, port) = rig(&[("gate.guests", "everybody".into())]);
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    self_signed(&at("key.pem"), &at("cert.pem"));
    for_games(&rig.path("key.pem"));
    rig.set("gate.certificate", at("cert.pem"));
    rig.set("gate.key", at("key.pem"));
    rig.start();
    let gate = start_gate(&rig, port);
    let plain = gate.get("/");
    assert_eq!(plain.status, 0, "{plain:?}");
    let ask = |request: &str| -> String {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", &at("cert.pem")])
            .args(["-verify_hostname", "localhost", "-connect", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        text
    };
    let host = format!("host: localhost:{port}\r\nconnection: close\r\n");
    let page = ask(&format!("GET /wall HTTP/1.1\r\n{host}\r\n"));
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let body = format!("name=vera&password={}", PASSWORD.replace(' ', "+"));
    let form = format!(
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}",
        body.len()
    );
    let signed = ask(&format!("POST /login HTTP/1.1\r\n{host}{form}\r\n\r\n{body}"));
    assert!(signed.contains("; Secure"), "{signed}");
    let origin = format!("origin: http://localhost:{port}\r\n");
    let other = ask(&format!("POST /login HTTP/1.1\r\n{host}{origin}{form}\r\n\r\n{body}"));
    assert!(other.starts_with("HTTP/1.1 403"), "another scheme is another origin: {other}");
}
