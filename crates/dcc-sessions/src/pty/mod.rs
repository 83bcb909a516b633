//! A plain command in a pseudo-terminal: the fallback for agents that speak no protocol (SESSIONS 5).
//!
//! Authority: ephemeral. What happens inside is unobserved: no request, no tool call, no end of a turn is known, so a turn
//! here is one message typed in. Confinement and the comparison of the worktree are all that holds.
//!
//! Invariants: the output kept for lookers-on is bounded; the whole of it, up to the bound of an artifact, is reported when
//! the command ends; `Exited` comes after the last process of the tree is gone; what a flood of output costs those who are
//! told of it is bounded by time.

mod emulator;
mod modes;
mod screen;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, SessionId};
use dcc_core::limits;
use dcc_core::plans::{SessionStartPlan, TurnPlan};
use dcc_core::ports::terminal::plain;
use dcc_core::ports::sessions::{
    AgentReport, Attachment, AttachmentSort, BackendCapabilities, Driver, SessionBackend, SessionHost, SessionPlace, ScreenListener, StartExtras, StartedAgent, TerminalChunk, TerminalLink,
    TerminalScreen, TerminalSize, TerminalState,
};
use dcc_core::session::ProcessIdentity;

use crate::launch::{AgentProcess, Launched, Launcher, Output};
pub use emulator::{Emulator, dressed};
pub use modes::Modes;
use screen::Screen;

/// Lines of a failed command that its ending names.
const TAIL_BYTES: usize = 2_000;

type Sessions = Arc<Mutex<HashMap<SessionId, Arc<Live>>>>;

/// The backend of `Driver::Pty`.
pub struct PtyBackend {
    launcher: Arc<dyn Launcher>,
    sessions: Sessions,
    listener: Arc<OnceLock<ScreenListener>>,
}

struct Live {
    process: Box<dyn AgentProcess>,
    input: Mutex<Box<dyn Write + Send>>,
    screen: Screen,
    host: Arc<dyn SessionHost>,
}

impl PtyBackend {
    pub fn new(launcher: Arc<dyn Launcher>) -> Self {
        Self { launcher, sessions: Arc::default(), listener: Arc::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn require(&self, session_id: SessionId) -> Outcome<Arc<Live>> {
        self.sessions().get(&session_id).cloned().ok_or_else(|| Failure::new(Code::NotFoundSession, format!("no command runs for session {session_id}")))
    }
}

impl SessionBackend for PtyBackend {
    fn start(&self, session_id: SessionId, cleared: Cleared<SessionStartPlan>, extras: StartExtras, host: Arc<dyn SessionHost>) -> Outcome<StartedAgent> {
        let plan = cleared.body();
        let Launched { process, stdin, stdout, stderr: _ } = self.launcher.launch(plan, &extras, session_id)?;
        let started = StartedAgent {
            process: process.identity(),
            agent_session_id: session_id.to_string(),
            agent_info: None,
            model_id: None,
            posture: process.posture(),
            capabilities: BackendCapabilities { driver: Driver::Pty, ..BackendCapabilities::default() },
            resumed: false,
        };
        let live = Arc::new(Live { process, input: Mutex::new(stdin), screen: Screen::default(), host });
        self.sessions().insert(session_id, Arc::clone(&live));
        let (watched, sessions) = (Arc::clone(&live), Arc::clone(&self.sessions));
        let spawned = std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            watch(&watched, session_id, stdout);
            sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session_id);
        });
        let (told, listener) = (Arc::clone(&live), Arc::clone(&self.listener));
        let spawned = spawned.and_then(|_| std::thread::Builder::new().name("terminal-told".to_owned()).spawn(move || tell(&told, session_id, &listener)));
        if let Err(error) = spawned {
            live.process.kill_tree()?;
            self.sessions().remove(&session_id);
            return Err(Failure::engine(format!("no thread could be started for the terminal: {error}")));
        }
        Ok(started)
    }

    /// Types the message and a return. Nothing tells when the command has done with it, so the turn ends with the typing.
    fn prompt(&self, turn: JobId, cleared: Cleared<TurnPlan>) -> Outcome<()> {
        let plan = cleared.body();
        let (session_id, live) = (plan.session_id, self.require(plan.session_id)?);
        live.write(format!("{}\r", plan.prompt).as_bytes())?;
        // Not from here: whoever prompts has not yet written down that the turn began.
        let spawned = std::thread::Builder::new().name("terminal-typed".to_owned()).spawn(move || {
            live.host.report(session_id, AgentReport::TurnEnded { turn, stop_reason: "typed".to_owned() });
        });
        spawned.map(drop).map_err(|error| Failure::engine(format!("no thread could be started: {error}")))
    }

    fn stop(&self, session_id: SessionId) -> Outcome<()> {
        let live = self.sessions().get(&session_id).cloned();
        live.map_or(Ok(()), |live| live.process.kill_tree())
    }

    /// The interrupt key.
    fn cancel_turn(&self, session_id: SessionId) -> Outcome<()> {
        self.require(session_id)?.write(&[3])
    }

    fn live(&self) -> Vec<SessionId> {
        self.sessions().keys().copied().collect()
    }

    fn terminal(&self, session_id: SessionId) -> Option<Arc<dyn TerminalLink>> {
        self.sessions().get(&session_id).map(|live| Arc::clone(live) as Arc<dyn TerminalLink>)
    }

    fn on_screen(&self, listener: ScreenListener) {
        // The first who asked is told.
        let _ = self.listener.set(listener);
    }

    fn place(&self, session_id: SessionId) -> Option<SessionPlace> {
        self.sessions().get(&session_id)?.process.place()
    }

    fn freeze(&self, session_id: SessionId) -> Outcome<()> {
        self.require(session_id)?.process.freeze()
    }

    fn thaw(&self, session_id: SessionId) -> Outcome<()> {
        self.require(session_id)?.process.thaw()
    }

    fn reap(&self, process: &ProcessIdentity) -> bool {
        self.launcher.reap(process)
    }
}

