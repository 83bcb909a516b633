//! A session's terminal line by line, for whoever has no terminal on this side: a pipe, a file, a screen reader. What is
//! shown has no escape sequences; what is typed is a message of its own, recorded like any other.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::{Value, json};

use dcc_api::door::Query;
use dcc_core::ids::SessionId;
use dcc_core::job::{Bindings, JobRequest};
use dcc_core::op::Op;
use dcc_core::path::unbase64;
use dcc_core::{Code, Failure, Outcome};

use super::super::Cli;
use super::super::output::visible;
use crate::link::Link;

pub fn follow(cli: &Cli, link: &dyn Link, session_id: SessionId) -> Outcome<u8> {
    let mut chunk = link.query(&Query::Terminal { session_id, from: 0, size: None })?;
    if std::io::stdin().is_terminal() {
        cli.out.note("each line that you type is sent when you press return; Ctrl C leaves, the command goes on");
        type_in(cli, session_id)?;
    }
    let mut tail = Vec::new();
    loop {
        show(&mut tail, &unbase64(chunk["b64"].as_str().unwrap_or_default()).unwrap_or_default(), chunk["ended"] == true)?;
        if chunk["ended"] == true {
            return Ok(0);
        }
        let from = chunk["next"].as_u64().unwrap_or_default();
        chunk = match link.query(&Query::Terminal { session_id, from, size: None }) {
            // It ended between two looks, and its last output with it stands in the transcript.
            Err(failure) if failure.code == Code::IllegalTransition => return Ok(0),
            other => other?,
        };
    }
}

/// Prints whole lines, and the beginning of one as it stands when there is nothing more.
fn show(tail: &mut Vec<u8>, bytes: &[u8], is_last: bool) -> Outcome<()> {
    tail.extend_from_slice(bytes);
    let end = if is_last { tail.len() } else { tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) };
    let ready: Vec<u8> = tail.drain(..end).collect();
    let text = dcc_core::ports::terminal::plain(&String::from_utf8_lossy(&ready));
    let mut out = std::io::stdout();
    out.write_all(visible(&text).as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::engine(format!("standard output: {e}")))
}

/// Sends each line of standard input as a message, on a thread of its own.
fn type_in(cli: &Cli, session_id: SessionId) -> Outcome<()> {
    let (found, attended, clock) = (cli.find()?, cli.attended(), std::sync::Arc::clone(&cli.clock));
    let send = move || -> Outcome<()> {
        let link: Box<dyn Link> = crate::link::connect(found, attended)?;
        for line in std::io::stdin().lock().lines() {
            let Ok(text) = line else { return Ok(()) };
            let params: Value = json!({ "text": text });
            let request = JobRequest { op: Op::SessionSend, params, bindings: Bindings { session_id: Some(session_id), ..Bindings::default() }, idempotency_key: Some(clock.fresh_id().to_string()) };
            let job = link.submit(&request)?;
            if let Some(failure) = job.failure {
                eprintln!("dcc: {}", failure.message);
            }
        }
        Ok(())
    };
    let spawned = std::thread::Builder::new().name("attach".to_owned()).spawn(move || {
        if let Err(failure) = send() {
            eprintln!("dcc: {failure}");
        }
    });
    spawned.map(drop).map_err(|e| Failure::engine(format!("no thread: {e}")))
}
