//! Family and reason (DATA 1): one pure function of status, gates, dependencies, approvals, sessions and jobs, and the
//! ready and blocked queries. The sentence says who has to do what next.
//!
//! Authority: derived on read, never stored. Invariant: the conditions are those of `rules`, so that a packet shown as
//! ready is one that may be started.

use serde::{Deserialize, Serialize};

use crate::locus::record::{GateInputs, GateResult, GateStatus, MicroTask, MtStatus, WorkPacket, WpStatus};
use crate::locus::rules::{Blocker, Packets, is_void, listed};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $text)] $variant,)* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            pub fn as_str(self) -> &'static str { match self { $($name::$variant => $text,)* } }
            pub fn parse(text: &str) -> Option<Self> { match text { $($text => Some(Self::$variant),)* _ => None } }
        }
    };
}

words! {
    /// workflow_state_family.
    FamilyName {
        Intake => "intake", Ready => "ready", Active => "active", Waiting => "waiting", Review => "review", Approval => "approval",
        Validation => "validation", Blocked => "blocked", Done => "done", Canceled => "canceled", Archived => "archived",
    }
}
words! {
    /// queue_reason_code.
    Reason {
        NeedsTriage => "needs_triage", DependencyWait => "dependency_wait", HumanReviewWait => "human_review_wait",
        DecisionWait => "decision_wait", ApprovalWait => "approval_wait", ValidationWait => "validation_wait",
        EscalationWait => "escalation_wait", OperatorPause => "operator_pause", PolicyBlock => "policy_block",
        ResourceUnavailable => "resource_unavailable", RetryScheduled => "retry_scheduled", ReadyForHuman => "ready_for_human",
        ReadyForLocalSmallModel => "ready_for_local_small_model", ReadyForCloudModel => "ready_for_cloud_model",
        MailboxResponseWait => "mailbox_response_wait", Completed => "completed", Rejected => "rejected", Canceled => "canceled",
    }
}

/// What is bound to the packet right now, besides its records.
#[derive(Clone, Copy, Default, Debug)]
pub struct Facts<'a> {
    pub pending_approvals: usize,
    /// What the oldest of them asks: "commit 3 files".
    pub oldest_approval: Option<&'a str>,
    /// Sessions with a live run.
    pub sessions_active: usize,
    /// Sessions paused by a person or after a crash.
    pub sessions_paused: usize,
    pub jobs_running: usize,
    pub jobs_awaiting_validation: usize,
    /// Jobs stalled, for a person to settle.
    pub jobs_stalled: usize,
    /// What a gate would be judged on now, as in `rules::Context`.
    pub gate_inputs: Option<&'a GateInputs>,
}

/// Where a packet stands and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Family {
    pub family: FamilyName,
    pub reason: Reason,
    /// One sentence without a full stop: "waits for WP-0002 (in_progress)".
    pub sentence: String,
}

impl Family {
    fn new(family: FamilyName, reason: Reason, sentence: impl Into<String>) -> Self {
        Self { family, reason, sentence: sentence.into() }
    }
}

/// Family, reason and sentence. `blockers` are the packet's own, from [`Packets::blockers`]; `micro_tasks` are its own too.
pub fn family(packet: &WorkPacket, micro_tasks: &[MicroTask], blockers: &[Blocker], facts: &Facts<'_>) -> Family {
    if packet.tombstone.is_some() {
        return Family::new(FamilyName::Archived, Reason::Canceled, "deleted; its history stays in the recorder");
    }
    match packet.status {
        WpStatus::Done => return Family::new(FamilyName::Done, Reason::Completed, "done"),
        WpStatus::Cancelled => return Family::new(FamilyName::Canceled, Reason::Canceled, with_reason("cancelled", packet)),
        _ => {}
    }
    if facts.pending_approvals > 0 {
        return Family::new(FamilyName::Approval, Reason::ApprovalWait, approval_sentence(facts));
    }
    match packet.status {
        WpStatus::Stub => stub(packet),
        WpStatus::Ready => ready_packet(packet, blockers, facts),
        WpStatus::InProgress => in_progress(packet, micro_tasks, facts),
        WpStatus::Blocked => blocked_packet(packet, blockers),
        WpStatus::Gated => Family::new(FamilyName::Waiting, Reason::DecisionWait, with_reason("held for a person's decision", packet)),
        WpStatus::Done | WpStatus::Cancelled => unreachable!("answered above"),
    }
}

