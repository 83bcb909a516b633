//! The processes below the host: finding them in /proc, signalling them, and proving that none is left.
//!
//! Authority: ephemeral. As the host is a subreaper, every descendant whose parent ends becomes its child: no child at
//! all (ECHILD) proves that the tree is empty. A signal goes through a pidfd whose start time was checked, so that a
//! reused pid is never hit.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal, wait};

use super::spec::MARKER_VARIABLE;

/// Passes are this far apart: long enough for ended processes to be reaped, short against any grace.
const PASS_MS: u64 = 5;
/// Killed processes are gone at once unless they hang in the kernel.
const KILL_WAIT: Duration = Duration::from_secs(60);
/// Two find everything in a tree that stands still; a growing one takes as many as it takes, up to here, per round.
const STOP_PASSES_MAX: usize = 1_000;

/// One process as /proc shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// Clock ticks since boot.
    pub start_time: u64,
    pub zombie: bool,
    /// By a signal, or by whoever traces it.
    pub stopped: bool,
}

/// Reads /proc/PID/stat; none when there is no such process.
pub fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any byte, parentheses too.
    let rest = &stat[stat.iter().rposition(|byte| *byte == b')')? + 2..];
    let text = std::str::from_utf8(rest).ok()?;
    let fields: Vec<&str> = text.split(' ').take(20).collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        stopped: matches!(*fields.first()?, "T" | "t"),
    })
}

/// All processes of the machine.
fn all_pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Live processes below `root`, not itself, in no order. One snapshot: what moves meanwhile shows in the next.
pub fn descendants(root: u32) -> Vec<Process> {
    let mut found = below(root);
    found.retain(|process| !process.zombie);
    found
}

/// Zombies too: a process that does not take its children in holds their pids.
fn below(root: u32) -> Vec<Process> {
    let mut rest: Vec<Process> = all_pids().into_iter().filter_map(process).collect();
    let mut found = Vec::new();
    let mut wave = HashSet::from([root]);
    while !wave.is_empty() {
        let (next, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|process| wave.contains(&process.parent));
        wave = next.iter().map(|process| process.pid).collect();
        found.extend(next);
        rest = others;
    }
    found
}

/// True when nothing below `root` runs. Two looks that agree: what was made between the first look's list and its last
/// line shows in the second, and what is stopped makes nothing.
pub fn is_still(root: u32) -> bool {
    let still = || {
        let mut found = descendants(root);
        found.sort_unstable_by_key(|process| process.pid);
        found.iter().all(is_held).then_some(found)
    };
    still().is_some_and(|first| still().as_ref() == Some(&first))
}

/// Stopped, or about to be before it does anything: a process whose child was stopped between vfork and exec sleeps
/// where no signal wakes it, with the stop waiting.
fn is_held(process: &Process) -> bool {
    process.stopped || std::fs::read_to_string(format!("/proc/{}/status", process.pid)).is_ok_and(|status| has_stop_pending(&status))
}

fn has_stop_pending(status: &str) -> bool {
    const STOP_BIT: u64 = 1 << (Signal::STOP.as_raw() - 1);
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    let is_asleep = status.lines().any(|line| line.starts_with("State:\tD"));
    is_asleep && masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & STOP_BIT != 0)
}

/// Sends the signal if that very process still lives.
pub fn signal(target: &Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(target.pid as i32) else { return };
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
        && process(target.pid).is_some_and(|now| now.start_time == target.start_time)
    {
        // Gone in between is what was wanted.
        let _ = pidfd_send_signal(pidfd, signal);
    }
}

/// Processes ever created on this machine; never falls. None when /proc does not tell.
pub fn forks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("processes "))?.trim().parse().ok()
}

/// Ends every process that carries this marker in its environment: for a tree whose host was killed. A process can
/// drop its marker; the host's own way of finding them has no such gap. Returns how many were ended.
pub fn sweep_marker(marker: &str) -> u32 {
    let wanted = format!("{MARKER_VARIABLE}={marker}");
    let own = std::process::id();
    let mut ended = HashSet::new();
    let deadline = Instant::now() + KILL_WAIT;
    loop {
        let marked = all_pids().into_iter().filter(|pid| *pid != own).filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes()))
        });
        let live: Vec<Process> = marked.filter_map(process).filter(|process| !process.zombie).collect();
        if live.is_empty() || Instant::now() > deadline {
            return ended.len() as u32;
        }
        for target in &live {
            ended.insert((target.pid, target.start_time));
            signal(target, Signal::KILL);
        }
        // tidy, allowed: the kernel has no notification for "a process tree is empty"; the pause is bounded by a deadline.
        std::thread::sleep(Duration::from_millis(PASS_MS));
    }
}

