//! dcc approvals, dcc grants, and the question at a terminal.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

use dcc_api::door::{Paging, Query, Verdict};
use dcc_core::approval::{ApprovalStatus, Scope};
use dcc_core::capability::Tier;
use dcc_core::ids::{ApprovalId, GrantId};
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::plan::PreviewItem;
use dcc_core::{Code, Failure, Outcome};

use super::Cli;
use super::answers::{self, Answer};
use super::args::{ApprovalCommand, GrantCommand};
use super::output::{job_exit, one_line, short, table, unreadable};
use super::work::{items, text};
use crate::link::Link;

pub fn run(cli: &Cli, command: ApprovalCommand) -> Outcome<u8> {
    let link = cli.link()?;
    match command {
        ApprovalCommand::List { all } => {
            let status = (!all).then_some(ApprovalStatus::Pending);
            let value = link.query(&Query::Approvals { status, paging: Paging::default() })?;
            cli.out.show(&value, |value| {
                let rows: Vec<Vec<String>> = items(value)
                    .map(|a| vec![short(&text(a, "approval_id")).to_owned(), text(a, "tier"), text(a, "status"), text(a, "wp_id"), text(&a["preview"], "title"), text(a, "expires_at")])
                    .collect();
                if rows.is_empty() { "nothing waits for you".to_owned() } else { table(&["approval", "risk", "status", "packet", "what", "expires"], rows) }
            });
            Ok(0)
        }
        ApprovalCommand::Show { approval } => {
            let approval_id: ApprovalId = cli.resolve(link.as_ref(), "approval", &approval)?;
            let value = link.query(&Query::Approval { approval_id })?;
            cli.out.show(&value, |value| serde_json::from_value(value.clone()).map_or_else(|_| value.to_string(), |a| card(&a)));
            Ok(0)
        }
        ApprovalCommand::Approve { approval, scope, reason, no_wait } => {
            let id: ApprovalId = cli.resolve(link.as_ref(), "approval", &approval)?;
            let scope: Scope = serde_json::from_value(json!(scope)).map_err(|_| Failure::invalid(format!("{scope:?} is no scope: once, job, session or workspace")))?;
            decide(cli, link.as_ref(), id, Verdict::Approve, scope, reason, !no_wait)
        }
        ApprovalCommand::Deny { approval, reason } => {
            let id: ApprovalId = cli.resolve(link.as_ref(), "approval", &approval)?;
            decide(cli, link.as_ref(), id, Verdict::Deny, Scope::Once, Some(reason), true)
        }
    }
}

fn decide(cli: &Cli, link: &dyn Link, id: ApprovalId, verdict: Verdict, scope: Scope, reason: Option<String>, wait: bool) -> Outcome<u8> {
    let shown = link.present(id)?;
    if shown.approval.tier == Tier::R3 && verdict == Verdict::Approve && !cli.attended() {
        return Err(Failure::new(Code::SameTurnConsent, "this needs a person at a terminal or in the browser").hint("run it in a terminal, or open the inbox"));
    }
    let mut answer = Answer { verdict, scope, reason, typed: None };
    // A denial has its reason among the words of the command.
    if verdict == Verdict::Approve
        && let Some(question) = answer.lacks(&shown.approval)
    {
        print!("{}", card(&shown.approval));
        answer = answer.with(&read_line(&question)?);
    }
    let input = answer.about(&shown);
    let decided = link.decide(id, &input)?;
    let mut job = serde_json::to_value(&decided.job).map_err(|e| Failure::engine(e.to_string()))?;
    if wait && verdict == Verdict::Approve {
        job = link.wait(decided.job_id, false)?;
    }
    let mut value = job.clone();
    value["approval_id"] = json!(decided.approval_id);
    value["status"] = json!(decided.status);
    if cli.out.is_json() {
        cli.out.show(&value, |_| String::new());
    } else if verdict == Verdict::Deny {
        cli.out.say(&format!("denied: job {} ended with {}", short(&text(&job, "job_id")), text(&job["failure"], "code")));
    } else {
        cli.out.job(&job);
    }
    // A denial that was carried out is a success of this command.
    Ok(if verdict == Verdict::Deny { 0 } else { job_exit(&job) })
}

