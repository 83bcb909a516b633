//! A signed-in reader of pages, without a browser: the sign-in link, its cookie, the HTML.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use dcc_testkit::Http;
use serde_json::json;

/// Holds the cookie of one sign-in.
pub struct Reader {
    port: u16,
    cookie: String,
}

impl Reader {
    pub fn sign_in(http: &Http) -> Self {
        let link = http.post("/api/v1/login-link", &json!({})).json();
        let url = ["login_url", "url"].iter().find_map(|key| link[*key].as_str()).expect("a link");
        let path = &url[url.find("/login").expect("the way in")..];
        let answer = get(http.port, path, "");
        let cookie = answer.lines().find_map(|l| l.to_ascii_lowercase().starts_with("set-cookie:").then(|| l[11..].trim().split(';').next().unwrap_or_default().to_owned()));
        Self { port: http.port, cookie: cookie.unwrap_or_else(|| panic!("no cookie: {answer}")) }
    }

    /// The page's HTML; it has to be there.
    pub fn page(&self, path: &str) -> String {
        let answer = get(self.port, path, &format!("cookie: {}\r\n", self.cookie));
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }
}

fn get(port: u16, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}connection: close\r\n\r\n").as_bytes()).expect("a request");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    String::from_utf8_lossy(&bytes).into_owned()
}