fn with_reason(what: &str, packet: &WorkPacket) -> String {
    match packet.status_reason.as_deref().and_then(|r| r.lines().next()) {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    }
}

fn approval_sentence(facts: &Facts<'_>) -> String {
    match (facts.oldest_approval, facts.pending_approvals) {
        (Some(what), 1) => format!("approval: {what}"),
        (Some(what), n) => format!("approval: {what}, and {} more", n - 1),
        (None, 1) => "1 approval waits for a decision".to_owned(),
        (None, n) => format!("{n} approvals wait for a decision"),
    }
}

fn stub(packet: &WorkPacket) -> Family {
    let sentence = if packet.acceptance_criteria.is_empty() { "a stub: needs an acceptance criterion to become ready" } else { "a stub: can be made ready" };
    Family::new(FamilyName::Intake, Reason::NeedsTriage, sentence)
}

/// The reason and sentence of open blockers; a blocker that will not finish comes first, because it needs somebody.
fn waiting_for(blockers: &[Blocker]) -> Option<(Reason, String)> {
    let (undecided, unfinished): (Vec<_>, Vec<_>) = blockers.iter().cloned().partition(|b| b.needs_decision);
    if !undecided.is_empty() {
        return Some((Reason::DecisionWait, format!("waits for a decision on {}", listed(&undecided))));
    }
    (!unfinished.is_empty()).then(|| (Reason::DependencyWait, format!("waits for {}", listed(&unfinished))))
}

fn ready_packet(packet: &WorkPacket, blockers: &[Blocker], facts: &Facts<'_>) -> Family {
    if let Some((reason, sentence)) = waiting_for(blockers) {
        return Family::new(FamilyName::Waiting, reason, sentence);
    }
    match gate_state(&packet.gates.pre_work, facts) {
        GateState::Passed => Family::new(FamilyName::Ready, Reason::ReadyForHuman, "ready to start"),
        GateState::Failed => Family::new(FamilyName::Review, Reason::Rejected, gate_sentence("pre_work failed", &packet.gates.pre_work)),
        GateState::Void => Family::new(FamilyName::Validation, Reason::ValidationWait, "pre_work is void: the work changed after it was judged"),
        GateState::Open => Family::new(FamilyName::Validation, Reason::ValidationWait, "waits for the pre_work gate"),
    }
}

fn blocked_packet(packet: &WorkPacket, blockers: &[Blocker]) -> Family {
    match waiting_for(blockers) {
        Some((reason, sentence)) => Family::new(FamilyName::Blocked, reason, sentence),
        None => Family::new(FamilyName::Blocked, Reason::OperatorPause, with_reason("blocked", packet)),
    }
}

