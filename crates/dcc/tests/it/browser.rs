//! The product in a real Chromium. Here: the stage that every walk needs; the walks stand in the modules below.
//!
//! `DCC_TEST_BROWSER=skip` leaves them out; `DCC_TEST_CHROMIUM` and `DCC_TEST_CHROMEDRIVER` name other programs.
//! Pictures of the screens in both themes are left in `target/screenshots`.

mod broken;
mod by_keyboard;
mod by_pointer;
mod cut;
mod lists;
mod read_only_files;
mod screens;
mod steering;
mod terminal;
mod waiver;

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dcc_testkit::World;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

/// How long anything that was asked for may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process of this test; ended by its handle, gently first.
struct Started(Child);

impl Started {
    /// Starts it and waits for the line that `pick` wants.
    fn new(command: &mut Command, pick: fn(&str) -> Option<String>) -> (Self, String) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let started = Self(child);
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that the process never waits for a reader.
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).filter_map(|l| pick(&l)).for_each(|l| drop(tell.send(l)));
        });
        let line = told.recv_timeout(PATIENCE).expect("the line that says where it listens");
        (started, line)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            // tidy, allowed: the pause between two looks; the wait has a deadline
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Chromium and its driver, or why there is none.
fn programs() -> Result<(PathBuf, PathBuf), String> {
    if std::env::var_os("DCC_TEST_BROWSER").is_some_and(|v| v == "skip") {
        return Err("DCC_TEST_BROWSER=skip".to_owned());
    }
    let at = |name, usual: &str| std::env::var_os(name).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    let found = (at("DCC_TEST_CHROMIUM", "/usr/bin/chromium"), at("DCC_TEST_CHROMEDRIVER", "/usr/bin/chromedriver"));
    for path in [&found.0, &found.1] {
        if !path.exists() {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{} is missing in CI", path.display());
            return Err(format!("{} is missing", path.display()));
        }
    }
    Ok(found)
}

/// A server with its printed sign-in link, a browser signed in by it, and the walk; none where there is no browser. The
/// walk ends with a clean console and in the page that it began in: nothing was reloaded.
pub(crate) fn browse<W, F>(world: &World, server: &mut Command, walk: W)
where
    W: FnOnce(Walk) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (chromium, chromedriver) = match programs() {
        Ok(found) => found,
        Err(why) => return eprintln!("browser walk skipped: {why}"),
    };
    let at = |sub: &str| world.path().join(sub);
    let mut driver = Command::new(chromedriver);
    driver
        .arg("--port=0")
        .env("HOME", at("home"))
        .env("TMPDIR", at("tmp"))
        .env("XDG_CONFIG_HOME", at("config"))
        .env("XDG_CACHE_HOME", at("tmp"));
    let (_driver, port) =
        Started::new(&mut driver, |line| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()));
    let (_server, url) = Started::new(server, |line| {
        Some(line[line.find("http://127.0.0.1:").filter(|_| line.contains("/login?token="))?..].to_owned())
    });

    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(async {
        let client = browser(&port, &chromium, &at("profile")).await;
        let session = client.session_id().await.expect("a session").expect("an id");
        let stage = Walk { client: client.clone(), driver: driver_of(&port, &session) };
        let first = Walk { client: client.clone(), driver: driver_of(&port, &session) };
        // In a task of its own: the browser is closed also when the walk fails.
        let walk = walk(stage);
        let walked = tokio::spawn(async move {
            first.sign_in(&url).await;
            walk.await;
        })
        .await;
        let _ = client.execute("console.info('the walk is over')", Vec::new()).await;
        let marker = client.execute("return window.__walk", Vec::new()).await;
        let log = ask_driver(&driver_of(&port, &session), "se/log", &json!({"type": "browser"}));
        if walked.is_err() {
            picture(&client, "failed").await;
            eprintln!("at {:?}\n{log:#}", client.current_url().await);
            let text = client.execute("return document.getElementById('main')?.innerText", Vec::new()).await;
            eprintln!("{}", text.unwrap_or_default().as_str().unwrap_or_default());
        }
        client.close().await.expect("the browser ends");
        if let Err(failed) = walked {
            std::panic::resume_unwind(failed.into_panic());
        }
        assert_eq!(marker.expect("an answer"), 1, "nothing was reloaded on the way");
        assert!(log.to_string().contains("the walk is over"), "the console is what is read: {log:#}");
        let errors: Vec<&Value> = log.as_array().expect("a log").iter().filter(|line| line["level"] != "INFO").collect();
        assert!(errors.is_empty(), "the console is clean: {errors:#?}");
    });
}

