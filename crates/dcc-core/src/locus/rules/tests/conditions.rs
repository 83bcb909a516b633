//! The conditions that come on top of a legal pair.

use super::{World, job, mt, new_mt, new_packet, statement, wp};
use crate::Code;
use crate::event::EventCode;
use crate::locus::change::{LocusChange, PacketFields};
use crate::locus::family::{self, Facts, FamilyName, Reason};
use crate::locus::record::{DependencyKind, GateInputs, GateName, GateResult, GateStatus, MtFiles, MtStatus, NoteType, WpStatus};
use crate::locus::rules::{Context, Packets, allowed_actions, is_void};
use crate::{NoteId, Timestamp};
use uuid::Uuid;

#[test]
fn a_packet_starts_only_through_its_gate() {
    let mut world = World::with(&["WP-1"]);
    world.change("WP-1", None, LocusChange::MakeReady).unwrap();
    let failure = world.refuse("WP-1", None, &LocusChange::StartWp);
    assert_eq!(failure.code, Code::GateNotPassed);
    assert!(failure.message.contains("pre_work"), "{failure}");
    let skip = |reason: Option<&str>| LocusChange::GateWp { gate: GateName::PreWork, result: GateStatus::Skip, reason: reason.map(Into::into), inputs: None };
    assert_eq!(world.refuse("WP-1", None, &skip(None)).code, Code::InvalidInput);
    assert_eq!(world.refuse("WP-1", None, &skip(Some("  "))).code, Code::InvalidInput);
    world.change("WP-1", None, skip(Some("trivial"))).unwrap();
    assert_eq!(world.change("WP-1", None, LocusChange::StartWp).unwrap().event, EventCode::WpStatusChanged);
    let failure = world.refuse("WP-1", None, &LocusChange::CloseWp { verdict: None });
    assert_eq!(failure.code, Code::GateNotPassed);
    assert!(failure.message.contains("post_work"), "{failure}");
}

#[test]
fn closing_wants_micro_tasks_done_and_quiet() {
    let mut world = World::with(&["WP-1"]);
    world.drive("WP-1", WpStatus::InProgress);
    world.change("WP-1", None, LocusChange::RegisterMts { micro_tasks: vec![new_mt("a")] }).unwrap();
    world.gate("WP-1", GateName::PostWork);
    let close = LocusChange::CloseWp { verdict: Some("good".into()) };
    assert!(world.refuse("WP-1", None, &close).message.contains("MT-001 (pending)"));
    world.change("WP-1", Some("MT-001"), LocusChange::StartMt).unwrap();
    let complete = |evidence| LocusChange::CompleteMt { evidence };
    for bad in [job(None, None), job(Some(0), Some(0)), job(Some(1), None), statement(" ")] {
        assert_eq!(world.refuse("WP-1", Some("MT-001"), &complete(bad)).code, Code::InvalidInput);
    }
    assert_eq!(world.change("WP-1", Some("MT-001"), complete(job(Some(0), Some(4)))).unwrap().event, EventCode::MtCompleted);
    world.pending_approvals = 1;
    assert_eq!(world.refuse("WP-1", None, &close).code, Code::IllegalTransition);
    world.pending_approvals = 0;
    world.running = 1;
    assert!(world.refuse("WP-1", None, &close).message.contains("1 session or job still running"));
    assert_eq!(world.refuse("WP-1", None, &LocusChange::CancelWp { reason: "x".into() }).code, Code::IllegalTransition);
    world.running = 0;
    assert_eq!(world.change("WP-1", None, close).unwrap().event, EventCode::WpCompleted);
    assert_eq!(world.packet("WP-1").closure_verdict.as_deref(), Some("good"));
    world.change("WP-1", None, LocusChange::ReopenWp { reason: "again".into(), to_in_progress: true }).unwrap();
    assert_eq!(world.packet("WP-1").gates.post_work, GateResult::PENDING);
    assert_eq!(world.packet("WP-1").completed_at, None);
}

#[test]
fn a_cancelled_stub_does_not_get_past_the_gate_by_reopening() {
    let mut world = World::with(&["WP-1"]);
    world.drive("WP-1", WpStatus::Cancelled);
    let failure = world.refuse("WP-1", None, &LocusChange::ReopenWp { reason: "x".into(), to_in_progress: true });
    assert_eq!(failure.code, Code::GateNotPassed);
    world.change("WP-1", None, LocusChange::ReopenWp { reason: "x".into(), to_in_progress: false }).unwrap();
}

