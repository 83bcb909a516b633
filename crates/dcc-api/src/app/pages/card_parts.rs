//! Parts of the approval card that are pure: the preview's items, what each scope covers.
//!
//! Authority: derived. Invariant: nothing here comes from the requester but `claim`.

use dcc_core::approval::{Approval, Scope};
use dcc_core::capability::Tier;
use dcc_core::plan::{IntentClass, Preview, PreviewFact, PreviewItem, PreviewPath};
use dcc_core::principal::Principal;
use dcc_core::{RepoPath, Timestamp, limits};

use super::changes::parse_unified;
use super::names::Names;
use super::rows::{counted, path_view};
use crate::view::{ApprovalCard, ApprovalRow, FactView, FileDiff, FileRow, PathEffect};

/// What the request itself says; preview, scopes and surroundings are added by the caller.
pub(super) fn card_of(approval: &Approval, row: ApprovalRow, names: &Names) -> ApprovalCard {
    ApprovalCard {
        approval: row,
        plan_digest: approval.plan_digest.to_string(),
        preview_digest: approval.preview_digest.to_string(),
        branch: approval.branch.clone(),
        requester: match approval.requester.principal {
            Principal::Operator => "operator",
            Principal::Agent { .. } => "session",
            Principal::System => "dcc",
        }
        .to_owned(),
        role: Some(approval.role.as_str().to_owned()),
        model_id: approval.model.clone(),
        wp_title: names.title(approval.wp_id.as_ref()),
        claim: approval.claim.clone().filter(|c| !c.trim().is_empty()),
        capability_id: approval.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        rule: approval.rule.clone(),
        rule_source: if approval.rule.contains("built-in") { String::new() } else { "built-in policy".to_owned() },
        confirm_text: (approval.tier == Tier::R3).then(|| approval.confirm_text()),
        ..ApprovalCard::default()
    }
}

/// The plan's preview, sorted into the places of the card.
pub(super) fn fill_preview(card: &mut ApprovalCard, preview: &Preview) {
    if !preview.title.is_empty() {
        card.approval.title.clone_from(&preview.title);
    }
    card.risk.clone_from(&preview.risk);
    card.undo.clone_from(&preview.undo);
    card.reversible = !["cannot", "never", "not possible", "no undo"].iter().any(|no| preview.undo.to_lowercase().contains(no));
    for item in &preview.exactly {
        match item {
            // The message of a commit has its own place; a second text is a fact with its label.
            PreviewItem::Text { text, .. } if card.message.is_none() => card.message = Some(text.clone()),
            PreviewItem::Text { label, text } => card.facts.push(fact(label, text)),
            PreviewItem::Command { argv, cwd } => {
                if card.command.is_empty() {
                    card.command.clone_from(argv);
                } else {
                    card.facts.push(fact("also", &argv.join(" ")));
                }
                card.workspace_path.get_or_insert_with(|| cwd.clone());
            }
            PreviewItem::Paths { paths } => card.paths.extend(paths.iter().map(path_effect)),
            PreviewItem::Diff { .. } => {}
            PreviewItem::Fact { label, value } => card.facts.push(fact(label, value)),
            PreviewItem::Warning { text } => card.risk_notes.push(text.clone()),
        }
    }
    for PreviewFact { label, value } in &preview.place {
        match label.as_str() {
            "worktree" => card.workspace_path = Some(value.clone()),
            "branch" => card.branch = Some(value.clone()),
            "parent" | "base commit" => card.parent_oid = Some(value.clone()),
            "tree" => card.tree_oid = Some(value.clone()),
            "network" => card.network.push(value.clone()),
            _ => card.facts.push(fact(label, value)),
        }
    }
}

fn fact(name: &str, value: &str) -> FactView {
    FactView { name: name.to_owned(), value: value.to_owned() }
}

fn path_effect(path: &PreviewPath) -> PathEffect {
    PathEffect {
        path: path_view(&path.path),
        kind: match path.change.as_str() {
            "edit" => "modified",
            "type changed" => "type_changed",
            other => other,
        }
        .to_owned(),
        additions: path.added.map(i64::from),
        deletions: path.deleted.map(i64::from),
        blob_oid: path.oid.as_ref().map(ToString::to_string),
    }
}

pub(super) fn first_path(preview: &Preview) -> Option<&PreviewPath> {
    preview.exactly.iter().find_map(|item| match item {
        PreviewItem::Paths { paths } => paths.first(),
        _ => None,
    })
}

/// The lines of a preview's diff text.
pub(super) fn diff_of_text(path: &RepoPath, text: &str, cut: bool, max: usize) -> FileDiff {
    let (hunks, more) = parse_unified(text, max);
    let count = |kind: &str| hunks.iter().flat_map(|h| &h.lines).filter(|l| l.kind == kind).count() as i64;
    let whole = !more && !cut;
    FileDiff {
        file: FileRow {
            path: path_view(path),
            kind: "modified".to_owned(),
            additions: whole.then(|| count("add")),
            deletions: whole.then(|| count("del")),
            group: "source".to_owned(),
            in_scope: true,
            ..FileRow::default()
        },
        truncated: match (more, cut) {
            (true, _) => Some(format!("first {max} of {} lines", text.lines().count())),
            (_, true) => Some("the preview was cut at its limit".to_owned()),
            _ => None,
        },
        hunks,
        failure: None,
    }
}