/// Shows the preview of a parked job and asks; no answer leaves it parked.
pub fn ask(cli: &Cli, link: &dyn Link, job: &Value) -> Outcome<()> {
    let id: ApprovalId = job["approval_id"].as_str().and_then(|t| t.parse().ok()).ok_or_else(|| unreadable("approval_id"))?;
    let shown = link.present(id)?;
    print!("{}", card(&shown.approval));
    let line = read_line(&format!("Approve? [{}] ", answers::offers(&shown.approval)))?;
    let Some(mut answer) = answers::parse(&line, &shown.approval) else {
        cli.out.say(&format!("left waiting: dcc approvals approve {}", short(&id.to_string())));
        return Ok(());
    };
    if let Some(question) = answer.lacks(&shown.approval) {
        answer = answer.with(&read_line(&question)?);
    }
    link.decide(id, &answer.about(&shown))?;
    Ok(())
}

fn read_line(question: &str) -> Outcome<String> {
    let broken = |e: std::io::Error| Failure::engine(e.to_string());
    print!("{question}");
    std::io::stdout().flush().map_err(broken)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(broken)?;
    Ok(line)
}

/// The approval as text, in the fixed order of the card. Every field stands on a line of its own; longer text is
/// indented, so that nothing in it can pass for one of our lines.
pub fn card(approval: &dcc_core::approval::Approval) -> String {
    let p = &approval.preview;
    let mut lines = vec![format!("{}  [{}] {}", one_line(&p.title), approval.tier.as_str(), word(&approval.status))];
    for item in &p.exactly {
        match item {
            PreviewItem::Text { label, text } => {
                lines.push(format!("  {}:", one_line(label)));
                lines.extend(indented(text));
            }
            PreviewItem::Command { argv, cwd } => {
                // Quoted, so that one argument with a blank and two arguments do not look alike.
                let words: Vec<String> = argv.iter().map(|a| if a.chars().all(|c| c.is_ascii_graphic()) { one_line(a) } else { format!("{a:?}") }).collect();
                lines.push(format!("  command: {}", words.join(" ")));
                lines.push(format!("    in {}", one_line(cwd)));
            }
            PreviewItem::Fact { label, value } => lines.push(format!("  {}: {}", one_line(label), one_line(value))),
            PreviewItem::Warning { text } => lines.push(format!("  WARNING: {}", one_line(text))),
            PreviewItem::Diff { path, text, cut } => {
                lines.push(format!("  diff {}{}:", one_line(&path.display()), if *cut { " (cut)" } else { "" }));
                lines.extend(indented(text));
            }
            PreviewItem::Paths { paths } => lines.extend(paths.iter().map(|path| {
                let oid = path.oid.as_ref().map_or("", |o| o.short());
                format!("  {:<12} {} {oid}", path.change, one_line(&path.path.display()))
            })),
        }
    }
    lines.extend(p.place.iter().map(|fact| format!("  {}: {}", one_line(&fact.label), one_line(&fact.value))));
    if let Some(claim) = &approval.claim {
        lines.push(format!("  the requester says: {}", one_line(claim)));
    }
    lines.push(format!("  risk: {}\n  undo: {}\n  rule: {}\n  expires: {}", one_line(&p.risk), one_line(&p.undo), one_line(&approval.rule), approval.expires_at));
    lines.push(String::new());
    lines.join("\n")
}

fn indented(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| format!("    | {}", one_line(line)))
}

/// The wire word of a status.
fn word(status: &ApprovalStatus) -> String {
    json!(status).as_str().unwrap_or_default().to_owned()
}

pub fn grants(cli: &Cli, command: &GrantCommand) -> Outcome<u8> {
    match command {
        GrantCommand::List => {
            let value = cli.query(&Query::Grants { paging: Paging::default() })?;
            cli.out.show(&value, |value| {
                let rows: Vec<Vec<String>> = items(value)
                    .map(|g| vec![short(&text(g, "grant_id")).to_owned(), text(g, "status"), text(g, "scope"), text(g, "covers"), format!("{}/{}", g["used"], g["max_uses"]), text(g, "expires_at")])
                    .collect();
                if rows.is_empty() { "no grants".to_owned() } else { table(&["grant", "status", "scope", "covers", "uses", "expires"], rows) }
            });
            Ok(0)
        }
        GrantCommand::Revoke { grant } => {
            let id: GrantId = cli.resolve(cli.link()?.as_ref(), "grant", grant)?;
            cli.submit(Op::GrantRevoke, json!({ "grant_id": id }), Bindings::default())
        }
    }
}
