//! For tests, in builds with debug assertions only: ends this process at a chosen place, as SIGKILL would, because it is
//! SIGKILL. Authority: none.
//!
//! `DCC_FAILPOINT=N` kills at the N-th place that is reached; `DCC_FAILPOINT_TRACE=FILE` appends the name of every place.
//! `DCC_SANDBOX_ABSENT=1` makes this a machine on which nothing can be enforced.
//! `DCC_CLOCK_FILE=FILE` holds milliseconds that are added to the clock, read anew each time: a clock can be set.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use dcc_core::session::Posture;

/// 0 kills nowhere.
static KILL_AT: AtomicU64 = AtomicU64::new(0);
static REACHED: AtomicU64 = AtomicU64::new(0);
static TRACE: OnceLock<std::fs::File> = OnceLock::new();
static CLOCK: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();

/// Reads the environment; without the variables nothing is armed.
pub fn arm() {
    let kill_at = std::env::var("DCC_FAILPOINT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    KILL_AT.store(kill_at, Ordering::SeqCst);
    if let Some(path) = std::env::var_os("DCC_FAILPOINT_TRACE") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a test names a file that can be written");
        let _ = TRACE.set(file);
    }
    if kill_at > 0 || TRACE.get().is_some() {
        dcc_core::failpoint::arm(reached);
    }
}

/// What a test has set the clock forward or back by.
pub fn clock_offset_ms() -> i64 {
    let file = CLOCK.get_or_init(|| std::env::var_os("DCC_CLOCK_FILE").map(std::path::PathBuf::from));
    file.as_ref().and_then(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok()).unwrap_or(0)
}

/// What a test wants to be seen of this machine's sandbox; none: what is so.
pub fn believed_posture() -> Option<Posture> {
    std::env::var_os("DCC_SANDBOX_ABSENT")?;
    Some(Posture { layers: vec!["none".into()], notes: vec!["a test says that there is none".into()], ..Posture::default() })
}

fn reached(name: &str) {
    let count = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(mut file) = TRACE.get() {
        // One write a line, so that threads do not mix theirs.
        let _ = file.write_all(format!("{name}\n").as_bytes());
    }
    if count == KILL_AT.load(Ordering::SeqCst) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
