//! Raw mode for the terminal at standard input and output, given back on every exit: return, failure, panic, signal.
//!
//! Authority: none. Failure: a standard input that is no terminal is HSK-400-INVALID-INPUT.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use dcc_core::ports::terminal::TerminalSize;
use dcc_core::{Failure, Outcome, limits};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// What ends every program's drawing beside its modes. Nothing here moves the cursor.
const LEAVE: &str = "\u{1b}[0m\u{1b}[?25h";
const LEAVE_SECOND: &str = "\u{1b}[?1049l";

/// True while the second screen is shown; only then it is left, because leaving it moves the cursor.
static ON_SECOND: AtomicBool = AtomicBool::new(false);

/// The settings to go back to while somebody has raw mode; the panic hook finds them here.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// As long as it lives, keys come one by one and nothing is done about them by the kernel.
pub struct RawMode(());

impl RawMode {
    pub fn enter() -> Outcome<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Failure::invalid("standard input and output are no terminal").hint("dcc session attach S --lines works without one"));
        }
        let failed = |error: rustix::io::Errno| Failure::engine(format!("the terminal cannot be set: {}", std::io::Error::from(error)));
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let entered = Self(());
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Before it is said, so that it can be read.
            restore();
            earlier(info);
        }));
        tcsetattr(stdin(), OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(entered)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Says which of its two screens the terminal shows.
pub fn on_second_screen(is: bool) {
    ON_SECOND.store(is, Ordering::Release);
}

/// Gives the terminal back, once; a second call finds nothing to do.
pub fn restore() {
    let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let mut out = std::io::stdout();
    let second = if ON_SECOND.swap(false, Ordering::AcqRel) { LEAVE_SECOND } else { "" };
    // A terminal that is gone takes nothing any more, and needs nothing.
    let _ = out.write_all(format!("{second}{}{LEAVE}", dcc_sessions::pty::Modes::reset()).as_bytes()).and_then(|()| out.flush());
    let _ = tcsetattr(stdin(), OptionalActions::Flush, &before);
}

/// The terminal's size; the usual one when it does not say.
pub fn size() -> TerminalSize {
    let asked = tcgetwinsize(stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    asked.map_or(TerminalSize::USUAL, |size| TerminalSize { rows: size.ws_row.min(limits::TERMINAL_ROWS_MAX), columns: size.ws_col.min(limits::TERMINAL_COLUMNS_MAX) })
}

/// A terminal hands on and takes no more at once.
pub const KEYS_AT_ONCE: usize = 4096;

/// What the terminal and the kernel tell.
pub enum Told {
    Keys(Vec<u8>),
    /// The terminal went away.
    Closed,
    Resized,
    /// Ctrl C, where the terminal still makes a signal of it.
    Interrupt,
    /// Somebody wants this command to end.
    End,
}

/// Hands every key and every signal to `to`, from threads of their own, until it is dropped.
pub fn listen<T: From<Told> + Send + 'static>(to: &Sender<T>) -> Outcome<()> {
    let no_thread = |error: std::io::Error| Failure::engine(format!("no thread: {error}"));
    let keys = to.clone();
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            let mut chunk = [0; KEYS_AT_ONCE];
            loop {
                let told = match std::io::stdin().lock().read(&mut chunk) {
                    Ok(0) => Told::Closed,
                    Ok(count) => Told::Keys(chunk[..count].to_vec()),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => Told::Closed,
                };
                let last = matches!(told, Told::Closed);
                if keys.send(told.into()).is_err() || last {
                    return;
                }
            }
        })
        .map_err(no_thread)?;
    let signals = to.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Failure::engine(format!("no runtime: {e}")))?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(signalled(&signals))).map_err(no_thread)?;
    Ok(())
}

async fn signalled<T: From<Told>>(to: &Sender<T>) {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::window_change(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];
    let Ok([mut resized, mut terminate, mut hangup, mut interrupt, mut quit]) = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>().map(|all| <[_; 5]>::try_from(all).expect("five kinds give five listeners"))
    else {
        return;
    };
    loop {
        let told = tokio::select! {
            _ = resized.recv() => Told::Resized,
            _ = terminate.recv() => Told::End,
            _ = hangup.recv() => Told::End,
            _ = interrupt.recv() => Told::Interrupt,
            _ = quit.recv() => Told::End,
        };
        if to.send(told.into()).is_err() {
            return;
        }
    }
}
