//! Redaction of secrets before anything is hashed or stored. Pure.