async fn browser(port: &str, chromium: &Path, profile: &Path) -> Client {
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1440,900",
        &profile,
    ];
    let wanted = json!({
        "goog:chromeOptions": {"binary": chromium, "args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    let wanted = wanted.as_object().expect("an object").clone();
    ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
        .capabilities(wanted)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .expect("a browser")
}

/// Where the driver takes commands of this browser: `127.0.0.1:PORT/session/ID`.
fn driver_of(port: &str, session: &str) -> String {
    format!("127.0.0.1:{port}/session/{session}")
}

/// A command of the driver that is no standard one, asked by hand: the console's log, the browser's own protocol.
fn ask_driver(driver: &str, command: &str, body: &Value) -> Value {
    let (host, path) = driver.split_once('/').expect("an address");
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(host).expect("the driver");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(
        stream,
        "POST /{path}/{command} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("asked");
    // The driver keeps the connection open: the head says how much there is to read.
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", number)) => length = number.trim().parse().expect("a number"),
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    serde_json::from_slice::<Value>(&body).expect("JSON")["value"].take()
}

async fn picture(client: &Client, name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
    std::fs::create_dir_all(&dir).expect("a directory");
    if let Ok(bytes) = client.screenshot().await {
        std::fs::write(dir.join(format!("{name}.png")), bytes).expect("a picture");
    }
}

/// A person in front of the screen.
pub(crate) struct Walk {
    client: Client,
    /// The driver's address of this browser, for what is no standard command.
    driver: String,
}

impl Walk {
    async fn sign_in(&self, url: &str) {
        self.client.goto(url).await.expect("the login page");
        self.until("the board", "return location.pathname === '/board' && document.querySelector('#main[data-screen=board]') !== null").await;
        self.until("the live stream", "return document.getElementById('live').innerText.includes('live')").await;
        self.js("window.__walk = 1").await;
    }

    /// The same person, for a helper that keeps him.
    fn again(&self) -> Self {
        Self { client: self.client.clone(), driver: self.driver.clone() }
    }

    /// Approves with Once where the card stands, in one click once the guard is off.
    async fn approve_once(&self, card: &str) {
        let find = format!("return document.querySelector(\"{card}[data-decidable]:not([data-guard])\")?.id");
        let id = self.until("a card that can be decided", &find).await;
        let id = id.as_str().expect("an id");
        self.click(&format!("#{id} [data-decide=approve][data-scope=once]")).await;
        self.until("the decision", &format!("return document.querySelector('#{id}[data-decidable]') === null")).await;
    }

    /// Another page of ours without a reload, as a step back or forward shows it.
    pub(crate) async fn visit(&self, path: &str) {
        // A mark that a refresh of the old page does not take away: only the step itself puts another element there.
        self.js("document.getElementById('main').isLeft = true").await;
        self.client.execute("history.pushState({}, '', arguments[0]); dispatchEvent(new PopStateEvent('popstate'))", vec![json!(path)]).await.expect("a step");
        self.until(path, "return document.getElementById('main').isLeft !== true").await;
    }

    /// The window as wide as a desk's or a phone's, whatever the machine's smallest window is.
    fn width(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        ask_driver(&self.driver, "goog/cdp/execute", &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}));
    }

    pub(crate) async fn js(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    /// Polls until the script answers with something.
    pub(crate) async fn until(&self, what: &str, script: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.client.execute(script, Vec::new()).await;
            match &said {
                Ok(value) if !matches!(value, Value::Null | Value::Bool(false)) => return value.clone(),
                _ => assert!(Instant::now() < deadline, "{what} did not come: {said:?}: {script}"),
            }
            // tidy, allowed: the pause between two looks; the wait has a deadline
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// A real click, when the element is there and nothing stands before it; one that missed is tried again.
    pub(crate) async fn click(&self, selector: &str) {
        self.act(selector, None).await;
    }

    async fn write(&self, selector: &str, text: &str) {
        self.act(selector, Some(text)).await;
    }

    async fn act(&self, selector: &str, text: Option<&str>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = match self.client.find(Locator::Css(selector)).await {
                Ok(element) => match text {
                    Some(text) => element.send_keys(text).await,
                    None => element.click().await,
                },
                Err(e) => Err(e),
            };
            match done {
                Ok(()) => return,
                Err(e) if Instant::now() < deadline => drop(e),
                Err(e) => {
                    let found = format!("const e = document.querySelector({}); return location.pathname + ' ' + e?.outerHTML + ' in ' + e?.parentElement?.outerHTML", json!(selector));
                    panic!("{selector}: {e}, on {}", self.js(&found).await);
                }
            }
            // tidy, allowed: the pause between two looks; the wait has a deadline
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The screen in both themes, by its own switch: system, light, dark and back.
    async fn pictures(&self, screen: &str) {
        let over = self.js("return document.documentElement.scrollHeight - window.innerHeight").await;
        assert!(over.as_i64() <= Some(0), "{screen}: the panes scroll, the page does not: {over} px too high");
        for theme in ["light", "dark"] {
            self.theme(theme).await;
            picture(&self.client, &format!("{screen}-{theme}")).await;
        }
        self.theme("system").await;
    }

    /// Turns the page's own switch until it says so, and waits until no colour changes any more.
    async fn theme(&self, name: &str) {
        let turned = format!(
            "const label = document.querySelector('[data-theme-label]'); if (label.textContent !== '{name}') label.closest('button').click(); return label.textContent === '{name}'"
        );
        self.until("the theme", &turned).await;
        let still = "return document.getAnimations().every(one => one.effect.getComputedTiming().iterations === Infinity)";
        self.until("still colours", still).await;
    }
}
