//! What a terminal has shown: the last part of it, by place, for whoever looks on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::limits::TERMINAL_KEPT_BYTES;
use dcc_core::ports::sessions::TerminalChunk;

/// One answer's worth of output.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// Place of the first kept byte.
    from: u64,
    ended: bool,
}

#[derive(Default)]
pub struct Screen {
    kept: Mutex<Kept>,
    changed: Condvar,
}

impl Screen {
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes.extend(bytes);
        let over = kept.bytes.len().saturating_sub(TERMINAL_KEPT_BYTES);
        kept.bytes.drain(..over);
        kept.from += over as u64;
        self.changed.notify_all();
    }

    pub fn end(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    pub fn has_ended(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Output from a place on; waits for more when there is none yet.
    pub fn read(&self, from: u64, wait: Duration) -> TerminalChunk {
        let deadline = Instant::now() + wait;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let end = kept.from + kept.bytes.len() as u64;
            let from = from.clamp(kept.from, end);
            let left = deadline.saturating_duration_since(Instant::now());
            if from < end || kept.ended || left.is_zero() {
                let skip = usize::try_from(from - kept.from).unwrap_or(usize::MAX);
                let bytes: Vec<u8> = kept.bytes.iter().skip(skip).take(CHUNK_BYTES_MAX).copied().collect();
                let ended = kept.ended && from + bytes.len() as u64 == end;
                return TerminalChunk { from, bytes, ended };
            }
            kept = self.changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything that is kept, and how many bytes before it are not.
    pub fn all(&self) -> (Vec<u8>, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.bytes.iter().copied().collect(), kept.from)
    }
}

/// Text without escape sequences and control characters, for a sentence about it.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Past one escape sequence: CSI to its final letter, OSC to its terminator, else one character.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.next() {
        Some('[') => {
            while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        }
        Some(']') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || (c == '\u{1b}' && rest.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_is_kept_and_places_stay_true() {
        let screen = Screen::default();
        screen.push(&vec![b'a'; TERMINAL_KEPT_BYTES]);
        screen.push(b"tail");
        let chunk = screen.read(0, Duration::ZERO);
        assert_eq!(chunk.from, 4);
        let end = TERMINAL_KEPT_BYTES as u64 + 4;
        let last = screen.read(end - 4, Duration::ZERO);
        assert_eq!((last.bytes.as_slice(), last.ended), (b"tail".as_slice(), false));
        assert!(screen.read(end, Duration::ZERO).bytes.is_empty());
        screen.end();
        assert!(screen.read(end, Duration::from_secs(60)).ended, "an ended screen waits for nothing");
        assert_eq!(screen.read(u64::MAX, Duration::ZERO).from, end);
    }

    #[test]
    fn a_sentence_holds_no_escape() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7} \u{1b}(Bend\r\n"), "red Bend\n");
    }
}
