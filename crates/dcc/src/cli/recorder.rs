//! dcc timeline, dcc recorder.

use std::io::Write;

use serde_json::Value;

use dcc_api::door::{Query, event_filter};
use dcc_api::view::TimelineFilter;
use dcc_core::ids::{JobId, SessionId, WorkspaceId};
use dcc_core::ports::{EventFilter, Order, Recorder as _};
use dcc_core::{Failure, Outcome, Timestamp};

use super::Cli;
use super::args::{RecorderCommand, TimelineArgs};
use super::output::{short, table};
use super::work::{items, text};

pub fn timeline(cli: &Cli, args: &TimelineArgs) -> Outcome<u8> {
    let link = cli.link()?;
    let whole = |kind: &str, text: &Option<String>| -> Outcome<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        Ok(Some(match kind {
            "session" => cli.resolve::<SessionId>(link.as_ref(), kind, text)?.to_string(),
            "workspace" => cli.resolve::<WorkspaceId>(link.as_ref(), kind, text)?.to_string(),
            _ => cli.resolve::<JobId>(link.as_ref(), kind, text)?.to_string(),
        }))
    };
    let words = TimelineFilter {
        wp: args.wp.as_deref().map(|wp| super::work::wp_id(wp).map(|id| id.to_string())).transpose()?,
        mt: args.mt.clone(),
        session: whole("session", &args.session)?,
        ws: whole("workspace", &args.ws)?,
        job: whole("job", &args.job)?,
        code: args.code.clone(),
        ..TimelineFilter::default()
    };
    let mut filter = EventFilter { order: Order::Ascending, ..event_filter(&words, None)? };
    if let Some(since) = &args.since {
        filter.since = Some(Timestamp::parse(since).ok_or_else(|| Failure::invalid(format!("{since:?} is no RFC 3339 time")).hint("such as 2026-01-31T09:00:00Z"))?);
    }
    let value = link.query(&Query::Events { filter })?;
    cli.out.show(&value, |value| event_table(items(value)));
    Ok(0)
}

fn event_table<'a>(events: impl Iterator<Item = &'a Value>) -> String {
    let rows: Vec<Vec<String>> = events
        .map(|e| {
            vec![
                text(e, "seq"),
                text(e, "ts"),
                text(e, "code"),
                text(e, "name"),
                text(e, "outcome"),
                text(e, "actor_kind"),
                text(e, "wp_id"),
                text(e, "mt_id"),
                short(&text(e, "session_id")).to_owned(),
                short(&text(e, "workspace_id")).to_owned(),
                short(&text(e, "job_id")).to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no event matches".to_owned();
    }
    table(&["seq", "time", "code", "name", "outcome", "actor", "packet", "task", "session", "workspace", "job"], rows)
}

pub fn run(cli: &Cli, command: RecorderCommand) -> Outcome<u8> {
    match command {
        RecorderCommand::Verify => verify(cli),
        RecorderCommand::Tail { count } => {
            let filter = EventFilter { order: Order::Descending, limit: count.clamp(1, 1_000), ..EventFilter::default() };
            let value = cli.query(&Query::Events { filter })?;
            cli.out.show(&value, |value| event_table(items(value).collect::<Vec<_>>().into_iter().rev()));
            Ok(0)
        }
        RecorderCommand::Export => {
            let mut out = Pipe { out: std::io::stdout().lock(), is_closed: false };
            match open(cli)?.export_jsonl(&EventFilter::default(), &mut out) {
                // Whoever read it has seen enough (dcc recorder export | head).
                Err(_) if out.is_closed => Ok(0),
                other => other.map(|_| 0),
            }
        }
    }
}

/// Standard output that remembers when nobody reads any more.
struct Pipe<W> {
    out: W,
    is_closed: bool,
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes);
        self.is_closed |= written.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
        written
    }
    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.out.flush();
        self.is_closed |= flushed.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
        flushed
    }
}

/// Reading needs no lock: SQLite gives a consistent view beside the writer.
fn open(cli: &Cli) -> Outcome<dcc_recorder::SqliteRecorder> {
    let found = cli.find()?;
    found.require_project_id()?;
    dcc_recorder::SqliteRecorder::open_read_only(found.state_dir.join("recorder.db"))
}

fn verify(cli: &Cli) -> Outcome<u8> {
    let found = cli.find()?;
    let place = crate::wire::checkpoint::StateHead::read(&found.dirs, found.require_project_id()?);
    let report = open(cli)?.with_outside(place).verify(None)?;
    crate::wire::integrity::note(&found.dirs, found.require_project_id()?, &report, found.clock.now());
    let value = serde_json::to_value(&report).map_err(|e| Failure::engine(e.to_string()))?;
    cli.out.show(&value, |_| match (report.ok, report.first_bad_seq) {
        (true, _) => format!("the chain holds: {} events, head {} {}, {}", report.events, report.head.seq, report.head.hash.short(), report.held_against()),
        (false, Some(seq)) => format!("the chain is BROKEN at event {seq}: {}", report.problem.clone().unwrap_or_default()),
        (false, None) => format!("the log is NOT verified: {}", report.problem.clone().unwrap_or_default()),
    });
    Ok(if report.ok { 0 } else { 7 })
}
