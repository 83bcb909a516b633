//! What the API hands on, and how failures come back.

use dcc_api::door::{Paging, SearchKind, SessionFilter, artifact_path, event_codes};
use dcc_core::approval::Scope;
use dcc_core::event::EventOutcome;
use dcc_core::limits::HTTP_BODY_BYTES_MAX;
use dcc_core::locus::WpStatus;
use dcc_core::ports::store::JobFilter;
use dcc_core::ports::version::DiffSource;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::principal::{ActorKind, Role, Surface};
use dcc_core::session::SessionState;
use dcc_core::RepoPath;

use super::*;
use crate::server::Problem;

fn every_query() -> Vec<Query> {
    let id = || ID.parse().unwrap();
    let odd = RepoPath::new(b"src/\xff &=+%\n.rs".to_vec()).unwrap();
    let plain = RepoPath::new("größe/a b.rs".as_bytes().to_vec()).unwrap();
    let paging = || Paging { cursor: Some("a&b=c d".into()), limit: 7 };
    vec![
        Query::Jobs { filter: JobFilter::default() },
        Query::Jobs {
            filter: JobFilter {
                states: vec![JobState::Failed, JobState::AwaitingUser],
                op: Some(Op::VersionCommit),
                wp_id: Some("WP-0001".parse().unwrap()),
                mt_id: Some("MT-001".parse().unwrap()),
                session_id: Some(ID.parse().unwrap()),
                workspace_id: Some(ID.parse().unwrap()),
                root_job_id: Some(ID.parse().unwrap()),
                cursor: Some("x".into()),
                limit: 3,
            },
        },
        Query::Job { job_id: ID.parse().unwrap() },
        Query::Wps { status: None, ready: false, all: false, paging: Paging::default() },
        Query::Wps { status: Some(WpStatus::InProgress), ready: true, all: true, paging: paging() },
        Query::Wp { wp_id: "WP-Auth-2".parse().unwrap() },
        Query::Workspaces { paging: paging() },
        Query::Workspace { workspace_id: id() },
        Query::Repairs { workspace_id: id() },
        Query::Status { workspace_id: id() },
        Query::Diff { workspace_id: id(), source: DiffSource::Uncommitted, path: Some(odd.clone()) },
        Query::Diff { workspace_id: id(), source: DiffSource::Branch { base: "main".into() }, path: None },
        Query::Diff { workspace_id: id(), source: DiffSource::Commit { oid: "a".repeat(40).parse().unwrap() }, path: Some(plain.clone()) },
        Query::Log { workspace_id: id(), path: Some(plain), limit: 5 },
        Query::Sessions { filter: SessionFilter::default(), paging: paging() },
        Query::Sessions {
            filter: SessionFilter {
                states: vec![SessionState::Active, SessionState::Paused],
                role: Some(Role::Coder),
                backend: Some("acp".into()),
                wp_id: Some("WP-0001".parse().unwrap()),
                parent_session_id: Some(ID.parse().unwrap()),
                recovery: true,
            },
            paging: paging(),
        },
        Query::Session { session_id: ID.parse().unwrap() },
        Query::Terminal { session_id: ID.parse().unwrap(), from: 7, size: None },
        Query::ToolCalls { session_id: ID.parse().unwrap(), after_seq: Some(9), limit: 2 },
        Query::Board,
        Query::Approvals { status: Some(ApprovalStatus::Pending), paging: paging() },
        Query::Approval { approval_id: ID.parse().unwrap() },
        Query::Grants { paging: paging() },
        Query::Budgets { paging: paging() },
        Query::Events { filter: EventFilter::default() },
        Query::Events {
            filter: EventFilter {
                after_seq: Some(1),
                before_seq: Some(9),
                wp_id: Some("WP-0001".parse().unwrap()),
                mt_id: Some("MT-001".parse().unwrap()),
                session_id: Some(ID.parse().unwrap()),
                workspace_id: Some(ID.parse().unwrap()),
                job_id: Some(ID.parse().unwrap()),
                workflow_run_id: Some(ID.parse().unwrap()),
                approval_id: Some(ID.parse().unwrap()),
                tool_call_id: Some("call 1".into()),
                codes: vec![EventCode::JobAccepted, EventCode::SessionSteered],
                actor_kind: Some(ActorKind::Agent),
                actor_id: Some("operator".into()),
                principal: Some("operator".into()),
                trace_id: Some("t1".into()),
                span_id: Some("s1".into()),
                parent_span_id: Some("s0".into()),
                project_id: Some(ID.parse().unwrap()),
                policy_digest: Some(Sha256Hex::of(b"policy")),
                outcome: Some(EventOutcome::Deny),
                capability_id: Some("net.http:example.com".into()),
                text: Some("a+b".into()),
                since: Timestamp::parse("2026-01-31T09:10:11.123Z"),
                until: Timestamp::parse("2026-02-01T00:00:00Z"),
                order: Order::Descending,
                limit: 4,
            },
        },
        Query::Event { event_id: ID.parse().unwrap() },
        Query::Search { q: "fn a(b) & c".into(), scope: SearchKind::Code, workspace_id: Some(ID.parse().unwrap()), regex: true, limit: 10 },
        Query::Anchors { paging: paging() },
        Query::Handoffs { paging: paging() },
        Query::Handoff { handoff_id: ID.parse().unwrap() },
        Query::Health,
        Query::Resolve { short: "ab12cd34".into() },
    ]
}

