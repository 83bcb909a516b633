//! Walks in a real Chromium; filled below.