/// What the host knows of its tree.
pub struct Tree {
    root: u32,
    main: Pid,
    main_status: Option<WaitStatus>,
    empty: bool,
    ended: HashSet<(u32, u64)>,
}

impl Tree {
    /// `main` is the host's one child; the caller is the host.
    pub fn new(main: Pid) -> Self {
        Self { root: std::process::id(), main, main_status: None, empty: false, ended: HashSet::new() }
    }
    pub fn main_status(&self) -> Option<WaitStatus> {
        self.main_status
    }
    /// Processes other than the main one that were signalled.
    pub fn survivors(&self) -> u32 {
        self.ended.len() as u32
    }

    /// Takes in every child that has ended.
    pub fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.main_status = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.empty = true;
                    return;
                }
            }
        }
    }

    /// Pids that the tree holds.
    pub fn count(&self) -> usize {
        below(self.root).len()
    }

    /// Waits until the main process has ended; false after the time.
    pub fn await_main(&mut self, limit: Duration) -> bool {
        self.poll(limit, |tree| tree.main_status.is_some() || tree.empty)
    }

    /// TERM to all and `term` of time, then KILL until nothing is left. Returns how many processes remain, which is
    /// more than none only for those that hang in the kernel.
    pub fn end(&mut self, term: Duration) -> u32 {
        self.reap();
        if !self.empty && !term.is_zero() {
            self.signal_all(Signal::TERM);
            // A stopped process takes TERM only when it goes on.
            self.signal_all(Signal::CONT);
            self.poll(term, |tree| tree.empty);
        }
        if self.kill_all() { 0 } else { (descendants(self.root).len() as u32).max(1) }
    }

    /// Stops every process where it stands.
    pub fn stop_all(&self) {
        self.stop_new(&mut HashSet::new());
    }

    /// Lets what is stopped go on.
    pub fn continue_all(&self) {
        for target in descendants(self.root) {
            signal(&target, Signal::CONT);
        }
    }

    /// Stops what is not among `stopped` yet, until nothing new shows.
    fn stop_new(&self, stopped: &mut HashSet<(u32, u64)>) {
        for _ in 0..STOP_PASSES_MAX {
            let running: Vec<Process> = descendants(self.root).into_iter().filter(|process| !stopped.contains(&(process.pid, process.start_time))).collect();
            if running.is_empty() {
                break;
            }
            for target in &running {
                stopped.insert((target.pid, target.start_time));
                signal(target, Signal::STOP);
            }
        }
    }

    /// Stops everything before killing anything: what is killed one by one makes room for what multiplies, what is
    /// stopped does not.
    fn kill_all(&mut self) -> bool {
        let mut stopped = HashSet::new();
        self.poll(KILL_WAIT, |tree| {
            if tree.empty {
                return true;
            }
            tree.stop_new(&mut stopped);
            tree.signal_all(Signal::KILL);
            tree.reap();
            tree.empty
        })
    }

    fn signal_all(&mut self, which: Signal) {
        for target in descendants(self.root) {
            if target.pid != self.main.as_raw_nonzero().get() as u32 {
                self.ended.insert((target.pid, target.start_time));
            }
            signal(&target, which);
        }
    }

    fn poll(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            self.reap();
            if done(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            // tidy, allowed: the kernel has no notification for "a process tree is empty"; the pause is bounded by a deadline.
            std::thread::sleep(Duration::from_millis(PASS_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_stop_pending;

    #[test]
    fn a_stop_that_waits_for_a_sleeper_counts() {
        let status = |state: &str, pending: &str| format!("Name:\tsh\nState:\t{state}\nSigPnd:\t0000000000000000\nShdPnd:\t{pending}\nSigBlk:\t0000000000040000\n");
        assert!(has_stop_pending(&status("D (disk sleep)", "0000000000040000")));
        assert!(!has_stop_pending(&status("D (disk sleep)", "0000000000000000")), "nothing waits for it");
        assert!(!has_stop_pending(&status("R (running)", "0000000000040000")), "it runs until it notices");
    }
}