#[tokio::test]
async fn the_address_of_a_query_asks_that_very_query() {
    let site = Site::new();
    let bearer = Actor::operator(Surface::Bearer);
    for query in every_query() {
        let reply = site.send(get(&query.to_path()).bearer()).await;
        assert_eq!(reply.status, 200, "{}: {}", query.to_path(), reply.text());
        assert_eq!(site.fake.take(), [Call::Query(bearer, query)]);
    }
    let sha = Sha256Hex::of(b"x");
    let reply = site.send(get(&artifact_path(sha)).bearer()).await;
    assert_eq!(site.fake.take(), [Call::Artifact(bearer, sha)]);
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    assert!(reply.header("content-disposition").starts_with("attachment;"));
}

/// The recorder's name for a workspace, and the front of several codes, mean on HTTP what they mean elsewhere.
#[tokio::test]
async fn events_are_asked_by_the_recorders_own_words() {
    let site = Site::new();
    let bearer = Actor::operator(Surface::Bearer);
    let asked = format!("/api/v1/events?wsid={ID}&code=FR-EVT-APPR,committed");
    assert_eq!(site.send(get(&asked).bearer()).await.status, 200);
    let mut codes = event_codes("FR-EVT-APPR").unwrap();
    codes.push(EventCode::Committed);
    assert!(codes.len() > 5, "{codes:?}");
    let filter = EventFilter { workspace_id: Some(ID.parse().unwrap()), codes, ..EventFilter::default() };
    assert_eq!(site.fake.take(), [Call::Query(bearer, Query::Events { filter })]);
    assert_eq!(site.send(get("/api/v1/events?code=FR-EVT-NONE").bearer()).await.status, 400);
}

#[tokio::test]
async fn the_actor_is_what_was_proven() {
    let site = Site::new();
    let browser = site.browser();
    let said = |ask: Ask| ask.with("x-dcc-surface", "terminal");
    let unix = |ask: Ask| ask.with("host", "localhost");
    let cases = [
        (site.send(get("/api/v1/board").by(&browser)).await, Surface::Browser, true),
        (site.send(get("/api/v1/board").bearer()).await, Surface::Bearer, false),
        (site.send(said(get("/api/v1/board").bearer())).await, Surface::Bearer, false),
        (site.send(said(get("/api/v1/board").by(&browser))).await, Surface::Browser, true),
        (site.send_unix(unix(get("/api/v1/board").bearer())).await, Surface::Bearer, false),
        (site.send_unix(unix(said(get("/api/v1/board").bearer()))).await, Surface::Terminal, true),
    ];
    let actors: Vec<Actor> = site.fake.take().into_iter().map(|call| if let Call::Query(actor, _) = call { actor } else { panic!("{call:?}") }).collect();
    for ((reply, surface, attended), actor) in cases.iter().zip(actors) {
        assert_eq!(reply.status, 200);
        assert!(actor.is_operator());
        assert_eq!((actor.surface, actor.attended), (*surface, *attended));
    }
}

