//! Commands that run in this process, by their job: looked at while they run, waited for, ended.
//!
//! Authority: ephemeral; the job's events are canon. Invariants: a command is found as long as its job runs, and one of a
//! session until the agent releases it or the session's agent is gone; nobody reaches a command of another session; a
//! command that begins after its session's agent was gone is ended at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use dcc_core::ids::{JobId, SessionId};
use dcc_core::limits;
use dcc_core::ports::sandbox::{RunReport, RunningCommand};
use dcc_core::ports::sessions::{TerminalExit, TerminalOutput};
use dcc_core::{Code, Failure, Outcome};

/// Who had it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndedBy {
    /// The agent that runs it: as good an end as any.
    Agent,
    /// A person, or the end of its session.
    Others,
}

#[derive(Default)]
struct State {
    exit: Option<TerminalExit>,
    ended_by: Option<EndedBy>,
}

/// A command that runs or ran.
pub(crate) struct Command {
    session_id: Option<SessionId>,
    running: Arc<dyn RunningCommand>,
    /// Bytes of output that whoever asked wants to see.
    shown_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Command {
    pub fn end(&self, by: EndedBy) {
        let mut state = self.lock();
        if state.exit.is_none() {
            state.ended_by = state.ended_by.or(Some(by));
            drop(state);
            self.running.end();
        }
    }

    /// A person has it ended; false when it is over already.
    pub fn stop(&self) -> bool {
        let runs = !self.is_over();
        self.end(EndedBy::Others);
        runs
    }

    pub fn ended_by(&self) -> Option<EndedBy> {
        self.lock().ended_by
    }

    /// Until it is over and its processes are gone.
    pub fn wait(&self) -> TerminalExit {
        let mut state = self.lock();
        loop {
            if let Some(exit) = &state.exit {
                return exit.clone();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The end of what it printed, from the beginning of a character on.
    pub fn output(&self) -> TerminalOutput {
        let recent = self.running.recent();
        let from = recent.bytes.len().saturating_sub(self.shown_max);
        let bytes = &recent.bytes[from..];
        // A cut may have left the rest of a character at the front.
        let whole = if from > 0 || recent.cut { bytes.iter().take(4).position(|byte| byte & 0xc0 != 0x80).unwrap_or(0) } else { 0 };
        TerminalOutput { output: String::from_utf8_lossy(&bytes[whole..]).into_owned(), truncated: recent.cut || from > 0, exit: self.lock().exit.clone() }
    }

    fn is_over(&self) -> bool {
        self.lock().exit.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of this process.
#[derive(Default)]
pub(crate) struct Commands {
    all: Mutex<HashMap<JobId, Arc<Command>>>,
    /// The process ends: whatever begins now is ended at once.
    closed: AtomicBool,
}

impl Commands {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Command>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, job_id: JobId, session_id: Option<SessionId>, running: Arc<dyn RunningCommand>, shown_max: Option<u64>) -> Arc<Command> {
        let shown_max = shown_max.map_or(limits::COMMAND_RECENT_BYTES_MAX, |max| limits::COMMAND_RECENT_BYTES_MAX.min(max as usize));
        let command = Arc::new(Command { session_id, running, shown_max, state: Mutex::default(), changed: Condvar::new() });
        self.lock().insert(job_id, Arc::clone(&command));
        if self.closed.load(Ordering::SeqCst) {
            command.end(EndedBy::Others);
        }
        command
    }

    /// Waits for a run of nobody's session, which a person may end meanwhile; its report, and who ended it.
    pub fn attend(&self, job_id: JobId, running: Arc<dyn RunningCommand>) -> Outcome<(RunReport, Option<EndedBy>)> {
        let command = self.begin(job_id, None, Arc::clone(&running), None);
        let finished = running.finish();
        self.over(job_id, finished.as_ref().ok());
        finished.map(|report| (report, command.ended_by()))
    }

    /// Orders the end of everything that runs, now and later.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let running: Vec<_> = self.lock().iter().filter(|(_, command)| !command.is_over()).map(|(_, command)| Arc::clone(command)).collect();
        for command in running {
            command.end(EndedBy::Others);
        }
    }

    /// It is over. A session's stays to be looked at; a person's has its artifacts.
    pub fn over(&self, job_id: JobId, report: Option<&RunReport>) {
        let mut all = self.lock();
        let Some(command) = all.get(&job_id).cloned() else { return };
        if command.session_id.is_none() {
            all.remove(&job_id);
        }
        drop(all);
        command.lock().exit = Some(report.map_or_else(TerminalExit::default, exit_of));
        command.changed.notify_all();
    }

    pub fn get(&self, job_id: JobId) -> Option<Arc<Command>> {
        self.lock().get(&job_id).cloned()
    }

    /// A command of this session by the id that the agent knows it under.
    pub fn require(&self, session_id: SessionId, terminal_id: &str) -> Outcome<(JobId, Arc<Command>)> {
        let job_id = terminal_id.parse::<JobId>().ok();
        let found = job_id.and_then(|id| self.get(id).map(|command| (id, command))).filter(|(_, command)| command.session_id == Some(session_id));
        found.ok_or_else(|| Failure::new(Code::NotFound, format!("no terminal {terminal_id:?} in this session")))
    }

    /// Ends it when it still runs, and forgets it.
    pub fn release(&self, job_id: JobId) {
        if let Some(command) = self.lock().remove(&job_id) {
            command.end(EndedBy::Agent);
        }
    }

    pub fn of_session(&self, session_id: SessionId) -> Vec<Arc<Command>> {
        self.lock().values().filter(|command| command.session_id == Some(session_id)).cloned().collect()
    }

    /// The agent is gone: what it ran ends, and is forgotten when that is done.
    pub fn end_session(&self, session_id: SessionId) {
        let of_it = self.of_session(session_id);
        for command in &of_it {
            command.end(EndedBy::Others);
        }
        for command in &of_it {
            command.wait();
        }
        self.lock().retain(|_, command| command.session_id != Some(session_id) || !command.is_over());
    }

    /// Stops what the session runs, and lets it go on.
    pub fn freeze(&self, session_id: SessionId) -> Outcome<()> {
        self.of_session(session_id).iter().filter(|command| !command.is_over()).try_for_each(|command| command.running.freeze())
    }
    pub fn thaw(&self, session_id: SessionId) -> Outcome<()> {
        self.of_session(session_id).iter().filter(|command| !command.is_over()).try_for_each(|command| command.running.thaw())
    }
}

/// Exit code or signal, in the words of the protocol.
fn exit_of(report: &RunReport) -> TerminalExit {
    let signal = report.signal.map(|number| match number {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        6 => "SIGABRT".to_owned(),
        9 => "SIGKILL".to_owned(),
        11 => "SIGSEGV".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    });
    TerminalExit { exit_code: report.exit_code.and_then(|code| u32::try_from(code).ok()), signal }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcc_core::ports::sandbox::Recent;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Puppet {
        ends: AtomicUsize,
        shown: Recent,
    }

    impl RunningCommand for Puppet {
        fn finish(&self) -> Outcome<RunReport> {
            Err(Failure::engine("a puppet does not end by itself"))
        }
        fn end(&self) {
            self.ends.fetch_add(1, Ordering::Relaxed);
        }
        fn recent(&self) -> Recent {
            self.shown.clone()
        }
        fn freeze(&self) -> Outcome<()> {
            Ok(())
        }
        fn thaw(&self) -> Outcome<()> {
            Ok(())
        }
    }

    fn id<T: std::str::FromStr>(number: u8) -> T
    where
        T::Err: std::fmt::Debug,
    {
        format!("00000000-0000-7000-8000-0000000000{number:02x}").parse().unwrap()
    }

    fn exited(code: i32) -> RunReport {
        serde_json::from_value(serde_json::json!({"exit_code": code, "signal": null, "timed_out": false, "duration_ms": 1, "stdout_cut": 0, "stderr_cut": 0, "survivors": 0, "posture": dcc_core::session::Posture::default()})).unwrap()
    }

    #[test]
    fn a_terminal_belongs_to_its_session() {
        let commands = Commands::default();
        let job: JobId = id(1);
        commands.begin(job, Some(id(2)), Arc::new(Puppet::default()), None);
        assert!(commands.require(id(2), &job.to_string()).is_ok());
        for (session, terminal) in [(id(3), job.to_string()), (id(2), "x".into()), (id(2), id::<JobId>(9).to_string())] {
            assert_eq!(commands.require(session, &terminal).err().unwrap().code, Code::NotFound);
        }
    }

    #[test]
    fn what_is_over_stays_for_its_session_until_it_is_released() {
        let commands = Commands::default();
        let puppet = Arc::new(Puppet::default());
        let command = commands.begin(id(1), Some(id(2)), puppet.clone(), None);
        commands.over(id(1), Some(&exited(3)));
        assert_eq!((command.wait().exit_code, commands.get(id(1)).is_some()), (Some(3), true));
        command.end(EndedBy::Agent);
        commands.release(id(1));
        assert!(commands.get(id(1)).is_none() && puppet.ends.load(Ordering::Relaxed) == 0, "what is over is not ended");
        commands.begin(id(4), None, Arc::new(Puppet::default()), None);
        commands.over(id(4), None);
        assert!(commands.get(id(4)).is_none(), "a person's has its artifacts");
    }

    #[test]
    fn what_runs_when_the_process_ends_is_ended_and_so_is_what_begins_then() {
        let commands = Commands::default();
        let [early, over, late] = [0; 3].map(|_| Arc::new(Puppet::default()));
        commands.begin(id(1), None, early.clone(), None);
        commands.begin(id(2), Some(id(9)), over.clone(), None);
        commands.over(id(2), None);
        commands.close();
        commands.begin(id(3), None, late.clone(), None);
        assert_eq!([early, over, late].map(|puppet| puppet.ends.load(Ordering::Relaxed)), [1, 0, 1]);
    }

    #[test]
    fn the_first_to_end_it_is_remembered() {
        let commands = Commands::default();
        let command = commands.begin(id(1), Some(id(2)), Arc::new(Puppet::default()), None);
        command.end(EndedBy::Agent);
        command.end(EndedBy::Others);
        assert_eq!(command.ended_by(), Some(EndedBy::Agent));
    }

    #[test]
    fn output_is_cut_at_a_character() {
        let shown = Recent { bytes: "grün grün".as_bytes().to_vec(), cut: false };
        let with = |max| Commands::default().begin(id(1), None, Arc::new(Puppet { shown: shown.clone(), ..Puppet::default() }), max).output();
        assert_eq!((with(None).output.as_str(), with(None).truncated), ("grün grün", false));
        // "ü" is two bytes: the cut falls into it.
        assert_eq!((with(Some(2)).output.as_str(), with(Some(2)).truncated), ("n", true));
    }
}