/// Keeps the first lines only.
pub(super) fn shorten(diff: &mut FileDiff, max: usize) {
    let total: usize = diff.hunks.iter().map(|h| h.lines.len()).sum();
    let mut room = max;
    for hunk in &mut diff.hunks {
        hunk.lines.truncate(room);
        room -= hunk.lines.len();
    }
    diff.hunks.retain(|h| !h.lines.is_empty());
    if total > max {
        diff.truncated = Some(format!("first {max} of {total} lines"));
    }
}

/// What a yes with this scope covers, and how often.
pub(super) fn covers(approval: &Approval, scope: Scope) -> String {
    let phrase = approval.intent.phrase();
    let what = match scope {
        Scope::Once => return "Only this request, run now or not at all.".to_owned(),
        Scope::Job => match approval.paths.len() {
            0 => format!("{phrase} in job {}", approval.root_job_id.short()),
            n => format!("{phrase}, {} shown, in job {}", counted(n, "path"), approval.root_job_id.short()),
        },
        Scope::Session => format!("{phrase}, asked by this session"),
        Scope::Workspace => format!("{phrase}, asked in this worktree by the same role for the same packet"),
    };
    let uses = match scope {
        Scope::Once | Scope::Job => Some(limits::JOB_GRANT_USES),
        Scope::Session => Some(limits::SESSION_GRANT_USES),
        // Its use bound is there to keep the count finite, not to be reached.
        Scope::Workspace => None,
    };
    let often = uses.map_or_else(String::new, |n| format!(", max {n} times"));
    let mut text = format!("{what}{often}");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    text
}

/// When a grant of this scope would end, if it were given now.
pub(super) fn ends(scope: Scope, now: Timestamp) -> Option<i64> {
    let ttl = match scope {
        Scope::Once => return None,
        Scope::Job => limits::JOB_GRANT_TTL_MS,
        Scope::Session => limits::SESSION_GRANT_TTL_MS,
        Scope::Workspace => limits::WORKSPACE_GRANT_TTL_MS,
    };
    Some(now.plus_ms(ttl).as_ms())
}

/// Other waiting requests of the same intent that the grant would cover; the gate decides each.
pub(super) fn releases(approval: &Approval, scope: Scope, pending: &[Approval]) -> i64 {
    let alike = |other: &&Approval| {
        other.approval_id != approval.approval_id
            && other.intent == approval.intent
            && other.workspace_id == approval.workspace_id
            && other.workspace_id.is_some()
            && other.branch == approval.branch
            && other.wp_id == approval.wp_id
            && other.capabilities == approval.capabilities
            && matches!(other.requester.principal, Principal::Agent { .. }) == matches!(approval.requester.principal, Principal::Agent { .. })
    };
    let reached = |other: &&Approval| match scope {
        Scope::Once => false,
        Scope::Job => other.root_job_id == approval.root_job_id && other.paths.iter().all(|p| approval.paths.contains(p)),
        Scope::Session => other.session_id == approval.session_id,
        Scope::Workspace => other.role == approval.role && other.model == approval.model,
    };
    pending.iter().filter(alike).filter(reached).count() as i64
}

pub(super) fn not_offered(approval: &Approval, scope: Scope) -> String {
    if approval.tier == Tier::R3 {
        return "R3 is decided once, never granted".to_owned();
    }
    if matches!(approval.intent, IntentClass::Unknown) {
        return "A request that cannot be judged is decided once only".to_owned();
    }
    if approval.workspace_id.is_none() {
        return "There is no worktree to bind a wider scope to".to_owned();
    }
    match scope {
        Scope::Session if !matches!(approval.requester.principal, Principal::Agent { .. }) => "No session asked, so there is none to end it with".to_owned(),
        Scope::Session | Scope::Workspace if approval.tier > Tier::R1 => format!("{} reaches too far for a standing grant of this width", approval.tier.as_str()),
        _ => "Not offered for this request".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_lands_in_the_places_of_the_card() {
        let preview = Preview {
            title: "Commit 1 path on x".into(),
            exactly: vec![
                PreviewItem::Text { label: "message".into(), text: "fix".into() },
                PreviewItem::Text { label: "first prompt".into(), text: "go".into() },
                PreviewItem::Warning { text: "careful".into() },
            ],
            place: vec![PreviewFact::new("branch", "x"), PreviewFact::new("author", "a")],
            risk: "little".into(),
            undo: "cannot be undone".into(),
        };
        let mut card = ApprovalCard::default();
        fill_preview(&mut card, &preview);
        assert_eq!((card.message.as_deref(), card.branch.as_deref(), card.reversible), (Some("fix"), Some("x"), false));
        assert_eq!(card.facts.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["first prompt", "author"]);
        assert_eq!(card.risk_notes, ["careful"]);
    }

    #[test]
    fn a_shortened_diff_says_what_is_missing() {
        let path = RepoPath::new("a").unwrap();
        let mut diff = diff_of_text(&path, "@@ -1,2 +1,2 @@\n-a\n-b\n+c\n+d\n", false, 50);
        assert_eq!((diff.file.additions, diff.file.deletions, diff.truncated.clone()), (Some(2), Some(2), None));
        shorten(&mut diff, 3);
        assert_eq!(diff.truncated.as_deref(), Some("first 3 of 4 lines"));
        assert_eq!(diff.hunks[0].lines.len(), 3);
    }
}