#[tokio::test]
async fn a_job_is_accepted_flat() {
    let site = Site::new();
    let browser = site.browser();
    let body = json!({"op": "locus.add_note", "params": {"body": "x"}, "bindings": {"wp_id": "WP-0001"}, "idempotency_key": "k"});
    let reply = site.send(post("/api/v1/jobs", &body).by(&browser)).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json(), json!({"job_id": ID, "op": "locus.add_note", "state": "completed", "wp_id": "WP-0001"}));
    let [Call::Submit(actor, request)] = &site.fake.take()[..] else { panic!() };
    assert_eq!((actor.surface, request.op, request.idempotency_key.as_deref()), (Surface::Browser, Op::LocusAddNote, Some("k")));

    let reply = site.send(post(&format!("/api/v1/jobs/{ID}/cancel"), &json!({"reason": "wrong branch"})).bearer()).await;
    assert_eq!((reply.status.as_u16(), reply.json()["state"].as_str()), (202, Some("cancelled")));
    assert!(matches!(&site.fake.take()[..], [Call::Cancel(_, _, Some(reason))] if reason == "wrong branch"));
    // The reason may be left out, and so may the body.
    assert_eq!(site.send(ask("POST", &format!("/api/v1/jobs/{ID}/cancel")).with("content-type", "application/json; charset=utf-8").bearer()).await.status, 202);
}

#[tokio::test]
async fn a_decision_is_handed_on_as_it_came_and_never_as_a_job() {
    let site = Site::new();
    let browser = site.browser();
    let path = format!("/api/v1/approvals/{ID}/decision");
    let reply = site.send(post(&path, &json!({"decision": "approve"})).by(&browser)).await;
    assert_eq!(reply.json(), json!({"approval_id": ID, "status": "approved", "job_id": ID,
        "job": {"job_id": ID, "op": "version.commit", "state": "completed", "wp_id": "WP-0001"}}));
    let bare = DecisionInput { decision: Verdict::Approve, scope: Scope::Once, reason: None, nonce: None, preview_digest: None, typed: None };
    assert_eq!(site.fake.take(), [Call::Decide(Actor::operator(Surface::Browser), ID.parse().unwrap(), bare)]);

    let digest = Sha256Hex::of(b"preview");
    let body = json!({"decision": "deny", "scope": "session", "reason": "no", "nonce": "00ff", "preview_digest": digest});
    site.send(post(&path, &body).bearer()).await;
    let full = DecisionInput { decision: Verdict::Deny, scope: Scope::Session, reason: Some("no".into()), nonce: Some("00ff".into()), preview_digest: Some(digest), typed: None };
    assert_eq!(site.fake.take(), [Call::Decide(Actor::operator(Surface::Bearer), ID.parse().unwrap(), full)]);

    // Another plan's parameters have no place in a decision.
    assert_eq!(site.send(post(&path, &json!({"decision": "approve", "params": {}})).bearer()).await.problem().0, 400);
    let as_job = post("/api/v1/jobs", &json!({"op": "approval.decide", "params": {"approval_id": ID, "decision": "approve"}})).by(&browser);
    assert_eq!(site.send(as_job).await.problem(), (403, "HSK-403-SAME-TURN-CONSENT".into()));
    assert_eq!(site.fake.take(), []);
}

#[tokio::test]
async fn failures_are_problems_that_read_back() {
    let site = Site::new();
    for code in Code::ALL {
        let failure = Failure::new(*code, "what and why").hint("next");
        site.fake.fail_next(failure.clone());
        let reply = site.send(get("/api/v1/board").bearer()).await;
        assert_eq!(reply.problem(), (code.http_status(), code.as_str().into()));
        let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(problem.kind, format!("urn:dcc:error:{code}"));
        assert_eq!(problem.into_failure(), failure);
    }
}

