pub mod assets;
pub mod safe_text;
pub mod server;
pub mod ui;
