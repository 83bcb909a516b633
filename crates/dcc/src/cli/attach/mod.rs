//! dcc session attach: a person at a session's terminal, key by key; without a terminal on this side line by line. A session
//! that speaks a protocol is followed by its feed.

mod feed;
mod lines;
mod questions;
mod screen;

use dcc_api::door::Query;
use dcc_core::ids::SessionId;
use dcc_core::{Code, Failure, Outcome};

use super::Cli;
use super::session_args::AttachArgs;

pub fn run(cli: &Cli, args: &AttachArgs) -> Outcome<u8> {
    let link = cli.link()?;
    let session_id: SessionId = cli.resolve(link.as_ref(), "session", &args.session)?;
    if cli.out.is_json() {
        let value = link.query(&Query::Terminal { session_id, from: 0, size: None })?;
        cli.out.show(&value, |_| String::new());
        return Ok(0);
    }
    let session = link.query(&Query::Session { session_id })?;
    match session["capabilities"]["driver"].as_str() {
        Some("pty") => {}
        Some("human") => return Err(Failure::new(Code::IllegalTransition, "a person works in this session; there is no process to attach to").hint("dcc session show S names its worktree; dcc session close S ends it")),
        _ => return feed::follow(cli, link.as_ref(), session_id),
    }
    if args.lines || !cli.attended() {
        return lines::follow(cli, link.as_ref(), session_id);
    }
    let detach = key(&args.detach_key)?;
    screen::attach(cli, session_id, &detach)
}

/// The key that leaves, as a byte and in words.
pub struct DetachKey {
    byte: u8,
    words: String,
}

/// `ctrl-X` for a letter or one of `[ \ ] ^ _`.
fn key(text: &str) -> Outcome<DetachKey> {
    let lower = text.to_ascii_lowercase();
    let given = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix('^')).filter(|rest| rest.len() == 1).and_then(|rest| rest.bytes().next());
    match given {
        // Escape begins other keys, and line end, tab and return are typed all the time.
        Some(letter) if (letter.is_ascii_lowercase() || br"\]^_".contains(&letter)) && !b"ijm".contains(&letter) => {
            Ok(DetachKey { byte: letter.to_ascii_uppercase() & 0x1f, words: format!("Ctrl {}", char::from(letter.to_ascii_uppercase())) })
        }
        _ => Err(Failure::invalid(format!("{text:?} is no key to leave with")).hint(r"ctrl-] or ctrl-\, or ctrl with a letter other than i, j and m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_to_leave_with_is_a_control_key() {
        let of = |text: &str| key(text).map(|key| (key.byte, key.words));
        assert_eq!(of("ctrl-]").unwrap(), (0x1d, "Ctrl ]".to_owned()));
        assert_eq!(of(r"Ctrl-\").unwrap().0, 0x1c);
        assert_eq!(of("^q").unwrap(), (0x11, "Ctrl Q".to_owned()));
        for bad in ["", "q", "ctrl-", "ctrl-[", "ctrl-m", "ctrl-1", "ctrl-ab", "ctrl-ä"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