#[tokio::test]
async fn bad_input_is_named() {
    let site = Site::new();
    for path in [
        "/api/v1/jobs?states=failed",
        "/api/v1/jobs?state=nope",
        "/api/v1/jobs?limit=x",
        "/api/v1/jobs?limit=-1",
        "/api/v1/jobs?limit=1001",
        "/api/v1/jobs?op=a&op=b",
        "/api/v1/jobs/x",
        "/api/v1/wps/wp-1",
        "/api/v1/board?x=1",
        "/api/v1/search",
        "/api/v1/resolve",
        "/api/v1/events?since=yesterday",
        "/api/v1/events?code=FR-EVT-NOPE",
        "/api/v1/events?cursor=5&after_seq=4",
        "/api/v1/artifacts/xyz",
    ] {
        assert_eq!(site.send(get(path).bearer()).await.status, 400, "{path}");
    }
    for path in ["?path=../x", "?path=.git/config", "?b64=LmdpdC94", "?path=/etc/passwd", "?source=commit&oid=HEAD", "?source=stash"] {
        let reply = site.send(get(&format!("/api/v1/workspaces/{ID}/diff{path}")).bearer()).await;
        assert!(matches!(reply.status.as_u16(), 400 | 422), "{path}: {}", reply.status);
    }
    for body in ["", "[]", "{", r#"{"op":"no.such"}"#, r#"{"op":"locus.add_note","plan":{}}"#, r#"{"op":"locus.add_note","bindings":{"job_id":"x"}}"#,
        r#"{"op":"version.commit","params":{"message":"shown","message":"done"}}"#] {
        let ask = ask("POST", "/api/v1/jobs").with("content-type", "application/json").bearer().body(body);
        assert_eq!(site.send(ask).await.problem(), (400, "HSK-400-INVALID-INPUT".into()), "{body}");
    }
    assert_eq!(site.fake.take(), []);
    assert_eq!(site.send(get("/api/v1/nowhere").bearer()).await.problem(), (404, "HSK-404-NOT-FOUND".into()));
    let wrong = site.send(ask("DELETE", "/api/v1/jobs").bearer()).await;
    assert_eq!(wrong.problem().0, 405);
}

#[tokio::test]
async fn the_cursor_of_events_moves_the_bound_of_its_order() {
    let site = Site::new();
    for (path, after, before) in [("?cursor=5", Some(5), None), ("?cursor=5&order=descending", None, Some(5))] {
        site.send(get(&format!("/api/v1/events{path}")).bearer()).await;
        let [Call::Query(_, Query::Events { filter })] = &site.fake.take()[..] else { panic!() };
        assert_eq!((filter.after_seq, filter.before_seq), (after, before));
    }
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let site = Site::new();
    let body = |bytes: usize| {
        let front = r#"{"op":"locus.add_note","params":{"body":""#;
        let back = r#""}}"#;
        format!("{front}{}{back}", "x".repeat(bytes - front.len() - back.len()))
    };
    let send = |bytes: usize| site.send(ask("POST", "/api/v1/jobs").with("content-type", "application/json").bearer().body(body(bytes)));
    assert_eq!(send(HTTP_BODY_BYTES_MAX).await.status, 202);
    site.fake.take();
    assert_eq!(send(HTTP_BODY_BYTES_MAX + 1).await.problem(), (413, "HSK-400-INVALID-INPUT".into()));
    assert_eq!(site.fake.take(), []);
}

#[tokio::test]
async fn the_description_is_served() {
    let site = Site::new();
    let document = site.send(get("/api/v1/openapi.json").bearer()).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["components"]["securitySchemes"]["session"]["name"], "dcc_ab12cd34");
    assert!(document["paths"]["/api/v1/approvals/{id}/decision"]["post"].is_object());
    assert!(document["paths"]["/board"].is_null());
}

#[tokio::test]
async fn stop_is_heard_even_before_anybody_waits() {
    let site = Site::new();
    let signal = site.app.stop_signal();
    assert_eq!(site.send(post("/api/v1/stop", &json!({})).bearer()).await.status, 202);
    signal.notified().await;
}