/// Tells of a changed screen, at once and then no more often than a person can see.
fn tell(live: &Live, session_id: SessionId, listener: &OnceLock<ScreenListener>) {
    let mut seen = 0;
    loop {
        let (version, ended) = live.screen.await_change(seen);
        seen = version;
        if let Some(listener) = listener.get() {
            listener(session_id);
        }
        if ended {
            return;
        }
        // tidy, allowed: the pace of the telling is a matter of time
        std::thread::sleep(Duration::from_millis(limits::TERMINAL_TELL_MS));
    }
}

/// Reads the terminal to its end, ends what is left, and tells.
fn watch(live: &Live, session_id: SessionId, mut output: Box<dyn Output>) {
    let mut chunk = [0; 16 * 1024];
    loop {
        match output.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                let answers = live.screen.push(&chunk[..count]);
                if !answers.is_empty()
                    && let Err(failure) = live.write(answers.as_bytes())
                {
                    // It asked and does not read: its own loss.
                    eprintln!("dcc: session {}: {failure}", session_id.short());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let exit = live.process.wait();
    if let Err(failure) = live.process.kill_tree() {
        eprintln!("dcc: session {}: {failure}", session_id.short());
    }
    live.screen.end();
    let (shown, cut) = live.screen.all();
    // Plain text, so that a secret is found in it: neither a byte that is no text nor a colour in its middle hides one.
    let shown = plain(&String::from_utf8_lossy(&shown));
    if !shown.is_empty() {
        let name = if cut > 0 { format!("terminal output, without its first {cut} bytes") } else { "terminal output".to_owned() };
        let attachment = Attachment { sort: AttachmentSort::Resource, mime: Some("text/plain".to_owned()), name: Some(name), uri: None, data: Some(shown.clone().into_bytes()), sha256: None, bytes: None };
        live.host.report(session_id, AgentReport::Attachment(attachment));
    }
    let tail = (0..=TAIL_BYTES.min(shown.len())).rev().find_map(|back| shown.get(shown.len() - back..)).unwrap_or_default();
    let stderr_head = if exit.exit_code == Some(0) { String::new() } else { tail.to_owned() };
    live.host.report(session_id, AgentReport::Exited { exit_code: exit.exit_code, stderr_head });
}

impl Live {
    fn write(&self, bytes: &[u8]) -> Outcome<()> {
        if bytes.len() > limits::TERMINAL_INPUT_BYTES_MAX {
            return Err(Failure::invalid(format!("{} bytes are too many to be typed at once; at most {} are", bytes.len(), limits::TERMINAL_INPUT_BYTES_MAX)));
        }
        if self.screen.has_ended() {
            // The kernel would take it: our end of the terminal is still open.
            return Err(Failure::new(Code::AgentFailed, "the command has ended; nothing reads its terminal any more").hint("start it anew: dcc session start --ws WS -- COMMAND"));
        }
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.write_all(bytes).and_then(|()| input.flush()).map_err(|error| Failure::new(Code::AgentFailed, format!("the terminal takes no input: {error}")))
    }
}

impl TerminalLink for Live {
    fn read(&self, from: u64, known: Option<TerminalSize>, wait: Duration) -> TerminalChunk {
        self.screen.read(from, known, wait.min(Duration::from_millis(limits::TERMINAL_POLL_MS)))
    }
    fn write(&self, bytes: &[u8]) -> Outcome<()> {
        Self::write(self, bytes)
    }
    fn state(&self) -> TerminalState {
        self.screen.state()
    }
    fn screen(&self, history_max: usize) -> TerminalScreen {
        self.screen.screen(history_max)
    }
    fn resize(&self, size: TerminalSize) -> Outcome<()> {
        // The screen first: what the program draws upon being told is drawn on the new one.
        self.screen.resize(size);
        self.process.resize(size.rows, size.columns)
    }
}