#[test]
fn void_gates_do_not_pass() {
    let inputs = |worktree: &str| GateInputs { worktree: Some(worktree.into()), base_oid: None, head_oid: None, tree_oid: None };
    let result = GateResult { status: GateStatus::Pass, inputs: Some(inputs("a")), ..GateResult::PENDING };
    assert!(is_void(&result, Some(&inputs("b"))));
    assert!(!is_void(&result, Some(&inputs("a"))) && !is_void(&result, None));
}

#[test]
fn dependencies_have_one_direction() {
    use DependencyKind::{BlockedBy, Blocks, DependsOn, ParentChild, Related};
    let mut world = World::with(&["WP-1", "WP-2", "WP-3"]);
    assert_eq!(world.depend("WP-1", Blocks, "WP-1").unwrap_err().code, Code::InvalidInput);
    assert_eq!(world.depend("WP-1", Related, "WP-9").unwrap_err().code, Code::NotFoundWp);
    world.depend("WP-1", Blocks, "WP-2").unwrap();
    world.depend("WP-3", DependsOn, "wp-2".to_uppercase().as_str()).unwrap();
    for kind in [BlockedBy, DependsOn] {
        assert_eq!(world.depend("WP-1", kind, "WP-3").unwrap_err().code, Code::IllegalTransition, "a circle");
        assert!(world.depend("WP-2", kind, "WP-1").unwrap_err().message.contains("already"), "the same edge");
    }
    assert!(world.depend("WP-3", Blocks, "WP-1").is_err());
    world.depend("WP-3", Related, "WP-1").unwrap();
    assert!(world.depend("WP-3", Related, "WP-1").is_err());
    world.depend("WP-1", ParentChild, "WP-2").unwrap();
    world.depend("WP-2", ParentChild, "WP-3").unwrap();
    assert!(world.depend("WP-3", ParentChild, "WP-1").is_err());
    let remove = |kind, to: &str| LocusChange::RemoveDependency { kind, to_wp_id: wp(to) };
    let failure = world.refuse("WP-2", None, &remove(BlockedBy, "WP-1"));
    assert_eq!(failure.code, Code::NotFound);
    assert!(failure.hint.unwrap().contains("WP-1"));
    world.change("WP-3", None, remove(BlockedBy, "WP-2")).unwrap();
    assert_eq!(Packets::new(&world.packets).blockers(&wp("WP-3")), []);
}

#[test]
fn a_cancelled_blocker_needs_a_decision() {
    let mut world = World::with(&["WP-1", "WP-2"]);
    world.change("WP-2", None, LocusChange::MakeReady).unwrap();
    world.gate("WP-2", GateName::PreWork);
    world.depend("WP-1", DependencyKind::Blocks, "WP-2").unwrap();
    assert_eq!(world.refuse("WP-2", None, &LocusChange::StartWp).code, Code::IllegalTransition);
    assert!(family::ready(&Packets::new(&world.packets)).is_empty());
    world.change("WP-1", None, LocusChange::CancelWp { reason: "no".into() }).unwrap();
    assert!(world.refuse("WP-2", None, &LocusChange::StartWp).message.contains("needs decision"));
    {
        let index = Packets::new(&world.packets);
        let blocked = family::blocked(&index);
        assert_eq!(blocked.len(), 1);
        assert!(blocked[0].1[0].needs_decision);
        let shown = family::family(world.packet("WP-2"), &[], &blocked[0].1, &Facts::default());
        assert_eq!((shown.family, shown.reason), (FamilyName::Waiting, Reason::DecisionWait));
        assert!(shown.sentence.contains("WP-1"), "{}", shown.sentence);
    }
    let remove = LocusChange::RemoveDependency { kind: DependencyKind::Blocks, to_wp_id: wp("WP-2") };
    world.change("WP-1", None, remove).unwrap();
    assert_eq!(family::ready(&Packets::new(&world.packets)).len(), 1);
    world.change("WP-2", None, LocusChange::StartWp).unwrap();
}

