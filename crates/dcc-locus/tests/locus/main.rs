//! The store and the mirror against a fake recorder and a fake artifact store.

mod mirror;
mod records;
mod support;
