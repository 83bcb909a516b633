//! Screens, fragments, files.

use dcc_api::door::SearchKind;
use dcc_api::view::{CallsFilter, JobsFilter, SessionsFilter, TimelineFilter};
use dcc_core::RepoPath;
use dcc_core::ports::version::DiffSource;
use dcc_core::principal::Surface;

use super::*;
use crate::assets;

fn visit(path: &str, browser: &Browser) -> Ask {
    get(path).by(browser).with("sec-fetch-site", "none")
}

#[tokio::test]
async fn a_screen_carries_its_sessions_token_and_a_fragment_its_live_parts() {
    let site = Site::new();
    let (one, two) = (site.browser(), site.browser());
    let whole = site.send(visit("/board", &one)).await;
    assert_eq!(whole.header("content-type"), "text/html; charset=utf-8");
    assert!(whole.text().contains(&one.token) && !whole.text().contains(&two.token));
    assert!(whole.text().to_ascii_lowercase().starts_with("<!doctype html>"));
    let part = site.send(visit("/board", &one).with("x-dcc-fragment", "main")).await;
    assert!(part.text().contains("id=\"main\"") && !part.text().contains("<body"));
}

#[tokio::test]
async fn a_peek_is_short_and_brings_no_frame() {
    let site = Site::new();
    let browser = site.browser();
    for path in ["/wp/WP-0001".to_owned(), format!("/session/{ID}"), format!("/ws/{ID}"), format!("/job/{ID}"), format!("/event/{ID}"), format!("/approval/{ID}")] {
        let peek = site.send(visit(&path, &browser).with("x-dcc-fragment", "peek")).await;
        assert_eq!(peek.status, 200, "{path}");
        assert!(peek.text().contains("id=\"peek-body\"") && !peek.text().contains("id=\"main\""), "{path}: {}", peek.text());
        assert!(!peek.text().contains(&browser.token), "{path}: the page has the token already");
    }
}

#[tokio::test]
async fn addresses_say_what_they_say() {
    let site = Site::new();
    let browser = site.browser();
    let id = ID;
    let file = RepoPath::new(b"src/\xff.rs".to_vec()).unwrap();
    let cases = [
        ("/board?layout=list&filter=waits&q=a+b&theme=dark".to_owned(), PageQuery::Board { layout: "list".into(), filter: "waits".into(), q: "a b".into() }),
        ("/wp/WP-0001".into(), PageQuery::Packet { wp_id: "WP-0001".parse().unwrap() }),
        ("/workspaces?archived=1".into(), PageQuery::Workspaces { archived: true }),
        (format!("/ws/{id}"), PageQuery::Review { workspace_id: ID.parse().unwrap(), source: DiffSource::Uncommitted, file: None }),
        (format!("/ws/{id}/file?b64=c3JjL/8ucnM%3D"), PageQuery::ReviewFile { workspace_id: ID.parse().unwrap(), source: DiffSource::Uncommitted, path: file }),
        ("/sessions?filter=all&group=role".into(), PageQuery::Sessions { group: "role".into(), filter: SessionsFilter { state: "all".into(), ..SessionsFilter::default() }, cursor: None }),
        (
            format!("/session/{id}?tab=ledger&known=inferred"),
            PageQuery::Session { session_id: ID.parse().unwrap(), tab: "ledger".into(), calls: CallsFilter { known: Some("inferred".into()), ..CallsFilter::default() } },
        ),
        (format!("/inbox?tab=decided&a={id}"), PageQuery::Inbox { tab: "decided".into(), selected: Some(ID.parse().unwrap()) }),
        (
            format!("/jobs?wp=WP-0001&session={id}&state=failed&op=&cursor=c"),
            PageQuery::Jobs {
                filter: JobsFilter { state: Some("failed".into()), wp_id: Some("WP-0001".into()), session_id: Some(ID.into()), ..JobsFilter::default() },
                cursor: Some("c".into()),
            },
        ),
        (
            "/timeline?wp=WP-0001&code=FR-EVT-APPR&layout=lanes".into(),
            PageQuery::Timeline {
                filter: TimelineFilter { wp: Some("WP-0001".into()), code: Some("FR-EVT-APPR".into()), ..TimelineFilter::default() },
                layout: "lanes".into(),
                cursor: None,
            },
        ),
        ("/search?q=x&scope=code".into(), PageQuery::Search { q: "x".into(), scope: SearchKind::Code, workspace_id: None, regex: false }),
    ];
    for (path, query) in cases {
        let reply = site.send(visit(&path, &browser)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(site.fake.take(), [Call::Page(Actor::operator(Surface::Browser), query)], "{path}");
    }
}

#[tokio::test]
async fn failures_are_pages_with_status_code_and_next_step() {
    let site = Site::new();
    let browser = site.browser();
    site.fake.fail_next(Failure::new(Code::NotFoundWp, "WP-0009 is not in <this> project").hint("create it"));
    let reply = site.send(visit("/wp/WP-0009", &browser)).await;
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("HSK-404-WP") && reply.text().contains("create it") && reply.text().contains("&lt;this&gt;"));
    for path in ["/wp/nope", "/job/1", "/nowhere", "/session/../x"] {
        let reply = site.send(visit(path, &browser)).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("demo-project"), "{path}: inside the frame");
    }
    assert_eq!(site.send(visit("/jobs?state=a&state=b", &browser)).await.status, 400);
    assert_eq!(site.send(ask("POST", "/nowhere").by(&browser)).await.problem().0, 404);
}

#[tokio::test]
async fn whoever_is_not_signed_in_learns_nothing() {
    let site = Site::new();
    for path in ["/", "/board", "/nowhere", "/wp/WP-0001"] {
        let reply = site.send(get(path)).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/login"), "{path}");
    }
    let part = site.send(get("/board").with("x-dcc-fragment", "main")).await;
    assert_eq!(part.status, 401);
    assert!(!part.text().contains("id=\"main\""), "the script loads the address anew");
    let page = site.send(get("/login")).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("127.0.0.1:7777") && !page.text().contains("demo"));
    assert_eq!(site.fake.take(), []);
}

#[tokio::test]
async fn files_are_kept_under_their_hash_and_packed() {
    let site = Site::new();
    for asset in assets::all() {
        let reply = site.send(get(&assets::url(asset.name))).await;
        assert_eq!((reply.header("content-type"), reply.header("cache-control")), (asset.content_type, "public, max-age=31536000, immutable"));
        assert_eq!(reply.body, asset.bytes);
        let packed = site.send(get(&assets::url(asset.name)).with("accept-encoding", "gzip")).await;
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert!(packed.body.len() < asset.bytes.len());
        let other = site.send(get(&format!("/assets/{}?v=0", asset.name))).await;
        assert_eq!(other.header("cache-control"), "no-cache");
    }
    assert_eq!(site.send(get("/assets/..%2fCargo.toml")).await.problem().0, 404);
}