#[test]
fn micro_tasks_start_with_their_packet_and_after_their_own() {
    let mut world = World::with(&["WP-1"]);
    let second = crate::locus::change::NewMicroTask { depends_on: vec![mt("MT-001")], ..new_mt("b") };
    world.change("WP-1", None, LocusChange::RegisterMts { micro_tasks: vec![new_mt("a"), second.clone()] }).unwrap();
    assert!(world.refuse("WP-1", Some("MT-001"), &LocusChange::StartMt).message.contains("in progress"));
    assert_eq!(world.refuse("WP-1", Some("MT-009"), &LocusChange::StartMt).code, Code::NotFoundMt);
    world.drive("WP-1", WpStatus::InProgress);
    assert!(world.refuse("WP-1", Some("MT-002"), &LocusChange::StartMt).message.contains("MT-001 (pending)"));
    world.change("WP-1", Some("MT-001"), LocusChange::SkipMt { reason: "not needed".into() }).unwrap();
    world.change("WP-1", Some("MT-002"), LocusChange::StartMt).unwrap();
    world.change("WP-1", Some("MT-002"), LocusChange::CompleteMt { evidence: statement("I looked") }).unwrap();
    assert!(world.try_change("WP-1", Some("MT-002"), &LocusChange::StartMt).is_err(), "completed is final until reopened");
    world.change("WP-1", Some("MT-002"), LocusChange::ReopenMt { reason: None }).unwrap();
    assert_eq!(world.micro_tasks[1].status, MtStatus::Pending);
}

#[test]
fn registering_is_all_or_nothing() {
    let world = World::with(&["WP-1"]);
    let with = |id: &str, on: &[&str]| crate::locus::change::NewMicroTask { mt_id: Some(mt(id)), depends_on: on.iter().map(|m| mt(m)).collect(), ..new_mt("x") };
    let mut none = new_mt("x");
    none.done_criteria.clear();
    let mut nine = new_mt("x");
    nine.done_criteria = vec!["c".into(); 9];
    for bad in [
        vec![with("MT-001", &["MT-002"]), with("MT-002", &["MT-001"])],
        vec![with("MT-001", &["MT-001"])],
        vec![with("MT-001", &["MT-007"])],
        vec![with("MT-001", &[]), with("MT-0001", &[])],
        vec![none],
        vec![nine],
        vec![],
    ] {
        assert!(world.try_change("WP-1", None, &LocusChange::RegisterMts { micro_tasks: bad }).is_err());
    }
    let mut world = world;
    world.packets[0].in_scope_paths = vec!["src".into()];
    let outside = crate::locus::change::NewMicroTask { files: MtFiles { modify: vec!["docs/a.md".into()], ..MtFiles::default() }, ..new_mt("x") };
    assert_eq!(world.refuse("WP-1", None, &LocusChange::RegisterMts { micro_tasks: vec![outside] }).code, Code::Scope);
    let inside = crate::locus::change::NewMicroTask { files: MtFiles { modify: vec!["src/a.rs".into()], ..MtFiles::default() }, ..new_mt("x") };
    world.change("WP-1", None, LocusChange::RegisterMts { micro_tasks: vec![with("MT-010", &["MT-011"]), inside] }).unwrap();
    assert_eq!(world.micro_tasks[1].mt_id, mt("MT-011"));
}

