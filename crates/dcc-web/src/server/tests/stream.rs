//! The live stream over HTTP.

use std::pin::Pin;

use axum::body::Bytes;
use dcc_core::limits::{STREAM_QUEUE_MAX, STREAM_READERS_MAX};
use http_body_util::BodyExt as _;

use super::*;

/// One message of the stream.
#[derive(Debug, PartialEq)]
struct Message {
    event: String,
    id: String,
    data: Value,
}

/// A reader of a response's body, frame by frame.
struct Reader {
    body: Pin<Box<Body>>,
    text: String,
    headers: HeaderMap,
}

impl Reader {
    async fn open(site: &Site, ask: Ask) -> Self {
        let response = site.router.clone().oneshot(ask.request()).await.unwrap();
        assert_eq!(response.status(), 200);
        let (parts, body) = response.into_parts();
        Self { body: Box::pin(body), text: String::new(), headers: parts.headers }
    }

    /// The next message, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
                let message = Message { event: field("event:"), id: field("id:"), data: serde_json::from_str(&field("data:")).unwrap_or(Value::Null) };
                self.text = rest.to_owned();
                return Some(message);
            }
            let frame: Bytes = self.body.frame().await?.unwrap().into_data().unwrap_or_default();
            self.text.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    async fn expect(&mut self, event: &str, id: u64) -> Value {
        let message = self.next().await.expect("the stream goes on");
        assert_eq!((message.event.as_str(), message.id), (event, id.to_string()), "{}", message.data);
        message.data
    }
}

fn happened(site: &Site, until: u64) {
    for seq in 1..=until {
        site.fake.happen(seq);
    }
}

#[tokio::test]
async fn hello_then_events_as_they_happen() {
    let site = Site::new();
    happened(&site, 3);
    let browser = site.browser();
    let mut reader = Reader::open(&site, get("/api/v1/events/stream").by(&browser).with("accept-encoding", "gzip")).await;
    assert_eq!(reader.headers["content-type"], "text/event-stream");
    assert!(!reader.headers.contains_key("content-encoding"), "compression would hold events back");
    assert_eq!(reader.expect("hello", 3).await, json!({"seq": 3, "instance_id": ID}));
    site.fake.happen(4);
    let data = reader.expect("event", 4).await;
    assert_eq!((&data["seq"], &data["code"], &data["wp_id"]), (&json!(4), &json!("FR-EVT-JOB-001"), &json!("WP-0001")));
}

#[tokio::test]
async fn it_resumes_where_the_reader_left_off() {
    let site = Site::new();
    happened(&site, 5);
    let mut page = Reader::open(&site, get("/api/v1/events/stream?after=3").bearer()).await;
    assert_eq!(page.expect("hello", 3).await["seq"], 5);
    page.expect("event", 4).await;
    page.expect("event", 5).await;
    // The header is newer than the address the page was loaded with.
    let mut again = Reader::open(&site, get("/api/v1/events/stream?after=3").bearer().with("last-event-id", "4")).await;
    again.expect("hello", 4).await;
    again.expect("event", 5).await;
    site.fake.happen(6);
    again.expect("event", 6).await;
    page.expect("event", 6).await;
}

#[tokio::test]
async fn a_touch_has_no_id_and_leaves_the_sequence_alone() {
    let site = Site::new();
    happened(&site, 2);
    let mut reader = Reader::open(&site, get("/api/v1/events/stream").bearer()).await;
    reader.expect("hello", 2).await;
    site.fake.touch();
    let touch = reader.next().await.unwrap();
    assert_eq!((touch.event.as_str(), touch.id.as_str(), touch.data), ("touch", "", json!({"workspace_id": ID})));
    site.fake.happen(3);
    reader.expect("event", 3).await;
}

#[tokio::test]
async fn what_was_missed_for_too_long_is_a_gap() {
    let site = Site::new();
    let many = STREAM_QUEUE_MAX as u64 + 5;
    happened(&site, many);
    let mut reader = Reader::open(&site, get("/api/v1/events/stream").bearer().with("last-event-id", "1")).await;
    reader.expect("hello", 1).await;
    assert_eq!(reader.expect("gap", many).await, json!({"seq": many}));
    site.fake.happen(many + 1);
    reader.expect("event", many + 1).await;
}

#[tokio::test]
async fn a_slow_reader_gets_a_gap() {
    let site = Site::new();
    let mut reader = Reader::open(&site, get("/api/v1/events/stream").bearer()).await;
    let many = STREAM_QUEUE_MAX as u64 + 1;
    happened(&site, many);
    reader.expect("hello", 0).await;
    reader.expect("gap", many).await;
}

#[tokio::test]
async fn readers_are_bounded_and_the_end_of_the_server_ends_them() {
    let site = Site::new();
    let mut readers = Vec::new();
    for _ in 0..STREAM_READERS_MAX {
        readers.push(Reader::open(&site, get("/api/v1/events/stream").bearer()).await);
    }
    let refused = site.send(get("/api/v1/events/stream").bearer()).await;
    assert_eq!(refused.problem(), (429, "HSK-429-RATE-LIMIT".into()));
    readers.pop();
    let mut last = Reader::open(&site, get("/api/v1/events/stream").bearer()).await;
    last.expect("hello", 0).await;
    site.end.send(true).unwrap();
    assert_eq!(last.next().await, None);
}

#[tokio::test]
async fn a_bad_position_is_refused() {
    let site = Site::new();
    for ask in [get("/api/v1/events/stream").with("last-event-id", "x"), get("/api/v1/events/stream?after=-1"), get("/api/v1/events/stream?since=1")] {
        assert_eq!(site.send(ask.bearer()).await.problem().0, 400);
    }
}
