//! What a terminal has shown: the last part of it, by place, for whoever looks on, and the screen that it makes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::limits::TERMINAL_KEPT_BYTES;
use dcc_core::ports::sessions::{TerminalChunk, TerminalScreen, TerminalSize, TerminalState};

use super::emulator::Emulator;

/// One answer's worth of output.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

struct Kept {
    bytes: VecDeque<u8>,
    /// Place of the first kept byte.
    from: u64,
    ended: bool,
    drawn: Emulator,
    /// Counts what changes the screen.
    version: u64,
}

pub struct Screen {
    kept: Mutex<Kept>,
    changed: Condvar,
}

impl Default for Screen {
    fn default() -> Self {
        let kept = Kept { bytes: VecDeque::new(), from: 0, ended: false, drawn: Emulator::new(TerminalSize::USUAL), version: 0 };
        Self { kept: Mutex::new(kept), changed: Condvar::new() }
    }
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.lock();
        let done = act(&mut kept);
        kept.version += 1;
        self.changed.notify_all();
        done
    }

    /// Takes output in; what the terminal answers to the program is given back.
    pub fn push(&self, bytes: &[u8]) -> String {
        self.change(|kept| {
            kept.bytes.extend(bytes);
            let over = kept.bytes.len().saturating_sub(TERMINAL_KEPT_BYTES);
            kept.bytes.drain(..over);
            kept.from += over as u64;
            kept.drawn.feed(bytes)
        })
    }

    pub fn end(&self) {
        self.change(|kept| kept.ended = true);
    }

    pub fn resize(&self, size: TerminalSize) {
        self.change(|kept| kept.drawn.resize(size));
    }

    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Blocks until the screen is another than the one of this number; its number, and whether it will stay so.
    pub fn await_change(&self, seen: u64) -> (u64, bool) {
        let mut kept = self.lock();
        while kept.version == seen && !kept.ended {
            kept = self.changed.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
        (kept.version, kept.ended)
    }

    pub fn state(&self) -> TerminalState {
        let kept = self.lock();
        let next = kept.from + (kept.bytes.len() - kept.drawn.undrawn()) as u64;
        TerminalState { size: kept.drawn.size(), next, replay: kept.drawn.replay(), ended: kept.ended }
    }

    pub fn screen(&self, history_max: usize) -> TerminalScreen {
        let kept = self.lock();
        TerminalScreen { ended: kept.ended, ..kept.drawn.screen(history_max) }
    }

    /// Output from a place on; waits for more when there is none yet and the size is the one that the reader knows.
    pub fn read(&self, from: u64, known: Option<TerminalSize>, wait: Duration) -> TerminalChunk {
        let deadline = Instant::now() + wait;
        let mut kept = self.lock();
        loop {
            let end = kept.from + kept.bytes.len() as u64;
            let from = from.clamp(kept.from, end);
            let left = deadline.saturating_duration_since(Instant::now());
            if from < end || kept.ended || left.is_zero() || known.is_some_and(|known| known != kept.drawn.size()) {
                let skip = usize::try_from(from - kept.from).unwrap_or(usize::MAX);
                let bytes: Vec<u8> = kept.bytes.iter().skip(skip).take(CHUNK_BYTES_MAX).copied().collect();
                let ended = kept.ended && from + bytes.len() as u64 == end;
                return TerminalChunk { from, bytes, ended, size: kept.drawn.size() };
            }
            kept = self.changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything that is kept, and how many bytes before it are not.
    pub fn all(&self) -> (Vec<u8>, u64) {
        let kept = self.lock();
        (kept.bytes.iter().copied().collect(), kept.from)
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
        let chunk = screen.read(0, None, Duration::ZERO);
        assert_eq!(chunk.from, 4);
        let end = TERMINAL_KEPT_BYTES as u64 + 4;
        let last = screen.read(end - 4, None, Duration::ZERO);
        assert_eq!((last.bytes.as_slice(), last.ended), (b"tail".as_slice(), false));
        assert!(screen.read(end, None, Duration::ZERO).bytes.is_empty());
        screen.end();
        assert!(screen.read(end, None, Duration::from_secs(60)).ended, "an ended screen waits for nothing");
        assert_eq!(screen.read(u64::MAX, None, Duration::ZERO).from, end);
    }

    #[test]
    fn a_change_is_told_once_and_the_end_always() {
        let screen = Screen::default();
        screen.push(b"a");
        let (seen, ended) = screen.await_change(0);
        assert!(!ended);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| screen.await_change(seen));
            screen.resize(TerminalSize { rows: 5, columns: 10 });
            assert_eq!(waits.join().unwrap(), (seen + 1, false));
        });
        screen.end();
        assert!(screen.await_change(seen + 2).1, "what has ended changes no more, and nobody waits for it");
        let state = screen.state();
        assert_eq!((state.size.rows, state.next, state.ended, screen.screen(0).ended), (5, 1, true, true));
    }
}