#[test]
fn fields_are_checked() {
    let world = World::with(&["WP-1"]);
    let create = |f: &dyn Fn(&mut crate::locus::change::NewPacket)| {
        let mut new = new_packet("WP-2");
        f(&mut new);
        world.refuse("WP-2", None, &LocusChange::CreateWp { new }).code
    };
    assert_eq!(create(&|n| n.title = " ".into()), Code::InvalidInput);
    assert_eq!(create(&|n| n.title = "a\n<!-- /dcc:lane -->".into()), Code::InvalidInput);
    assert_eq!(create(&|n| n.title = "x".repeat(2_001)), Code::InvalidInput);
    assert_eq!(create(&|n| n.priority = 5), Code::InvalidInput);
    assert_eq!(create(&|n| n.in_scope_paths = vec!["../x".into()]), Code::InvalidInput);
    assert_eq!(create(&|n| n.in_scope_paths = vec!["a[".into()]), Code::InvalidInput);
    assert_eq!(create(&|n| n.labels = vec!["a".into(), "a".into()]), Code::InvalidInput);
    assert_eq!(create(&|n| n.wp_id = wp("WP-1")), Code::VersionConflict);
    let set = |set| LocusChange::UpdateWp { set };
    assert_eq!(world.refuse("WP-1", None, &set(PacketFields::default())).code, Code::InvalidInput);
    assert_eq!(world.refuse("WP-7", None, &LocusChange::StartWp).code, Code::NotFoundWp);
    let mut cased = World::with(&["WP-ab"]);
    assert!(cased.change("WP-AB", None, LocusChange::CreateWp { new: new_packet("WP-AB") }).is_err(), "ids are unique without regard to case");
    cased.drive("WP-ab", WpStatus::Ready);
    assert!(cased.try_change("WP-ab", None, &set(PacketFields { acceptance_criteria: Some(Vec::new()), ..PacketFields::default() })).is_err());
    cased.drive("WP-ab", WpStatus::Cancelled);
    assert!(cased.try_change("WP-ab", None, &set(PacketFields { title: Some("x".into()), ..PacketFields::default() })).is_err());
    cased.change("WP-ab", None, LocusChange::AddNote { note_type: NoteType::User, body: "still true".into() }).unwrap();
}

#[test]
fn what_is_offered_is_what_is_allowed() {
    for status in WpStatus::ALL {
        let mut world = World::with(&["WP-1", "WP-2"]);
        world.drive("WP-1", *status);
        let ctx = Context {
            now: Timestamp(1),
            author: "operator",
            note_id: NoteId(Uuid::nil()),
            all_packets: &world.packets,
            micro_tasks: &[],
            pending_approvals: 0,
            running: 0,
            gate_inputs: None,
        };
        let actions = allowed_actions(world.packet("WP-1"), None, &ctx);
        let allowed = |name: &str| actions.iter().find(|a| a.name == name).unwrap().refused.is_none();
        assert_eq!(allowed("cancel_wp"), status.is_open());
        assert_eq!(allowed("reopen_wp"), !status.is_open());
        assert_eq!(allowed("make_ready"), *status == WpStatus::Stub);
        assert_eq!(allowed("update_wp"), status.is_open());
        assert!(allowed("add_note") && allowed("add_dependency") && !allowed("remove_dependency"));
        assert!(!allowed("start_wp"), "pre_work is open or the status is another");
    }
}

#[test]
fn families_of_each_status() {
    let mut world = World::with(&["WP-1"]);
    let shown = |world: &World, facts: &Facts<'_>| family::family(world.packet("WP-1"), &world.micro_tasks, &[], facts);
    let quiet = Facts::default();
    assert_eq!(shown(&world, &quiet).family, FamilyName::Intake);
    world.change("WP-1", None, LocusChange::MakeReady).unwrap();
    assert_eq!(shown(&world, &quiet).reason, Reason::ValidationWait);
    world.gate("WP-1", GateName::PreWork);
    assert_eq!(shown(&world, &quiet).family, FamilyName::Ready);
    let asking = Facts { pending_approvals: 2, oldest_approval: Some("commit 3 files"), ..quiet };
    assert_eq!(shown(&world, &asking).sentence, "approval: commit 3 files, and 1 more");
    assert_eq!(shown(&world, &asking).reason, Reason::ApprovalWait);
    world.change("WP-1", None, LocusChange::StartWp).unwrap();
    assert_eq!(shown(&world, &Facts { sessions_active: 1, ..quiet }).sentence, "1 session is at work");
    world.change("WP-1", None, LocusChange::HoldWp { reason: "which library?".into() }).unwrap();
    assert_eq!(shown(&world, &quiet).sentence, "held for a person's decision: which library?");
    world.change("WP-1", None, LocusChange::ReleaseWp { reason: "that one".into() }).unwrap();
    world.gate("WP-1", GateName::PostWork);
    assert_eq!(shown(&world, &quiet).sentence, "ready to close");
    world.change("WP-1", None, LocusChange::CloseWp { verdict: None }).unwrap();
    assert_eq!(shown(&world, &asking).family, FamilyName::Done);
}
