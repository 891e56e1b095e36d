//! An S3 store.
