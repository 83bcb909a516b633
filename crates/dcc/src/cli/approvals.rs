//! dcc approvals, dcc grants, and the question at a terminal.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

use dcc_api::door::{DecisionInput, Paging, Presentation, Query, Verdict};
use dcc_core::approval::{ApprovalStatus, Scope};
use dcc_core::capability::Tier;
use dcc_core::ids::{ApprovalId, GrantId};
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::plan::PreviewItem;
use dcc_core::{Code, Failure, Outcome};

use super::Cli;
use super::args::{ApprovalCommand, GrantCommand};
use super::output::{job_exit, short, table, unreadable, visible};
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
    let input = DecisionInput { decision: verdict, scope, reason, nonce: Some(shown.nonce), preview_digest: Some(shown.preview_digest) };
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
    let verdict = question(&shown)?;
    let Some((decision, scope, reason)) = verdict else {
        cli.out.say(&format!("left waiting: dcc approvals approve {}", short(&id.to_string())));
        return Ok(());
    };
    link.decide(id, &DecisionInput { decision, scope, reason, nonce: Some(shown.nonce), preview_digest: Some(shown.preview_digest) })?;
    Ok(())
}

type Answer = Option<(Verdict, Scope, Option<String>)>;

fn question(shown: &Presentation) -> Outcome<Answer> {
    let offered = &shown.approval.offered;
    let mut words = vec!["y = once"];
    for (scope, word) in [(Scope::Job, "j = job"), (Scope::Session, "s = session"), (Scope::Workspace, "w = workspace")] {
        if offered.contains(&scope) {
            words.push(word);
        }
    }
    words.push("n = deny");
    words.push("Enter = leave it waiting");
    print!("Approve? [{}] ", words.join(", "));
    std::io::stdout().flush().map_err(|e| Failure::engine(e.to_string()))?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::engine(e.to_string()))?;
    let scope = match line.trim() {
        "y" | "yes" => Scope::Once,
        "j" => Scope::Job,
        "s" => Scope::Session,
        "w" => Scope::Workspace,
        "n" | "no" => {
            print!("Reason (sent to the requester): ");
            std::io::stdout().flush().map_err(|e| Failure::engine(e.to_string()))?;
            let mut reason = String::new();
            std::io::stdin().lock().read_line(&mut reason).map_err(|e| Failure::engine(e.to_string()))?;
            return Ok(Some((Verdict::Deny, Scope::Once, Some(reason.trim().to_owned()))));
        }
        _ => return Ok(None),
    };
    Ok(Some((Verdict::Approve, scope, None)))
}

/// The approval as text, in the fixed order of the card.
fn card(approval: &dcc_core::approval::Approval) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let p = &approval.preview;
    let _ = writeln!(out, "{}  [{}] {:?}", p.title, approval.tier.as_str(), approval.status);
    for item in &p.exactly {
        let _ = match item {
            PreviewItem::Text { label, text } => writeln!(out, "  {label}:\n    {}", text.replace('\n', "\n    ")),
            PreviewItem::Command { argv, cwd } => writeln!(out, "  command: {}\n    in {cwd}", argv.join(" ")),
            PreviewItem::Fact { label, value } => writeln!(out, "  {label}: {value}"),
            PreviewItem::Warning { text } => writeln!(out, "  WARNING: {text}"),
            PreviewItem::Diff { path, text, cut } => writeln!(out, "  diff {}{}:\n    {}", path.display(), if *cut { " (cut)" } else { "" }, text.replace('\n', "\n    ")),
            PreviewItem::Paths { paths } => paths.iter().try_for_each(|path| {
                let oid = path.oid.as_ref().map_or("", |o| o.short());
                writeln!(out, "  {:<12} {} {oid}", path.change, path.path.display())
            }),
        };
    }
    for fact in &p.place {
        let _ = writeln!(out, "  {}: {}", fact.label, fact.value);
    }
    if let Some(claim) = &approval.claim {
        let _ = writeln!(out, "  the requester says: {claim}");
    }
    let _ = writeln!(out, "  risk: {}\n  undo: {}\n  rule: {}\n  expires: {}", p.risk, p.undo, approval.rule, approval.expires_at);
    visible(&out)
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