fn in_progress(packet: &WorkPacket, micro_tasks: &[MicroTask], facts: &Facts<'_>) -> Family {
    if facts.jobs_stalled > 0 {
        return Family::new(FamilyName::Review, Reason::HumanReviewWait, counted(facts.jobs_stalled, "stalled job needs a person", "stalled jobs need a person"));
    }
    if facts.sessions_active > 0 {
        return Family::new(FamilyName::Active, Reason::ReadyForCloudModel, counted(facts.sessions_active, "session is at work", "sessions are at work"));
    }
    if facts.jobs_running > 0 {
        return Family::new(FamilyName::Active, Reason::ReadyForHuman, counted(facts.jobs_running, "job is running", "jobs are running"));
    }
    if facts.jobs_awaiting_validation > 0 {
        return Family::new(FamilyName::Validation, Reason::ValidationWait, counted(facts.jobs_awaiting_validation, "job waits for validation", "jobs wait for validation"));
    }
    if let Some(family) = troubled(micro_tasks) {
        return family;
    }
    if facts.sessions_paused > 0 {
        return Family::new(FamilyName::Waiting, Reason::OperatorPause, counted(facts.sessions_paused, "session is paused", "sessions are paused"));
    }
    let open = micro_tasks.iter().filter(|m| !matches!(m.status, MtStatus::Completed | MtStatus::Skipped)).count();
    match (gate_state(&packet.gates.post_work, facts), open) {
        (GateState::Failed, _) => Family::new(FamilyName::Review, Reason::Rejected, gate_sentence("post_work failed", &packet.gates.post_work)),
        (_, 1..) => Family::new(FamilyName::Active, Reason::ReadyForHuman, counted(open, "micro-task is open", "micro-tasks are open")),
        (GateState::Passed, 0) => Family::new(FamilyName::Review, Reason::HumanReviewWait, "ready to close"),
        (GateState::Void, 0) => Family::new(FamilyName::Validation, Reason::ValidationWait, "post_work is void: the work changed after it was judged"),
        (GateState::Open, 0) if micro_tasks.is_empty() => Family::new(FamilyName::Active, Reason::ReadyForHuman, "in progress; post_work is not judged yet"),
        (GateState::Open, 0) => Family::new(FamilyName::Validation, Reason::ValidationWait, "every micro-task is done; waits for the post_work gate"),
    }
}

/// Failed and blocked micro-tasks want somebody before anything else goes on.
fn troubled(micro_tasks: &[MicroTask]) -> Option<Family> {
    let of = |status| micro_tasks.iter().find(|m| m.status == status);
    let sentence = |word: &str, m: &MicroTask| match m.status_reason.as_deref().and_then(|r| r.lines().next()) {
        Some(reason) => format!("{} {word}: {reason}", m.mt_id),
        None => format!("{} {word}", m.mt_id),
    };
    if let Some(failed) = of(MtStatus::Failed) {
        return Some(Family::new(FamilyName::Review, Reason::EscalationWait, sentence("failed", failed)));
    }
    let others_go_on = micro_tasks.iter().any(|m| matches!(m.status, MtStatus::InProgress | MtStatus::Pending));
    of(MtStatus::Blocked).filter(|_| !others_go_on).map(|m| Family::new(FamilyName::Waiting, Reason::EscalationWait, sentence("is blocked", m)))
}

enum GateState {
    Passed,
    Failed,
    Void,
    Open,
}

fn gate_state(result: &GateResult, facts: &Facts<'_>) -> GateState {
    if is_void(result, facts.gate_inputs) {
        GateState::Void
    } else if result.is_passed() {
        GateState::Passed
    } else if result.status == GateStatus::Fail {
        GateState::Failed
    } else {
        GateState::Open
    }
}

fn gate_sentence(what: &str, result: &GateResult) -> String {
    match result.reason.as_deref().and_then(|r| r.lines().next()) {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// Packets that may be taken up: status ready and nothing they wait for, by priority, then id.
pub fn ready<'a>(packets: &Packets<'a>) -> Vec<&'a WorkPacket> {
    packets.all().into_iter().filter(|p| p.status == WpStatus::Ready && packets.blockers(&p.wp_id).is_empty()).collect()
}

/// Open packets that are blocked or wait for others, with what they wait for, by priority, then id.
pub fn blocked<'a>(packets: &Packets<'a>) -> Vec<(&'a WorkPacket, Vec<Blocker>)> {
    packets
        .all()
        .into_iter()
        .filter(|p| p.status.is_open())
        .map(|p| (p, packets.blockers(&p.wp_id)))
        .filter(|(p, blockers)| p.status == WpStatus::Blocked || !blockers.is_empty())
        .collect()
}
