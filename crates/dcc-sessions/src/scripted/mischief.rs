//! What real agents do wrong, on demand (SESSIONS 5: each fact about agents has a behaviour that tests it).
//!
//! Authority: none.

use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::play::{Flow, Player};
use super::script::{Action, Asking, Step};

const CHUNK: [u8; 8 * 1024] = [b'x'; 8 * 1024];

impl Player<'_> {
    pub fn mischief(&mut self, step: &Step) -> Flow {
        match &step.action {
            Action::HangOnPermission(_) => return self.special(step, Asking::Hang),
            Action::BarePermission(_) => return self.special(step, Asking::Bare),
            Action::NoAllowOnce(_) => return self.special(step, Asking::NoAllowOnce),
            Action::IgnoreEof(_) => self.peer.ignore_eof = true,
            Action::WriteUnasked(write) => {
                if let Err(error) = write_by_hand(&self.absolute(&write.path), &write.text) {
                    self.say(&format!("The unasked write of {} failed: {error}", write.path));
                }
            }
            Action::LeakHandout(path) => {
                let handed = self.peer.handed.to_string();
                if let Err(error) = write_by_hand(&self.absolute(path), &handed) {
                    self.say(&format!("The handout was not written: {error}"));
                }
            }
            Action::LeaveChild(seconds) => {
                if let Err(error) = leave_child(*seconds) {
                    self.say(&format!("No child was left: {error}"));
                }
            }
            Action::Junk(text) => self.peer.raw(format!("{text}\n").as_bytes()),
            Action::Flood(flood) => self.fill(flood.bytes, true),
            Action::LongLine(long) => self.fill(long.bytes, false),
            Action::InvalidUtf8(_) => self.peer.raw(b"\xff\xfe not text\n"),
            Action::Exit(exit) => {
                eprintln!("the script says: exit with {}", exit.code);
                std::process::exit(i32::from(exit.code))
            }
            Action::AskAndExit(exit) => {
                self.request(&json!({"toolCallId": "last-call", "title": "The last call", "kind": "execute"}), false);
                std::process::exit(i32::from(exit.code))
            }
            Action::Deaf(_) => {
                self.peer.update(&json!({"sessionUpdate": "scripted_deaf"}));
                loop {
                    std::thread::park();
                }
            }
            Action::UnknownMethod(_) => {
                let answer = self.peer.call("scripted/unknown", &json!({}));
                self.say(&format!("unknown method: {answer:?}"));
            }
            Action::UnknownUpdate(_) => self.peer.update(&json!({"sessionUpdate": "scripted_novelty", "anything": [1, 2]})),
            Action::AnswerTwice(_) => self.answer_twice = true,
            Action::ForeignSession(_) => {
                let update = json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "not mine"}});
                self.peer.send(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "somebody-else", "update": update}}));
            }
            Action::LeaveMode(mode) => self.peer.update(&json!({"sessionUpdate": "current_mode_update", "currentModeId": mode})),
            Action::AskMany(count) => return self.ask_many(*count),
            Action::FloodRequests(count) => {
                for _ in 0..*count {
                    self.peer.ask("scripted/unknown", &json!({"padding": "x".repeat(1_000)}));
                }
            }
            Action::Stderr(text) => eprintln!("{text}"),
            // The honest steps are played in `play`.
            _ => {}
        }
        Flow::Next
    }

    /// A command that asks in a special way and then only says that it was allowed.
    fn special(&mut self, step: &Step, asking: Asking) -> Flow {
        let step = Step { asking, ..step.clone() };
        let flow = self.consent(&step, "special-call", &json!({"title": "make check", "kind": "execute", "rawInput": {"command": "make check"}}));
        flow.unwrap_or_else(|| {
            self.say("The special request was allowed.");
            Flow::Next
        })
    }

    /// So many bytes of rubbish: in lines of 8 KiB, or as one line.
    fn fill(&self, bytes: u64, lines: bool) {
        let mut left = bytes;
        while left > 0 {
            let size = left.min(CHUNK.len() as u64);
            self.peer.raw(&CHUNK[..size as usize]);
            if lines {
                self.peer.raw(b"\n");
            }
            left -= size;
        }
        self.peer.raw(b"\n");
    }
}

/// Writes without the client, for agents that do so.
pub fn write_by_hand(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// A process in a session of its own that holds the agent's output open and outlives it.
#[allow(clippy::disallowed_methods, reason = "this is the agent's own process, not DCC's")]
fn leave_child(seconds: u64) -> std::io::Result<()> {
    let child = Command::new("setsid").args(["sleep", &seconds.to_string()]).stdin(Stdio::null()).stdout(Stdio::inherit()).stderr(Stdio::null()).spawn()?;
    // Not waited for on purpose: that is the misbehaviour.
    drop(child);
    Ok(())
}
