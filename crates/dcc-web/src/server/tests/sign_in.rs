//! Links, codes, cookies.

use super::*;
use crate::server::auth::LINK_TTL_MS;

async fn link(site: &Site) -> String {
    let reply = site.send(post("/api/v1/login-link", &json!({})).bearer()).await;
    assert_eq!(reply.json()["expires_in_ms"], 60_000);
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    url.strip_prefix("http://127.0.0.1:7777").unwrap().to_owned()
}

/// As the address bar opens it.
fn open(path: &str) -> Ask {
    get(path).with("sec-fetch-site", "none").with("sec-fetch-mode", "navigate")
}

fn form(body: &str) -> Ask {
    ask("POST", "/login").with("content-type", "application/x-www-form-urlencoded").with("origin", "http://127.0.0.1:7777").with("sec-fetch-site", "same-origin").body(body)
}

#[tokio::test]
async fn a_link_opens_once_and_the_cookie_is_closed_to_scripts_and_sites() {
    let site = Site::new();
    let path = link(&site).await;
    let opened = site.send(open(&path)).await;
    assert_eq!((opened.status.as_u16(), opened.header("location")), (303, "/board"));
    let set = opened.header("set-cookie").to_owned();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    let (name, value) = pair.split_once('=').unwrap();
    assert_eq!(name, "dcc_ab12cd34");
    assert!(value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()));

    let again = site.send(open(&path)).await;
    assert_eq!(again.status, 401);
    assert_eq!(again.header("set-cookie"), "");
    assert!(again.text().contains("HSK-401-UNAUTHENTICATED") && !again.text().contains("demo-project"));

    let board = site.send(open("/board").with("cookie", pair)).await;
    assert_eq!(board.status, 200);
    assert!(board.text().contains("demo-project"));
    let signed_in = site.send(open("/login").with("cookie", pair)).await;
    assert_eq!(signed_in.header("location"), "/board");
}

#[tokio::test]
async fn a_link_is_good_for_sixty_seconds() {
    let site = Site::new();
    let (early, late) = (link(&site).await, link(&site).await);
    site.pass(LINK_TTL_MS - 1);
    assert_eq!(site.send(open(&early)).await.status, 303);
    site.pass(1);
    assert_eq!(site.send(open(&late)).await.status, 401);
}

#[tokio::test]
async fn other_sites_and_fetches_ahead_do_not_open_links() {
    let site = Site::new();
    let path = link(&site).await;
    for ask in [
        get(&path).with("sec-fetch-site", "cross-site"),
        get(&path).with("sec-fetch-site", "same-site"),
        open(&path).with("sec-purpose", "prefetch;prerender"),
        open(&path).with("purpose", "prefetch"),
        ask("HEAD", &path),
        open("/login?token="),
        open("/login?token=x"),
    ] {
        let reply = site.send(ask).await;
        assert_eq!(reply.header("set-cookie"), "");
        assert_ne!(reply.status, 303);
    }
    assert_eq!(site.send(open(&path)).await.status, 303, "none of these used it up");
}

#[tokio::test]
async fn only_the_credential_asks_for_links() {
    let site = Site::new();
    let browser = site.browser();
    let reply = site.send(post("/api/v1/login-link", &json!({})).by(&browser)).await;
    assert_eq!(reply.problem(), (401, "HSK-401-UNAUTHENTICATED".into()));
}

#[tokio::test]
async fn a_pasted_code_or_link_signs_in_from_our_own_page_only() {
    let site = Site::new();
    let code = site.app.auth.issue_link();
    for foreign in [
        form(&format!("code={code}")).with("origin", "http://evil.test"),
        form(&format!("code={code}")).with("origin", "null").with("sec-fetch-site", "cross-site"),
        form(&format!("code={code}")).with("origin", "null").with("sec-fetch-site", ""),
        form(&format!("code={code}")).with("origin", ""),
        form(&format!("code={code}")).with("sec-fetch-site", "cross-site"),
    ] {
        assert_eq!(site.send(foreign).await.problem(), (403, "HSK-403-ORIGIN".into()));
    }
    // A form of a page without a referrer names the origin null; the browser's own word counts.
    let reply = site.send(form(&format!("code=+{code}+")).with("origin", "null")).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/board"));
    assert!(reply.header("set-cookie").starts_with("dcc_ab12cd34="));

    let link = format!("code=http%3A%2F%2F127.0.0.1%3A7777%2Flogin%3Ftoken%3D{}", site.app.auth.issue_link());
    assert_eq!(site.send(form(&link)).await.status, 303);
    assert_eq!(site.send(form("code=wrong")).await.status, 401);
    assert_eq!(site.send(form(&format!("code={}", "x".repeat(5_000)))).await.status, 413);
}

#[tokio::test]
async fn a_cookie_of_another_instance_is_nobody() {
    let site = Site::new();
    let browser = site.browser();
    let renamed = browser.cookie.replace("dcc_ab12cd34", "dcc_00000000");
    assert_eq!(site.send(open("/board").with("cookie", &renamed)).await.status, 303);
    let among = format!("dcc_00000000=1; {}; theme=dark", browser.cookie);
    assert_eq!(site.send(open("/board").with("cookie", &among)).await.status, 200);
}
